//! SQL as text as of a moment.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use threadline::as_of_raw;
use threadline_tests::{TestDb, execute};

use super::{clock, let_the_application_read_the_log};

#[derive(Debug, PartialEq, QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// Each text gives as of a moment what it gave then.
#[test]
fn texts_of_every_kind() {
    let db = TestDb::new();
    db.create(
        "CREATE SCHEMA shop; CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
         CREATE TABLE shop.orders (id bigint PRIMARY KEY, user_id bigint, at date, \"Total \"\"net\"\"\" integer)",
    );
    let definition = threadline::Definition::new("Model", &["id"]);
    db.capture("users", definition);
    db.capture("shop.orders", definition);
    execute(
        &mut db.superuser(),
        "INSERT INTO users VALUES (1, 'ada'), (2, 'bob');
         INSERT INTO shop.orders VALUES (1, 1, '2024-02-29', 10), (2, 1, '2025-01-01', 20), (3, 2, NULL, 30)",
    );
    let texts = [
        "SELECT name AS line FROM users WHERE id >= $1 AND name <> $2 ORDER BY id",
        "select NAME as line from USERS u where u.id >= $1 and u.name <> $2 -- from nowhere\n order by 1",
        "SELECT name || (SELECT coalesce(sum(o.\"Total \"\"net\"\"\"), 0) FROM shop.orders o WHERE o.user_id = users.id)::text AS line
         FROM users WHERE id >= $1 AND name <> $2 ORDER BY id",
        "WITH users AS (SELECT * FROM users WHERE id >= $1), rich AS MATERIALIZED (SELECT user_id FROM shop.orders WHERE shop.orders.id > 1)
         SELECT users.name AS line FROM users JOIN rich ON rich.user_id = users.id AND users.name IS DISTINCT FROM $2 ORDER BY 1",
        "WITH RECURSIVE up (n) AS (SELECT id FROM users UNION SELECT up.n + 1 FROM up WHERE up.n < 4)
         SELECT n::text AS line FROM up WHERE n >= $1 AND n::text <> $2 ORDER BY n",
        "SELECT extract(year FROM at)::text || substring(users.name from 1 for 1) || E'\\'; FROM nowhere, else' || $q$ FROM x, y $q$ AS line
         /* FROM /* nested, */ nowhere */ FROM shop.orders INNER JOIN users ON (users.id = orders.user_id) AND left(name, 1) <> $2 LEFT OUTER JOIN users AS \"Other\" ON \"Other\".id = orders.id
         WHERE orders.id >= $1 AND at IS NOT NULL ORDER BY orders.id",
        "(SELECT name AS line FROM users WHERE id >= $1) UNION ALL (SELECT v.name FROM (VALUES ('x'), ('y')) AS v (name) CROSS JOIN users WHERE v.name <> $2) ORDER BY 1",
        "SELECT line FROM users, LATERAL (SELECT 'never' AS line) l WHERE id >= $1 AND name <> $2",
    ];
    let ask = |text: &str| {
        diesel::sql_query(text.to_owned())
            .bind::<BigInt, _>(1)
            .bind::<Text, _>("zed")
    };
    let_the_application_read_the_log(&db);
    let readable = &texts[..7];
    let then: Vec<_> = readable
        .iter()
        .map(|text| ask(text).load::<Line>(&mut db.superuser()).unwrap())
        .collect();
    assert!(then.iter().all(|lines| !lines.is_empty()));
    let moment = clock(&mut db.app());
    execute(
        &mut db.superuser(),
        "UPDATE users SET id = id + 10, name = name || '!'; UPDATE shop.orders SET user_id = 11, \"Total \"\"net\"\"\" = 0, at = '1999-01-01';
         INSERT INTO users VALUES (3, 'cy')",
    );
    for mut conn in [db.auditor(), db.app()] {
        for (text, then) in readable.iter().zip(&then) {
            let lines = as_of_raw(ask(text), moment).load::<Line>(&mut conn);
            assert_eq!(lines.as_ref().ok(), Some(then), "{text}: {lines:?}");
        }
    }
    let comma = as_of_raw(ask(texts[7]), moment).load::<Line>(&mut db.auditor());
    assert!(comma.unwrap_err().to_string().contains("a comma"));
}
