//! C2: eight writers commit while pages are walked.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::Duration;

use threadline_tests::rows;

use super::*;

const WRITERS: usize = 8;

/// What the writers are told and tell: a walk goes on as they do, however fast either is.
struct Writers {
    turns: Vec<Sender<()>>,
    commits: Receiver<()>,
    /// How many turns they were given, and how many of them have committed for all that is known.
    given: usize,
    taken: usize,
}

impl Writers {
    /// They end when this is dropped.
    fn start<'s>(scope: &'s Scope<'s, '_>, db: &'s TestDb) -> Self {
        let (committed, commits) = channel();
        let start = |writer: usize| {
            let (turn, turns) = channel();
            let committed = committed.clone();
            scope.spawn(move || {
                let mut app = db.app();
                for (turn, ()) in (1..).zip(turns) {
                    write(&mut app, 1000 * writer + turn, turn % 2 == 0);
                    // Nobody listens any more when the last walk is done.
                    let _ = committed.send(());
                }
            });
            turn
        };
        let turns = (1..=WRITERS).map(start).collect();
        Self {
            turns,
            commits,
            given: 0,
            taken: 0,
        }
    }

    /// Gives each of them a dozen turns more, and waits until the first of those has committed.
    fn go_on(&mut self) {
        let before = self.given;
        for turn in self.turns.iter().cycle().take(12 * WRITERS) {
            turn.send(()).unwrap();
            self.given += 1;
        }
        while self.taken <= before {
            self.commits.recv_timeout(Duration::from_secs(60)).unwrap();
            self.taken += 1;
        }
    }
}

/// Some of it in a savepoint, some of it rolled back.
fn write(app: &mut PgConnection, row: usize, keep: bool) {
    execute(
        app,
        &format!(
            "BEGIN; INSERT INTO items VALUES ({row}); SAVEPOINT s; UPDATE items SET name = 'x' WHERE id = {row};
             {} SAVEPOINT s; UPDATE items SET name = 'y' WHERE id = {row}; COMMIT",
            if keep { "RELEASE s;" } else { "ROLLBACK TO s;" },
        ),
    );
}

/// Every change that was visible when the walk began is on it once, in order, and nothing else; also on the way back.
#[test]
fn a_walk_is_complete_and_without_duplicates() {
    let db = items(200);
    let walked = std::thread::scope(|scope| {
        let mut writers = Writers::start(scope, &db);
        [false, true, false, true]
            .map(|oldest_first| observed_walk(&db, oldest_first, &mut writers))
    });
    let mut committed = BTreeSet::new();
    for (visible, walked) in walked {
        let seen: BTreeSet<_> = walked.iter().copied().collect();
        assert_eq!(seen.len(), walked.len(), "duplicates");
        assert_eq!(seen, visible);
        committed.insert(seen.len());
    }
    assert_eq!(committed.len(), 4, "there was more on each of them");
}

/// The ids that the snapshot of the first page sees, asked for by the same snapshot, and those of the whole walk.
fn observed_walk(
    db: &TestDb,
    oldest_first: bool,
    writers: &mut Writers,
) -> (BTreeSet<i64>, Vec<i64>) {
    writers.go_on();
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
    writers.go_on();
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
