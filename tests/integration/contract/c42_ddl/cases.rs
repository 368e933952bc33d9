//! Each kind of DDL by itself, before, between and after: at row and at statement level.

use serde_json::json;
use threadline::Level;
use threadline::capture::{CapturePlan, Policy};
use threadline_tests::{TestDb, execute, try_execute, value};

use super::truth::{Known, Truth};

/// What is done to the tables of a case, one after the other.
enum Step {
    /// Each statement by itself, as the owner.
    Sql(&'static str),
    /// All in one transaction.
    Together(&'static str),
    Capture(&'static str),
    Note,
}
use Step::{Capture, Note, Sql, Together};

/// Takes the steps at each of the levels, and asks about every moment that was noted: at the end, and again after a further write of each
/// row. Returns what is known, which is the same for each level.
fn asked(levels: &[Level], table: &str, steps: &[Step]) -> Vec<Known> {
    let mut answers: Vec<Vec<Known>> = Vec::new();
    for level in levels {
        let db = TestDb::new();
        let mut truth = Truth::of(&db, table);
        for step in steps {
            match step {
                Sql(statements) => {
                    for statement in statements.split("; ") {
                        execute(&mut db.owner(), statement);
                    }
                }
                Together(statements) => execute(&mut db.owner(), statements),
                Capture(table) => capture(&db, table, *level).unwrap(),
                Note => {
                    truth.note();
                }
            }
        }
        answers.push(truth.check_all());
        // What is written later changes no answer for the worse.
        let touched = format!("UPDATE {table} SET name = name || '!'");
        if try_execute(&mut db.owner(), &touched).is_ok() {
            assert_eq!(truth.check_all(), answers[answers.len() - 1], "{level:?}");
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

fn capture(db: &TestDb, table: &str, level: Level) -> diesel::QueryResult<()> {
    let policy = Policy {
        level,
        ..Policy::default()
    };
    db.apply(&CapturePlan::for_table(table.parse().unwrap(), policy).unwrap())
}

const BOTH: &[Level] = &[Level::Row, Level::Statement];

fn whole(answers: &[Known]) -> Vec<bool> {
    answers.iter().map(|known| known.whole).collect()
}

fn rows(answers: &[Known]) -> Vec<(usize, usize)> {
    answers
        .iter()
        .map(|known| (known.rows, known.unknown))
        .collect()
}

fn omitted(answers: &[Known]) -> Vec<usize> {
    answers.iter().map(|known| known.omitted).collect()
}

const PAY: Step = Sql(
    "CREATE TABLE pay (id int PRIMARY KEY, salary int, note text, name text); INSERT INTO pay VALUES (0, 0, '', '')",
);

/// A table that is captured while it has no rows, with two of them.
fn pay(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![
        PAY,
        Sql("TRUNCATE pay"),
        Capture("pay"),
        Sql("INSERT INTO pay VALUES (1, 5, 'private', 'ann'), (2, 7, 'secret', 'ben')"),
        Note,
    ];
    all.extend(steps);
    all
}

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
                "ALTER TABLE pay DISABLE TRIGGER USER; UPDATE pay SET salary = 1 WHERE id = 1; DELETE FROM pay WHERE id = 2; ALTER TABLE pay ENABLE TRIGGER USER",
            ),
            Note,
            Capture("pay"),
            Sql("UPDATE pay SET name = 'Ann' WHERE id = 1"),
            Note,
        ]),
    );
    assert_eq!(rows(&answers), [(0, 2), (0, 2), (1, 1)]);
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
