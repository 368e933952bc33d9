//! Pages of a list: exact, in both orders and both ways.

use threadline::{ActorRef, AuditContext, actor_history};

use super::*;

#[test]
fn newest_first_with_exact_ends() {
    let db = items(6);
    let mut conn = db.auditor();
    for limit in [1, 2, 3, 4, 5, 6, 7] {
        let all = walk(&mut conn, &TimelineFilter::new(), false, limit);
        assert_eq!(ids(&all), [6, 5, 4, 3, 2, 1], "{limit}");
        let all = walk(&mut conn, &TimelineFilter::new(), true, limit);
        assert_eq!(ids(&all), [1, 2, 3, 4, 5, 6], "{limit}");
    }
}

#[test]
fn an_empty_list_is_one_empty_page() {
    let db = items(0);
    let empty = page(&mut db.auditor(), &TimelineFilter::new(), false, 50, None);
    assert_eq!((empty.entries.len(), empty.has_more), (0, false));
    assert_eq!((empty.cursor, empty.back), (None, None));
}

#[test]
fn fifty_entries_unless_told_otherwise() {
    let db = items(51);
    let first = timeline(TimelineFilter::new())
        .get_result(&mut db.auditor())
        .unwrap();
    assert_eq!((first.entries.len(), first.has_more), (50, true));
}

/// Changes of one moment are told apart by their id, and ids needn't follow the time.
#[test]
fn ordered_by_time_and_then_by_id() {
    let db = items(7);
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica;
         UPDATE audit_changes SET captured_at = '2026-01-01Z'::timestamptz + (id % 3) * interval '1 us'",
    );
    let mut conn = db.auditor();
    for limit in [1, 2, 3] {
        let all = walk(&mut conn, &TimelineFilter::new(), false, limit);
        assert_eq!(ids(&all), [5, 2, 7, 4, 1, 6, 3], "{limit}");
        let all = walk(&mut conn, &TimelineFilter::new(), true, limit);
        assert_eq!(ids(&all), [3, 6, 1, 4, 7, 2, 5], "{limit}");
    }
}

/// A cursor finds its place again though the entry that it names is gone, and its walk goes on.
#[test]
fn entries_may_be_pruned_in_the_middle_of_a_walk() {
    let db = items(5);
    let mut conn = db.auditor();
    let first = page(&mut conn, &TimelineFilter::new(), false, 2, None);
    execute(
        &mut db.superuser(),
        "SET ROLE threadline_retention; DELETE FROM audit_changes WHERE id >= 4",
    );
    let cursor = first.cursor.unwrap();
    let second = page(&mut conn, &TimelineFilter::new(), false, 2, Some(&cursor));
    assert_eq!((ids(&second.entries), second.has_more), (vec![3, 2], true));
    assert_eq!(second.back, None, "nothing is left before it");
}

#[test]
fn pages_of_an_actors_transactions() {
    let db = items(0);
    let mut app = db.app();
    for row in 1..=5 {
        let actor = ActorRef::user(row % 2).unwrap();
        threadline::transaction(&mut app, &AuditContext::new(actor), |app| {
            let sql = format!("INSERT INTO items VALUES ({row}), ({row} + 10)");
            diesel::sql_query(sql).execute(app)?;
            diesel::sql_query(format!("UPDATE items SET name = 'x' WHERE id = {row}")).execute(app)
        })
        .unwrap();
    }
    let mut conn = db.auditor();
    let list = actor_history(ActorRef::user(1).unwrap()).limit(2).unwrap();
    let first = list.clone().get_result(&mut conn).unwrap();
    let last = list.clone().at(first.cursor.as_ref().unwrap()).unwrap();
    let last = last.get_result(&mut conn).unwrap();
    let back = list.at(last.back.as_ref().unwrap()).unwrap();
    assert_eq!(back.get_result(&mut conn).unwrap(), first);
    assert_eq!((first.entries.len(), last.entries.len()), (2, 1));
    assert!(!last.has_more && first.back.is_none());
    for entry in first.entries.iter().chain(&last.entries) {
        let counts: Vec<_> = entry
            .counts
            .iter()
            .map(|count| format!("{} {} {}", count.table_name, count.op, count.count))
            .collect();
        assert_eq!(counts, ["items insert 2", "items update 1"]);
        assert_eq!(entry.transaction.actor, Some(ActorRef::user(1).unwrap()));
        assert!(entry.transaction.committed_at.unwrap() >= entry.transaction.occurred_at);
    }
    let oldest = actor_history(ActorRef::user(1).unwrap())
        .oldest_first()
        .get_result(&mut conn)
        .unwrap();
    let times: Vec<_> = oldest
        .entries
        .iter()
        .map(|entry| entry.transaction.occurred_at)
        .collect();
    assert!(times.len() == 3 && times.is_sorted());
}

/// Every digit, whatever the column holds.
#[test]
fn entries_keep_every_digit() {
    let db = TestDb::new();
    db.audited(
        "items",
        "CREATE TABLE items (id numeric(40) PRIMARY KEY, n numeric)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items VALUES (1234567890123456789012345678901234567890, 0.10); UPDATE items SET n = 1e300 * 1e300",
    );
    let all = walk(&mut db.auditor(), &TimelineFilter::new(), true, 1);
    let [insert, update] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!(
        insert.key["id"].as_json(),
        "\"1234567890123456789012345678901234567890\""
    );
    let row = insert.data_after.as_ref().unwrap();
    assert_eq!(
        row["id"].as_json(),
        "1234567890123456789012345678901234567890"
    );
    assert_eq!(row["n"].as_json(), "0.10");
    assert_eq!(update.changed_from.as_ref().unwrap()["n"].as_json(), "0.10");
    assert_eq!(
        update.data_after.as_ref().unwrap()["n"].as_json().len(),
        601
    );
}

mod asynchronous {
    use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

    use super::*;

    #[tokio::test]
    async fn with_diesel_async() {
        let db = items(3);
        let mut conn = AsyncPgConnection::establish(&db.url("tl_auditor"))
            .await
            .unwrap();
        let list = timeline(TimelineFilter::new().table("items"))
            .limit(2)
            .unwrap();
        let first = list.clone().get_result(&mut conn).await.unwrap();
        let last = list
            .at(&first.cursor.unwrap())
            .unwrap()
            .get_result(&mut conn)
            .await
            .unwrap();
        assert_eq!(
            (ids(&first.entries), ids(&last.entries)),
            (vec![3, 2], vec![1])
        );
        // And from a task of its own.
        let id = last.entries[0].transaction_id;
        let bundle =
            tokio::spawn(
                async move { threadline::incident_bundle(id).get_result(&mut conn).await },
            );
        assert_eq!(bundle.await.unwrap().unwrap().changes, last.entries);
    }
}
