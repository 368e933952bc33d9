//! A small billing domain, audited by Threadline. `cargo run -p example-quickstart` tells its story.

pub mod billing;
pub mod models;
pub mod night;
#[allow(missing_docs, unreachable_pub)]
#[rustfmt::skip]
pub mod schema;
pub mod story;

use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use threadline::capture::Models;

/// The application's migrations, with those that `threadline` generated among them.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Every audited model.
#[must_use]
pub fn audited() -> Models {
    threadline::models![models::Customer, models::Invoice, models::InvoiceLine]
}
