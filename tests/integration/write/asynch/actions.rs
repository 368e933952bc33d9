//! Actions and their links to what they changed.

use threadline::{Action, record_action};

use super::*;

#[tokio::test]
async fn an_action_and_its_changes_find_each_other_in_either_order() {
    let db = notes_db();
    let mut app = connect(&db).await;
    for write_first in [true, false] {
        let note = i64::from(write_first);
        let action: Uuid = transaction::<_, _, Error, _>(&mut app, &full("1"), async |conn| {
            if write_first {
                insert(conn, note).await?;
            }
            let action = record_action(Action::new("note.added").require_changes())
                .get_result(conn)
                .await?;
            if !write_first {
                insert(conn, note).await?;
            }
            Ok(action)
        })
        .await
        .unwrap();
        let transaction = transactions(&db).pop().unwrap();
        assert_eq!(transaction.action_id, Some(action));
    }
}

#[tokio::test]
async fn changes_that_are_required_and_missing_fail_the_commit() {
    let db = notes_db();
    db.create("CREATE TABLE drafts (id bigint PRIMARY KEY)");
    let mut app = connect(&db).await;
    let refusal = transaction::<_, Uuid, Error, _>(&mut app, &full("1"), async |conn| {
        diesel::sql_query("INSERT INTO drafts VALUES (1)")
            .execute(conn)
            .await?;
        record_action(Action::new("note.renamed").require_changes())
            .get_result(conn)
            .await
    })
    .await
    .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "threadline: action note.renamed requires changes, and its transaction captured none"
    );

    // The connection is as good as before, and everything was rolled back.
    assert_eq!(settings(&mut app).await, UNSET);
    let drafts = diesel::sql_query("DELETE FROM drafts").execute(&mut app);
    assert_eq!(drafts.await, Ok(0));
    transaction::<_, _, Error, _>(&mut app, &user(2), async |conn| {
        insert(conn, 1).await?;
        record_action(Action::new("note.added").require_changes())
            .get_result::<Uuid>(conn)
            .await
    })
    .await
    .unwrap();
    assert_eq!(recorded(&db), by(2, &[1]));
}
