//! An action that insists on changes.

use threadline::Action;
use threadline_tests::value;

use super::actions::{actions, record};
use super::*;

#[test]
fn changes_that_are_required_and_missing_fail_the_commit() {
    let db = notes_db();
    db.create("CREATE TABLE drafts (id bigint PRIMARY KEY)");
    let mut app = db.app();
    insert(&mut app, 1).unwrap();
    let required = || Action::new("note.renamed").require_changes();

    for write in [
        "SELECT 1",
        "INSERT INTO drafts VALUES (1)",
        "UPDATE notes SET body = body",
        "DELETE FROM notes WHERE id = 99",
    ] {
        let refusal = threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
            record(conn, required())?;
            diesel::sql_query(write).execute(conn)
        })
        .unwrap_err()
        .to_string();
        assert_eq!(
            refusal,
            "threadline: action note.renamed requires changes, and its transaction captured none",
            "{write}"
        );
    }
    let undone = threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
        record(conn, required())?;
        let inner = threadline::transaction(conn, &user(1), |conn| {
            insert(conn, 2)?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(inner.is_err());
        Ok(())
    });
    assert!(undone.is_err(), "a change that was rolled back is none");
    assert_eq!(actions(&db), [""; 0]);
    let drafts = value(&mut app, "SELECT count(*) FROM drafts");
    assert_eq!(drafts, 0, "everything was rolled back");

    // The connection is as good as before.
    assert_eq!(settings(&mut app), UNSET);
    for (note, write_first) in [(3, true), (4, false)] {
        threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
            if write_first {
                insert(conn, note)?;
            }
            record(conn, required())?;
            if !write_first {
                insert(conn, note)?;
            }
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(actions(&db), ["note.renamed", "note.renamed"]);
}
