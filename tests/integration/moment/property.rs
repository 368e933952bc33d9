//! Generated queries, asked of the tables and later as of that moment.

use chrono::{DateTime, Utc};
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute};

use super::queries::{Question, ask, question};
use super::{clock, let_the_application_read_the_log};

/// How the tables are made and captured. What is read is the same for all of them.
#[derive(Debug, Clone, Copy)]
enum Variant {
    Row,
    Statement,
    Partitioned,
    OnChange,
}

impl Variant {
    const ALL: [Self; 4] = [
        Self::Row,
        Self::Statement,
        Self::Partitioned,
        Self::OnChange,
    ];

    fn create(self, db: &TestDb) {
        let accounts = "CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL, note text)";
        let entries = "CREATE TABLE entries (id bigint PRIMARY KEY, account_id bigint NOT NULL, amount numeric NOT NULL, kind text NOT NULL)";
        match self {
            Self::Partitioned => db.create(&format!(
                "{accounts} PARTITION BY LIST (id);
                 CREATE TABLE accounts_1 PARTITION OF accounts FOR VALUES IN (1, 2);
                 CREATE TABLE accounts_other PARTITION OF accounts DEFAULT; {entries}"
            )),
            _ => db.create(&format!("{accounts}; {entries}")),
        }
        let definition = Definition::new("Model", &["id"]);
        let definition = match self {
            Self::Row | Self::Partitioned => definition.store_changed_from(),
            Self::Statement => definition.level(Level::Statement),
            Self::OnChange => definition,
        };
        db.capture(
            "accounts",
            match self {
                Self::OnChange => definition.on_change(&["note", "owner"]),
                _ => definition,
            },
        );
        db.capture("entries", definition);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Begin,
    Commit,
    Rollback,
    Write(String),
    /// Asks all questions of the tables as they are.
    Remember,
}

/// Few keys and values, so that they meet.
fn write() -> impl Strategy<Value = String> {
    const TEMPLATES: [&str; 15] = [
        "INSERT INTO accounts VALUES ({k}, 'ada', {n}, NULL) ON CONFLICT DO NOTHING",
        "INSERT INTO accounts SELECT k, 'bob', {n} * k, 'x' FROM generate_series(1, {k}) k ON CONFLICT (id) DO UPDATE SET balance = excluded.balance",
        "INSERT INTO entries SELECT {k} * 10 + e, {k}, {n} + e, CASE WHEN e % 2 = 0 THEN 'in' ELSE 'out' END FROM generate_series(1, {m}) e ON CONFLICT DO NOTHING",
        "UPDATE accounts SET balance = balance + {n} WHERE id = {k}",
        "UPDATE accounts SET owner = 'cy', note = 'n{n}' WHERE id >= {k}",
        "UPDATE entries SET amount = amount * 1.5 WHERE account_id = {k}",
        "UPDATE entries SET kind = 'in', account_id = {m} WHERE id % 7 = {k}",
        "UPDATE accounts SET id = id + 5 WHERE id = {k}",
        "UPDATE accounts SET id = {k} WHERE id = {m}",
        "UPDATE entries SET id = id + 3 WHERE account_id = {k}",
        "DELETE FROM accounts WHERE id = {k}",
        "DELETE FROM entries WHERE account_id = {k} OR amount > {n}",
        "TRUNCATE entries",
        "TRUNCATE accounts, entries",
        "WITH gone AS (DELETE FROM entries WHERE account_id = {k} RETURNING amount) UPDATE accounts SET balance = (SELECT count(*) FROM gone) WHERE id = {m}",
    ];
    (select(TEMPLATES.as_slice()), 1..7_i64, 1..7_i64, -5..50_i64).prop_map(
        |(template, k, m, n)| {
            let number = |name, number: i64| (name, number.to_string());
            [number("{k}", k), number("{m}", m), number("{n}", n)]
                .iter()
                .fold(template.to_owned(), |sql, (name, number)| {
                    sql.replace(name, number)
                })
        },
    )
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        2 => Just(Step::Begin),
        2 => Just(Step::Commit),
        1 => Just(Step::Rollback),
        12 => write().prop_map(Step::Write),
        1 => Just(Step::Remember),
    ];
    (0..2_usize, step)
}

/// A moment, and what the questions gave then.
type Memory = (DateTime<Utc>, Vec<Vec<String>>);

struct Session {
    conn: PgConnection,
    open: bool,
    /// It truncated, so that nobody else can read until it ends.
    is_exclusive: bool,
}

struct Run<'a> {
    sessions: [Session; 2],
    reader: PgConnection,
    questions: &'a [Question],
    memories: Vec<Memory>,
}

impl<'a> Run<'a> {
    fn new(db: &TestDb, questions: &'a [Question]) -> Self {
        let session = || {
            let mut conn = db.app();
            // Nothing ends while a statement waits for the other session, so it may as well give up.
            execute(&mut conn, "SET lock_timeout = '5ms'");
            Session {
                conn,
                open: false,
                is_exclusive: false,
            }
        };
        Self {
            sessions: [session(), session()],
            reader: db.app(),
            questions,
            memories: Vec::new(),
        }
    }

    fn step(&mut self, who: usize, step: &Step) {
        let session = &mut self.sessions[who];
        match step {
            Step::Begin if !session.open => {
                AnsiTransactionManager::begin_transaction(&mut session.conn).unwrap();
                session.open = true;
            }
            Step::Commit if session.open => {
                AnsiTransactionManager::commit_transaction(&mut session.conn).unwrap();
                session.open = false;
                session.is_exclusive = false;
            }
            Step::Rollback if session.open => {
                AnsiTransactionManager::rollback_transaction(&mut session.conn).unwrap();
                session.open = false;
                session.is_exclusive = false;
            }
            Step::Write(sql) => {
                // By itself, so that a refusal (a key that exists, a lock) leaves a transaction around it usable.
                let conn = &mut session.conn;
                drop(conn.transaction(|conn| diesel::sql_query(sql).execute(conn)));
                session.is_exclusive |= session.open && sql.starts_with("TRUNCATE");
            }
            Step::Remember => self.remember(),
            _ => {}
        }
    }

    fn remember(&mut self) {
        for who in 0..self.sessions.len() {
            if self.sessions[who].is_exclusive {
                self.step(who, &Step::Commit);
            }
        }
        let reader = &mut self.reader;
        let answers = self
            .questions
            .iter()
            .map(|question| ask(question, None, reader))
            .collect();
        self.memories.push((clock(reader), answers));
    }

    fn compare(&self, conn: &mut PgConnection) -> Result<(), TestCaseError> {
        for (moment, answers) in &self.memories {
            for (question, answer) in self.questions.iter().zip(answers) {
                prop_assert_eq!(
                    &ask(question, Some(*moment), conn),
                    answer,
                    "{:?} at {}",
                    question,
                    moment
                );
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// 256 queries, each of several moments.
    #[test]
    fn a_query_as_of_a_moment_is_the_query_at_that_moment(
        variant in select(Variant::ALL.as_slice()),
        questions in vec(question(), 8),
        before in vec(step(), 4..16),
        after in vec(step(), 2..16),
    ) {
        let db = TestDb::new();
        variant.create(&db);
        let_the_application_read_the_log(&db);
        let mut run = Run::new(&db, &questions);
        run.remember();
        for (who, step) in &before {
            run.step(*who, step);
        }
        // With transactions open, and with what they did hidden.
        run.remember();
        run.compare(&mut db.auditor())?;
        for (who, step) in &after {
            run.step(*who, step);
        }
        run.step(0, &Step::Commit);
        run.step(1, &Step::Commit);
        run.remember();
        run.compare(&mut db.auditor())?;
        run.compare(&mut db.app())?;
    }
}
