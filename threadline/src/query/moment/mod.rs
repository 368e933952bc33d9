//! Any query as of a moment: the rows of its tables as they were, under the names of the tables.

mod as_of_query;
mod compose;
mod dsl;
mod error;
mod grouping;
mod items;
mod parser;
mod reads;
mod settled;
mod tokens;

pub use as_of_query::AsOfQuery;
pub use dsl::{IsSelect, QueryAsOf, as_of_raw};
pub use error::AsOfError;
pub use settled::{Settled, settled};
