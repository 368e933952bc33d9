//! Pages of a timeline: complete, without duplicates, both ways.

use diesel::prelude::*;
use threadline::{AuditChange, List, Page, TimelineFilter, timeline};
use threadline_tests::{TestDb, execute};

fn ids(page: &Page<AuditChange>) -> Vec<i64> {
    page.entries.iter().map(|change| change.id).collect()
}

/// Items 1 to `rows`, inserted in one statement of their own each.
pub fn items(rows: i64) -> TestDb {
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

#[test]
fn a_page_and_its_cursor() {
    let db = items(5);
    let mut conn = db.auditor();
    let list = timeline(TimelineFilter::new().table("items"))
        .limit(2)
        .unwrap();
    let first = list.clone().get_result(&mut conn).unwrap();
    assert_eq!(ids(&first), [5, 4]);
    assert!(first.has_more && first.back.is_none());
    let second = list
        .clone()
        .at(&first.cursor.unwrap())
        .unwrap()
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(ids(&second), [3, 2]);
    let last = list
        .clone()
        .at(&second.cursor.unwrap())
        .unwrap()
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(ids(&last), [1]);
    assert!(!last.has_more && last.cursor.is_none());
    let back = list
        .at(&last.back.unwrap())
        .unwrap()
        .get_result(&mut conn)
        .unwrap();
    assert_eq!(ids(&back), [3, 2]);
    assert!(back.has_more && back.back.is_some());
}
