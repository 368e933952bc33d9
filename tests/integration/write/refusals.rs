//! A context over its limits is refused before anything begins.

use super::*;

/// Contexts that can't be put in force, with what is said about them.
fn refused() -> Vec<(AuditContext, ContextError)> {
    let long = "ä".repeat(256);
    let too_long = |field| ContextError::TooLong {
        field,
        length: 256,
        limit: 255,
    };
    vec![
        (user(1).source(&long), too_long("source")),
        (user(1).request_id(&long), too_long("request_id")),
        (user(1).correlation_id(&long), too_long("correlation_id")),
        (user(1).job_id(&long), too_long("job_id")),
        (
            user(1).request_id("req\n7"),
            ContextError::ControlCharacter {
                field: "request_id",
            },
        ),
        (
            user(1).metadata("key", "x".repeat(16 * 1024)),
            ContextError::MetadataTooLarge {
                bytes: 16 * 1024 + r#"{"key":""}"#.len(),
                limit: 16 * 1024,
            },
        ),
        (
            user(1).metadata("key", "a\0"),
            ContextError::MetadataNul { key: "key".into() },
        ),
    ]
}

#[test]
fn nothing_reaches_the_server() {
    let db = notes_db();
    let mut app = db.app();
    let seen = statements(&mut app);
    for (context, reason) in refused() {
        let error = threadline::transaction::<_, (), Error, _>(&mut app, &context, |_| {
            unreachable!("the work must not begin")
        })
        .unwrap_err();
        assert_eq!(context_error(&error), &reason);
        assert_eq!(error.to_string(), reason.to_string());
        assert_eq!(seen.try_iter().next(), None);
    }
    threadline::transaction(&mut app, &user(1), |conn| insert(conn, 1)).unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
}

#[test]
fn a_message_names_the_field_and_the_limit() {
    let message = |index: usize| refused()[index].1.to_string();
    assert_eq!(
        message(1),
        "the request_id of the audit context has 256 characters; at most 255 are allowed"
    );
    assert_eq!(
        message(5),
        "the metadata of the audit context take 16394 bytes as JSON; at most 16384 are allowed"
    );
}

#[test]
fn inside_a_transaction_nothing_changes() {
    let db = notes_db();
    threadline::transaction::<_, _, AppError, _>(&mut db.app(), &user(1), |conn| {
        insert(conn, 1)?;
        let outer = settings(conn);
        for (context, reason) in refused() {
            let error =
                threadline::transaction::<_, (), _, _>(conn, &context, |_| Err(AppError::Refused))
                    .unwrap_err();
            match error {
                AppError::Database(error) => assert_eq!(context_error(&error), &reason),
                AppError::Refused => panic!("the work must not begin"),
            }
            assert_eq!(settings(conn), outer);
        }
        insert(conn, 2)?;
        Ok(())
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1, 2]));
}

#[test]
fn metadata_that_fit_alone_are_refused_where_they_add_up() {
    let db = notes_db();
    let half = |key: &str| user(1).metadata(key, "x".repeat(9 * 1024));
    threadline::transaction::<_, _, Error, _>(&mut db.app(), &half("a"), |conn| {
        let error =
            threadline::transaction::<_, (), Error, _>(conn, &half("b"), |_| unreachable!())
                .unwrap_err();
        assert!(matches!(
            context_error(&error),
            ContextError::MetadataTooLarge { .. }
        ));
        threadline::transaction(conn, &half("a"), |conn| insert(conn, 1))
    })
    .unwrap();
    assert_eq!(recorded(&db), by(1, &[1]));
}

#[test]
fn a_setting_that_others_spoilt_is_named() {
    let db = notes_db();
    let spoil = "SELECT set_config('threadline.actor_ref', 'ann', true)";
    let refusal = db
        .app()
        .transaction::<_, Error, _>(|conn| {
            diesel::sql_query(spoil).execute(conn)?;
            threadline::transaction(conn, &user(1), |conn| insert(conn, 1))
        })
        .unwrap_err();
    assert_eq!(
        context_error(&refusal).to_string(),
        r#"the setting threadline.actor_ref of the open transaction isn't of the form {"type": "user", "id": "42"}"#
    );
}
