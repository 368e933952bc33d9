//! From what was recorded to a diff.

use std::collections::BTreeSet;

use super::field::{FieldDiff, FieldKind, FieldValue};
use super::input::DiffInput;
use super::options::DiffOptions;
use crate::query::{Op, RecordedRow, Redactions};

/// What a change did, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChangeDiff {
    /// What happened to the row.
    pub op: Op,
    /// Where the values before come from.
    pub before_values: BeforeValues,
    /// The fields, in the order of their columns' names.
    pub fields: Vec<FieldDiff>,
}

/// Where the values before come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BeforeValues {
    /// There was no row before, or none is spoken of: insert, baseline, truncate.
    None,
    /// The change recorded them.
    Recorded,
    /// Earlier changes recorded all or some of them.
    Reconstructed,
    /// The table doesn't keep them, and earlier history was not asked or doesn't know.
    Omitted,
}

impl BeforeValues {
    /// As it is written in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Recorded => "recorded",
            Self::Reconstructed => "reconstructed",
            Self::Omitted => "omitted",
        }
    }
}

impl ChangeDiff {
    /// The field of a column.
    #[must_use]
    pub fn field(&self, column: &str) -> Option<&FieldDiff> {
        let found = self
            .fields
            .binary_search_by(|field| field.column.as_str().cmp(column));
        found.ok().map(|index| &self.fields[index])
    }
}

/// What a change did to each field: a pure function over what was recorded, nothing is looked up.
///
/// | operation | fields |
/// |---|---|
/// | update | those in `changed_fields`; a value before that was not recorded is [`FieldValue::Omitted`] |
/// | insert, baseline | none, or with [`expand_insert_fields`](DiffOptions::expand_insert_fields) all, set |
/// | delete | none, or with [`expand_delete_fields`](DiffOptions::expand_delete_fields) those that are known, removed |
/// | truncate | none |
///
/// Columns that the policy excludes are not in `changed_fields`, so an update doesn't show them; where all fields are
/// listed, they are there as [`FieldValue::Redacted`].
///
/// # Examples
///
/// ```
/// # mod app {
/// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
/// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
/// #     #[diesel(table_name = users)]
/// #     pub struct User { pub id: i64, pub email: String }
/// # }
/// # use app::User;
/// use diesel::connection::LoadConnection;
/// use diesel::{pg::Pg, prelude::*};
/// use threadline::{DiffOptions, change_diff, prelude::*};
///
/// fn newest(conn: &mut impl LoadConnection<Backend = Pg>) -> QueryResult<Option<String>> {
///     let change = User::history(42).first(conn).optional()?;
///     Ok(change.map(|change| change_diff(&change, DiffOptions::new()).json_ready().to_string()))
/// }
/// ```
pub fn change_diff<'a>(change: impl Into<DiffInput<'a>>, options: DiffOptions) -> ChangeDiff {
    let change = change.into();
    let fields = match change.op {
        Op::Update => changed(&change),
        Op::Insert | Op::Baseline if options.insert => set(&change),
        Op::Delete if options.delete => removed(&change),
        Op::Insert | Op::Baseline | Op::Delete | Op::Truncate => Vec::new(),
    };
    ChangeDiff {
        op: change.op,
        before_values: before_values(&change, &fields),
        fields,
    }
}

fn changed(change: &DiffInput<'_>) -> Vec<FieldDiff> {
    let columns: BTreeSet<_> = change.changed_fields.into_iter().flatten().collect();
    columns
        .into_iter()
        .map(|column| FieldDiff {
            column: column.clone(),
            kind: FieldKind::Changed,
            before: before(change, column),
            after: known(change.after, column, change.redactions).unwrap_or(FieldValue::Omitted),
        })
        .collect()
}

fn set(change: &DiffInput<'_>) -> Vec<FieldDiff> {
    let Some(row) = change.after else {
        return Vec::new();
    };
    let excluded = change.redactions.excluded_from(row);
    let columns: BTreeSet<_> = row.columns().chain(excluded).collect();
    columns
        .into_iter()
        .map(|column| FieldDiff {
            column: column.to_owned(),
            kind: FieldKind::Set,
            before: FieldValue::Absent,
            after: known(Some(row), column, change.redactions).unwrap_or(FieldValue::Redacted),
        })
        .collect()
}

fn removed(change: &DiffInput<'_>) -> Vec<FieldDiff> {
    let rows = [change.before, change.earlier];
    let known = rows.into_iter().flatten().flat_map(RecordedRow::columns);
    let mut columns: BTreeSet<_> = known.collect();
    if let Some(row) = change.before.or(change.earlier) {
        columns.extend(change.redactions.excluded_from(row));
    }
    columns
        .into_iter()
        .map(|column| FieldDiff {
            column: column.to_owned(),
            kind: FieldKind::Removed,
            before: before(change, column),
            after: FieldValue::Absent,
        })
        .collect()
}

/// The value before: as the change recorded it, else as an earlier one did.
fn before(change: &DiffInput<'_>, column: &str) -> FieldValue {
    if let Some(value) = known(change.before, column, change.redactions) {
        return value;
    }
    match known(change.earlier, column, change.redactions) {
        Some(value) => value.reconstructed(),
        None if change.redactions.has(column) && (change.before.or(change.earlier)).is_some() => {
            FieldValue::Redacted
        }
        None => FieldValue::Omitted,
    }
}

fn known(row: Option<&RecordedRow>, column: &str, redactions: &Redactions) -> Option<FieldValue> {
    let value = row?.get(column)?;
    Some(FieldValue::read(column, value, redactions))
}

fn before_values(change: &DiffInput<'_>, fields: &[FieldDiff]) -> BeforeValues {
    let reconstructed = |field: &FieldDiff| matches!(field.before, FieldValue::Reconstructed(_));
    match change.op {
        Op::Insert | Op::Baseline | Op::Truncate => BeforeValues::None,
        Op::Update | Op::Delete if fields.iter().any(reconstructed) => BeforeValues::Reconstructed,
        Op::Update | Op::Delete if change.before.is_some() => BeforeValues::Recorded,
        Op::Update | Op::Delete => BeforeValues::Omitted,
    }
}
