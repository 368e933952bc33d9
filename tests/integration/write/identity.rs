//! Which transaction this is, and whose: also when that is known late.

use threadline::transaction_id;

use super::*;

fn current(conn: &mut impl LoadConnection<Backend = Pg>) -> Option<Uuid> {
    transaction_id().get_result(conn).unwrap()
}

#[test]
fn a_transaction_has_an_id_from_its_first_captured_change_on() {
    let db = notes_db();
    let mut app = db.app();
    assert_eq!(current(&mut app), None);
    let id = threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
        assert_eq!(current(conn), None, "nothing was captured yet");
        assert_eq!(note_ids(conn), [0; 0]);
        assert_eq!(current(conn), None, "reading captures nothing");
        insert(conn, 1)?;
        let id = current(conn);
        assert!(id.is_some());
        threadline::transaction::<_, _, Error, _>(conn, &user(1), |conn| {
            insert(conn, 2)?;
            assert_eq!(current(conn), id, "a savepoint is part of it");
            Ok(())
        })?;
        assert_eq!(current(conn), id);
        Ok(id)
    })
    .unwrap()
    .unwrap();
    assert_eq!(current(&mut app), None, "it is over");

    assert_eq!(transactions(&db)[0].id, id);
    let changes = threadline::schema::audit_changes::table
        .select(threadline::schema::audit_changes::transaction_id)
        .load::<Uuid>(&mut db.auditor())
        .unwrap();
    assert_eq!(changes, [id, id]);

    let next = threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
        insert(conn, 3)?;
        Ok(current(conn))
    })
    .unwrap();
    assert_ne!(next, Some(id));
}

#[test]
fn a_savepoint_that_is_rolled_back_takes_the_id_along() {
    let db = notes_db();
    let mut app = db.app();
    let (first, again) = threadline::transaction::<_, _, AppError, _>(&mut app, &user(1), |conn| {
        let mut first = None;
        let inner = threadline::transaction(conn, &user(1), |conn| {
            insert(conn, 1)?;
            first = current(conn);
            Err::<(), _>(AppError::Refused)
        });
        assert!(inner.is_err());
        assert_eq!(current(conn), None, "nothing captured is left");
        insert(conn, 2)?;
        Ok((first, current(conn)))
    })
    .unwrap();
    assert_eq!(first, again, "it is the same database transaction");
    assert_eq!(recorded(&db), by(1, &[2]));
    assert_eq!(transactions(&db).len(), 1);
}

#[test]
fn a_late_actor_is_the_actor_of_the_whole_transaction() {
    let db = notes_db();
    let mut app = db.app();
    let unattributed = AuditContext::unattributed().source("importer");
    threadline::transaction::<_, _, Error, _>(&mut app, &unattributed, |conn| {
        insert(conn, 1)?;
        threadline::transaction(conn, &user(7), |conn| insert(conn, 2))?;
        assert_eq!(settings(conn)[0], "");
        insert(conn, 3)
    })
    .unwrap();
    assert_eq!(recorded(&db), by(7, &[1, 2, 3]));
    assert_eq!(transactions(&db)[0].source.as_deref(), Some("importer"));
}

#[test]
fn a_late_actor_may_come_from_outside_of_diesel() {
    let db = notes_db();
    threadline::transaction::<_, _, Error, _>(
        &mut db.app(),
        &AuditContext::unattributed(),
        |conn| {
            insert(conn, 1)?;
            diesel::sql_query("SELECT set_config('threadline.actor_ref', $1, true)")
                .bind::<Text, _>(actor_json("7"))
                .execute(conn)?;
            insert(conn, 2)
        },
    )
    .unwrap();
    assert_eq!(recorded(&db), by(7, &[1, 2]));
}

#[test]
fn a_late_actor_goes_with_its_savepoint() {
    let db = notes_db();
    let unattributed = AuditContext::unattributed();
    threadline::transaction::<_, _, Error, _>(&mut db.app(), &unattributed, |conn| {
        insert(conn, 1)?;
        let inner = threadline::transaction(conn, &user(7), |conn| {
            insert(conn, 2)?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(inner.is_err());
        // The one who wrote and was rolled back has written nothing.
        threadline::transaction(conn, &user(8), |conn| insert(conn, 3))
    })
    .unwrap();
    assert_eq!(recorded(&db), by(8, &[1, 3]));
}

#[test]
fn a_second_late_actor_is_refused() {
    let db = notes_db();
    let unattributed = AuditContext::unattributed();
    threadline::transaction::<_, _, Error, _>(&mut db.app(), &unattributed, |conn| {
        insert(conn, 1)?;
        threadline::transaction(conn, &user(7), |conn| insert(conn, 2))?;
        let refusal = threadline::transaction(conn, &user(8), |conn| insert(conn, 3))
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains(r#""id": "7""#) && refusal.contains(r#""id": "8""#),
            "{refusal}"
        );
        insert(conn, 4)
    })
    .unwrap();
    assert_eq!(recorded(&db), by(7, &[1, 2, 4]));
}
