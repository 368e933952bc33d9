//! Columns that the log has no value for, with and without a model that fills them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer};
use threadline::{Audited, AuditedDsl, QueryAsOf, as_of_raw};
use threadline_tests::{TestDb, execute, rows};

use super::{clock, let_the_application_read_the_log};

diesel::table! { badges (id) { id -> BigInt, code -> Integer, pin -> Integer, note -> Text, } }
diesel::table! { doors (id) { id -> BigInt, badge_id -> BigInt, code -> Integer, label -> Text, } }
diesel::joinable!(doors -> badges (badge_id));
diesel::allow_tables_to_appear_in_same_query!(badges, doors);

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = badges)]
struct Badge {
    id: i64,
    #[audited(exclude, fill = 0)]
    code: i32,
    #[audited(mask, fill = -1)]
    pin: i32,
    #[audited(exclude)]
    note: String,
}

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = doors)]
struct Door {
    id: i64,
    badge_id: i64,
    #[audited(exclude, fill = 7)]
    code: i32,
    #[audited(mask, fill = "none")]
    label: String,
}

/// One that Diesel's `HasQuery` gives a query of its own.
#[derive(Debug, Clone, PartialEq, HasQuery, Audited)]
#[diesel(table_name = doors, base_query = doors::table.filter(doors::badge_id.gt(1_i64)).order(doors::id.desc()))]
#[audited(read_only)]
struct Used {
    id: i64,
    #[audited(fill = 7)]
    code: i32,
}

#[test]
fn a_base_query_is_that_of_query_alone() {
    let (db, moment) = badge_and_door();
    execute(
        &mut db.app(),
        "INSERT INTO doors VALUES (11, 3, 5, 'back'), (12, 1, 5, 'side')",
    );
    let mut conn = db.auditor();
    let now = clock(&mut conn);
    let used = |id| Used { id, code: 7 };
    let all = Used::all_as_of(now).load(&mut conn).unwrap();
    assert_eq!(all.len(), 3);
    let of = |at| Used::query().as_of(at).filled_by::<Used>();
    assert_eq!(of(now).load(&mut conn).unwrap(), [used(11), used(10)]);
    assert_eq!(of(moment).load(&mut conn).unwrap(), []);
}

/// A badge and its door as they were, and both changed since.
fn badge_and_door() -> (TestDb, DateTime<Utc>) {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE badges (id bigint PRIMARY KEY, code integer NOT NULL, pin integer NOT NULL, note text NOT NULL);
         CREATE TABLE doors (id bigint PRIMARY KEY, badge_id bigint NOT NULL, code integer NOT NULL, label text NOT NULL)",
    );
    db.capture("badges", Badge::DEFINITION);
    db.capture("doors", Door::DEFINITION);
    let_the_application_read_the_log(&db);
    let mut app = db.app();
    execute(
        &mut app,
        "INSERT INTO badges VALUES (1, 77, 1234, 'x'); INSERT INTO doors VALUES (10, 1, 5, 'front')",
    );
    let moment = clock(&mut app);
    execute(
        &mut app,
        "UPDATE badges SET id = 2; UPDATE doors SET badge_id = 2",
    );
    (db, moment)
}

fn refusal<T: std::fmt::Debug>(answer: QueryResult<T>) -> String {
    answer.unwrap_err().to_string()
}

#[test]
fn a_query_is_filled_by_a_model_as_all_rows_are() {
    let (db, moment) = badge_and_door();
    for mut conn in [db.auditor(), db.app()] {
        let all = Badge::all_as_of(moment).load(&mut conn).unwrap();
        let badge = Badge {
            id: 1,
            code: 0,
            pin: -1,
            note: "[REDACTED]".into(),
        };
        assert_eq!(all, [badge]);
        let query = badges::table.select(Badge::as_select()).as_of(moment);
        let filled = query.filled_by::<Badge>().load(&mut conn).unwrap();
        assert_eq!(filled, all);
        let raw = diesel::sql_query("SELECT code FROM badges WHERE pin = -1");
        #[derive(QueryableByName)]
        struct Code {
            #[diesel(sql_type = Integer)]
            code: i32,
        }
        let codes: Vec<Code> = as_of_raw(raw, moment)
            .filled_by::<Badge>()
            .load(&mut conn)
            .unwrap();
        assert_eq!(codes[0].code, 0);
    }
}

diesel::table! { tags (id) { id -> BigInt, level -> Integer, } }

#[derive(Debug, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = tags)]
struct Tag {
    id: i64,
    #[audited(fill = 5)]
    level: i32,
}

/// A default that differs from row to row is noted nowhere, and what has none was NULL.
#[test]
fn a_column_that_came_later_is_filled() {
    for default in ["NOT NULL DEFAULT 10 + random()::integer", ""] {
        let db = TestDb::new();
        db.create("CREATE TABLE tags (id bigint PRIMARY KEY)");
        db.capture("tags", threadline::Definition::new("Tag", &["id"]));
        execute(&mut db.app(), "INSERT INTO tags VALUES (1)");
        let moment = clock(&mut db.app());
        execute(
            &mut db.owner(),
            &format!("ALTER TABLE tags ADD level integer {default}"),
        );
        assert_eq!(
            Tag::all_as_of(moment).load(&mut db.auditor()).unwrap(),
            [Tag { id: 1, level: 5 }],
            "{default}"
        );
    }
}

#[test]
fn each_table_is_filled_by_its_own_model() {
    let (db, moment) = badge_and_door();
    let both =
        badges::table
            .inner_join(doors::table)
            .select((badges::code, doors::code, doors::label));
    let query = both.as_of(moment).filled_by::<Badge>().filled_by::<Door>();
    assert_eq!(
        query.load::<(i32, i32, String)>(&mut db.auditor()).unwrap(),
        [(0, 7, "none".to_owned())]
    );
    let said = refusal(
        both.as_of(moment)
            .filled_by::<Badge>()
            .load::<(i32, i32, String)>(&mut db.auditor()),
    );
    assert!(said.contains("column code of table doors"), "{said}");
}

/// Whatever a condition on NULL says of the row, it would not be true.
#[test]
fn a_query_that_uses_a_column_without_a_value_is_refused() {
    let (db, moment) = badge_and_door();
    diesel::alias!(badges as others: Others);
    for mut conn in [db.auditor(), db.app()] {
        let selected = badges::table.select(badges::code).as_of(moment);
        let filtered = badges::table.filter(badges::code.eq(77)).count();
        let aliased = others.select(others.field(badges::code)).as_of(moment);
        let raw = diesel::sql_query("SELECT id FROM badges ORDER BY code");
        #[derive(Debug, QueryableByName)]
        struct Id {
            #[diesel(sql_type = BigInt)]
            #[expect(dead_code, reason = "it is refused")]
            id: i64,
        }
        for said in [
            refusal(selected.load::<i32>(&mut conn)),
            refusal(filtered.as_of(moment).get_result::<i64>(&mut conn)),
            refusal(aliased.load::<i32>(&mut conn)),
            refusal(as_of_raw(raw, moment).load::<Id>(&mut conn)),
        ] {
            for part in ["column code of table badges", "filled_by", "fill = ..."] {
                assert!(said.contains(part), "{said}");
            }
        }
        let pin = badges::table.select(badges::pin).as_of(moment);
        let said = refusal(pin.load::<i32>(&mut conn));
        assert!(said.contains("column pin"), "{said}");
    }
}

#[test]
fn a_query_that_does_not_use_the_column_is_answered() {
    let (db, moment) = badge_and_door();
    let mut conn = db.auditor();
    let notes = badges::table.select((badges::id, badges::note));
    assert_eq!(
        notes
            .as_of(moment)
            .load::<(i64, String)>(&mut conn)
            .unwrap(),
        [(1, "[REDACTED]".to_owned())]
    );
    // Its own door has a column of that name, which the query does use.
    let through = badges::table.inner_join(doors::table);
    let query = through.select((badges::id, doors::code)).as_of(moment);
    assert_eq!(
        query
            .filled_by::<Door>()
            .load::<(i64, i32)>(&mut conn)
            .unwrap(),
        [(1, 7)]
    );
    // An operator asks for nothing in particular.
    let ask = format!(
        "SELECT * FROM threadline_moment(NULL::badges, 'badges', '{}')",
        moment.to_rfc3339()
    );
    assert_eq!(
        rows(&mut conn, &ask),
        [serde_json::json!({"id": 1, "code": null, "pin": null, "note": "[REDACTED]"})]
    );
}

/// The log has values from before the policy kept them out, and from after it no longer did.
#[test]
fn a_column_that_was_captured_once_has_its_values() {
    let db = TestDb::new();
    db.create("CREATE TABLE doors (id bigint PRIMARY KEY, badge_id bigint NOT NULL, code integer NOT NULL)");
    let open = threadline::Definition::new("Door", &["id"]);
    db.capture("doors", open);
    execute(&mut db.app(), "INSERT INTO doors VALUES (1, 1, 5)");
    let moment = clock(&mut db.app());
    db.capture("doors", open.exclude(&["code"]));
    execute(&mut db.app(), "UPDATE doors SET badge_id = 2");
    let codes = |moment| {
        let query = doors::table.select(doors::code).as_of(moment);
        query.load::<i32>(&mut db.auditor())
    };
    assert_eq!(codes(moment).unwrap(), [5]);
    let excluded = clock(&mut db.app());
    assert!(refusal(codes(excluded)).contains("column code"));
    db.capture("doors", open);
    execute(&mut db.app(), "UPDATE doors SET code = 6");
    assert_eq!(codes(clock(&mut db.app())).unwrap(), [6]);
    let nullable = doors::table.select(doors::code.nullable()).as_of(moment);
    assert_eq!(
        nullable.load::<Option<i32>>(&mut db.auditor()).unwrap(),
        [Some(5)]
    );
}
