//! The property test of queries as of a moment, once over tables of 50,000 rows.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute};

use crate::alone;
use crate::queries::{Question, ask, question};

const ROWS: i64 = 50_000;
const QUESTIONS: usize = 30;

/// The rows then, and what every row is changed to.
const FILL: &str = "INSERT INTO accounts SELECT n, (ARRAY['ada', 'bob', 'cy'])[1 + n % 3], n % 60, CASE WHEN n % 10 = 0 THEN 'x' END FROM generate_series(1, :rows) n;
     INSERT INTO entries SELECT n, 1 + n * 7 % :rows, n % 60, CASE WHEN n % 2 = 0 THEN 'in' ELSE 'out' END FROM generate_series(1, :rows) n";
const CHANGE: &str = "UPDATE accounts SET balance = balance + 1, owner = 'cy', note = NULL;
     UPDATE entries SET amount = amount + 1, kind = 'in', account_id = 1";

#[test]
fn generated_queries_over_50_000_rows() {
    let _alone = alone();
    let db = TestDb::new();
    db.create(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL, note text);
         CREATE TABLE entries (id bigint PRIMARY KEY, account_id bigint NOT NULL, amount numeric NOT NULL, kind text NOT NULL)",
    );
    for table in ["accounts", "entries"] {
        db.capture(
            table,
            Definition::new("Model", &["id"]).level(Level::Statement),
        );
    }
    let mut app = db.app();
    execute(&mut app, &FILL.replace(":rows", &ROWS.to_string()));
    execute(&mut db.superuser(), "VACUUM ANALYZE");

    let mut runner = TestRunner::deterministic();
    let questions: Vec<_> =
        std::iter::repeat_with(|| question().new_tree(&mut runner).unwrap().current())
            .filter(|question| !question.is_about_pairs())
            .take(QUESTIONS)
            .collect();
    let (then, of_today) = answers(&questions, None, &mut app);
    let at: DateTime<Utc> = diesel::select(sql::<Timestamptz>("clock_timestamp()"))
        .get_result(&mut app)
        .unwrap();
    execute(&mut app, CHANGE);

    let mut auditor = db.auditor();
    execute(&mut auditor, "SET statement_timeout = '20s'");
    let (found, as_of) = answers(&questions, Some(at), &mut auditor);
    for ((question, then), found) in questions.iter().zip(then).zip(found) {
        assert!(then == found, "{question:?}");
    }
    crate::report(&format!(
        "{QUESTIONS} queries of {ROWS} rows a table: {of_today:.1?} of today, {as_of:.1?} as of a moment"
    ));
}

/// What the questions give, and how long that takes.
fn answers(
    questions: &[Question],
    at: Option<DateTime<Utc>>,
    conn: &mut PgConnection,
) -> (Vec<Vec<String>>, Duration) {
    let start = Instant::now();
    let answers = questions.iter().map(|question| ask(question, at, conn));
    (answers.collect(), start.elapsed())
}
