//! One kind of DDL by itself, before, between and after: at row and at statement level.

use threadline::Level;
use threadline::capture::{CapturePlan, Policy};
use threadline_tests::{TestDb, execute, try_execute};

use super::truth::{Known, Truth};

/// What is done to the tables of a case, one after the other.
pub enum Step {
    /// Each statement by itself, as the owner.
    Sql(&'static str),
    /// All in one transaction.
    Together(&'static str),
    Capture(&'static str),
    Note,
}
pub use Step::{Capture, Note, Sql, Together};

/// Takes the steps at each of the levels, and asks about every moment that was noted: at the end, and again after a further write of each
/// row. Returns what is known, which is the same for each level.
pub fn asked(levels: &[Level], table: &str, steps: &[Step]) -> Vec<Known> {
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

pub fn capture(db: &TestDb, table: &str, level: Level) -> diesel::QueryResult<()> {
    let policy = Policy {
        level,
        ..Policy::default()
    };
    db.apply(&CapturePlan::for_table(table.parse().unwrap(), policy).unwrap())
}

pub const BOTH: &[Level] = &[Level::Row, Level::Statement];

pub fn whole(answers: &[Known]) -> Vec<bool> {
    answers.iter().map(|known| known.whole).collect()
}

pub fn rows(answers: &[Known]) -> Vec<(usize, usize)> {
    answers
        .iter()
        .map(|known| (known.rows, known.unknown))
        .collect()
}

pub fn omitted(answers: &[Known]) -> Vec<usize> {
    answers.iter().map(|known| known.omitted).collect()
}

pub const PAY: Step = Sql(
    "CREATE TABLE pay (id int PRIMARY KEY, salary int, note text, name text); INSERT INTO pay VALUES (0, 0, '', '')",
);

/// A table that is captured while it has no rows, with two of them.
pub fn pay(steps: Vec<Step>) -> Vec<Step> {
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
