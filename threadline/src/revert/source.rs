//! What the server says of a revert: the document of `threadline_revert`.

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::pg::{Pg, PgValue};
use diesel::sql_types::Json;
use serde::Deserialize;

use crate::capture::{Identifier, PlanError};
use crate::query::{RecordedRow, Redactions};

/// Nothing in it is a value of a redacted column: those are in the log as placeholders, and of the live row only the names of
/// columns are told.
#[derive(Debug, Clone, PartialEq, Deserialize, FromSqlRow)]
pub struct Source {
    pub(super) transaction_id: Option<uuid::Uuid>,
    pub(super) change_id: Option<i64>,
    /// Whether it has only what is in a scope. Keys of rows that it doesn't have are empty then.
    #[serde(default)]
    pub(super) scoped: bool,
    pub(super) rows: Vec<Row>,
    pub(super) truncated: Vec<String>,
    pub(super) tables: Vec<Table>,
    pub(super) foreign_keys: Vec<ForeignKey>,
}

impl Source {
    pub(super) fn table(&self, id: i32) -> Option<&Table> {
        self.tables.iter().find(|table| table.id == id)
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Table {
    pub(super) id: i32,
    pub(super) schema: Name,
    pub(super) name: Name,
    pub(super) key: Vec<Name>,
    pub(super) redacted: Redactions,
    /// Whether what is written to it is recorded.
    pub(super) captured: bool,
    /// Columns that `changed_from` leaves out.
    pub(super) except: Vec<String>,
    /// `None` if the table is gone.
    pub(super) columns: Option<Vec<Column>>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Column {
    pub(super) name: Name,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    pub(super) generated: bool,
    /// GENERATED ALWAYS AS IDENTITY.
    pub(super) always: bool,
}

/// A foreign key between two tables of the plan.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) schema: Name,
    pub(super) name: Name,
    pub(super) child: i32,
    pub(super) child_columns: Vec<String>,
    pub(super) parent: i32,
    pub(super) parent_columns: Vec<String>,
    pub(super) deferrable: bool,
}

/// The net change of one row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Row {
    pub(super) table_id: i32,
    pub(super) key: RecordedRow,
    pub(super) last_id: i64,
    /// It was deleted or inserted on the way.
    pub(super) remade: bool,
    pub(super) changed: Vec<String>,
    /// `None` if there was none; empty if there was one and the log doesn't have it.
    pub(super) before: Option<RecordedRow>,
    pub(super) after: Option<RecordedRow>,
    /// Whether there is one now.
    pub(super) live: bool,
    #[serde(default)]
    pub(super) since: Vec<String>,
    #[serde(default)]
    pub(super) taken: Vec<Taken>,
    #[serde(default)]
    pub(super) orphaned: Vec<Orphaned>,
    #[serde(default)]
    pub(super) referring: Vec<Referring>,
}

/// A unique key that another row holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Taken {
    pub(super) constraint: String,
    pub(super) columns: Vec<String>,
    pub(super) holder: RecordedRow,
}

/// A foreign key without the row that it names.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Orphaned {
    pub(super) constraint: String,
    pub(super) columns: Vec<String>,
    pub(super) parent: String,
}

/// Live rows that refer to the row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Referring {
    pub(super) constraint: String,
    pub(super) columns: Vec<String>,
    pub(super) child: String,
    /// `None` if the table isn't audited: its keys are empty then.
    pub(super) table_id: Option<i32>,
    pub(super) keys: Vec<RecordedRow>,
}

/// A name out of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Name(pub(super) Identifier);

impl TryFrom<String> for Name {
    type Error = PlanError;

    fn try_from(name: String) -> Result<Self, PlanError> {
        Identifier::new(name).map(Self)
    }
}

impl FromSql<Json, Pg> for Source {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(serde_json::from_slice(value.as_bytes())?)
    }
}
