//! What was written past capture is no answer: not as of earlier moments, and not to those alone who may read the table.

use chrono::{DateTime, Utc};
use threadline::prelude::*;
use threadline::{AsOf, QueryAsOf};

use super::*;
use crate::moment::{clock, let_the_application_read_the_log};

on_both_kinds!(
    writes_past_row_triggers,
    writes_past_statement_triggers,
    a_table_of_the_same_name,
    capture_that_is_gone,
    a_part_of_capture_that_is_gone,
);

diesel::table! { posts (id) { id -> BigInt, title -> Text, } }

#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Audited)]
#[diesel(table_name = posts)]
struct Post {
    id: i64,
    title: String,
}

const CREATE: &str = "CREATE TABLE posts (id bigint PRIMARY KEY, title text NOT NULL)";

/// Two posts, and when there were just these.
fn two_posts(db: &TestDb, level: Level) -> (DateTime<Utc>, Vec<Post>) {
    db.create(CREATE);
    db.capture("posts", Post::DEFINITION.level(level));
    let_the_application_read_the_log(db);
    execute(
        &mut db.app(),
        "INSERT INTO posts VALUES (1, 'first'), (2, 'second')",
    );
    let post = |id, title: &str| Post {
        id,
        title: title.to_owned(),
    };
    let at = clock(&mut db.app());
    (at, vec![post(1, "first"), post(2, "second")])
}

/// The posts as of a moment: the same for each role, and in each way to ask.
fn posts_at(db: &TestDb, at: DateTime<Utc>) -> Vec<Post> {
    let function = format!(
        "SELECT id, title FROM threadline_moment(NULL::posts, 'posts', '{}') ORDER BY id",
        at.to_rfc3339()
    );
    let mut answers = Vec::new();
    for mut conn in [db.auditor(), db.app(), db.owner(), db.superuser()] {
        answers.push(
            diesel::sql_query(&function)
                .load::<Named>(&mut conn)
                .map(|rows| {
                    rows.into_iter()
                        .map(|Named { id, title }| Post { id, title })
                        .collect()
                }),
        );
        answers.push(posts::table.order(posts::id).as_of(at).load(&mut conn));
        answers.push(Post::all_as_of(at).order(posts::id).load(&mut conn));
        let single = [1, 2, 3].map(|id| Post::as_of(id, at).get_result(&mut conn).unwrap());
        answers.push(Ok(single.into_iter().filter_map(AsOf::into_row).collect()));
    }
    let mut answers: Vec<Vec<Post>> = answers.into_iter().map(Result::unwrap).collect();
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

/// A row by its names.
#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    id: i64,
    #[diesel(sql_type = diesel::sql_types::Text)]
    title: String,
}

const WRITES: &str =
    "UPDATE posts SET title = 'slipped in' WHERE id = 1; DELETE FROM posts WHERE id = 2;
     INSERT INTO posts VALUES (3, 'slipped in')";

fn writes_past_row_triggers(db: &TestDb) {
    writes_past_the_triggers(db, Level::Row);
}

fn writes_past_statement_triggers(db: &TestDb) {
    writes_past_the_triggers(db, Level::Statement);
}

fn writes_past_the_triggers(db: &TestDb, level: Level) {
    let (at, then) = two_posts(db, level);
    execute(
        &mut db.superuser(),
        &format!("SET session_replication_role = replica; {WRITES}"),
    );
    assert_eq!(posts_at(db, at), then, "in replica mode");
    execute(
        &mut db.superuser(),
        "SET session_replication_role = replica; TRUNCATE posts; INSERT INTO posts VALUES (1, 'first'), (2, 'second')",
    );
    execute(
        &mut db.owner(),
        &format!(
            "ALTER TABLE posts DISABLE TRIGGER USER; {WRITES}; ALTER TABLE posts ENABLE TRIGGER USER"
        ),
    );
    // Nobody knows how often they were disabled, nor when.
    assert_unknown(db, at, "was not captured during");
    assert_unknown(db, clock(&mut db.app()), "was not captured during");
}

fn a_table_of_the_same_name(db: &TestDb) {
    let (at, _) = two_posts(db, Level::Row);
    execute(&mut db.app(), "DELETE FROM posts WHERE id = 2");
    execute(&mut db.owner(), "DROP TABLE posts");
    db.create(CREATE);
    execute(
        &mut db.app(),
        "INSERT INTO posts VALUES (1, 'another'), (3, 'another')",
    );
    // Nobody knows since when.
    assert_unknown(db, at, "was not captured during");
    assert_unknown(db, clock(&mut db.app()), "was not captured during");

    execute(&mut db.owner(), "TRUNCATE posts");
    db.capture("posts", Post::DEFINITION);
    assert_refused(db, at, "is known as a whole since");
    execute(&mut db.app(), "INSERT INTO posts VALUES (3, 'third')");
    let third = Post {
        id: 3,
        title: "third".to_owned(),
    };
    let now = clock(&mut db.app());
    let all: Vec<Post> = posts::table.as_of(now).load(&mut db.auditor()).unwrap();
    assert_eq!(all, [third]);
    let first = Post::as_of(1, now).get_result(&mut db.auditor()).unwrap();
    assert_eq!(first, AsOf::Unknown);
}

/// Capture is off without a word, and on again.
fn capture_that_is_gone(db: &TestDb) {
    let (at, _) = two_posts(db, Level::Row);
    execute(&mut db.app(), "INSERT INTO posts VALUES (3, 'third')");
    for gone in [
        "ALTER TABLE posts DISABLE TRIGGER USER",
        "ALTER TABLE posts ENABLE REPLICA TRIGGER \"!threadline\"",
        "DROP TRIGGER \"!threadline\" ON posts",
    ] {
        execute(&mut db.owner(), gone);
        execute(&mut db.app(), "UPDATE posts SET title = 'unseen'");
        assert_unknown(db, clock(&mut db.app()), "was not captured during");
        assert_unknown(db, at, "was not captured during");
    }
    execute(&mut db.owner(), "ALTER TABLE posts ENABLE TRIGGER USER");
    db.capture("posts", Post::DEFINITION);
    assert_unknown(db, clock(&mut db.app()), "was not captured during");
    execute(
        &mut db.app(),
        "UPDATE posts SET title = 'seen' WHERE id = 1",
    );
    let now = clock(&mut db.app());
    let [first, second] =
        [1, 2].map(|id| Post::as_of(id, now).get_result(&mut db.auditor()).unwrap());
    assert_eq!(first.into_row().unwrap().title, "seen");
    assert_eq!(second, AsOf::Unknown);
}

/// One of the triggers is disabled, or gone; the others go on.
fn a_part_of_capture_that_is_gone(db: &TestDb) {
    for trigger in ["insert", "update", "delete", "truncate"] {
        for gone in [
            format!("ALTER TABLE posts DISABLE TRIGGER \"!threadline_{trigger}\""),
            format!("DROP TRIGGER \"!threadline_{trigger}\" ON posts"),
        ] {
            // In a restored copy nothing is known of the table but its name.
            for restored in [false, true] {
                let (at, then) = two_posts(db, Level::Statement);
                if restored {
                    execute(
                        &mut db.superuser(),
                        "UPDATE audit_tables SET identity = identity || '{\"cluster\": \"another\"}'",
                    );
                }
                assert_eq!(posts_at(db, at), then, "{gone}");
                execute(&mut db.owner(), &gone);
                assert_unknown(db, at, "was not captured during");
                assert_unknown(db, clock(&mut db.app()), "was not captured during");
                if !restored {
                    execute(&mut db.owner(), "ALTER TABLE posts ENABLE TRIGGER USER");
                    assert_unknown(db, clock(&mut db.app()), "was not captured during");
                }
                execute(&mut db.owner(), "DROP TABLE posts");
            }
        }
    }
}

/// The table as of the moment is refused to everybody.
fn assert_refused(db: &TestDb, at: DateTime<Utc>, says: &str) {
    for mut conn in [db.auditor(), db.app(), db.owner(), db.superuser()] {
        let refused = posts::table.as_of(at).load::<Post>(&mut conn).unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

/// And so is each row: it is unknown.
fn assert_unknown(db: &TestDb, at: DateTime<Utc>, says: &str) {
    assert_refused(db, at, says);
    for mut conn in [db.auditor(), db.app(), db.owner(), db.superuser()] {
        for id in [1, 2, 4] {
            let row = Post::as_of(id, at).get_result(&mut conn).unwrap();
            assert_eq!(row, AsOf::Unknown, "{id} {says}");
        }
    }
}
