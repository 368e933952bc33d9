//! What is recorded of a row, as pure data.

use std::collections::BTreeSet;

use super::{Identifier, PlanError, TableName};
use crate::definition::{Level, RequireActor, Truncate};

/// What stands for a masked value: 1 to 200 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder(String);

impl Placeholder {
    /// Takes the text that is stored instead of a masked value.
    ///
    /// # Errors
    ///
    /// [`PlanError::Placeholder`] if it is empty, too long or holds control characters.
    pub fn new(table: &TableName, text: impl Into<String>) -> Result<Self, PlanError> {
        let text = text.into();
        let reason = if text.is_empty() {
            "is empty"
        } else if text.chars().count() > 200 {
            "is longer than 200 characters"
        } else if text.chars().any(char::is_control) {
            "holds control characters"
        } else {
            return Ok(Self(text));
        };
        Err(PlanError::Placeholder {
            table: table.to_string(),
            reason,
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Placeholder {
    fn default() -> Self {
        Self("[REDACTED]".to_owned())
    }
}

/// A set of columns, in the order of their names.
pub type Columns = BTreeSet<Identifier>;

/// The capture rules of one table. Start from [`Policy::default`], which records everything and keeps no values before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Columns that are never stored.
    pub exclude: Columns,
    /// Columns stored as the placeholder; NULL stays NULL.
    pub mask: Columns,
    /// What stands for a masked value.
    pub placeholder: Placeholder,
    /// Whether `changed_from` is kept.
    pub store_changed_from: bool,
    /// Columns left out of `changed_fields` and `changed_from`.
    pub except_columns: Columns,
    /// Columns whose changes alone are not recorded.
    pub ignore_only: Columns,
    /// Columns stored only when they change.
    pub on_change: Columns,
    /// Whether a write without an actor is refused.
    pub require_actor: Option<RequireActor>,
    /// What fires capture.
    pub level: Level,
    /// What TRUNCATE leaves in the log.
    pub truncate: Truncate,
}

impl Policy {
    /// Refuses what can be refused without a database.
    pub(super) fn validate(&self, table: &TableName, key: &[Identifier]) -> Result<(), PlanError> {
        if let Some(column) = self.exclude.intersection(&self.mask).next() {
            return Err(PlanError::ExcludedAndMasked {
                table: table.to_string(),
                column: column.as_str().to_owned(),
            });
        }
        let redacted = self.exclude.union(&self.mask).cloned().collect::<Columns>();
        if let Some(column) = self.on_change.intersection(&redacted).next() {
            return Err(PlanError::RedactedOnChange {
                table: table.to_string(),
                column: column.as_str().to_owned(),
            });
        }
        for (list, columns) in [
            ("exclude", &self.exclude),
            ("mask", &self.mask),
            ("on_change", &self.on_change),
        ] {
            if let Some(column) = key.iter().find(|column| columns.contains(column)) {
                return Err(PlanError::RedactedKey {
                    table: table.to_string(),
                    column: column.as_str().to_owned(),
                    list,
                });
            }
        }
        Ok(())
    }
}

/// Reads column names into a set.
///
/// # Errors
///
/// [`PlanError::Identifier`] for the first name that can't be a column.
pub fn columns<I>(names: I) -> Result<Columns, PlanError>
where
    I: IntoIterator,
    I::Item: Into<String>,
{
    names.into_iter().map(Identifier::new).collect()
}
