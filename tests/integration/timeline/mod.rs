//! Lists across tables, page by page.

mod crowded;
mod fields;
mod filters;
mod one_row;
mod pages;
mod plans;
mod refusals;
mod scope;
mod snapshot;
mod standby;
mod writers;

use diesel::prelude::*;
use threadline::{AuditChange, Cursor, Page, TimelineFilter, timeline};
use threadline_tests::{TestDb, execute};

/// A connection's page of the timeline.
fn page(
    conn: &mut PgConnection,
    filter: &TimelineFilter,
    oldest_first: bool,
    limit: i64,
    cursor: Option<&Cursor>,
) -> Page<AuditChange> {
    let mut list = timeline(filter.clone()).limit(limit).unwrap();
    if oldest_first {
        list = list.oldest_first();
    }
    if let Some(cursor) = cursor {
        list = list.at(cursor).unwrap();
    }
    list.get_result(conn).unwrap()
}

/// Every page from the first to the last, and back: the same pages.
fn walk(
    conn: &mut PgConnection,
    filter: &TimelineFilter,
    oldest_first: bool,
    limit: i64,
) -> Vec<AuditChange> {
    let mut pages = vec![page(conn, filter, oldest_first, limit, None)];
    assert_eq!(pages[0].back, None);
    while let Some(cursor) = pages.last().unwrap().cursor.clone() {
        assert_eq!(pages.last().unwrap().entries.len() as i64, limit);
        pages.push(page(conn, filter, oldest_first, limit, Some(&cursor)));
    }
    for (index, last) in pages.iter().enumerate().rev() {
        assert_eq!(last.has_more, index + 1 < pages.len());
        assert_eq!(last.back.is_some(), index > 0);
        if let Some(cursor) = &last.back {
            let before = page(conn, filter, oldest_first, limit, Some(cursor));
            assert_eq!(before.entries, pages[index - 1].entries);
            assert!(before.has_more);
            assert_eq!(before.back.is_some(), index > 1);
        }
    }
    pages.into_iter().flat_map(|page| page.entries).collect()
}

fn ids(changes: &[AuditChange]) -> Vec<i64> {
    changes.iter().map(|change| change.id).collect()
}

/// Items 1 to `rows`, each inserted by a transaction of its own.
fn items(rows: i64) -> TestDb {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
    );
    let mut app = db.app();
    for row in 1..=rows {
        execute(&mut app, &format!("INSERT INTO items VALUES ({row}, 'n')"));
    }
    db
}
