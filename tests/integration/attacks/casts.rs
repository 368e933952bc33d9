//! What the owner of a column's type may have called: its casts to json, its casts to text, and the checks of its domains.

use super::*;

on_both_kinds!(casts_never_run, checks_of_domains_run_as_who_reads);

/// A schema whose owner may do as it likes there, with types that tell when their code runs.
fn team(db: &TestDb) -> String {
    let team = role(db, "team", "NOLOGIN");
    let told = tells(db, "'cast'");
    let mut superuser = db.superuser();
    execute(
        &mut superuser,
        &format!(
            "CREATE SCHEMA team AUTHORIZATION {team}; GRANT USAGE ON SCHEMA team TO PUBLIC; SET ROLE {team};
             CREATE TYPE team.lvl AS ENUM ('low', 'high');
             CREATE TYPE team.pair AS (lvl team.lvl, n integer);
             CREATE TYPE team.span AS RANGE (SUBTYPE = integer);
             CREATE DOMAIN team.level AS team.lvl"
        ),
    );
    for (type_name, image) in [("lvl", "low"), ("pair", "(low,1)"), ("span", "[1,2)")] {
        for (target, made) in [
            ("json", "\"forged\""),
            ("jsonb", "\"forged\""),
            ("text", image),
        ] {
            execute(
                &mut superuser,
                &format!(
                    "CREATE FUNCTION team.{target}(team.{type_name}) RETURNS {target} LANGUAGE plpgsql AS
                       $decoy$ BEGIN {told}; RETURN '{made}'; END $decoy$;
                     CREATE CAST (team.{type_name} AS {target}) WITH FUNCTION team.{target}(team.{type_name}) AS IMPLICIT"
                ),
            );
        }
    }
    team
}

fn casts_never_run(db: &TestDb) {
    team(db);
    let columns = "id bigint PRIMARY KEY, lvl team.lvl, level team.level, pair team.pair, span team.span, lvls team.lvl[], pairs team.pair[], note text";
    db.create(&format!(
        "CREATE TABLE by_row ({columns}); CREATE TABLE by_statement ({columns})"
    ));
    let definition = Definition::new("Model", &["id"]).store_changed_from();
    db.capture("by_row", definition);
    db.capture("by_statement", definition.level(Level::Statement));
    let mut app = db.app();
    for table in ["by_row", "by_statement"] {
        for sql in [
            "INSERT INTO {} SELECT n, 'high', 'high', '(high,2)', '[3,5)', '{high,low}', ARRAY['(high,1)'::team.pair], 'a' FROM generate_series(1, 3) n",
            "INSERT INTO {} VALUES (4, 'high', 'high', '(high,2)', '[3,5)', '{high}', NULL, repeat('x', 1000001))",
            "UPDATE {} SET note = 'b', lvl = 'low' WHERE id = 1",
            "BEGIN; SELECT FROM {} FOR UPDATE; UPDATE {} SET pair = '(low,3)'; UPDATE {} SET note = 'c'; COMMIT",
            "UPDATE {} SET id = id + 10",
            "BEGIN; DELETE FROM {} WHERE id = 11; INSERT INTO {} VALUES (11, 'high'); COMMIT",
        ] {
            execute(&mut app, &sql.replace("{}", table));
        }
        for moment in [
            format!("SELECT t::text FROM threadline_moment(NULL::{table}, '{table}', now()) t ORDER BY id"),
            format!(
                "SELECT d.row_image::text AS t FROM {table} t, threadline_as_of('{table}', jsonb_build_object('id', t.id), now()) a,
                   threadline_decode(NULL::{table}, '{table}', (a.change).data_after, '{{}}') d ORDER BY t.id"
            ),
        ] {
            assert_eq!(
                rows(&mut db.owner(), &moment),
                rows(&mut db.owner(), &format!("SELECT t::text FROM {table} t ORDER BY id")),
            );
        }
    }
    assert_eq!(decoys_of(db), [""; 0]);
}

fn checks_of_domains_run_as_who_reads(db: &TestDb) {
    let team = team(db);
    execute(
        &mut db.superuser(),
        &format!(
            "SET ROLE {team};
             CREATE FUNCTION team.checked(integer) RETURNS boolean LANGUAGE plpgsql AS $decoy$ BEGIN {}; RETURN true; END $decoy$;
             CREATE DOMAIN team.score AS integer CHECK (team.checked(VALUE))",
            tells(db, "'check'")
        ),
    );
    db.create("CREATE TABLE scores (id team.score PRIMARY KEY, score team.score, note text)");
    db.capture(
        "scores",
        Definition::new("Score", &["id"]).store_changed_from(),
    );
    let mut app = db.app();
    for sql in [
        "INSERT INTO scores VALUES (1, 1, 'a'), (2, 2, repeat('x', 1000001))",
        "BEGIN; UPDATE scores SET score = 3; UPDATE scores SET id = id + 10; COMMIT",
        "BEGIN; DELETE FROM scores WHERE id = 11; INSERT INTO scores VALUES (11, 5); COMMIT",
    ] {
        execute(&mut app, sql);
    }
    assert_eq!(decoys_of(db), ["check ran as tl_app"]);
    let read = "SELECT count(*) FROM threadline_history('scores', '{\"id\": 11}') h, threadline_decode(NULL::scores, 'scores', h.data_after, '{}') d
                WHERE d.problem IS NULL";
    assert_eq!(value(&mut db.auditor(), read), 3);
    assert_eq!(
        decoys_of(db),
        ["check ran as tl_app", "check ran as tl_auditor"]
    );
}
