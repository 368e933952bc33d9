//! One kind of DDL by itself, before, between and after: at row and at statement level.

use threadline::Level;
use threadline::capture::{CapturePlan, Policy};
use threadline_tests::{TestDb, try_execute};

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
/// row. Returns what is known, which is the same for each level. With the DDL guard, it is no less.
pub fn asked(levels: &[Level], table: &str, steps: &[Step]) -> Vec<Known> {
    let known = same(levels, |level| answers(&TestDb::new(), level, table, steps));
    let known = known.expect("nothing refuses DDL");
    if let Some(guarded) = same(levels, |level| {
        answers(&TestDb::guarded(), level, table, steps)
    }) {
        for (guarded, known) in guarded.iter().zip(&known) {
            assert!(guarded.is_no_less_than(known), "{guarded:?} {known:?}");
        }
    }
    known
}

/// As [`asked`], of a database with the DDL guard. Nothing if that refuses a step: until then, what is known is true.
pub fn asked_guarded(levels: &[Level], table: &str, steps: &[Step]) -> Option<Vec<Known>> {
    same(levels, |level| {
        answers(&TestDb::guarded(), level, table, steps)
    })
}

fn same<T: std::fmt::Debug + PartialEq>(levels: &[Level], of: impl Fn(Level) -> T) -> T {
    let mut all: Vec<T> = levels.iter().map(|level| of(*level)).collect();
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn answers(db: &TestDb, level: Level, table: &str, steps: &[Step]) -> Option<Vec<Known>> {
    let mut truth = Truth::of(db, table);
    for step in steps {
        let done = match step {
            Sql(statements) => statements
                .split("; ")
                .try_for_each(|statement| try_execute(&mut db.owner(), statement)),
            Together(statements) => try_execute(&mut db.owner(), statements),
            Capture(table) => capture(db, table, level).map_err(|error| error.to_string()),
            Note => {
                truth.note();
                Ok(())
            }
        };
        if let Err(refusal) = done {
            assert!(refusal.contains("would end the capture"), "{refusal}");
            truth.check_all();
            return None;
        }
    }
    let known = truth.check_all();
    // What is written later changes no answer for the worse.
    let touched = format!("UPDATE {table} SET name = name || '!'");
    if try_execute(&mut db.owner(), &touched).is_ok() {
        assert_eq!(truth.check_all(), known, "{level:?}");
    }
    Some(known)
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
