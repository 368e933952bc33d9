//! C2: eight writers commit while pages are walked.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use threadline_tests::rows;

use super::*;

const WRITERS: usize = 8;

/// Tells the writers to stop, also when a walk fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every change that was visible when the walk began is on it once, in order, and nothing else; also on the way back.
#[test]
fn a_walk_is_complete_and_without_duplicates() {
    let db = items(200);
    let stop = AtomicBool::new(false);
    let walked = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut app = db.app();
                let mut turn = 0;
                while turn < 100 && !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    let row = 1000 * (writer + 1) + turn;
                    // Some of it in a savepoint, some of it rolled back.
                    execute(
                        &mut app,
                        &format!(
                            "BEGIN; INSERT INTO items VALUES ({row}); SAVEPOINT s; UPDATE items SET name = 'x' WHERE id = {row};
                             {} SAVEPOINT s; UPDATE items SET name = 'y' WHERE id = {row}; COMMIT",
                            if turn % 2 == 0 { "RELEASE s;" } else { "ROLLBACK TO s;" },
                        ),
                    );
                }
            });
        }
        let _stop = Stop(&stop);
        [false, true, false, true].map(|oldest_first| observed_walk(&db, oldest_first))
    });
    let mut committed = BTreeSet::new();
    for (visible, walked) in walked {
        let seen: BTreeSet<_> = walked.iter().copied().collect();
        assert_eq!(seen.len(), walked.len(), "duplicates");
        assert_eq!(seen, visible);
        committed.insert(seen.len());
    }
    assert!(committed.len() > 1, "nobody wrote");
}

/// The ids that the snapshot of the first page sees, asked for by the same snapshot, and those of the whole walk.
fn observed_walk(db: &TestDb, oldest_first: bool) -> (BTreeSet<i64>, Vec<i64>) {
    let mut first_page = db.auditor();
    execute(&mut first_page, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    let first = page(
        &mut first_page,
        &TimelineFilter::new(),
        oldest_first,
        7,
        None,
    );
    let visible = rows(&mut first_page, "SELECT id FROM audit_changes");
    execute(&mut first_page, "COMMIT");
    let visible = visible
        .iter()
        .map(|row| row["id"].as_i64().unwrap())
        .collect();

    // The other pages see all that has committed since, and have to leave it out.
    let mut conn = db.auditor();
    let mut walked = ids(&first.entries);
    let mut cursor = first.cursor;
    let mut last = None;
    while let Some(at) = cursor {
        let next = page(
            &mut conn,
            &TimelineFilter::new(),
            oldest_first,
            20,
            Some(&at),
        );
        walked.extend(ids(&next.entries));
        cursor = next.cursor.clone();
        last = Some(next);
    }
    let mut back = last
        .as_ref()
        .map(|page| ids(&page.entries))
        .unwrap_or_default();
    let mut cursor = last.and_then(|page| page.back);
    while let Some(at) = cursor {
        let before = page(
            &mut conn,
            &TimelineFilter::new(),
            oldest_first,
            20,
            Some(&at),
        );
        back.splice(0..0, ids(&before.entries));
        cursor = before.back;
    }
    assert_eq!(back, walked);
    (visible, walked)
}
