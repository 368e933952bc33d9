//! The history of a row or a table as it comes, of which tables, and for whom.

use super::*;

#[test]
fn newest_first() {
    let mut conn = users().auditor();
    let history = User::history(1).load(&mut conn).unwrap();
    assert_eq!(
        ops(&history),
        [Op::Delete, Op::Update, Op::Update, Op::Insert]
    );
    assert!(history.is_sorted_by(|a, b| a.id > b.id));
    assert_eq!(history[0].deleted().unwrap().email, "c@x");
    assert_eq!(history[0].after(), None);
    assert_eq!(
        history[1].changed_fields,
        Some(vec!["age".to_owned(), "email".to_owned()])
    );
    assert_eq!(
        history[1]
            .changed_from
            .as_ref()
            .map(threadline::RecordedRow::to_value),
        Some(json!({"email": "b@x", "age": 30}))
    );
    assert_eq!(history[3].changed_fields, None);
}

#[test]
fn the_transaction_comes_with_the_change() {
    let mut conn = users().auditor();
    let history = User::history(1).load(&mut conn).unwrap();
    let transaction = history[2].transaction.as_ref().unwrap();
    assert_eq!(history[2].actor(), Some(&ActorRef::user("ann").unwrap()));
    assert_eq!(transaction.source.as_deref(), Some("web"));
    assert_eq!(transaction.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(history[1].actor(), None);
}

#[test]
fn all_changes_of_the_table() {
    let mut conn = users().auditor();
    let changes = User::changes()
        .order(change::id.desc())
        .limit(3)
        .load(&mut conn)
        .unwrap();
    assert_eq!(ops(&changes), [Op::Delete, Op::Update, Op::Update]);
}

#[test]
fn a_read_only_model_reads_its_part() {
    let mut conn = users().auditor();
    let history = Mailbox::history(1).load(&mut conn).unwrap();
    assert_eq!(
        history[1].after(),
        Some(&Mailbox {
            email: "c@x".into()
        })
    );
    assert_eq!(history.len(), 4);
}

#[test]
fn tables_with_a_schema() {
    let db = TestDb::new();
    db.create("CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int PRIMARY KEY, total bigint NOT NULL); CREATE TABLE invoices (id int PRIMARY KEY)");
    db.capture("billing.invoices", Invoice::DEFINITION);
    let mut app = db.app();
    diesel::insert_into(invoices::table)
        .values((invoices::id.eq(7), invoices::total.eq(10)))
        .execute(&mut app)
        .unwrap();
    diesel::update(invoices::table.find(7))
        .set(invoices::total.eq(20))
        .execute(&mut app)
        .unwrap();
    let mut conn = db.auditor();
    let history = Invoice::history(7).load(&mut conn).unwrap();
    assert_eq!(
        history
            .iter()
            .map(|c| c.after().unwrap().total)
            .collect::<Vec<_>>(),
        [20, 10]
    );
    let large: Vec<(Op, Option<i64>)> = Invoice::history(7)
        .filter(recorded(invoices::total).gt(15))
        .order(recorded(invoices::total).desc())
        .select((change::op, recorded(invoices::total)))
        .load(&mut conn)
        .unwrap();
    assert_eq!(large, [(Op::Update, Some(20))]);
    let row = Invoice::as_of(7, diesel::dsl::now)
        .get_result(&mut conn)
        .unwrap()
        .into_row();
    assert_eq!(row, Some(Invoice { id: 7, total: 20 }));
}

#[test]
fn a_table_that_is_not_audited_is_an_error_that_names_it() {
    let db = TestDb::new();
    db.create("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, age int)");
    let error = User::history(1)
        .load(&mut db.auditor())
        .unwrap_err()
        .to_string();
    assert!(error.contains("table users is not audited"), "{error}");
    let error = User::as_of(1, diesel::dsl::now)
        .get_result(&mut db.auditor())
        .unwrap_err()
        .to_string();
    assert!(error.contains("table users is not audited"), "{error}");
}

#[test]
fn the_application_reads_no_history() {
    let db = users();
    let error = User::history(1)
        .load(&mut db.app())
        .unwrap_err()
        .to_string();
    assert!(error.contains("permission denied"), "{error}");
}
