//! Threadline.

pub mod audited;
pub mod capture;
pub mod definition;

pub use audited::Audited;
pub use definition::{Definition, RequireActor};
#[cfg(feature = "derive")]
pub use threadline_derive::Audited;
