//! Diffs, applied one after the other, make the table.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::{
    Definition, FieldKind, FieldValue, Op, RecordedRow, RecordedValue, diff_with_history,
};

use super::*;
use threadline_tests::rows;

diesel::table! {
    rows (id) { id -> BigInt, }
}

#[derive(Debug, Queryable, Selectable, Audited)]
#[diesel(table_name = rows)]
#[audited(read_only)]
#[expect(dead_code, reason = "only its diffs are looked at")]
struct Row {
    id: i64,
}

/// Values of the columns, with numbers and documents that other readers of JSON would round or reorder.
const SET: [&str; 12] = [
    "price = 1.0",
    "price = 1.00",
    "price = NULL",
    "price = 12345678901234567890.0001",
    "name = 'a'",
    "name = ''",
    "doc = '{\"b\": 1.10, \"a\": [null]}'",
    "doc = 'null'",
    "doc = '{\"$threadline\": 1}'",
    "doc = NULL, name = 'b'",
    "price = 2, doc = '[]'",
    "id = 4 - id",
];

fn statement() -> impl Strategy<Value = String> {
    let id = 1..4_i64;
    prop_oneof![
        2 => id.clone().prop_map(|id| format!("INSERT INTO rows VALUES ({id}, 7.70, 'new', '{{}}') ON CONFLICT DO NOTHING")),
        4 => (id.clone(), select(&SET[..])).prop_map(|(id, set)| format!("UPDATE rows SET {set} WHERE id = {id}")),
        1 => select(&SET[..11]).prop_map(|set| format!("UPDATE rows SET {set}")),
        1 => id.prop_map(|id| format!("DELETE FROM rows WHERE id = {id}")),
    ]
}

fn known(value: &FieldValue) -> RecordedValue {
    value.recorded().expect("nothing is left out").clone()
}

/// A row after a change, made of the row before it and of the diff. Checks the diff's values before on the way.
fn applied(row: Option<RecordedRow>, diff: &threadline::ChangeDiff) -> Option<RecordedRow> {
    let mut columns: BTreeMap<String, RecordedValue> = row
        .iter()
        .flat_map(RecordedRow::iter)
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    for field in &diff.fields {
        if field.kind == FieldKind::Set {
            assert_eq!(field.before, FieldValue::Absent);
        } else {
            assert_eq!(columns.remove(&field.column), Some(known(&field.before)));
        }
        if field.kind == FieldKind::Removed {
            assert_eq!(field.after, FieldValue::Absent);
        } else {
            columns.insert(field.column.clone(), known(&field.after));
        }
    }
    match diff.op {
        Op::Delete => {
            assert!(columns.is_empty(), "{columns:?}");
            None
        }
        _ => Some(columns.into_iter().collect()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn diffs_applied_to_the_rows_before_give_the_rows_after(kept in any::<bool>(), statements in vec(statement(), 1..15)) {
        let db = TestDb::new();
        db.create("CREATE TABLE rows (id bigint PRIMARY KEY, price numeric, name text, doc jsonb)");
        let definition = Definition::new("Row", &["id"]);
        db.capture("rows", if kept { definition.store_changed_from() } else { definition });
        let mut app = db.app();
        for statement in &statements {
            // A key that is taken refuses some.
            let _ = threadline_tests::try_execute(&mut app, statement);
        }

        let mut auditor = db.auditor();
        let changes = Row::changes().order(change::id).select((change::id, change::table_pk)).load::<(i64, serde_json::Value)>(&mut auditor).unwrap();
        let mut table = BTreeMap::new();
        for (id, key) in changes {
            let recorded = diff_with_history(id).get_result(&mut auditor).unwrap();
            let key = key["id"].as_str().unwrap().to_owned();
            let row = applied(table.remove(&key), &recorded.diff(everything()));
            table.extend(row.map(|row| (key, row)));
        }
        let live = rows(&mut db.owner(), "SELECT id::text, to_jsonb(t)::text AS row FROM rows t");
        let live: BTreeMap<String, RecordedRow> = live
            .iter()
            .map(|live| (live["id"].as_str().unwrap().to_owned(), serde_json::from_str(live["row"].as_str().unwrap()).unwrap()))
            .collect();
        prop_assert_eq!(table, live);
    }
}
