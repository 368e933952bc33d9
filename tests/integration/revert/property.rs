//! Random work in one transaction, reverted: the tables are what they were.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::{Definition, Level};

use super::*;

const TABLES: [&str; 3] = ["bosses", "parents", "children"];

// The text of a `json` value is not in the log: the values here are written as `jsonb` prints them.

/// Foreign keys that cascade, that set NULL, and to the table itself; keys that are unique besides the primary one.
const CREATE: &str = "
    CREATE TABLE bosses (id int PRIMARY KEY, rank numeric UNIQUE);
    CREATE TABLE parents (id int PRIMARY KEY, name text NOT NULL DEFAULT 'p', total numeric,
        boss_id int REFERENCES bosses ON DELETE SET NULL ON UPDATE CASCADE, elder_id int REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE TABLE children (parent_id int NOT NULL REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE, place int NOT NULL, email text UNIQUE,
        at timestamptz, span interval, tags text[], doc json, PRIMARY KEY (parent_id, place))";

const SOME: &str = "INSERT INTO bosses VALUES (1, 1), (2, 2);
    INSERT INTO parents (id, boss_id, elder_id, total) VALUES (1, 1, NULL, 5.50), (2, 2, 1, NULL);
    INSERT INTO children (parent_id, place, email, at, span) VALUES (1, 1, 'e11', now(), NULL), (2, 1, 'e21', NULL, '1 month'), (2, 2, 'e22', NULL, NULL)";

fn definition(key: &'static [&'static str], kept: bool, level: Level) -> Definition {
    let definition = Definition::new("Model", key).level(level);
    if kept {
        definition.store_changed_from()
    } else {
        definition
    }
}

fn statement() -> impl Strategy<Value = String> {
    let id = 1..4_i32;
    let some = prop_oneof![
        Just("NULL".to_owned()),
        (1..4_i32).prop_map(|id| id.to_string())
    ];
    let parent = select(vec![
        "name = name || 'x'",
        "total = 1.0",
        "total = 1.00",
        "total = NULL",
        "name = 'p'",
    ]);
    let child = select(vec![
        "at = '2026-03-15 10:30Z'",
        "span = '1 day -02:03:04.5'",
        "tags = '{\"a,b\",NULL}'",
        "doc = '{\"a\": 1.0, \"b\": 1}'",
        "email = NULL",
        "tags = NULL, at = NULL",
        "email = 'a'",
        "email = 'b'",
    ]);
    prop_oneof![
        (id.clone(), some.clone())
            .prop_map(|(id, rank)| format!("INSERT INTO bosses VALUES ({id}, {rank})")),
        (id.clone(), some.clone())
            .prop_map(|(id, rank)| format!("UPDATE bosses SET rank = {rank} WHERE id = {id}")),
        id.clone()
            .prop_map(|id| format!("DELETE FROM bosses WHERE id = {id}")),
        (id.clone(), some.clone(), some.clone()).prop_map(|(id, boss, elder)| format!(
            "INSERT INTO parents (id, boss_id, elder_id) VALUES ({id}, {boss}, {elder})"
        )),
        (id.clone(), parent)
            .prop_map(|(id, set)| format!("UPDATE parents SET {set} WHERE id = {id}")),
        (id.clone(), some.clone())
            .prop_map(|(id, boss)| format!("UPDATE parents SET boss_id = {boss} WHERE id = {id}")),
        (id.clone(), some).prop_map(|(id, elder)| format!(
            "UPDATE parents SET elder_id = {elder} WHERE id = {id}"
        )),
        (id.clone(), id.clone())
            .prop_map(|(id, new)| format!("UPDATE parents SET id = {new} WHERE id = {id}")),
        id.clone()
            .prop_map(|id| format!("DELETE FROM parents WHERE id = {id}")),
        (id.clone(), id.clone()).prop_map(|(parent, place)| format!(
            "INSERT INTO children VALUES ({parent}, {place}, 'e{parent}{place}')"
        )),
        (id.clone(), child.clone())
            .prop_map(|(place, set)| format!("UPDATE children SET {set} WHERE place = {place}")),
        (id.clone(), id.clone()).prop_map(|(parent, place)| format!(
            "UPDATE children SET parent_id = {parent} WHERE place = {place}"
        )),
        id.prop_map(|place| format!("DELETE FROM children WHERE place = {place}")),
        select(vec![
            "TRUNCATE children".to_owned(),
            "TRUNCATE parents CASCADE".to_owned()
        ]),
    ]
}

/// One transaction; a statement that is refused is as if it had not been.
fn transaction(statements: &[String]) -> String {
    let statements = statements.iter().map(|statement| {
        format!("BEGIN {statement}; EXCEPTION WHEN integrity_constraint_violation THEN NULL; END;")
    });
    let work: String = statements.collect();
    format!("DO $do$ BEGIN {work} END $do$")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn reverting_a_transaction_restores_the_tables(
        kept in any::<bool>(),
        level in select(vec![Level::Row, Level::Statement]),
        earlier in vec(statement(), 0..8),
        work in vec(statement(), 1..12),
    ) {
        let db = TestDb::new();
        db.create(CREATE);
        for table in ["bosses", "parents"] {
            db.capture(table, definition(&["id"], kept, level));
        }
        db.capture("children", definition(&["parent_id", "place"], kept, level));
        let mut app = db.app();
        execute(&mut app, SOME);
        execute(&mut app, &transaction(&earlier));
        let before = state(&db, &TABLES);
        let last = value(&mut db.auditor(), "SELECT coalesce(max(id), 0) FROM audit_changes");
        execute(&mut app, &transaction(&work));
        let after = state(&db, &TABLES);
        let written = value(&mut db.auditor(), "SELECT max(id) FROM audit_changes");
        if written != last && !written.is_null() {
            let mut plan = plan(&db, newest_transaction(&db));
            // Keys that were swapped can't be put back one by one.

            let cyclic = plan.conflicts().iter().any(|conflict| conflict.kind == ConflictKind::Cycle);
            if !cyclic {
                prop_assert_eq!(plan.conflicts(), []);
            }
            plan.decide_all(|_| Some(threadline::Decision::Skip)).unwrap();
            match plan.apply(&mut db.reverter(), &context()) {
                Ok(_) if cyclic => return Ok(()),
                Ok(_) => {}
                Err(threadline::RevertError::Nothing) => prop_assert!(cyclic || before == after),
                Err(error) => return Err(TestCaseError::fail(format!("{error}\n{}", plan.to_sql()))),
            }
            if !cyclic {
                prop_assert_eq!(state(&db, &TABLES), before);
            }
        }
    }
}
