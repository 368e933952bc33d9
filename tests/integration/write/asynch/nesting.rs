//! A transaction inside a transaction is a savepoint, under a context of its own.

use threadline::transaction_id;

use super::*;

#[tokio::test]
async fn a_nested_context_is_in_force_inside_only() {
    let db = notes_db();
    let mut app = connect(&db).await;
    transaction::<_, _, Error, _>(&mut app, &full("42"), async |conn| {
        let outer = settings(conn).await;
        let inner = user("42").request_id("req-8").metadata("step", 2);
        transaction::<_, _, Error, _>(conn, &inner, async |conn| {
            let inside = settings(conn).await;
            assert_eq!(inside[..2], outer[..2]);
            assert_eq!(inside[2], "req-8");
            insert(conn, 1).await
        })
        .await?;
        assert_eq!(settings(conn).await, outer, "after success");

        let refused = transaction(conn, &inner, async |conn| {
            insert(conn, 2).await?;
            Err::<(), _>(AppError::Refused)
        })
        .await;
        assert!(matches!(refused, Err(AppError::Refused)));
        assert_eq!(settings(conn).await, outer, "after the application's error");

        let duplicate: QueryResult<_> =
            transaction(conn, &inner, async |conn| insert(conn, 1).await).await;
        assert!(matches!(duplicate, Err(Error::DatabaseError(..))));
        assert_eq!(settings(conn).await, outer, "after the database's error");
        insert(conn, 3).await
    })
    .await
    .unwrap();
    assert_eq!(settings(&mut app).await, UNSET);
    assert_eq!(note_ids(&mut app).await, [1, 3]);
    assert_eq!(recorded(&db), by(42, &[1, 3]));
    assert_eq!(transactions(&db).len(), 1);
}

#[tokio::test]
async fn another_actor_is_refused_and_no_actor_keeps_the_outer_one() {
    let db = notes_db();
    let mut app = connect(&db).await;
    transaction::<_, _, AppError, _>(&mut app, &user(1), async |conn| {
        let refused = transaction::<_, (), AppError, _>(conn, &user(2), async |_| {
            unreachable!("the work of another actor must not begin")
        })
        .await;
        match refused {
            Err(AppError::Database(error)) => assert_eq!(
                context_error(&error),
                &ContextError::ActorConflict {
                    outer: ActorRef::user(1).unwrap(),
                    inner: ActorRef::user(2).unwrap(),
                }
            ),
            other => panic!("{other:?}"),
        }
        let unattributed = AuditContext::unattributed();
        transaction(conn, &unattributed, async |conn| insert(conn, 1).await).await?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
}

#[tokio::test]
async fn a_late_actor_is_the_actor_of_the_whole_transaction() {
    let db = notes_db();
    let mut app = connect(&db).await;
    let id = transaction::<_, _, Error, _>(&mut app, &AuditContext::unattributed(), async |conn| {
        let before: Option<Uuid> = transaction_id().get_result(conn).await?;
        assert_eq!(before, None);
        insert(conn, 1).await?;
        transaction::<_, _, Error, _>(conn, &user(7), async |conn| insert(conn, 2).await).await?;
        transaction_id().get_result::<Option<Uuid>>(conn).await
    })
    .await
    .unwrap();
    assert_eq!(recorded(&db), by(7, &[1, 2]));
    assert_eq!(id, Some(transactions(&db)[0].id));
    let after: Option<Uuid> = transaction_id().get_result(&mut app).await.unwrap();
    assert_eq!(after, None);
}
