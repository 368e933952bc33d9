//! From a model's attributes to SQL: plans are values, and rendering them is pure.

pub mod base;
mod error;
pub mod migration;
mod models;
mod name;
mod plan;
mod policy;
mod render;
mod storage;

pub use error::PlanError;
pub use models::Models;
pub(crate) use models::rendered;
pub use name::{Identifier, Literal, TableName};
pub use plan::{CapturePlan, Key};
pub use policy::{Columns, Placeholder, Policy, columns};
pub use storage::Storage;
