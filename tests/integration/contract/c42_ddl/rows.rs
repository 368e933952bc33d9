//! What DDL does to the rows that there are, and to what is known of them.

use serde_json::json;
use threadline::Level;
use threadline_tests::{TestDb, execute, value};

use super::case::*;

/// A row that comes back would get values of before DDL.
#[test]
fn c42_a_revert_of_what_ddl_changed() {
    for capture_again in [false, true] {
        let db = TestDb::new();
        execute(
            &mut db.owner(),
            "CREATE TABLE pay (id int PRIMARY KEY, salary int, name text)",
        );
        capture(&db, "pay", Level::Row).unwrap();
        let mut owner = db.owner();
        execute(&mut owner, "INSERT INTO pay VALUES (1, 5, 'ann')");
        execute(
            &mut owner,
            "ALTER TABLE pay ALTER salary TYPE int USING salary * 100",
        );
        if capture_again {
            capture(&db, "pay", Level::Row).unwrap();
        }
        execute(&mut owner, "DELETE FROM pay");
        let before = value(
            &mut db.superuser(),
            "SELECT n.before FROM audit_changes c, threadline_net(c.transaction_id, NULL, NULL) n WHERE c.op = 'delete'",
        );
        assert_eq!(
            before,
            json!({"id": 1, "salary": {"$threadline": "omitted"}, "name": "ann"})
        );
    }
}

#[test]
fn c42_another_table_of_the_name() {
    for (another, at_the_end) in [
        (
            "DROP TABLE pay; CREATE TABLE pay (id int PRIMARY KEY, salary int, note text, name text)",
            (2, 2),
        ),
        (
            "CREATE TABLE shadow (LIKE pay INCLUDING ALL); INSERT INTO shadow SELECT * FROM pay; DELETE FROM shadow WHERE id = 1; DROP TABLE pay; ALTER TABLE shadow RENAME TO pay",
            (1, 3),
        ),
    ] {
        let answers = asked(
            BOTH,
            "pay",
            &pay(vec![
                Sql(another),
                Sql("INSERT INTO pay VALUES (9, 9, '', 'nobody saw')"),
                Note,
                Sql("DELETE FROM pay WHERE id = 9"),
                Capture("pay"),
                Note,
                Sql("INSERT INTO pay VALUES (3, 3, '', 'cy')"),
                Note,
            ]),
        );
        assert_eq!(rows(&answers)[..2], [(0, 4), (0, 4)], "{another}");
        assert_eq!(rows(&answers)[3], at_the_end, "{another}");
    }
}

#[test]
fn c42_another_key() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "UPDATE pay SET note = ''; ALTER TABLE pay DROP CONSTRAINT pay_pkey, ADD PRIMARY KEY (note, id)",
            ),
            Note,
            Capture("pay"),
            Sql("UPDATE pay SET name = 'Ann' WHERE id = 1"),
            Note,
            Sql("DELETE FROM pay"),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [false; 4]);
    // One key, two rows, and the last that was recorded of it is not about the other.
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "ALTER TABLE pay DROP CONSTRAINT pay_pkey; INSERT INTO pay VALUES (1, 9, '', 'twice'); DELETE FROM pay WHERE name = 'twice'",
            ),
            Note,
        ]),
    );
    assert_eq!(rows(&answers), [(0, 2), (0, 2)]);
}

#[test]
fn c42_a_key_that_was_rewritten() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("ALTER TABLE pay ALTER id TYPE bigint USING id + 1"),
            Note,
            Capture("pay"),
            Note,
            Sql("UPDATE pay SET name = 'Ann' WHERE id = 2"),
            Note,
        ]),
    );
    assert_eq!(rows(&answers), [(0, 3), (0, 3), (0, 3), (1, 2)]);
}

#[test]
fn c42_triggers_that_were_disabled_for_a_while() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "ALTER TABLE pay DISABLE TRIGGER USER; UPDATE pay SET salary = 1 WHERE id = 1; DELETE FROM pay WHERE id = 2; INSERT INTO pay VALUES (3, 3, '', 'cy'); ALTER TABLE pay ENABLE TRIGGER USER",
            ),
            Note,
            Capture("pay"),
            Sql("UPDATE pay SET name = 'Ann' WHERE id = 1"),
            Note,
        ]),
    );
    assert_eq!(rows(&answers), [(0, 3), (0, 3), (1, 2)]);
}

/// A row that nobody recorded may have been truncated before it was inserted again.
#[test]
fn c42_rows_that_were_truncated_before_they_were_known() {
    let answers = asked(
        BOTH,
        "pay",
        &[
            PAY,
            Capture("pay"),
            Note,
            Sql("TRUNCATE pay; INSERT INTO pay VALUES (0, 1, '', 'again')"),
            Note,
        ],
    );
    assert_eq!(rows(&answers), [(0, 1), (1, 0)]);
}

#[test]
fn c42_tables_that_inherit() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "CREATE TABLE bonus (LIKE pay); INSERT INTO bonus VALUES (3, 3, '', 'cy'); ALTER TABLE bonus INHERIT pay",
            ),
            Note,
        ]),
    );
    assert_eq!(rows(&answers), [(0, 3), (0, 3)]);
    let db = TestDb::new();
    db.create("CREATE TABLE assets (id int PRIMARY KEY, name text); CREATE TABLE cars (wheels int) INHERITS (assets)");
    let refused = capture(&db, "assets", Level::Row).unwrap_err().to_string();
    assert!(refused.contains("inherit from it"), "{refused}");
    capture(&db, "cars", Level::Row).unwrap_err();
}

#[test]
fn c42_unlogged_tables_are_refused() {
    let db = TestDb::new();
    db.create("CREATE UNLOGGED TABLE cache (id int PRIMARY KEY, n int)");
    for level in BOTH {
        let refused = capture(&db, "cache", *level).unwrap_err().to_string();
        assert!(refused.contains("SET LOGGED"), "{refused}");
    }
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![Sql("ALTER TABLE pay SET UNLOGGED"), Note]),
    );
    assert_eq!(whole(&answers), [false; 2]);
}

const EVENTS: Step = Sql(
    "CREATE TABLE ev (id int, region text, name text, PRIMARY KEY (id, region)) PARTITION BY LIST (region); CREATE TABLE ev_eu PARTITION OF ev FOR VALUES IN ('eu')",
);

fn events(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![
        EVENTS,
        Capture("ev"),
        Sql("INSERT INTO ev VALUES (1, 'eu', 'one')"),
        Note,
    ];
    all.extend(steps);
    all
}

#[test]
fn c42_a_partition_that_came_with_rows() {
    for attach in [
        "CREATE TABLE ev_as (LIKE ev INCLUDING ALL); INSERT INTO ev_as VALUES (8, 'as', 'eight'); ALTER TABLE ev ATTACH PARTITION ev_as FOR VALUES IN ('as')",
        "CREATE TABLE ev_as (LIKE ev); INSERT INTO ev_as VALUES (8, 'as', 'eight'); ALTER TABLE ev ATTACH PARTITION ev_as FOR VALUES IN ('as')",
    ] {
        for transaction in [false, true] {
            let attach = if transaction {
                Together(attach)
            } else {
                Sql(attach)
            };
            let answers = asked(
                &[Level::Row],
                "ev",
                &events(vec![
                    attach,
                    Note,
                    Capture("ev"),
                    Sql("UPDATE ev SET name = 'Eight' WHERE id = 8"),
                    Note,
                ]),
            );
            assert_eq!(rows(&answers), [(0, 2), (0, 2), (1, 1)]);
        }
    }
}

#[test]
fn c42_a_partition_that_was_created_as_one() {
    let answers = asked(
        &[Level::Row],
        "ev",
        &events(vec![
            Sql(
                "CREATE TABLE ev_as PARTITION OF ev FOR VALUES IN ('as'); INSERT INTO ev VALUES (8, 'as', 'eight')",
            ),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [true; 2]);
    assert_eq!(rows(&answers), [(2, 0); 2]);
}

#[test]
fn c42_a_partition_that_left() {
    for detach in [
        "ALTER TABLE ev DETACH PARTITION ev_eu",
        "DROP TABLE ev_eu",
        "ALTER TABLE ev DETACH PARTITION ev_eu; UPDATE ev_eu SET name = 'another'; ALTER TABLE ev ATTACH PARTITION ev_eu FOR VALUES IN ('eu')",
        "ALTER TABLE ev_eu DISABLE TRIGGER USER; UPDATE ev SET name = 'another'; ALTER TABLE ev_eu ENABLE TRIGGER USER",
        "ALTER TABLE ev_eu DISABLE TRIGGER USER; UPDATE ev SET name = 'another'",
    ] {
        let answers = asked(&[Level::Row], "ev", &events(vec![Sql(detach), Note]));
        assert_eq!(rows(&answers), [(0, 1); 2], "{detach}");
    }
}
