//! Attacks on the log, and faults that it has to survive, on both kinds of log: one that belongs to whoever migrates, and
//! one that belongs to a role of its own.

/// Makes two tests of a function that takes a database: one for each kind of log.
macro_rules! on_both_kinds {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::attacks::{Kind, log};

            #[test]
            fn owned_by_the_migrator() {
                super::$name(&log(Kind::Migrator));
            }

            #[test]
            fn owned_by_a_role() {
                super::$name(&log(Kind::Role));
            }
        }
    )+ };
}

mod actions;
mod casts;
mod commit;
mod faults;
mod held;
mod logging;
mod lookalikes;
mod marks;
mod names;
mod newest;
mod overloads;
mod rights;
mod settings;
mod types;
mod uncaptured;

use diesel::prelude::*;
use serde_json::{Value, json};
use threadline::capture::{Identifier, Storage, base};
use threadline::{Definition, Level, Truncate};
use threadline_tests::log::lines;
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// Who owns the log.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// `tl_owner`, which owns the audited tables too.
    Migrator,
    /// A role that nobody logs in as. `tl_owner` is a member of it.
    Role,
}

/// A database with a log.
fn log(kind: Kind) -> TestDb {
    match kind {
        Kind::Migrator => TestDb::new(),
        Kind::Role => {
            let db = TestDb::empty();
            install(&db, kind, "SELECT");
            db
        }
    }
}

/// Installs the log into an empty database, after the owner of its tables has run some SQL.
fn install(db: &TestDb, kind: Kind, before: &str) {
    let mut superuser = db.superuser();
    if db.postgres().version() < 15 {
        execute(
            &mut superuser,
            "ALTER SCHEMA public OWNER TO tl_owner; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        );
    }
    let owner = match kind {
        Kind::Migrator => None,
        Kind::Role => {
            let role = role(db, "log", "NOLOGIN");
            execute(&mut superuser, &format!("GRANT {role} TO tl_owner"));
            Some(Identifier::new(role).unwrap())
        }
    };
    let mut migrator = db.owner();
    execute(&mut migrator, before);
    execute(
        &mut migrator,
        &base::up_sql(&Storage::default(), owner.as_ref()),
    );
}

/// Creates a role. Roles belong to the cluster, so its name has that of the database in it.
fn role(db: &TestDb, name: &str, rights: &str) -> String {
    let role = format!("{}_{name}", db.name());
    execute(&mut db.superuser(), &format!("CREATE ROLE {role} {rights}"));
    role
}

/// A connection as any role.
fn connect(db: &TestDb, role: &str) -> PgConnection {
    PgConnection::establish(&db.url(role)).unwrap_or_else(|error| panic!("{error}"))
}

/// PL/pgSQL that tells the server's log that a decoy ran, and as whom: a transaction that is rolled back keeps it there.
/// `what` is an SQL expression.
fn tells(db: &TestDb, what: &str) -> String {
    format!(
        "RAISE LOG 'decoy of {}: % ran as %', {what}, current_user",
        db.name()
    )
}

/// The decoys that ran.
fn decoys_of(db: &TestDb) -> Vec<String> {
    let mark = format!("LOG:  decoy of {}: ", db.name());
    let log = db.postgres().log();
    let mut ran: Vec<_> = log
        .lines()
        .filter_map(|line| Some(line.split_once(&mark)?.1.to_owned()))
        .collect();
    ran.sort();
    ran.dedup();
    ran
}

/// `items`, which is captured with everything that capture has code for, and `notes`, by statement. The owner's trigger
/// writes to row 2 in the middle of a statement that updates row 1, so that rows are checked again.
fn audited(db: &TestDb) {
    db.create(
        "CREATE TABLE items (id bigint PRIMARY KEY, name text, doc json, body text, secret text, pin text);
         CREATE TABLE notes (id bigint PRIMARY KEY, name text, doc json, body text, secret text, pin text);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             EXECUTE pg_catalog.format('UPDATE public.%I SET name = $1 WHERE id OPERATOR(pg_catalog.=) 2::pg_catalog.int8', TG_TABLE_NAME) USING 'nested'; RETURN NULL; END $$;
         CREATE TRIGGER touch AFTER UPDATE ON items FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION touch();
         CREATE TRIGGER touch AFTER UPDATE ON notes FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION touch()",
    );
    let rules = Definition::new("Item", &["id"])
        .store_changed_from()
        .on_change(&["body"])
        .mask(&["secret"])
        .exclude(&["pin"]);
    db.capture("items", rules.truncate(Truncate::Rows));
    db.capture("notes", rules.level(Level::Statement));
}

/// Everything that capture has code for, on one of the tables of [`audited`]. No name is looked up by `search_path`.
fn everything(table: &str) -> Vec<String> {
    let large = "SELECT 3, pg_catalog.repeat('x', 5000000), pg_catalog.json_build_object('a', 1), 'b', 's', 'p'";
    [
        format!("INSERT INTO public.{table} VALUES (1, 'a', '{{}}', 'b', 's', 'p'), (2, 'a', '{{}}', 'b', 's', 'p')"),
        format!("INSERT INTO public.{table} {large}"),
        format!("INSERT INTO public.{table} VALUES (4, 'a', '{{\"a\": \"\\u0000\"}}', 'b', 's', 'p')"),
        format!("UPDATE public.{table} SET name = 'b', body = 'c' WHERE id OPERATOR(pg_catalog.<=) 2::pg_catalog.int8"),
        format!("UPDATE public.{table} SET secret = 't', pin = 'q' WHERE id OPERATOR(pg_catalog.=) 3::pg_catalog.int8"),
        format!("INSERT INTO public.{table} VALUES (4, 'a') ON CONFLICT (id) DO UPDATE SET doc = '[]'"),
        format!("UPDATE public.{table} SET id = 5 WHERE id OPERATOR(pg_catalog.=) 4::pg_catalog.int8"),
        format!("DELETE FROM public.{table} WHERE id OPERATOR(pg_catalog.=) 1::pg_catalog.int8"),
        format!("TRUNCATE public.{table}"),
    ]
    .to_vec()
}

/// What [`everything`] leaves in the log.
fn assert_everything_is_recorded(db: &TestDb, times: usize) {
    let items = [
        "insert 1", "insert 2", "insert 3", "insert 4", "update 1", "update 2", "update 2",
        "update 2", "update 3", "update 4", "delete 4", "insert 5", "delete 1", "delete 2",
        "delete 3", "delete 5",
    ];
    let notes = [&items[..4], &items[4..6], &items[6..13], &["truncate"]].concat();
    for (table, expected) in [("items", items.to_vec()), ("notes", notes)] {
        let (mut found, mut expected) = (lines(db, table), expected.repeat(times));
        // Whether the nested change or the outer one comes first is not the matter here.
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "of {table}");
    }
}
