//! Values before from earlier history.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::{BeforeValues, ChangeDiff, FieldValue, diff_with_history};

use super::*;

fn with_history(db: &TestDb) -> Vec<ChangeDiff> {
    let mut conn = db.auditor();
    let diffs = changes(db).into_iter().map(|change| {
        let recorded = diff_with_history(change.id).get_result(&mut conn).unwrap();
        recorded.diff(everything())
    });
    diffs.collect()
}

/// What the values before are, where a table keeps them and where earlier changes have to tell.
#[test]
fn earlier_changes_tell_what_the_table_does_not_keep() {
    let (kept, told) = (items(), without_values_before());
    life(&kept);
    life(&told);
    let kept: Vec<_> = changes(&kept)
        .iter()
        .map(|change| change_diff(change, everything()))
        .collect();
    let told = with_history(&told);
    assert_eq!(kept.len(), told.len());
    for (kept, told) in kept.iter().zip(&told) {
        // A delete keeps no `except_columns`; an earlier change has them.
        let told_fields = told.fields.iter().filter(|field| field.column != "touched");
        let kept_fields = kept.fields.iter().filter(|field| field.column != "touched");
        for (kept, told) in kept_fields.zip(told_fields) {
            assert_eq!(kept.column, told.column);
            assert_eq!(kept.before.recorded(), told.before.recorded(), "{told:?}");
            assert_eq!(kept.after, told.after);
        }
    }
    assert_eq!(
        told.iter()
            .map(|diff| diff.before_values)
            .collect::<Vec<_>>(),
        [
            BeforeValues::None,
            BeforeValues::Reconstructed,
            BeforeValues::Reconstructed,
            BeforeValues::Reconstructed
        ]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&told[1].json_ready()).unwrap());
}

#[test]
fn where_the_log_does_not_reach_back_the_value_is_omitted() {
    let db = TestDb::new();
    db.create(CREATE);
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    db.capture("items", threadline::Definition::new("Item", &["id"]));
    execute(&mut db.app(), "UPDATE items SET name = 'b'");
    execute(&mut db.app(), "UPDATE items SET name = 'c'");
    let diffs = with_history(&db);
    let before: Vec<_> = diffs
        .iter()
        .map(|diff| diff.field("name").unwrap().before.state())
        .collect();
    assert_eq!(before, ["omitted", "reconstructed"]);
}

#[test]
fn after_a_gap_the_value_is_omitted() {
    let db = without_values_before();
    execute(&mut db.app(), "INSERT INTO items VALUES (1, 'a')");
    let mut operator = PgConnection::establish(&db.url("tl_operator")).unwrap();
    execute(
        &mut operator,
        "BEGIN; SET LOCAL threadline.capture = 'off'; UPDATE items SET name = 'b'; COMMIT",
    );
    execute(&mut db.app(), "UPDATE items SET name = 'c'");
    let diff = with_history(&db).pop().unwrap();
    assert_eq!(diff.field("name").unwrap().before, FieldValue::Omitted);
    assert_eq!(diff.before_values, BeforeValues::Omitted);
}

#[tokio::test]
async fn the_query_is_loaded_asynchronously_too() {
    let db = without_values_before();
    life(&db);
    let id = changes(&db)[1].id;
    let mut conn = AsyncPgConnection::establish(&db.url("tl_auditor"))
        .await
        .unwrap();
    let change = diesel_async::RunQueryDsl::get_result(diff_with_history(id), &mut conn)
        .await
        .unwrap();
    assert_eq!(
        change.diff(DiffOptions::new()),
        diff_with_history(id)
            .get_result(&mut db.auditor())
            .unwrap()
            .diff(DiffOptions::new())
    );
}
