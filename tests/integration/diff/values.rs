//! What a diff says of each operation.

use threadline::{BeforeValues, FieldKind, FieldValue, RecordedValue};

use super::*;

#[test]
fn by_default_a_diff_lists_the_changed_fields_of_updates() {
    let db = items();
    life(&db);
    insta::assert_snapshot!(shown(&db, DiffOptions::new()));
}

#[test]
fn on_request_a_diff_lists_the_fields_that_were_set_and_removed() {
    let db = items();
    life(&db);
    insta::assert_snapshot!(shown(&db, everything()));
}

#[test]
fn values_before_that_were_not_recorded_are_omitted() {
    let db = without_values_before();
    life(&db);
    insta::assert_snapshot!(shown(&db, everything()));
}

#[test]
fn numbers_keep_every_digit() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a', 120.00)");
    let numbers = [
        "1e130000::numeric",
        "0.10",
        "0.100",
        "12345678901234567890.123456789",
        "1e-300::numeric",
    ];
    for number in numbers {
        execute(&mut app, &format!("UPDATE items SET price = {number}"));
    }
    let after: Vec<_> = changes(&db)
        .iter()
        .map(|change| {
            let diff = change.diff(everything());
            let value = diff.field_of(items::price).unwrap().after.recorded();
            value.unwrap().as_json().to_owned()
        })
        .collect();
    let long = format!("1{}", "0".repeat(130_000));
    let tiny = format!("0.{}1", "0".repeat(299));
    assert_eq!(
        after,
        [
            "120.00",
            &long,
            "0.10",
            "0.100",
            "12345678901234567890.123456789",
            &tiny
        ]
    );
    let before: Vec<_> = changes(&db)[1..]
        .iter()
        .map(|change| change.changed_from.as_ref().unwrap()["price"].to_string())
        .collect();
    assert_eq!(before, after[..after.len() - 1]);
}

#[test]
fn a_value_that_was_too_large_is_named_with_its_digest() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(
        &mut app,
        "UPDATE items SET photo = repeat('p', 1100000), name = 'b'",
    );
    let change = changes(&db).remove(1);
    let diff = change.diff(DiffOptions::new());
    let photo = diff.field_of(items::photo).unwrap();
    assert_eq!(photo.kind, FieldKind::Changed);
    assert_eq!(
        photo.before,
        FieldValue::Recorded(RecordedValue::from_json("null").unwrap())
    );
    let FieldValue::TooLarge { bytes, sha256 } = &photo.after else {
        panic!("{photo:?}")
    };
    assert_eq!((*bytes, sha256.as_ref().unwrap().len()), (1_100_000, 64));
    assert!(
        diff.json_ready()
            .to_string()
            .contains(r#""after_state":"too_large","after":{"bytes":1100000,"sha256":""#)
    );
}

#[test]
fn a_key_change_is_a_row_that_goes_and_one_that_comes() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "UPDATE items SET id = 2");
    let kinds: Vec<_> = changes(&db)[1..]
        .iter()
        .map(|change| change.diff(everything()).field_of(items::id).unwrap().kind)
        .collect();
    assert_eq!(kinds, [FieldKind::Removed, FieldKind::Set]);
}

#[test]
fn truncate_and_what_only_touched_other_columns_list_nothing() {
    let db = items();
    let mut app = db.app();
    execute(&mut app, "INSERT INTO items VALUES (1, 'a')");
    execute(&mut app, "UPDATE items SET touched = 5");
    execute(&mut app, "TRUNCATE items");
    let diffs: Vec<_> = changes(&db)[1..]
        .iter()
        .map(|change| change_diff(change, everything()))
        .collect();
    assert!(diffs.iter().all(|diff| diff.fields.is_empty()), "{diffs:?}");
    assert_eq!(
        diffs
            .iter()
            .map(|diff| diff.before_values)
            .collect::<Vec<_>>(),
        [BeforeValues::Recorded, BeforeValues::None]
    );
}

#[test]
fn a_typed_diff_names_the_fields_of_the_model() {
    #[derive(Debug, Queryable, Selectable, Audited)]
    #[diesel(table_name = items)]
    #[audited(read_only)]
    #[expect(dead_code, reason = "only its diffs are looked at")]
    struct Renamed {
        #[diesel(column_name = id)]
        number: i64,
        #[diesel(column_name = name)]
        #[audited(formerly = "title")]
        label: String,
    }

    let db = TestDb::new();
    db.create("CREATE TABLE items (id bigint PRIMARY KEY, title text NOT NULL, price numeric, ssn text, pin text, touched int, photo text)");
    let plain = threadline::Definition::new("Item", &["id"]).store_changed_from();
    db.capture("items", plain);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO items VALUES (1, 'a'); UPDATE items SET title = 'b', price = 1",
    );
    db.create("ALTER TABLE items RENAME title TO name");
    db.capture("items", plain.columns_formerly(&[("name", "title")]));
    execute(&mut app, "UPDATE items SET name = 'c'");
    let changes = Renamed::history(1).load(&mut db.auditor()).unwrap();
    let diff = |index: usize| changes[index].diff(everything());
    let label = |index: usize| {
        let diff = diff(index);
        let field = diff.field_of(items::name).unwrap();
        field.after.recorded().unwrap().as_str().unwrap()
    };
    assert_eq!([label(2), label(1), label(0)], ["a", "b", "c"]);
    let names = |index: usize| {
        let diff = diff(index);
        let names = diff.by_field().map(|(name, _)| name.to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["label"]);
    assert_eq!(names(1), ["price", "label"]);
    assert!(names(2).contains(&"number".to_owned()));
    assert_eq!(diff(0).into_inner(), change_diff(&changes[0], everything()));
}
