//! One row's changes, where the clock was set back between them: against a model of what the log has of it.

use std::cell::RefCell;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{TestRng, TestRunner};
use threadline::TimelineFilter;
use threadline_tests::value;

use super::*;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Row,
    /// The row, under the former name of its key column.
    RowAsItWas,
    AnotherRow,
    /// Another row, whose key has the hash of this one's.
    SameHash,
    Truncate,
}

/// A line of the log, and when it says that it was captured: in microseconds after the first moment.
#[derive(Debug, Clone, Copy)]
struct Line {
    about: About,
    op: &'static str,
    at: i64,
}

const MOMENTS: i64 = 6;

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let about = prop_oneof![
        6 => Just(About::Row),
        2 => Just(About::RowAsItWas),
        1 => Just(About::AnotherRow),
        1 => Just(About::SameHash),
        2 => Just(About::Truncate),
    ];
    let op = prop::sample::select(vec!["insert", "update", "update", "baseline", "delete"]);
    let line = (about, op, 0..MOMENTS).prop_map(|(about, op, at)| {
        let op = if about == About::Truncate {
            "truncate"
        } else {
            op
        };
        Line { about, op, at }
    });
    prop::collection::vec(line, 0..16)
}

fn first_moment() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn moment(at: i64) -> DateTime<Utc> {
    first_moment() + TimeDelta::microseconds(at)
}

/// The lines are all that the log has.
fn fill(conn: &mut PgConnection, lines: &[Line]) {
    let mut sql = "DELETE FROM audit_changes;".to_owned();
    for (index, line) in lines.iter().enumerate() {
        let (pk, hashed) = match line.about {
            About::Row => (r#"{"id": "1"}"#, r#"{"id": "1"}"#),
            About::RowAsItWas => (r#"{"number": "1"}"#, r#"{"number": "1"}"#),
            About::AnotherRow => (r#"{"id": "2"}"#, r#"{"id": "2"}"#),
            About::SameHash => (r#"{"id": "3"}"#, r#"{"id": "1"}"#),
            About::Truncate => ("{}", "{}"),
        };
        sql += &format!(
            "INSERT INTO audit_changes (id, key_hash, captured_at, transaction_id, table_id, table_schema, table_name, op, table_pk, data_after)
             VALUES ({}, hashtextextended('{hashed}'::jsonb::text, 0), '{}', md5('t')::uuid, threadline_table('items'), 'public', 'items', '{}',
                 '{pk}', {});",
            index + 1,
            moment(line.at).to_rfc3339(),
            line.op,
            if ["delete", "truncate"].contains(&line.op) {
                "NULL"
            } else {
                "'{\"id\": 1}'"
            },
        );
    }
    execute(conn, &sql);
}

/// The row's history by the number of the line, with the moments: a TRUNCATE counts if the row was there.
fn history(lines: &[Line]) -> Vec<(i64, i64)> {
    let mut there = false;
    let mut history = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let counts = match line.about {
            About::Row | About::RowAsItWas => true,
            About::AnotherRow | About::SameHash => false,
            About::Truncate => there,
        };
        if counts {
            history.push((index as i64 + 1, line.at));
        }
        if counts || line.about == About::Truncate {
            there = !["delete", "truncate"].contains(&line.op);
        }
    }
    history
}

#[test]
fn is_read_as_the_log_has_it_whatever_the_clock_did() {
    let db = items(0);
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        "SET session_replication_role = replica;
         UPDATE audit_tables SET former_columns = '{\"id\": [\"number\"]}'",
    );
    let superuser = RefCell::new(superuser);
    let auditor = RefCell::new(db.auditor());
    let row = || TimelineFilter::new().table("items").key([("id", 1)]);
    let transaction = value(&mut superuser.borrow_mut(), "SELECT md5('t')::uuid::text");
    let transaction = transaction.as_str().unwrap().parse().unwrap();
    // Always the same cases, which are known to notice each mutation.
    let config = ProptestConfig::with_cases(40);
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let given = (lines(), 0..MOMENTS, 0..MOMENTS, 1..6_i64, any::<bool>());
    runner
        .run(&given, |(lines, from, to, limit, oldest_first)| {
            fill(&mut superuser.borrow_mut(), &lines);
            let mut conn = auditor.borrow_mut();
            let history = history(&lines);

            let sorted = |history: &[(i64, i64)]| {
                let mut ids: Vec<_> = history.iter().map(|(id, at)| (*at, *id)).collect();
                ids.sort_unstable();
                if !oldest_first {
                    ids.reverse();
                }
                ids.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
            };
            let all = sorted(&history);
            let shown = walk(&mut conn, &row(), oldest_first, limit);
            prop_assert_eq!(ids(&shown), &*all);
            let also = row().transaction(transaction);
            prop_assert_eq!(ids(&walk(&mut conn, &also, oldest_first, limit)), &*all);
            let window: Vec<_> = history
                .iter()
                .filter(|(_, at)| (from..=to).contains(at))
                .copied()
                .collect();
            let within = row().from(moment(from)).to(moment(to));
            let shown = walk(&mut conn, &within, oldest_first, limit);
            prop_assert_eq!(ids(&shown), sorted(&window));

            // At a moment the row is as the last line about it that had been captured by then.
            let asked = format!(
                "SELECT jsonb_agg((a.change).id ORDER BY n) FROM generate_series(-1, {MOMENTS}) n
                 CROSS JOIN LATERAL threadline_as_of('items', '{{\"id\": 1}}', '{}'::timestamptz + n * interval '1 us') a",
                first_moment().to_rfc3339()
            );
            let newest: Vec<_> = (-1..=MOMENTS)
                .map(|moment| {
                    let by_then = history.iter().filter(|(_, at)| *at <= moment);
                    by_then.map(|(id, _)| *id).max()
                })
                .collect();
            prop_assert_eq!(value(&mut conn, &asked), serde_json::json!(newest));
            Ok(())
        })
        .unwrap();
}
