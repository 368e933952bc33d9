//! Random DDL between random writes: no answer is other than the truth, or unknown.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::Level;
use threadline::capture::{CapturePlan, Policy};
use threadline_tests::{TestDb, try_execute};

use super::truth::Truth;

/// What happens to the table `t`, whose columns are `id`, `n` and some of `a` to `d`. What isn't possible then, doesn't happen.
#[derive(Debug, Clone)]
enum Step {
    Insert(i32),
    Update(i32),
    Delete(i32),
    Ddl(&'static str),
    /// To capture it again, under the key that it has by then.
    Capture,
    /// To look at it again.
    Look,
    Note,
}

const DDL: &[&str] = &[
    "ALTER TABLE t ADD a int",
    "ALTER TABLE t ADD a int NOT NULL DEFAULT 7",
    "ALTER TABLE t ADD b text DEFAULT 'given'",
    "ALTER TABLE t ADD b int DEFAULT (random() * 1000)::int",
    "ALTER TABLE t ADD c int GENERATED ALWAYS AS (n * 2) STORED",
    "ALTER TABLE t DROP a",
    "ALTER TABLE t DROP b",
    "ALTER TABLE t DROP c",
    "ALTER TABLE t RENAME a TO b",
    "ALTER TABLE t RENAME b TO a",
    "ALTER TABLE t RENAME n TO m; ALTER TABLE t RENAME a TO n; ALTER TABLE t RENAME m TO a",
    "ALTER TABLE t ALTER n TYPE bigint USING n * 100",
    "ALTER TABLE t ALTER n TYPE int USING n + 1",
    "ALTER TABLE t ALTER n TYPE text",
    "ALTER TABLE t ALTER a TYPE int USING a + 1",
    "ALTER TABLE t ALTER id TYPE bigint USING id + 10",
    "ALTER TABLE t ALTER id TYPE int",
    "ALTER TABLE t ALTER a SET DEFAULT 9",
    "ALTER TABLE t ALTER a DROP DEFAULT",
    "ALTER TABLE t ALTER n SET NOT NULL",
    "ALTER TABLE t ALTER n DROP NOT NULL",
    "VACUUM FULL t",
    "TRUNCATE t",
    "ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET n = n; INSERT INTO t VALUES (99, 99); DELETE FROM t WHERE id = 1; ALTER TABLE t ENABLE TRIGGER USER",
    "ALTER TABLE t DISABLE TRIGGER USER; DELETE FROM t WHERE id = 2",
    "ALTER TABLE t ENABLE TRIGGER USER",
    "DROP TABLE t CASCADE; CREATE TABLE t (id int PRIMARY KEY, n int)",
    "DROP TABLE t CASCADE; CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 5)",
    "CREATE TABLE s (LIKE t INCLUDING ALL); INSERT INTO s SELECT * FROM t; DROP TABLE t CASCADE; ALTER TABLE s RENAME TO t; DELETE FROM t WHERE id = 3",
    "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id, n)",
    "ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE; ALTER TABLE t ADD PRIMARY KEY (id)",
    "CREATE TABLE child () INHERITS (t); INSERT INTO child (id, n) VALUES (50, 50)",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..5).prop_map(Step::Insert),
        3 => (1..5).prop_map(Step::Update),
        1 => (1..5).prop_map(Step::Delete),
        5 => select(DDL).prop_map(Step::Ddl),
        1 => Just(Step::Capture),
        2 => Just(Step::Look),
        4 => Just(Step::Note),
    ]
}

fn capture(db: &TestDb, level: Level) {
    let policy = Policy {
        level,
        ..Policy::default()
    };
    let plan = CapturePlan::for_table("t".parse().unwrap(), policy).unwrap();
    // Refused where the table is not fit for it: then it stays as it is.
    let _ = db.apply(&plan);
}

/// Takes the steps, and asks about every moment at the end. Returns for how many of them the whole table is known.
fn known(level: Level, steps: &[Step]) -> (usize, usize) {
    let db = TestDb::new();
    db.create("CREATE TABLE t (id int PRIMARY KEY, n int)");
    capture(&db, level);
    let mut truth = Truth::of(&db, "t");
    let mut owner = db.owner();
    let mut run = |sql: &str| {
        let mut statements = sql.split(';');
        // Some can't run in the transaction that several statements are.
        statements.all(|statement| try_execute(&mut owner, statement).is_ok())
    };
    for step in steps {
        match step {
            Step::Insert(id) => {
                run(&format!("INSERT INTO t (id, n) VALUES ({id}, {id}0)"));
            }
            Step::Update(id) => {
                run(&format!(
                    "UPDATE t SET n = n WHERE id = {id}; UPDATE t SET n = (n::text || '1')::int % 1000 WHERE id = {id}"
                ));
            }
            Step::Delete(id) => {
                run(&format!("DELETE FROM t WHERE id = {id}"));
            }
            Step::Ddl(sql) => {
                run(sql);
            }
            Step::Capture => capture(&db, level),
            Step::Look => {
                run("SELECT threadline_note('t')");
            }
            Step::Note => {
                truth.note();
            }
        }
    }
    truth.note();
    let answers = truth.check_all();
    let whole = answers.iter().filter(|known| known.whole).count();
    (whole, answers.len())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn c42_ddl_leaves_the_truth_or_unknown(level in select(vec![Level::Row, Level::Statement]), steps in vec(step(), 4..30)) {
        known(level, &steps);
    }
}
