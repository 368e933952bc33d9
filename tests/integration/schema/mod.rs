//! The Diesel tables of the log are those of the catalog.

mod rows;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use diesel::pg::{Pg, PgMetadataLookup};
use diesel::prelude::*;
use diesel::query_source::{Column, Table};
use diesel::sql_types::{HasSqlType, SqlType, is_nullable};
use serde_json::json;
use threadline::schema::{
    audit_actions, audit_changes, audit_commits, audit_tables, audit_transactions,
};
use threadline_tests::TestDb;

/// A column: its name, the number of its type, whether it may be NULL.
type Described = (String, u32, bool);

/// Describes the columns of a tuple of columns.
trait Describe {
    fn describe(lookup: &mut (dyn PgMetadataLookup + 'static)) -> BTreeSet<Described>;
}

macro_rules! describe_tuples {
    ($($column:ident)+) => {
        impl<$($column),+> Describe for ($($column,)+)
        where
            $($column: Column, $column::SqlType: SqlType, Pg: HasSqlType<$column::SqlType>,)+
        {
            fn describe(lookup: &mut (dyn PgMetadataLookup + 'static)) -> BTreeSet<Described> {
                BTreeSet::from([$((
                    $column::NAME.to_owned(),
                    <Pg as HasSqlType<$column::SqlType>>::metadata(lookup).oid().unwrap(),
                    TypeId::of::<<$column::SqlType as SqlType>::IsNull>()
                        == TypeId::of::<is_nullable::IsNullable>(),
                )),+])
            }
        }
    };
}

describe_tuples!(A B C);
describe_tuples!(A B C D E F G H I J K L);
describe_tuples!(A B C D E F G H I J K L M N);
describe_tuples!(A B C D E F G H I J K L M N O);
describe_tuples!(A B C D E F G H I J K L M N O P);

fn in_diesel<T: Table<AllColumns: Describe>>(conn: &mut PgConnection) -> BTreeSet<Described> {
    T::AllColumns::describe(conn)
}

fn in_catalog(conn: &mut PgConnection, table: &str) -> BTreeSet<Described> {
    let columns = format!(
        "SELECT attname, atttypid::bigint, attnotnull FROM pg_attribute
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    );
    threadline_tests::rows(conn, &columns)
        .into_iter()
        .map(|column| {
            (
                column["attname"].as_str().unwrap().to_owned(),
                u32::try_from(column["atttypid"].as_u64().unwrap()).unwrap(),
                !column["attnotnull"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[test]
fn tables_are_those_of_the_catalog() {
    let db = TestDb::new();
    let conn = &mut db.auditor();
    let in_diesel = BTreeMap::from([
        ("audit_actions", in_diesel::<audit_actions::table>(conn)),
        ("audit_changes", in_diesel::<audit_changes::table>(conn)),
        ("audit_commits", in_diesel::<audit_commits::table>(conn)),
        ("audit_tables", in_diesel::<audit_tables::table>(conn)),
        (
            "audit_transactions",
            in_diesel::<audit_transactions::table>(conn),
        ),
    ]);
    for (table, columns) in &in_diesel {
        assert_eq!(columns, &in_catalog(conn, table), "{table}");
    }
    let tables = "SELECT relname FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname LIKE 'audit%' ORDER BY 1";
    let names: Vec<_> = in_diesel
        .into_keys()
        .map(|name| json!({"relname": name}))
        .collect();
    assert_eq!(threadline_tests::rows(conn, tables), names);
}
