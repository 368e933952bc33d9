//! PostgreSQL's own load, all of its tables audited from before their first row, so that the log knows every row.

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::Definition;
use threadline_tests::log::{assert_newest_images_equal_table, assert_nothing_is_orphaned};
use threadline_tests::{TestDb, execute, program, rows, run, skip, value};

use crate::as_of_commit::{collect_writes, sums_at};
use crate::{alone, report};

const SCALE: i64 = 5;
const SECONDS: i64 = 30;
const MOMENTS: usize = 30;

const TABLES: [(&str, &[&str]); 4] = [
    ("pgbench_accounts", &["aid"]),
    ("pgbench_tellers", &["tid"]),
    ("pgbench_branches", &["bid"]),
    ("pgbench_history", &["id"]),
];

/// The moments fail when `threadline_seal_v1` takes `transaction_timestamp()` for the time of the commit, the numbers of
/// changes when the log loses one of them, for instance to a BEFORE INSERT trigger that drops every thousandth id.
#[test]
fn pgbench_with_eight_clients() {
    let _alone = alone();
    if program("pgbench").is_none() {
        return skip(
            "no pgbench; it comes with PostgreSQL's packages, on Debian with `postgresql`",
        );
    }
    let db = TestDb::new();
    let owner = db.url("tl_owner");
    let scale = SCALE.to_string();
    run("pgbench", &["-q", "-i", "-I", "dtp", "-s", &scale, &owner]);
    capture(&db);
    run("pgbench", &["-q", "-i", "-I", "g", "-s", &scale, &owner]);

    let seconds = SECONDS.to_string();
    let said = run(
        "pgbench",
        &[
            "-n",
            "-c",
            "8",
            "-j",
            "2",
            "-T",
            &seconds,
            &db.url("tl_app"),
        ],
    );
    let transactions = count(&said, "number of transactions actually processed: ");
    assert!(transactions > 0, "{said}");

    assert_every_write_is_there(&db, transactions);
    for (table, _) in TABLES {
        assert_newest_images_equal_table(&db, table);
    }
    assert_nothing_is_orphaned(&db);
    assert_whole_transactions_at_moments(&db);
    report(&format!(
        "pgbench: {transactions} transactions of 4 captured writes in {SECONDS} s, {} writes/s",
        transactions * 4 / SECONDS
    ));
}

/// Captures the tables; the history has no key, so a user has to give it one.
fn capture(db: &TestDb) {
    let refusal = || {
        let history = Definition::new("History", &["aid"]);
        let refused = db.try_capture("pgbench_history", history);
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        refusal(),
        "threadline: key column aid of table public.pgbench_history may be NULL\n\
         ALTER TABLE ... ALTER COLUMN ... SET NOT NULL first, or declare another key. \
         Should you generate the migration again, remove this one first."
    );
    execute(
        &mut db.owner(),
        "ALTER TABLE pgbench_history ALTER COLUMN aid SET NOT NULL",
    );
    assert_eq!(
        refusal(),
        "threadline: the columns {aid} of table public.pgbench_history are not its primary key, \
         nor those of a valid, immediate, non-partial unique index\n\
         Create such an index first, or declare another key. \
         Should you generate the migration again, remove this one first."
    );
    let audited = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'pgbench_history'::regclass";
    assert_eq!(value(&mut db.owner(), audited), 0);
    db.create(
        "ALTER TABLE pgbench_history ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    );
    for (table, key) in TABLES {
        db.capture(table, Definition::new("Row", key).store_changed_from());
    }
    let unknown = "SELECT count(*) FROM audit_tables WHERE horizon IS NULL";
    assert_eq!(value(&mut db.owner(), unknown), 0);
}

/// Every update of a transaction and its line in the history, after the rows of the initial load. A random delta of 0
/// changes nothing but the history.
fn assert_every_write_is_there(db: &TestDb, transactions: i64) {
    let counts = rows(
        &mut db.auditor(),
        "SELECT table_name AS t, op, count(*) AS n FROM audit_changes GROUP BY 1, 2 ORDER BY 1, 2",
    );
    let zeros = "SELECT count(*) FROM pgbench_history WHERE delta = 0";
    let updates = transactions - value(&mut db.owner(), zeros).as_i64().unwrap();
    let line = |table: &str, op: &str, n: i64| json!({"t": table, "op": op, "n": n});
    let loaded = |table: &'static str, n: i64| {
        [
            line(table, "insert", n * SCALE),
            line(table, "truncate", 1),
            line(table, "update", updates),
        ]
    };
    let history = [
        line("pgbench_history", "insert", transactions),
        line("pgbench_history", "truncate", 1),
    ];
    let expected: Vec<_> = loaded("pgbench_accounts", 100_000)
        .into_iter()
        .chain(loaded("pgbench_branches", 1))
        .chain(history)
        .chain(loaded("pgbench_tellers", 10))
        .collect();
    assert_eq!(counts, expected);
    let distinct =
        "SELECT jsonb_build_array(count(*), count(DISTINCT txid)) FROM audit_transactions
                    WHERE session_user_name = 'tl_app'";
    assert_eq!(
        value(&mut db.auditor(), distinct),
        json!([transactions, transactions])
    );
}

/// At moments when somebody had written an account and not yet the teller and the branch.
fn assert_whole_transactions_at_moments(db: &TestDb) {
    let mut owner = db.owner();
    let started_at_zero = "SELECT bool_and((data_after -> 'abalance') = '0') FROM audit_changes
                           WHERE op = 'insert' AND table_name = 'pgbench_accounts'";
    assert_eq!(value(&mut owner, started_at_zero), true);
    collect_writes(&mut owner);
    let moments = rows(
        &mut owner,
        &format!(
            "SELECT min(captured_at) AS at FROM (
               SELECT captured_at, ntile({MOMENTS}) OVER (ORDER BY captured_at) AS part
               FROM writes WHERE table_name = 'pgbench_accounts') w GROUP BY part ORDER BY part"
        ),
    );
    assert_eq!(moments.len(), MOMENTS);
    let halves = |owner: &mut PgConnection, time: &str| -> Vec<Value> {
        let mut moments: Vec<_> = moments.iter().map(|moment| moment["at"].clone()).collect();
        moments.retain(|moment| sums_at(owner, time, moment) != 1);
        moments
    };
    assert_eq!(halves(&mut owner, "committed_at"), Vec::<Value>::new());
    // The control: by the time of writing, moments show half transactions.
    let by_writing = halves(&mut owner, "captured_at").len();
    assert!(by_writing > 0);
    report(&format!(
        "pgbench: by the time of writing, {by_writing} of {MOMENTS} moments show half transactions"
    ));
    execute(&mut owner, "DROP TABLE writes");
}

/// The number after a label of pgbench's summary.
fn count(summary: &str, label: &str) -> i64 {
    let line = summary.lines().find_map(|line| line.strip_prefix(label));
    let number = line.and_then(|rest| rest.split(['/', ' ']).next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{label}: {summary}"))
}
