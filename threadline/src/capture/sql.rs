//! Renders a plan as SQL.

use super::{CapturePlan, Identifier};

/// The schema that holds the audit tables; `public` unless `threadline install` was told another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage(pub Identifier);

impl Default for Storage {
    fn default() -> Self {
        Self(Identifier::public())
    }
}

impl CapturePlan {
    /// The SQL that installs the plan, or brings an installed table to it.
    #[must_use]
    pub fn up_sql(&self, storage: &Storage) -> String {
        let _ = storage;
        format!("-- {:?}", self)
    }

    /// The SQL that ends the capture of the table and leaves its history.
    #[must_use]
    pub fn down_sql(&self, storage: &Storage) -> String {
        let _ = storage;
        String::new()
    }

    /// Identifies the plan and the SQL made of it; 16 hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        String::new()
    }
}
