//! Two sessions that write by turns, and the model of what both did.

use chrono::{DateTime, Utc};
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Timestamptz;
use proptest::prelude::*;
use proptest::sample::select;
use threadline_tests::TestDb;

use super::table::KEYS;
use super::truth::{Kept, Moment, Truth};
use super::work::{self, Statement, Work};

/// What one of the sessions does next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Where a transaction is open already, nothing.
    Begin,
    /// Where none is open, nothing.
    End {
        commit: bool,
    },
    Work(Work),
}

pub fn step() -> impl Strategy<Value = (usize, Step)> {
    let step = prop_oneof![
        2 => Just(Step::Begin),
        2 => select(vec![true, true, false]).prop_map(|commit| Step::End { commit }),
        6 => work::any().prop_map(Step::Work),
    ];
    (0..2_usize, step)
}

/// The sessions, the model, and what time it was before, between and after the statements.
pub struct Run {
    sessions: [Session; 2],
    pub truth: Truth,
    pub moments: Vec<DateTime<Utc>>,
}

struct Session {
    conn: PgConnection,
    open: bool,
    /// Every key that the open transaction may have written, as it was before.
    held: Vec<Kept>,
}

impl Session {
    fn holds(&self, key: i64) -> bool {
        self.held.iter().any(|kept| kept.key == key)
    }
}

impl Run {
    pub fn new(db: &TestDb) -> Self {
        let session = || Session {
            conn: db.app(),
            open: false,
            held: Vec::new(),
        };
        let mut run = Self {
            sessions: [session(), session()],
            truth: Truth::default(),
            moments: Vec::new(),
        };
        run.read_clock(0);
        run
    }

    /// Takes all steps, and ends what is open then.
    pub fn all(&mut self, steps: &[(usize, Step)]) {
        for (who, step) in steps {
            match step {
                Step::Begin => self.begin(*who),
                Step::End { commit } => self.end(*who, *commit),
                Step::Work(work) => self.work(*who, work),
            }
        }
        self.end(0, true);
        self.end(1, true);
    }

    fn begin(&mut self, who: usize) {
        let session = &mut self.sessions[who];
        if !session.open {
            AnsiTransactionManager::begin_transaction(&mut session.conn).unwrap();
            session.open = true;
        }
    }

    fn end(&mut self, who: usize, commit: bool) {
        let session = &mut self.sessions[who];
        if !std::mem::take(&mut session.open) {
            return;
        }
        let held = std::mem::take(&mut session.held);
        if commit {
            AnsiTransactionManager::commit_transaction(&mut session.conn).unwrap();
        } else {
            AnsiTransactionManager::rollback_transaction(&mut session.conn).unwrap();
            held.into_iter().for_each(|kept| self.truth.restore(kept));
        }
        self.read_clock(who);
    }

    /// Work that would wait for the other session is left out.
    fn work(&mut self, who: usize, work: &Work) {
        let other = &self.sessions[1 - who];
        if KEYS
            .iter()
            .any(|key| other.holds(*key) && work.touches(*key))
            || other.open && work.is_exclusive()
        {
            return;
        }
        let session = &mut self.sessions[who];
        if session.open {
            for key in KEYS.into_iter().filter(|key| work.touches(*key)) {
                if !session.holds(key) {
                    session.held.push(self.truth.keep(key));
                }
            }
        }
        self.now(who, work);
    }

    fn now(&mut self, who: usize, work: &Work) {
        match work {
            Work::Statement(statement) => self.statement(who, statement),
            Work::Savepoint { work, keep } => self.savepoint(who, work, *keep),
        }
    }

    /// Outermost, it is a transaction.
    fn savepoint(&mut self, who: usize, work: &[Work], keep: bool) {
        let before = self.truth.clone();
        AnsiTransactionManager::begin_transaction(&mut self.sessions[who].conn).unwrap();
        work.iter().for_each(|work| self.now(who, work));
        let conn = &mut self.sessions[who].conn;
        if keep {
            AnsiTransactionManager::commit_transaction(conn).unwrap();
        } else {
            AnsiTransactionManager::rollback_transaction(conn).unwrap();
            self.truth = before;
        }
    }

    fn statement(&mut self, who: usize, statement: &Statement) {
        let mut after = self.truth.clone();
        let legal = after.apply(statement, Moment(self.moments.len()));
        // By itself, so that a refusal leaves a transaction around it usable.
        let outcome = self.sessions[who]
            .conn
            .transaction(|conn| statement.execute(conn));
        match outcome {
            Ok(_) if legal => self.truth = after,
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) if !legal => {}
            other => panic!("{statement:?} should be legal: {legal}, but gave {other:?}"),
        }
        self.read_clock(who);
    }

    fn read_clock(&mut self, who: usize) {
        let now = diesel::select(sql::<Timestamptz>("clock_timestamp()"));
        let now = now.get_result(&mut self.sessions[who].conn).unwrap();
        self.moments.push(now);
    }
}
