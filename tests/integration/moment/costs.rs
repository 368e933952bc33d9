//! What a query as of a moment costs, counted: whatever it asks, the rows of a table are made once and read once for each place
//! that the query reads them at.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::sql_types::Timestamptz;
use threadline::{Definition, as_of_raw};
use threadline_tests::explain::{Plan, explain};

use super::queries::{Account, Entry, Question, plan};
use super::*;

const ROWS: i64 = 2_000;

/// How the names of the items begin that hold the rows of a table.
const ITEM: &str = "threadline rows";

/// Three tables whose rows all pass the conditions below. The planner expects few to.
fn tables() -> (TestDb, DateTime<Utc>) {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, owner text NOT NULL, balance integer NOT NULL, note text);
         CREATE TABLE entries (id bigint PRIMARY KEY, account_id bigint NOT NULL, amount numeric NOT NULL, kind text NOT NULL);
         CREATE TABLE cards (id bigint PRIMARY KEY, account_id bigint NOT NULL, name text NOT NULL, deleted_at timestamptz)",
    );
    for table in ["accounts", "entries", "cards"] {
        db.capture(table, Definition::new("Model", &["id"]));
    }
    execute(
        &mut db.app(),
        &format!(
            "INSERT INTO accounts SELECT n, 'ada', n, NULL FROM generate_series(1, {ROWS}) n;
             INSERT INTO entries SELECT n, n, 10, 'in' FROM generate_series(1, {ROWS}) n;
             INSERT INTO cards SELECT n, n, 'card ' || n, NULL FROM generate_series(1, {ROWS}) n"
        ),
    );
    let moment = clock(&mut db.app());
    (db, moment)
}

fn is_linear(plan: &Plan) -> bool {
    plan.rows_read() <= (3 * ROWS) as f64 * plan.scans(ITEM) as f64
}

fn assert_linear(plan: &Plan, tables: usize, asked: impl Display) {
    assert_eq!(
        plan.calls("threadline_moment"),
        vec![1.0; tables],
        "{asked}: {plan}"
    );
    assert!(
        is_linear(plan),
        "{asked}: {} rows read: {plan}",
        plan.rows_read()
    );
}

/// Every kind of question but those that are about pairs of rows, with conditions that all, a tenth and one of the rows pass.
fn questions() -> Vec<(usize, Question)> {
    use Account::{BalanceOver, Either, HasEntriesOver, IsNamedByEntries, Noted, OneOf, OwnedBy};
    let not = |account| Account::Not(Box::new(account));
    let either = |one, other| Either(Box::new(one), Box::new(other));
    // With the first two, the planner expects one row.
    let accounts = |more: &[Account]| [&[OwnedBy("ada"), not(Noted)], more].concat();
    let entries = || vec![Entry::Kind("in"), Entry::Not(Box::new(Entry::Kind("out")))];
    let few = i32::try_from(ROWS).unwrap() * 9 / 10;
    let alone = [
        vec![],
        vec![BalanceOver(0)],
        vec![BalanceOver(few)],
        vec![OneOf(vec![7])],
        accounts(&[]),
        accounts(&[BalanceOver(few)]),
    ];
    let with_entries = [
        vec![HasEntriesOver(0)],
        vec![not(HasEntriesOver(99))],
        vec![IsNamedByEntries("in")],
        vec![not(IsNamedByEntries("out"))],
        vec![either(OwnedBy("bob"), HasEntriesOver(0))],
        vec![either(HasEntriesOver(99), not(HasEntriesOver(99)))],
        vec![either(OwnedBy("bob"), IsNamedByEntries("in"))],
    ];
    let mut questions = Vec::new();
    for filters in alone {
        let page = (filters.len() < 2).then_some((10, 5));
        questions.push((1, Question::CountAccounts(filters.clone())));
        questions.push((1, Question::DistinctOwners(filters.clone())));
        questions.push((
            1,
            Question::GroupedByOwner {
                filters: filters.clone(),
                more_than: 0,
            },
        ));
        questions.push((
            1,
            Question::Accounts {
                filters: filters.clone(),
                page,
            },
        ));
        questions.push((2, Question::LeftJoined(filters.clone())));
        for entries in [vec![], entries()] {
            questions.push((2, Question::Joined(filters.clone(), entries.clone())));
            questions.push((2, Question::Union(filters.clone(), entries)));
        }
    }
    for filters in with_entries {
        for filters in [filters.clone(), accounts(&filters)] {
            questions.push((
                2,
                Question::Accounts {
                    filters: filters.clone(),
                    page: None,
                },
            ));
            questions.push((2, Question::LeftJoined(filters)));
        }
    }
    for filters in [vec![], vec![Entry::AmountOver(9)], entries()] {
        questions.push((
            1,
            Question::Entries {
                filters: filters.clone(),
                page: None,
            },
        ));
        questions.push((1, Question::SumEntries(filters.clone())));
        questions.push((2, Question::TotalsByAccount(filters.clone())));
        let of_account = [filters, vec![Entry::OfAccountOver(-1)]].concat();
        questions.push((
            2,
            Question::Entries {
                filters: of_account,
                page: None,
            },
        ));
    }
    questions
}

/// Joins of three tables and more, LIKE, deleted rows, an EXISTS that is selected; each with the number of its tables.
fn texts() -> Vec<(usize, String)> {
    let joined = "accounts a INNER JOIN entries e ON e.account_id = a.id INNER JOIN cards c ON c.account_id = a.id";
    let strict = "a.owner LIKE '%d%' AND a.note IS NULL AND e.kind LIKE 'i%' AND e.amount = 10 AND c.name LIKE 'card%' AND c.deleted_at IS NULL";
    let entries = "EXISTS (SELECT 1 FROM entries e WHERE e.account_id = a.id AND e.kind LIKE 'i%' AND e.amount = 10)";
    let chain: String = (1..8)
        .map(|n| {
            let (table, key) = [("accounts", "id"), ("entries", "account_id"), ("cards", "account_id")][n % 3];
            format!(" INNER JOIN {table} t{n} ON t{n}.{key} = t{}.id AND t{n}.id::text LIKE '%' AND t{n}.id + 0 = t{n}.id", n - 1)
        })
        .collect();
    vec![
        (1, "SELECT id FROM cards WHERE deleted_at IS NULL AND name LIKE 'card%' ORDER BY id LIMIT 10".to_owned()),
        (3, format!("SELECT a.id FROM {joined}")),
        (3, format!("SELECT a.id FROM {joined} WHERE {strict}")),
        (3, format!("SELECT c.id, sum(e.amount) FROM {joined} WHERE {strict} GROUP BY c.id")),
        (3, format!("SELECT a.id FROM {} WHERE {}", joined.replace("INNER", "LEFT OUTER"), strict)),
        (3, format!("SELECT a0.id FROM accounts a0{chain} WHERE a0.owner LIKE '%' AND a0.note IS NULL").replace("t0.", "a0.")),
        (2, format!("SELECT id, {entries} FROM accounts a WHERE owner LIKE '%' AND note IS NULL AND balance = balance + 0")),
        (2, format!("SELECT id FROM accounts a WHERE owner LIKE '%' AND note IS NULL AND (owner = 'bob' OR NOT {entries}) AND (owner = 'cy' OR {entries})")),
        (1, "SELECT a.id FROM accounts a INNER JOIN accounts b ON b.id = a.id + 1 AND b.note IS NULL AND b.owner LIKE '%' WHERE a.note IS NULL AND a.owner LIKE '%'".to_owned()),
    ]
}

fn rendered(text: &str, moment: DateTime<Utc>) -> String {
    let literal = format!("'{}'::timestamptz", moment.to_rfc3339());
    let query = as_of_raw(diesel::sql_query(text), sql::<Timestamptz>(&literal));
    diesel::debug_query::<Pg, _>(&query).to_string()
}

#[test]
fn queries_read_each_table_once() {
    let (db, moment) = tables();
    let mut auditor = db.auditor();
    for (tables, question) in questions() {
        assert!(!question.is_about_pairs());
        let plan = plan(&question, moment, &mut auditor);
        assert_linear(&plan, tables, format!("{question:?}"));
    }
    for (tables, text) in texts() {
        let plan = explain(&mut auditor, diesel::sql_query(rendered(&text, moment)));
        assert_linear(&plan, tables, text);
    }
}

/// Without any part of the items, some queries go through pairs of rows, and the counting finds them.
#[test]
fn each_part_of_the_items_is_needed() {
    let (db, moment) = tables();
    let mut auditor = db.auditor();
    for (part, without) in [
        (" UNION ALL TABLE tl_none", ""),
        (" ORDER BY tl_r::text", ""),
        ("AS NOT MATERIALIZED", "AS MATERIALIZED"),
    ] {
        let all_linear = texts().iter().all(|(_, text)| {
            let rendered = rendered(text, moment);
            assert!(rendered.contains(part), "{part}: {rendered}");
            let query = diesel::sql_query(rendered.replace(part, without));
            is_linear(&explain(&mut auditor, query))
        });
        assert!(!all_linear, "without {part}");
    }
}
