//! Filters, against a model that looks at every change.

use std::collections::BTreeMap;

use proptest::prelude::*;
use threadline::schema::audit_actions;
use threadline::{Action, ActorRef, AuditContext, Op, record_action};
use uuid::Uuid;

use super::*;

/// Two tables, one of them in a schema of its own under the name of the other, written by four actors under three
/// correlation ids and requests, some of them of actions alone.
fn busy() -> TestDb {
    let db = TestDb::new();
    db.create(
        "CREATE SCHEMA billing;
         CREATE TABLE items (id bigint PRIMARY KEY, name text, size int);
         CREATE TABLE notes (id bigint PRIMARY KEY, name text, size int);
         CREATE TABLE billing.items (id bigint PRIMARY KEY, name text, size int)",
    );
    for table in ["items", "notes", "billing.items"] {
        db.capture(
            table,
            threadline::Definition::new("Model", &["id"]).store_changed_from(),
        );
    }
    let actors = [
        Some(ActorRef::user("1").unwrap()),
        Some(ActorRef::job("1").unwrap()),
        Some(ActorRef::anonymous()),
        None,
    ];
    let mut app = db.app();
    for turn in 0..24 {
        let table = ["items", "notes", "billing.items"][turn % 3];
        let mut context = match &actors[turn / 2 % 4] {
            Some(actor) => AuditContext::new(actor.clone()),
            None => AuditContext::unattributed(),
        };
        context = context
            .correlation_id(format!("c{}", turn % 5))
            .request_id(format!("r{}", turn % 4));
        threadline::transaction(&mut app, &context, |app| {
            for sql in [
                format!("INSERT INTO {table} VALUES ({}, 'a', 1) ON CONFLICT (id) DO UPDATE SET size = {table}.size + 1", turn % 4),
                format!("UPDATE {table} SET name = name || 'x' WHERE id = {}", turn % 2),
                format!("DELETE FROM {table} WHERE id = {}", turn % 7),
            ] {
                diesel::sql_query(sql).execute(app)?;
            }
            if turn % 6 == 0 {
                record_action(Action::new("a").correlation_id("c9").request_id("r9")).execute(app)?;
            }
            Ok::<_, diesel::result::Error>(())
        })
        .unwrap();
    }
    execute(&mut db.superuser(), "TRUNCATE notes");
    db
}

/// What the model knows of an action: transaction, correlation id, request id.
type Act = (Uuid, Option<String>, Option<String>);
type Acted = Vec<Act>;

/// Whether the change meets a filter, said again in other words.
fn meets(change: &AuditChange, acted: &Acted, key: &str, value: &str, truncated: &[i64]) -> bool {
    let tied = |own: fn(&AuditChange) -> Option<String>, of: fn(&Act) -> &Option<String>| {
        own(change).as_deref() == Some(value)
            || acted.iter().any(|action| {
                action.0 == change.transaction_id && of(action).as_deref() == Some(value)
            })
    };
    let moment = || value.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    match key {
        "table" => change.table_name == value,
        "schema" => change.table_schema == value,
        "actor" => change
            .actor()
            .is_some_and(|actor| actor.to_string() == value),
        "from" => change.captured_at >= moment(),
        "to" => change.captured_at <= moment(),
        "correlation_id" => tied(
            |c| c.transaction.as_ref()?.correlation_id.clone(),
            |action| &action.1,
        ),
        "request_id" => tied(
            |c| c.transaction.as_ref()?.request_id.clone(),
            |action| &action.2,
        ),
        "op" => change.op.as_str() == value,
        "changed_field" => change
            .changed_fields
            .as_ref()
            .is_some_and(|fields| fields.iter().any(|field| field == value)),
        "transaction" => change.transaction_id.to_string() == value,
        "key" => {
            let id = value.strip_prefix("id=").unwrap();
            change.key["id"].as_str().as_deref() == Some(id)
                || change.op == Op::Truncate && truncated.contains(&id.parse().unwrap())
        }
        _ => panic!("{key}"),
    }
}

#[test]
fn every_combination_of_filters_shows_what_meets_them_all() {
    let db = busy();
    let mut conn = db.auditor();
    let all = walk(&mut conn, &TimelineFilter::new(), false, 30);
    assert!(all.len() > 50, "{}", all.len());
    let acted: Acted = audit_actions::table
        .select((
            audit_actions::transaction_id,
            audit_actions::correlation_id,
            audit_actions::request_id,
        ))
        .load(&mut conn)
        .unwrap();
    // The notes that were there when they were truncated.
    let mut alive = BTreeMap::new();
    for change in all
        .iter()
        .rev()
        .filter(|change| change.table_name == "notes" && change.op != Op::Truncate)
    {
        let id: i64 = change.key["id"].as_str().unwrap().parse().unwrap();
        alive.insert(id, change.op != Op::Delete);
    }
    let truncated: Vec<_> = alive
        .into_iter()
        .filter_map(|(id, alive)| alive.then_some(id))
        .collect();
    assert!(!truncated.is_empty());

    let moments: Vec<_> = all
        .iter()
        .map(|change| change.captured_at.to_rfc3339())
        .collect();
    let transactions: Vec<_> = all
        .iter()
        .map(|change| change.transaction_id.to_string())
        .collect();
    let of = |values: &[&str]| {
        prop::sample::select(
            values
                .iter()
                .map(|value| (*value).to_owned())
                .collect::<Vec<_>>(),
        )
    };
    let fields: Vec<(&str, BoxedStrategy<String>)> = vec![
        ("table", of(&["items", "notes"]).boxed()),
        ("schema", of(&["public", "billing"]).boxed()),
        ("key", of(&["id=0", "id=1", "id=3", "id=99"]).boxed()),
        (
            "actor",
            of(&["user:1", "job:1", "anonymous", "user:2"]).boxed(),
        ),
        ("from", prop::sample::select(moments.clone()).boxed()),
        ("to", prop::sample::select(moments).boxed()),
        ("correlation_id", of(&["c0", "c1", "c9", "none"]).boxed()),
        ("request_id", of(&["r0", "r1", "r9", "none"]).boxed()),
        (
            "op",
            of(&["insert", "update", "delete", "truncate", "baseline"]).boxed(),
        ),
        ("changed_field", of(&["name", "size", "id"]).boxed()),
        ("transaction", prop::sample::select(transactions).boxed()),
    ];
    let one = (0..fields.len()).prop_flat_map({
        let fields = fields.clone();
        move |index| (Just(fields[index].0), fields[index].1.clone())
    });
    let some = prop::collection::vec(one, 1..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(150));
    let conn = std::cell::RefCell::new(conn);
    runner
        .run(
            &(some, 1..20_i64, any::<bool>()),
            |(pairs, limit, oldest_first)| {
                let pairs: BTreeMap<_, _> = pairs.into_iter().collect();
                prop_assume!(!pairs.contains_key("key") || pairs.contains_key("table"));
                // Not a table of that schema: an error, which another test looks at.
                prop_assume!(
                    !(pairs.get("table").is_some_and(|t| t == "notes")
                        && pairs.get("schema").is_some_and(|s| s == "billing"))
                );
                let filter = TimelineFilter::from_pairs(&pairs).unwrap();
                let mut expected: Vec<_> = all
                    .iter()
                    .filter(|change| {
                        pairs.iter().all(|(key, value)| {
                            let truncated = if change.table_name == "notes" {
                                &truncated[..]
                            } else {
                                &[]
                            };
                            meets(change, &acted, key, value, truncated)
                        })
                    })
                    .cloned()
                    .collect();
                if oldest_first {
                    expected.reverse();
                }
                let shown = walk(&mut conn.borrow_mut(), &filter, oldest_first, limit);
                prop_assert_eq!(ids(&shown), ids(&expected), "{}", filter);
                prop_assert_eq!(shown, expected);
                Ok(())
            },
        )
        .unwrap();
}

/// As the key was captured, in whatever form and session it is asked for; also when the table is gone.
#[test]
fn a_key_is_rendered_as_capture_does() {
    let db = TestDb::new();
    db.audited(
        "days",
        "CREATE TABLE days (id timestamptz PRIMARY KEY, n int)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO days VALUES ('2026-03-15 10:00:00+02')",
    );
    let mut conn = db.auditor();
    execute(&mut conn, "SET timezone = 'Asia/Tokyo'");
    let of = |key: &str| TimelineFilter::from_pairs([("table", "days"), ("key", key)]).unwrap();
    for key in [
        "id=2026-03-15 08:00Z",
        r#"{"id": "2026-03-15T17:00:00+09:00"}"#,
    ] {
        assert_eq!(walk(&mut conn, &of(key), false, 1).len(), 1, "{key}");
    }
    execute(&mut db.owner(), "DROP TABLE days");
    assert_eq!(
        walk(&mut conn, &of("id=2026-03-15T08:00:00+00:00"), false, 1).len(),
        1
    );
    assert_eq!(
        walk(&mut conn, &TimelineFilter::new().table("days"), false, 1).len(),
        1
    );
}

#[test]
fn a_table_is_named_with_its_schema() {
    let db = busy();
    let sql = "CREATE TABLE \"billing.items\" (id bigint PRIMARY KEY)";
    db.audited("\"billing.items\"", sql);
    execute(
        &mut db.app(),
        "INSERT INTO \"billing.items\" VALUES (1), (2)",
    );
    let mut conn = db.auditor();
    let mut shown = |filter: &TimelineFilter| {
        let changes = walk(&mut conn, filter, false, 9);
        let places: std::collections::BTreeSet<_> = changes
            .into_iter()
            .map(|change| (change.table_schema, change.table_name))
            .collect();
        Vec::from_iter(places)
    };
    let of = |table: &str| TimelineFilter::new().table(table);
    let billing = [("billing".to_owned(), "items".to_owned())];
    for filter in [
        of("billing.items"),
        of("\"billing\".\"items\""),
        of("billing.items").schema("billing"),
        of("billing.items").key([("id", 0)]),
        of("billing.items").actor(ActorRef::user("1").unwrap()),
        TimelineFilter::from_texts(["table=billing.items"]).unwrap(),
    ] {
        assert_eq!(shown(&filter), billing, "{filter}");
    }
    let dotted = [("public".to_owned(), "billing.items".to_owned())];
    for filter in [
        of("\"billing.items\""),
        of("public.\"billing.items\""),
        // As an entry has them.
        of("billing.items").schema("public"),
    ] {
        assert_eq!(shown(&filter), dotted, "{filter}");
    }
}

#[test]
fn a_table_is_found_under_its_former_name() {
    let db = items(2);
    execute(
        &mut db.owner(),
        "UPDATE audit_tables SET table_name = 'things', former_names = '{items}'",
    );
    let mut conn = db.auditor();
    for name in ["things", "items"] {
        assert_eq!(
            walk(&mut conn, &TimelineFilter::new().table(name), false, 5).len(),
            2,
            "{name}"
        );
    }
}
