//! What a change did to each field: a pure function over what was recorded.

mod change_diff;
mod field;
mod input;
mod json;
mod model;
mod options;
mod with_history;

pub use change_diff::{BeforeValues, ChangeDiff, change_diff};
pub use field::{FieldDiff, FieldKind, FieldValue};
pub use input::DiffInput;
pub use json::{JsonReady, SCHEMA_VERSION};
pub use model::ModelDiff;
pub use options::DiffOptions;
pub use with_history::{RecordedChange, RecordedChangeQuery, diff_with_history};
