//! A connection that a pool lends to one context after another.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::r2d2::{ConnectionManager, Pool};
use threadline_tests::TestDb;

use super::*;

fn pool_of_one(db: &TestDb) -> Pool<ConnectionManager<PgConnection>> {
    Pool::builder()
        .max_size(1)
        .build(ConnectionManager::new(db.url("tl_app")))
        .unwrap()
}

#[test]
fn r2d2_never_mixes_actors() {
    let db = notes_db();
    let pool = pool_of_one(&db);
    for note in [1, 2] {
        let mut guard = pool.get().unwrap();
        threadline::transaction(&mut guard, &user(note), |conn| insert(conn, note)).unwrap();
        assert_eq!(settings(&mut guard), UNSET);
    }
    for note in [3, 4] {
        let mut guard = pool.get().unwrap();
        threadline::transaction(&mut *guard, &user(note), |conn| insert(conn, note)).unwrap();
    }
    insert(&mut pool.get().unwrap(), 5).unwrap();

    let expected = (1..5).map(|note: i64| (note, Some(note.to_string())));
    assert_eq!(
        recorded(&db),
        expected.chain([(5, None)]).collect::<Vec<_>>()
    );
}

#[test]
fn r2d2_guards_nest() {
    let db = notes_db();
    let mut guard = pool_of_one(&db).get().unwrap();
    threadline::transaction::<_, _, Error, _>(&mut guard, &user(1), |conn| {
        threadline::transaction(conn, &user(1).source("inner"), |conn| {
            assert_eq!(settings(conn)[1], "inner");
            insert(conn, 1)
        })?;
        assert_eq!(settings(conn)[1], "");
        let other = threadline::transaction::<_, (), Error, _>(conn, &user(2), |_| Ok(()));
        assert!(matches!(
            context_error(&other.unwrap_err()),
            ContextError::ActorConflict { .. }
        ));
        Ok(())
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
}

#[test]
fn r2d2_discards_a_connection_on_which_the_work_panicked() {
    let db = notes_db();
    let pool = pool_of_one(&db);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = pool.get().unwrap();
        threadline::transaction::<_, (), Error, _>(&mut guard, &full("1"), |conn| {
            insert(conn, 1)?;
            // Unlike `panic!`, it doesn't write to the output of the tests.
            std::panic::resume_unwind(Box::new("a bug of the application"))
        })
    }));
    assert!(panicked.is_err());
    let mut guard = pool.get().unwrap();
    assert_eq!(settings(&mut guard), UNSET);
    // Waits for the abandoned transaction to end, and succeeds because it was rolled back.
    threadline::transaction(&mut guard, &user(2), |conn| insert(conn, 1)).unwrap();
    assert_eq!(recorded(&db), by(2, &[1]));
}
