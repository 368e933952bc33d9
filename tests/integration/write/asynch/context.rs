//! The context lands on the transaction, and nothing of it stays.

use super::*;

#[tokio::test]
async fn every_field_is_stored_with_the_transaction() {
    let db = notes_db();
    let mut app = connect(&db).await;
    transaction(&mut app, &full("42"), async |conn| insert(conn, 1).await)
        .await
        .unwrap();

    let stored = &transactions(&db)[0];
    assert_eq!(stored.actor_ref, Some(ActorRef::user(42).unwrap()));
    assert_eq!(stored.source.as_deref(), Some("billing"));
    assert_eq!(stored.request_id.as_deref(), Some("req-7"));
    assert_eq!(stored.correlation_id.as_deref(), Some("checkout-19"));
    assert_eq!(stored.job_id.as_deref(), Some("8812"));
    assert_eq!(stored.meta, Some(json!({"tenant": "acme"})));
}

#[tokio::test]
async fn one_statement_sets_it() {
    let db = notes_db();
    let mut app = connect(&db).await;
    let (seen, statements) = channel();
    app.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            let _ = seen.send(query.to_string());
        }
    });
    transaction(&mut app, &full("42"), async |conn| insert(conn, 1).await)
        .await
        .unwrap();
    let seen: Vec<_> = statements.try_iter().collect();
    let ours = seen.iter().filter(|query| query.contains("set_config("));
    assert_eq!(ours.count(), 1, "{seen:?}");

    let refused =
        transaction::<_, (), Error, _>(&mut app, &user(1).job_id("x".repeat(256)), async |_| {
            unreachable!("the work must not begin")
        })
        .await
        .unwrap_err();
    assert_eq!(
        context_error(&refused),
        &ContextError::TooLong {
            field: "job_id",
            length: 256,
            limit: 255
        }
    );
    assert_eq!(statements.try_iter().next(), None, "nothing was sent");
}

#[tokio::test]
async fn nothing_is_left_in_force_however_it_ended() {
    let db = notes_db();
    let mut app = connect(&db).await;

    transaction::<_, _, Error, _>(&mut app, &full("1"), async |conn| {
        assert_eq!(settings(conn).await[0], actor_json("1"));
        insert(conn, 1).await
    })
    .await
    .unwrap();
    assert_eq!(settings(&mut app).await, UNSET, "after a commit");

    let refused = transaction(&mut app, &full("2"), async |conn| {
        insert(conn, 2).await?;
        Err::<(), _>(AppError::Refused)
    })
    .await;
    assert!(matches!(refused, Err(AppError::Refused)));
    assert_eq!(
        settings(&mut app).await,
        UNSET,
        "after the application's error"
    );

    let duplicate: QueryResult<_> =
        transaction(&mut app, &full("3"), async |conn| insert(conn, 1).await).await;
    assert!(matches!(duplicate, Err(Error::DatabaseError(..))));
    assert_eq!(
        settings(&mut app).await,
        UNSET,
        "after the database's error"
    );

    insert(&mut app, 4).await.unwrap();
    assert_eq!(recorded(&db), [(1, Some("1".to_owned())), (4, None)]);
    assert_eq!(transactions(&db).len(), 2);
}

#[tokio::test]
async fn another_isolation_level_comes_from_around() {
    let db = notes_db();
    let mut app = connect(&db).await;
    app.build_transaction()
        .serializable()
        .run(async |conn| {
            transaction::<_, _, Error, _>(conn, &user(1), async |conn| {
                let level = diesel::select(sql::<Text>("current_setting('transaction_isolation')"))
                    .get_result::<String>(conn)
                    .await?;
                assert_eq!(level, "serializable");
                insert(conn, 1).await
            })
            .await
        })
        .await
        .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
    assert_eq!(settings(&mut app).await, UNSET);
}
