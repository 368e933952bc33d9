//! Each scenario of the playbook: its SQL as it stands, and the library's own answer to the question.

use threadline::{
    AuditChange, TimelineFilter, actor_history, actor_timeline, audit_changes_for_transaction,
    incident_bundle, timeline,
};
use threadline_tests::rows;

use super::*;

const COLUMNS: [&str; 7] = [
    "id",
    "table_name",
    "table_pk",
    "op",
    "changed_fields",
    "changed_from",
    "data_after",
];

/// The rows of a recipe, those columns of them that tell what changed.
fn recipe(conn: &mut PgConnection, sql: &str) -> Vec<Value> {
    let rows = rows(conn, sql.trim_end().trim_end_matches(';'));
    assert!(!rows.is_empty());
    let of = |row: Value| {
        let columns = COLUMNS
            .iter()
            .filter_map(|column| Some(((*column).to_owned(), row.get(column)?.clone())));
        columns.collect()
    };
    rows.into_iter().map(of).collect()
}

/// The same columns of changes, but for those that the recipe doesn't have.
fn lines<'a>(changes: impl IntoIterator<Item = &'a AuditChange>, like: &Value) -> Vec<Value> {
    let line = |change: &AuditChange| {
        let line = json!({
            "id": change.id,
            "table_name": change.table_name,
            "table_pk": change.key.to_value(),
            "op": change.op,
            "changed_fields": change.changed_fields,
            "changed_from": change.changed_from,
            "data_after": change.data_after,
        });
        let columns = COLUMNS.iter().filter(|column| like.get(column).is_some());
        columns
            .map(|column| ((*column).to_owned(), line[column].clone()))
            .collect()
    };
    changes.into_iter().map(line).collect()
}

#[test]
fn who_changed_this_row() {
    let mut conn = incident().auditor();
    let recipe = recipe(
        &mut conn,
        include_str!("../../recipes/who_changed_this_row.sql"),
    );
    let filter = TimelineFilter::from_pairs([
        ("table", "users"),
        ("key", "id=123"),
        ("from", "2024-03-15T10:00:00Z"),
        ("to", "2024-03-15T11:00:00Z"),
    ]);
    let page = timeline(filter.unwrap()).get_result(&mut conn).unwrap();
    assert_eq!(lines(&page.entries, &recipe[0]), recipe);
    assert_eq!(
        page.entries[0].actor(),
        Some(&ActorRef::user("ann").unwrap())
    );
}

#[test]
fn what_did_this_service_account_do() {
    let mut conn = incident().auditor();
    let recipe = recipe(
        &mut conn,
        include_str!("../../recipes/what_did_this_service_account_do.sql"),
    );
    let actor = ActorRef::service_account(SERVICE_ACCOUNT).unwrap();
    let day_start = Utc::now()
        .date_naive()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();

    let mut by_transaction = Vec::new();
    for entry in actor_history(actor.clone())
        .get_result(&mut conn)
        .unwrap()
        .entries
    {
        if entry.transaction.occurred_at >= day_start {
            let changes = audit_changes_for_transaction(entry.transaction.id)
                .get_result(&mut conn)
                .unwrap();
            assert_eq!(
                entry.counts.iter().map(|count| count.count).sum::<i64>(),
                changes.entries.len() as i64
            );
            by_transaction.extend(changes.entries);
        }
    }
    assert_eq!(lines(&by_transaction, &recipe[0]), recipe);

    // Change by change, which is the same where no transactions overlap.
    let page = timeline(TimelineFilter::new().actor(actor.clone()).from(day_start))
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(page.entries, by_transaction);
    let all = actor_timeline(actor).get_result(&mut conn).unwrap();
    assert_eq!(
        all.entries.len(),
        by_transaction.len() + 1,
        "and one of another day"
    );
}

#[test]
fn did_this_job_mutate_the_database() {
    let mut conn = incident().auditor();
    let recipe = recipe(
        &mut conn,
        include_str!("../../recipes/did_this_job_mutate_the_database.sql"),
    );
    let page = audit_changes_for_transaction(TRANSACTION)
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(lines(&page.entries, &recipe[0]), recipe);
    let context = threadline::transaction_context(TRANSACTION)
        .get_result(&mut conn)
        .unwrap();
    let [action] = context.actions.as_slice() else {
        panic!("{context:?}")
    };
    assert_eq!(
        (action.job_id.as_deref(), action.correlation_id.as_deref()),
        (Some("8812"), Some("checkout-19"))
    );
}

#[test]
fn what_did_this_row_look_like() {
    let mut conn = incident().auditor();
    let recipe = recipe(
        &mut conn,
        include_str!("../../recipes/what_did_this_row_look_like.sql"),
    );
    let filter = TimelineFilter::new()
        .table("users")
        .key([("id", USER)])
        .to(time("10:30:00"));
    let page = timeline(filter)
        .oldest_first()
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(lines(&page.entries, &recipe[0]), recipe);
}

#[test]
fn what_happened_in_this_transaction() {
    let mut conn = incident().auditor();
    let recipe = recipe(
        &mut conn,
        include_str!("../../recipes/what_happened_in_this_transaction.sql"),
    );
    let bundle = incident_bundle(TRANSACTION.to_string())
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(lines(&bundle.changes, &recipe[0]), recipe);
    assert_eq!(bundle.context.actions[0].name, "user.renamed");
    assert_eq!(
        bundle.context.transaction.unwrap().actor,
        Some(ActorRef::job("nightly").unwrap())
    );
}
