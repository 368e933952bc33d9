//! A small billing domain, audited by Threadline. `cargo run -p example-quickstart` tells its story.

pub mod billing;
pub mod models;
pub mod night;
pub mod schema;
pub mod story;
