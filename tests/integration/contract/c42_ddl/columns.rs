//! What DDL does to columns and their values.

use serde_json::json;
use threadline::Level;
use threadline_tests::{TestDb, execute, value};

use super::case::*;
use super::truth::Truth;

#[test]
fn c42_nothing_happened() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![Sql("UPDATE pay SET salary = 6 WHERE id = 1"), Note]),
    );
    assert_eq!(whole(&answers), [true, true]);
    assert_eq!(omitted(&answers), [0, 0]);
}

#[test]
fn c42_a_type_that_was_changed() {
    for retype in [
        "ALTER TABLE pay ALTER salary TYPE bigint USING salary * 100",
        "ALTER TABLE pay ALTER salary TYPE int USING salary * 100",
        "ALTER TABLE pay ALTER salary TYPE text; VACUUM FULL pay",
    ] {
        // Nobody knows when it was; captured again, what is written then is known.
        let answers = asked(
            BOTH,
            "pay",
            &pay(vec![
                Sql(retype),
                Note,
                Capture("pay"),
                Sql("UPDATE pay SET salary = salary WHERE id = 9"),
                Note,
                Sql("UPDATE pay SET name = 'Ann', note = '' WHERE id = 1"),
                Note,
            ]),
        );
        assert_eq!(whole(&answers), [false; 4], "{retype}");
        assert_eq!(rows(&answers), [(2, 0); 4], "{retype}");
        assert_eq!(omitted(&answers), [2, 2, 2, 1], "{retype}");
    }
}

/// A migration that looks at the table before and after its DDL makes that time unknown, and nothing before it.
#[test]
fn c42_between_two_looks() {
    for (ddl, unknown, omitted_values, rows_then) in [
        (
            "ALTER TABLE pay ALTER salary TYPE int USING salary * 100",
            json!(["salary"]),
            2,
            (2, 0),
        ),
        (
            "ALTER TABLE pay DROP note; ALTER TABLE pay ADD note int",
            json!(["note"]),
            2,
            (2, 0),
        ),
        (
            "ALTER TABLE pay RENAME note TO remark",
            json!([]),
            0,
            (2, 0),
        ),
        (
            "ALTER TABLE pay ADD bonus int NOT NULL DEFAULT 5",
            json!([]),
            0,
            (2, 0),
        ),
        (
            "ALTER TABLE pay DISABLE TRIGGER USER; UPDATE pay SET salary = 1; ALTER TABLE pay ENABLE TRIGGER USER",
            json!(["rows"]),
            0,
            (0, 2),
        ),
        (
            "ALTER TABLE pay DROP CONSTRAINT pay_pkey, ADD PRIMARY KEY (id, name)",
            json!(["rows"]),
            0,
            (0, 2),
        ),
        (
            "DROP TABLE pay; CREATE TABLE pay (id int PRIMARY KEY, salary int, note text, name text)",
            json!(["rows"]),
            0,
            (0, 2),
        ),
    ] {
        for level in BOTH {
            let db = TestDb::new();
            let mut truth = Truth::of(&db, "pay");
            for step in pay(vec![]) {
                match step {
                    Sql(statements) => statements
                        .split("; ")
                        .for_each(|sql| execute(&mut db.owner(), sql)),
                    Capture(table) => capture(&db, table, *level).unwrap(),
                    Together(_) | Note => {}
                }
            }
            let mut owner = db.owner();
            truth.note();
            assert_eq!(
                value(&mut owner, "SELECT threadline_note('pay')"),
                json!([])
            );
            for sql in ddl.split("; ") {
                execute(&mut owner, sql);
            }
            assert_eq!(
                value(&mut owner, "SELECT threadline_note('pay')"),
                unknown,
                "{ddl}"
            );
            truth.note();
            let answers = truth.check_all();
            assert_eq!(rows(&answers), [(2, 0), rows_then], "{ddl}");
            // What another column of the name had is not the new one's, ever.
            let misnamed = if ddl.contains("DROP note") { 2 } else { 0 };
            assert_eq!(omitted(&answers), [misnamed, omitted_values], "{ddl}");
            assert_eq!(
                value(&mut owner, "SELECT threadline_note('pay')"),
                if rows_then.0 == 2 || ddl.contains("ENABLE") {
                    json!([])
                } else {
                    json!(["rows"])
                },
                "{ddl}"
            );
            truth.check_all();
        }
    }
}

#[test]
fn c42_a_column_that_was_dropped_and_added_again() {
    for add in [
        "ADD note text",
        "ADD note text DEFAULT 'new'",
        "ADD note int",
    ] {
        let add = Sql(Box::leak(
            format!("ALTER TABLE pay DROP note; ALTER TABLE pay {add}").into_boxed_str(),
        ));
        let answers = asked(BOTH, "pay", &pay(vec![add, Note, Capture("pay"), Note]));
        assert_eq!(rows(&answers), [(2, 0); 3]);
        assert_eq!(omitted(&answers), [2, 2, 2]);
    }
}

/// The name is free for a while, and the table is captured in between.
#[test]
fn c42_a_name_that_another_column_had() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("ALTER TABLE pay DROP note"),
            Capture("pay"),
            Note,
            Sql("ALTER TABLE pay ADD note text DEFAULT 'new'"),
            Note,
        ]),
    );
    assert_eq!(omitted(&answers), [2, 2, 2]);
}

#[test]
fn c42_a_column_that_was_added() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("ALTER TABLE pay ADD bonus int NOT NULL DEFAULT 5"),
            Note,
            Sql("UPDATE pay SET bonus = 6 WHERE id = 1"),
            Note,
            Capture("pay"),
            Sql("VACUUM FULL pay"),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [true; 4]);
    assert_eq!(omitted(&answers), [0; 4]);
}

/// The partitions remember what rows from before have; those that were rewritten since forgot it.
#[test]
fn c42_a_column_that_was_added_to_a_partitioned_table() {
    let steps = |since: &'static str| {
        vec![
            Sql(
                "CREATE TABLE events (id int PRIMARY KEY, name text) PARTITION BY RANGE (id); CREATE TABLE first PARTITION OF events FOR VALUES FROM (0) TO (10); CREATE TABLE second PARTITION OF events FOR VALUES FROM (10) TO (20)",
            ),
            Capture("events"),
            Sql("INSERT INTO events VALUES (1, 'one'), (11, 'eleven')"),
            Note,
            Sql("ALTER TABLE events ADD price int NOT NULL DEFAULT 5"),
            Sql(since),
            Note,
            Capture("events"),
            Note,
        ]
    };
    for (since, unknown) in [
        ("SELECT", 0),
        ("VACUUM FULL first", 0),
        ("VACUUM FULL first; VACUUM FULL second", 2),
    ] {
        let known = asked(&[Level::Row], "events", &steps(since));
        assert_eq!(omitted(&known), [unknown; 3], "{since}");
    }
    let forgotten = steps("VACUUM FULL first; VACUUM FULL second");
    let known = asked_guarded(&[Level::Row], "events", &forgotten).unwrap();
    assert_eq!(omitted(&known), [0; 3]);
}

#[test]
fn c42_a_column_that_was_computed_for_each_row() {
    for add in [
        "double int GENERATED ALWAYS AS (salary * 2) STORED",
        "chance float DEFAULT random()",
        "number int GENERATED ALWAYS AS IDENTITY",
    ] {
        let add = Sql(Box::leak(
            format!("ALTER TABLE pay ADD {add}").into_boxed_str(),
        ));
        let answers = asked(BOTH, "pay", &pay(vec![add, Note, Capture("pay"), Note]));
        assert_eq!(whole(&answers), [false; 3]);
        assert_eq!(omitted(&answers), [2; 3]);
    }
}

/// PostgreSQL forgets what the rows before a column have: an answer that nobody noted is not known any more, but is no other one.
/// A column that nobody noted may have been written again after values were recorded.
#[test]
fn c42_a_column_that_was_added_and_rewritten() {
    let steps = pay(vec![
        Sql(
            "ALTER TABLE pay ADD age int DEFAULT 7; UPDATE pay SET name = 'Ann' WHERE id = 1; ALTER TABLE pay ALTER age TYPE int USING age + 1",
        ),
        Note,
        Capture("pay"),
        Note,
        Sql("UPDATE pay SET name = 'Cy' WHERE id = 1"),
        Note,
    ]);
    assert_eq!(omitted(&asked(BOTH, "pay", &steps)), [2, 2, 2, 1]);
}

#[test]
fn c42_a_rewrite_after_a_column_that_nobody_noted() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("ALTER TABLE pay ADD bonus int NOT NULL DEFAULT 5; VACUUM FULL pay"),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [false; 2]);
    assert_eq!(omitted(&answers), [2; 2]);
}

#[test]
fn c42_a_rewrite_changes_no_answer() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("VACUUM FULL pay; CLUSTER pay USING pay_pkey"),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [true; 2]);
}

#[test]
fn c42_a_column_that_was_renamed() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql("ALTER TABLE pay RENAME note TO remark"),
            Note,
            Sql("UPDATE pay SET remark = 'public' WHERE id = 1"),
            Note,
            Capture("pay"),
            Note,
        ]),
    );
    assert_eq!(whole(&answers), [true; 4]);
    assert_eq!(omitted(&answers), [0; 4]);
}

#[test]
fn c42_columns_that_took_each_others_names() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "ALTER TABLE pay RENAME note TO x; ALTER TABLE pay RENAME name TO note; ALTER TABLE pay RENAME x TO name",
            ),
            Note,
        ]),
    );
    assert_eq!(omitted(&answers), [4, 4]);
}

/// What is recorded under a name that no column has any more could be any column's.
#[test]
fn c42_a_name_in_between() {
    for rename in [
        "ALTER TABLE pay ADD x int DEFAULT 5; UPDATE pay SET x = 6; ALTER TABLE pay RENAME x TO y",
        "ALTER TABLE pay RENAME note TO x; UPDATE pay SET x = 'public'; ALTER TABLE pay RENAME x TO y",
    ] {
        let answers = asked(
            BOTH,
            "pay",
            &pay(vec![Sql(rename), Note, Capture("pay"), Note]),
        );
        assert_eq!(omitted(&answers)[1..], [2, 2], "{rename}");
    }
}

#[test]
fn c42_a_column_that_came_and_went() {
    let answers = asked(
        BOTH,
        "pay",
        &pay(vec![
            Sql(
                "ALTER TABLE pay ADD x int; UPDATE pay SET x = 6; ALTER TABLE pay DROP x; ALTER TABLE pay ADD x int",
            ),
            Note,
        ]),
    );
    assert_eq!(omitted(&answers), [2, 2]);
}
