//! The trait behind `#[derive(Audited)]`.

use diesel::associations::HasTable;
use diesel::pg::Pg;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::query_source::{Column, Table};

use crate::definition::Definition;

/// A Diesel model whose table is audited. Derive it with [`#[derive(Audited)]`](macro@crate::Audited).
///
/// The table, its schema and its key come from the `table!` types, so that they can't drift from the schema file.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an audited model",
    label = "needs `#[derive(Audited)]`",
    note = "add `threadline::Audited` to the derives of `{Self}`, beside `Queryable` and `Selectable`"
)]
pub trait Audited: Sized + 'static {
    /// The table module's `table`.
    type Table: Table
        + HasTable<Table = Self::Table>
        + QueryFragment<Pg>
        + QueryId
        + Default
        + Send
        + Sync
        + 'static;

    /// The column, or the tuple of columns, that identifies a row.
    type Key;

    /// The capture rules that the model's attributes state.
    const DEFINITION: Definition;
}

/// Marks a key of one column in [`KeyColumns`].
#[derive(Debug)]
pub enum One {}

/// Marks a key of several columns in [`KeyColumns`].
#[derive(Debug)]
pub enum Many {}

/// The names of the columns of a key, at the type level.
///
/// `Kind` is inferred; it keeps the implementations for a column and for tuples apart.
pub trait KeyColumns<Kind> {
    /// Names as the catalog has them, in key order.
    const NAMES: &'static [&'static str];
}

impl<C: Column> KeyColumns<One> for C {
    const NAMES: &'static [&'static str] = &[C::NAME];
}

macro_rules! key_of_several_columns {
    ($($column:ident)+) => {
        impl<$($column: Column),+> KeyColumns<Many> for ($($column,)+) {
            const NAMES: &'static [&'static str] = &[$($column::NAME),+];
        }
    };
}

key_of_several_columns!(A);
key_of_several_columns!(A B);
key_of_several_columns!(A B C);
key_of_several_columns!(A B C D);
key_of_several_columns!(A B C D E);
key_of_several_columns!(A B C D E F);
key_of_several_columns!(A B C D E F G);
key_of_several_columns!(A B C D E F G H);

/// The key column names of `Key`, for the derive.
#[doc(hidden)]
#[must_use]
pub const fn key_names<Kind, Key: KeyColumns<Kind>>() -> &'static [&'static str] {
    Key::NAMES
}

/// Panics with `message` if `column` is one of `key`, for the derive: at compile time, at the attribute.
#[doc(hidden)]
#[track_caller]
pub const fn assert_not_key(column: &str, key: &[&str], message: &str) {
    let mut i = 0;
    while i < key.len() {
        if same(column.as_bytes(), key[i].as_bytes()) {
            panic!("{}", message);
        }
        i += 1;
    }
}

/// `==` is not available in constants.
const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// A column whose placeholder decodes: unlimited text, or anything nullable.
///
/// The derive asserts it for redacted fields that declare no `fill`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a redacted column of type `{Self}` has no value to decode",
    label = "this field is redacted and its column is neither nullable nor text",
    note = "say what to decode instead: `#[audited(mask, fill = …)]`, or leave the field out of the model and name the column at the struct"
)]
pub trait Placeholder {}
impl Placeholder for diesel::sql_types::Text {}
impl<ST: diesel::sql_types::SqlType> Placeholder for diesel::sql_types::Nullable<ST> {}

/// Asserts that the column `C` can be redacted without a `fill`.
#[doc(hidden)]
pub const fn assert_placeholder<C>()
where
    C: diesel::Expression,
    C::SqlType: Placeholder,
{
}
