//! A transaction inside a transaction is a savepoint, under a context of its own.

use super::*;

#[test]
fn a_nested_context_is_in_force_inside_only() {
    let db = notes_db();
    let mut app = db.app();
    threadline::transaction::<_, _, Error, _>(&mut app, &full("42"), |conn| {
        let outer = settings(conn);
        let inner = user("42").request_id("req-8").metadata("step", 2);
        threadline::transaction(conn, &inner, |conn| {
            let inside = settings(conn);
            assert_eq!(inside[0], outer[0]);
            assert_eq!(inside[1], "billing", "what it leaves empty is inherited");
            assert_eq!(inside[2], "req-8");
            let meta: Value = serde_json::from_str(&inside[5]).unwrap();
            assert_eq!(meta, json!({"tenant": "acme", "step": 2}));
            insert(conn, 1)
        })?;
        assert_eq!(settings(conn), outer, "after success");

        let refused = threadline::transaction(conn, &inner, |conn| {
            insert(conn, 2)?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(matches!(refused, Err(AppError::Refused)));
        assert_eq!(settings(conn), outer, "after the application's error");

        let duplicate = threadline::transaction(conn, &inner, |conn| insert(conn, 1));
        assert!(matches!(duplicate, Err(Error::DatabaseError(..))));
        assert_eq!(settings(conn), outer, "after the database's error");

        let swallowed = threadline::transaction::<_, _, Error, _>(conn, &inner, |conn| {
            let _ = insert(conn, 1);
            Ok(())
        });
        assert!(swallowed.is_err(), "a savepoint that failed can't be kept");
        assert_eq!(settings(conn), outer, "after an error that was swallowed");
        insert(conn, 3)
    })
    .unwrap();
    assert_eq!(settings(&mut app), UNSET);
    assert_eq!(note_ids(&mut app), [1, 3]);
    assert_eq!(recorded(&db), by(42, &[1, 3]));
    assert_eq!(transactions(&db).len(), 1);
}

#[test]
fn an_inner_failure_rolls_back_only_the_inner() {
    let db = notes_db();
    let mut app = db.app();
    threadline::transaction::<_, _, AppError, _>(&mut app, &user(1), |conn| {
        insert(conn, 1)?;
        let inner = threadline::transaction(conn, &user(1), |conn| {
            insert(conn, 2)?;
            threadline::transaction::<_, _, Error, _>(conn, &user(1), |conn| insert(conn, 3))?;
            Err::<(), _>(AppError::Refused)
        });
        assert!(matches!(inner, Err(AppError::Refused)));
        insert(conn, 4)?;
        Ok(())
    })
    .unwrap();
    assert_eq!(note_ids(&mut app), [1, 4]);
    assert_eq!(recorded(&db), by(1, &[1, 4]));
}

#[test]
fn an_outer_failure_rolls_back_what_the_inner_had_done() {
    let db = notes_db();
    let mut app = db.app();
    let refused = threadline::transaction(&mut app, &user(1), |conn| {
        threadline::transaction::<_, _, Error, _>(conn, &user(1), |conn| insert(conn, 1))?;
        Err::<(), _>(AppError::Refused)
    });
    assert!(matches!(refused, Err(AppError::Refused)));
    assert_eq!(note_ids(&mut app), [0; 0]);
    assert_eq!(recorded(&db), []);
    assert_eq!(transactions(&db), []);
}

#[test]
fn another_actor_is_refused_before_anything_happens() {
    let db = notes_db();
    let mut app = db.app();
    threadline::transaction::<_, _, Error, _>(&mut app, &user(1), |conn| {
        insert(conn, 1)?;
        let outer = settings(conn);
        let error = threadline::transaction::<_, (), Error, _>(conn, &user(2), |_| {
            unreachable!("the work of another actor must not begin")
        })
        .unwrap_err();
        assert_eq!(
            context_error(&error),
            &ContextError::ActorConflict {
                outer: ActorRef::user(1).unwrap(),
                inner: ActorRef::user(2).unwrap(),
            }
        );
        let message = error.to_string();
        assert!(message.contains("user:1") && message.contains("user:2"));
        assert_eq!(settings(conn), outer);
        insert(conn, 2)
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1, 2]));
}

#[test]
fn another_actor_is_refused_through_the_error_of_the_application() {
    let db = notes_db();
    let refused = threadline::transaction::<_, (), AppError, _>(&mut db.app(), &user(1), |conn| {
        insert(conn, 1)?;
        threadline::transaction(conn, &AuditContext::new(ActorRef::anonymous()), |_| Ok(()))
    });
    match refused {
        Err(AppError::Database(error)) => assert!(matches!(
            context_error(&error),
            ContextError::ActorConflict { .. }
        )),
        other => panic!("{other:?}"),
    }
    assert_eq!(recorded(&db), [], "the error went through the outer one");
}

#[test]
fn an_unattributed_inner_keeps_the_outer_actor() {
    let db = notes_db();
    let mut app = db.app();
    threadline::transaction(&mut app, &full("1"), |conn| {
        threadline::transaction(conn, &AuditContext::unattributed(), |conn| {
            assert_eq!(settings(conn)[0], actor_json("1"));
            insert(conn, 1)
        })
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
    assert_eq!(transactions(&db)[0].source.as_deref(), Some("billing"));
}

#[test]
fn inside_a_transaction_of_diesel_it_ends_with_its_savepoint() {
    let db = notes_db();
    let mut app = db.app();
    app.transaction::<_, Error, _>(|conn| {
        threadline::transaction(conn, &full("1"), |conn| insert(conn, 1))?;
        assert_eq!(settings(conn), UNSET);
        // Two actors can't share a database transaction, also where neither is inside the other.
        let other = threadline::transaction(conn, &user(2), |conn| insert(conn, 2));
        let refusal = other.unwrap_err().to_string();
        assert!(refusal.contains("can't go on as"), "{refusal}");
        insert(conn, 3)
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1, 3]));
}

#[test]
fn another_isolation_level_comes_from_around() {
    let db = notes_db();
    let mut app = db.app();
    app.build_transaction()
        .serializable()
        .run(|conn| {
            threadline::transaction::<_, _, Error, _>(conn, &user(1), |conn| {
                let level = diesel::select(sql::<Text>("current_setting('transaction_isolation')"))
                    .get_result::<String>(conn)?;
                assert_eq!(level, "serializable");
                insert(conn, 1)
            })
        })
        .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
    assert_eq!(settings(&mut app), UNSET);
}
