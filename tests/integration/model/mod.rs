//! Random work, and whether history says of it what an independent model says.

mod truth;
mod work;

use bigdecimal::BigDecimal;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::sql_types::Timestamptz;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::{AsOf, Definition, Level, Snapshot, prelude::*};
use threadline_tests::TestDb;

use truth::{Moment, State, Truth, Version};
use work::{Statement, Work};

diesel::table! {
    items (id) {
        id -> BigInt,
        at -> Nullable<Timestamptz>,
        done -> Bool,
        extra -> Nullable<Jsonb>,
        label -> Text,
        price -> Nullable<Numeric>,
    }
}

/// How the table is made and captured. History is the same for all of them.
#[derive(Debug, Clone, Copy)]
enum Variant {
    Row,
    Statement,
    /// A key change moves the row to another partition.
    Partitioned,
    /// Reads take a column from earlier changes.
    OnChange(Level),
}

impl Variant {
    const ALL: [Self; 5] = [
        Self::Row,
        Self::Statement,
        Self::Partitioned,
        Self::OnChange(Level::Row),
        Self::OnChange(Level::Statement),
    ];

    fn create(self) -> String {
        let columns = "id bigint PRIMARY KEY, at timestamptz, done boolean NOT NULL, extra jsonb,
            label text NOT NULL, price numeric";
        match self {
            Self::Partitioned => format!(
                "CREATE TABLE items ({columns}) PARTITION BY LIST (id);
                 CREATE TABLE items_1 PARTITION OF items FOR VALUES IN (1);
                 CREATE TABLE items_other PARTITION OF items DEFAULT"
            ),
            _ => format!("CREATE TABLE items ({columns})"),
        }
    }

    fn definition(self) -> Definition {
        let definition = Item::DEFINITION;
        match self {
            Self::Row | Self::Partitioned => definition,
            Self::Statement => definition.level(Level::Statement),
            Self::OnChange(level) => definition.level(level).on_change(&["extra", "label"]),
        }
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, Audited)]
#[diesel(table_name = items)]
#[audited(store_changed_from)]
struct Item {
    id: i64,
    at: Option<DateTime<Utc>>,
    done: bool,
    extra: Option<serde_json::Value>,
    label: String,
    price: Option<BigDecimal>,
}

/// Every key that rows get: few, so that they meet; the last one is beyond what a JSON number holds.
const KEYS: [i64; 3] = [1, 2, 9_007_199_254_740_993];

/// The database, the model, and what time it was before, between and after the statements.
struct Run {
    app: PgConnection,
    truth: Truth,
    moments: Vec<DateTime<Utc>>,
}

impl Run {
    fn all(&mut self, work: &[Work]) {
        for step in work {
            match step {
                Work::Statement(statement) => self.one(statement),
                Work::Savepoint { work, keep } => self.savepoint(work, *keep),
            }
        }
    }

    /// Outermost, it is a transaction.
    fn savepoint(&mut self, work: &[Work], keep: bool) {
        type Manager = <PgConnection as Connection>::TransactionManager;
        use diesel::connection::TransactionManager;

        let before = self.truth.clone();
        Manager::begin_transaction(&mut self.app).unwrap();
        self.all(work);
        if keep {
            Manager::commit_transaction(&mut self.app).unwrap();
        } else {
            Manager::rollback_transaction(&mut self.app).unwrap();
            self.truth = before;
        }
    }

    fn one(&mut self, statement: &Statement) {
        let mut after = self.truth.clone();
        let legal = after.apply(statement, Moment(self.moments.len()));
        // By itself, so that a refusal leaves a transaction around it usable.
        let outcome = self.app.transaction(|conn| statement.execute(conn));
        match outcome {
            Ok(_) if legal => self.truth = after,
            Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) if !legal => {}
            other => panic!("{statement:?} should be legal: {legal}, but gave {other:?}"),
        }
        self.read_clock();
    }

    fn read_clock(&mut self) {
        let now = diesel::select(sql::<Timestamptz>("clock_timestamp()"));
        self.moments.push(now.get_result(&mut self.app).unwrap());
    }
}

fn recorded(auditor: &mut PgConnection, key: i64) -> Vec<Version> {
    let history = Item::history(key).load(auditor).unwrap();
    let versions = history.into_iter().map(|change| Version {
        op: change.op,
        changed_fields: change.changed_fields,
        row: match change.snapshot {
            Snapshot::After(row) | Snapshot::Before(row) => Some(row.image()),
            Snapshot::Absent => None,
            other => panic!("{other:?}"),
        },
    });
    versions.collect()
}

/// When each change of a key was written, oldest first.
fn written(auditor: &mut PgConnection, key: i64) -> Vec<DateTime<Utc>> {
    let history = Item::history(key).load(auditor).unwrap();
    history
        .iter()
        .rev()
        .map(|change| change.captured_at)
        .collect()
}

fn as_of(auditor: &mut PgConnection, key: i64, moment: DateTime<Utc>) -> State {
    match Item::as_of(key, moment).get_result(auditor).unwrap() {
        AsOf::Found { row, .. } => State::Found(row.image()),
        AsOf::Deleted(_) => State::Deleted,
        AsOf::NotYetCreated => State::NotYetCreated,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn history_and_as_of_equal_the_model(variant in select(Variant::ALL.as_slice()), work in vec(work::any(), 1..10)) {
        let db = TestDb::new();
        db.create(&variant.create());
        db.capture("items", variant.definition());
        let mut run = Run {
            app: db.app(),
            truth: Truth::default(),
            moments: Vec::new(),
        };
        run.read_clock();
        run.all(&work);

        // The model would be no judge if it were wrong about the table itself.
        let live = items::table.order(items::id).load::<Item>(&mut run.app).unwrap();
        let live: Vec<_> = live.iter().map(Item::image).collect();
        prop_assert_eq!(live, run.truth.live());

        let mut auditor = db.auditor();
        for key in KEYS {
            prop_assert_eq!(recorded(&mut auditor, key), run.truth.versions(key), "history of {}", key);
            for (index, moment) in written(&mut auditor, key).into_iter().enumerate() {
                let before = as_of(&mut auditor, key, moment - TimeDelta::microseconds(1));
                prop_assert_eq!(before, run.truth.state_after(key, index), "{} before change {}", key, index);
                let then = as_of(&mut auditor, key, moment);
                prop_assert_eq!(then, run.truth.state_after(key, index + 1), "{} at change {}", key, index);
            }
            for (index, moment) in run.moments.iter().enumerate() {
                let expected = run.truth.state(key, Moment(index));
                prop_assert_eq!(as_of(&mut auditor, key, *moment), expected, "{} as of moment {}", key, index);
            }
        }
    }
}
