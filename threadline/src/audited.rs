//! The trait behind `#[derive(Audited)]`.

use std::marker::PhantomData;

use diesel::associations::HasTable;
use diesel::pg::Pg;
use diesel::pg::sql_types::Citext;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::query_source::{Column, Table};
use diesel::sql_types::{Nullable, SqlType, Text};

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

    /// The model's fields that stand for a column: (column, name of the field).
    const FIELDS: &'static [(&'static str, &'static str)] = &[];
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

/// Panics with `message`, at compile time and at the attribute, if `column` is one of `key`.
#[doc(hidden)]
#[track_caller]
pub const fn assert_not_key(column: &str, key: &[&str], message: &str) {
    if is_one_of(column, key) {
        panic!("{}", message);
    }
}

/// Panics with `message`, at compile time and at the field, if a redacted column has no value to decode.
///
/// A key column can't be redacted at all, which [`assert_not_key`] says.
#[doc(hidden)]
#[track_caller]
pub const fn assert_decodes(decodes: bool, column: &str, key: &[&str], message: &str) {
    if !decodes && !is_one_of(column, key) {
        panic!("{}", message);
    }
}

const fn is_one_of(column: &str, key: &[&str]) -> bool {
    let mut i = 0;
    while i < key.len() {
        if is_same(column.as_bytes(), key[i].as_bytes()) {
            return true;
        }
        i += 1;
    }
    false
}

/// `==`, which constants don't have.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Tells the derive whether a redacted column of type `ST` decodes without a `fill`: unlimited text does, to the
/// placeholder, and so does anything nullable.
///
/// An inherent constant takes precedence over that of [`NeedsFill`], so that the answer is a value, and the message about
/// it the derive's own.
#[doc(hidden)]
#[derive(Debug)]
pub struct Redacted<ST>(PhantomData<ST>);

impl Redacted<Text> {
    pub const DECODES: bool = true;
}

impl Redacted<Citext> {
    pub const DECODES: bool = true;
}

impl<ST: SqlType> Redacted<Nullable<ST>> {
    pub const DECODES: bool = true;
}

/// What holds for the types that [`Redacted`] doesn't name.
#[doc(hidden)]
pub trait NeedsFill {
    const DECODES: bool = false;
}

impl<ST> NeedsFill for Redacted<ST> {}

#[cfg(test)]
mod tests {
    use super::is_one_of;

    #[test]
    fn key_columns_are_found_by_their_whole_name() {
        assert!(is_one_of("id", &["group_id", "id"]));
        for other in ["", "i", "idx", "ID"] {
            assert!(!is_one_of(other, &["group_id", "id"]), "{other}");
        }
        assert!(!is_one_of("id", &[]));
    }
}
