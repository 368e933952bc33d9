//! Actions: who may record them, who is told to have done so, and what they cost.

use super::*;

on_both_kinds!(
    only_recorders_record,
    the_session_is_recorded,
    sizes_are_bounded,
    the_thousandth_costs_what_the_first_does,
    serializable_writers_are_not_made_to_fail,
);

const RECORD: &str = "SELECT threadline_record_action_v1('user.deleted')";

fn recorded(db: &TestDb) -> Value {
    value(&mut db.superuser(), "SELECT count(*) FROM audit_actions")
}

fn only_recorders_record(db: &TestDb) {
    let other = role(db, "other", "LOGIN");
    let mut refused = Vec::new();
    for role in [&*other, "tl_auditor"] {
        let mut conn = connect(db, role);
        for sql in [
            RECORD,
            "SELECT threadline_record_action_v1('user.deleted', '{\"type\": \"admin\", \"id\": \"ceo\"}')",
            "INSERT INTO audit_actions (id, transaction_id, name, status, inserted_at) SELECT gen_random_uuid(), gen_random_uuid(), 'x', 'ok', now()",
        ] {
            refused.push(
                try_execute(&mut conn, sql)
                    .err()
                    .unwrap_or_else(|| format!("{role} ran {sql}")),
            );
        }
    }
    let wrong: Vec<_> = refused
        .iter()
        .filter(|refusal| !refusal.contains("permission denied"))
        .collect();
    assert_eq!(wrong, [] as [&String; 0]);
    assert_eq!(recorded(db), 0);
    execute(&mut db.app(), RECORD);
    assert_eq!(recorded(db), 1);
}

/// Without a captured change there is no transaction that says who it was.
fn the_session_is_recorded(db: &TestDb) {
    execute(
        &mut db.app(),
        "SELECT threadline_record_action_v1('by the session', '{\"type\": \"admin\", \"id\": \"ceo\"}')",
    );
    let gate = role(db, "gate", "LOGIN NOINHERIT");
    execute(&mut db.superuser(), &format!("GRANT tl_app TO {gate}"));
    execute(
        &mut connect(db, &gate),
        "SET ROLE tl_app; SELECT threadline_record_action_v1('by a role')",
    );
    let found = rows(
        &mut db.superuser(),
        "SELECT a.name, to_jsonb(a) ->> 'session_user_name' AS session, to_jsonb(a) ->> 'role_name' AS role FROM audit_actions a ORDER BY 1 DESC",
    );
    let expected = [
        json!({"name": "by the session", "session": "tl_app", "role": null}),
        json!({"name": "by a role", "session": gate, "role": "tl_app"}),
    ];
    assert_eq!(found, expected);
}

fn sizes_are_bounded(db: &TestDb) {
    let mut app = db.app();
    // Four bytes for each character, and more of them than are kept.
    let long = "repeat(chr(128512), 200000)";
    let names = ["correlation_id", "request_id", "job_id", "source"];
    let set = names
        .map(|name| format!("SELECT set_config('threadline.{name}', {long}, true);"))
        .concat();
    execute(
        &mut app,
        &format!(
            "SELECT threadline_record_action_v1('a', verb => {long}, category => {long}, reason => {long}, comment => {long},
                 correlation_id => {long}, request_id => {long}, job_id => {long});
             BEGIN; {set} SELECT threadline_record_action_v1('b'); COMMIT"
        ),
    );
    let bytes = rows(
        &mut db.superuser(),
        "SELECT a.name, octet_length(a::text) <= 4 * 65536 + 4 * 4096 + 5 * 4 * 255 + 1000 AS bounded FROM audit_actions a ORDER BY 1",
    );
    let bounded = |name| json!({"name": name, "bounded": true});
    assert_eq!(bytes, [bounded("a"), bounded("b")]);
    for refused in [
        format!("SELECT threadline_record_action_v1({long})"),
        format!(
            "SELECT threadline_record_action_v1('c', jsonb_build_object('type', 'user', 'id', {long}))"
        ),
        format!(
            "SELECT threadline_record_action_v1('c', jsonb_build_object('type', 'user', 'id', '1', 'more', {long}))"
        ),
        format!("SELECT threadline_record_action_v1('c', status => {long})"),
    ] {
        let error = try_execute(&mut app, &refused).expect_err(&refused);
        assert!(error.contains("threadline: "), "{error}");
        assert!(error.len() < 2000, "an error of {} bytes", error.len());
    }
}

/// The pages that a call reads, with those of the queries within.
fn pages(app: &mut PgConnection) -> u64 {
    #[derive(QueryableByName)]
    struct Explained {
        #[diesel(sql_type = diesel::sql_types::Json, column_name = "QUERY PLAN")]
        plan: Value,
    }
    let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {RECORD}");
    let explained: Explained = diesel::sql_query(sql).get_result(app).unwrap();
    let plan = &explained.plan[0]["Plan"];
    ["Shared Hit Blocks", "Shared Read Blocks"]
        .map(|blocks| plan[blocks].as_u64().expect("it was run"))
        .iter()
        .sum()
}

fn the_thousandth_costs_what_the_first_does(db: &TestDb) {
    db.audited("items", "CREATE TABLE items (id bigint PRIMARY KEY)");
    for write in ["SELECT", "INSERT INTO items VALUES (1)"] {
        let mut app = db.app();
        execute(&mut app, &format!("BEGIN; {write}"));
        // The first ones also look up what the session caches.
        let early: Vec<_> = (0..20).map(|_| pages(&mut app)).collect();
        execute(
            &mut app,
            &format!(
                "DO $$ BEGIN FOR i IN 1..960 LOOP PERFORM {}; END LOOP; END $$",
                &RECORD["SELECT ".len()..]
            ),
        );
        let late: Vec<_> = (0..20).map(|_| pages(&mut app)).collect();
        execute(&mut app, "COMMIT");
        // The least of them, since a page is split now and then. An index may have grown by a level or two.
        let (first, last) = (early.iter().min().unwrap(), late.iter().min().unwrap());
        assert!(
            last <= &(first + 20),
            "pages of the first calls {early:?}, of the last ones {late:?}"
        );
        assert!(*first > 0);
    }
    assert_eq!(recorded(db), 2000);
}

/// Two writers of different rows, each of whom records an action, in every order of their steps.
fn serializable_writers_are_not_made_to_fail(db: &TestDb) {
    db.audited(
        "items",
        "CREATE TABLE items (id bigint PRIMARY KEY, n integer)",
    );
    execute(
        &mut db.app(),
        "INSERT INTO items SELECT i, 0 FROM generate_series(1, 2000) i",
    );
    execute(&mut db.superuser(), "VACUUM ANALYZE");
    let (mut one, mut two) = (db.app(), db.app());
    let mut failed = std::collections::BTreeSet::new();
    for actor in [
        "",
        "SELECT set_config('threadline.actor_ref', '{\"type\": \"user\", \"id\": \"42\"}', true); ",
    ] {
        let write = "UPDATE items SET n = n + 1 WHERE id = :id";
        for steps in [
            [RECORD, write],
            [write, RECORD],
            [write, "SELECT"],
            [RECORD, "SELECT"],
        ] {
            for (one_id, two_id) in [(1, 1000), (1000, 2000), (2000, 1)] {
                let begin = format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {actor}");
                let mut run = || -> Result<(), String> {
                    for conn in [&mut one, &mut two] {
                        try_execute(conn, &format!("{begin} SELECT"))?;
                    }
                    for step in steps {
                        try_execute(&mut one, &step.replace(":id", &one_id.to_string()))?;
                        try_execute(&mut two, &step.replace(":id", &two_id.to_string()))?;
                    }
                    try_execute(&mut one, "COMMIT")?;
                    try_execute(&mut two, "COMMIT")
                };
                if let Err(error) = run() {
                    failed.insert(format!("{actor}{steps:?}: {error}"));
                    for conn in [&mut one, &mut two] {
                        execute(conn, "ROLLBACK");
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
