//! What capture leaves in settings, in whatever form: read after it, and made anew for another transaction.

use super::*;

/// Settings that say what an application may say: about its actor, and whether to capture.
const CLAIMS: [&str; 8] = [
    "actor_ref",
    "meta",
    "source",
    "request_id",
    "correlation_id",
    "job_id",
    "capture",
    "drop_log",
];

/// All settings that a function of the log reads or writes, but [`CLAIMS`].
pub(super) fn settings(db: &TestDb) -> Vec<String> {
    let found = rows(
        &mut db.superuser(),
        "SELECT DISTINCT m.match[1] AS name FROM pg_proc p
         CROSS JOIN LATERAL regexp_matches(p.prosrc, '\\mthreadline\\.([a-z_]+)''', 'g') m(match)
         WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'threadline%' ORDER BY 1",
    );
    found
        .iter()
        .map(|row| row["name"].as_str().unwrap().to_owned())
        .filter(|name| !CLAIMS.contains(&name.as_str()))
        .map(|name| format!("threadline.{name}"))
        .collect()
}

/// What a transaction is called in a mark, in any spelling.
fn names_of_transaction(conn: &mut PgConnection) -> Vec<String> {
    let names = value(
        conn,
        "WITH t AS (SELECT encode(timestamptz_send(transaction_timestamp()) || xid8send(pg_current_xact_id()), 'hex') AS id)
         SELECT jsonb_build_array(t.id::uuid, t.id, transaction_timestamp()::text, statement_timestamp()::text, pg_current_xact_id()) FROM t",
    );
    let names = names.as_array().unwrap().iter();
    names
        .map(|name| {
            name.as_str()
                .map_or_else(|| name.to_string(), str::to_owned)
        })
        .collect()
}

/// Stand for the names of a transaction in a [`Mark`].
const PLACES: [char; 5] = ['\u{e000}', '\u{e001}', '\u{e002}', '\u{e003}', '\u{e004}'];

/// A value that a setting had, and the names of the transaction that left it there.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    form: String,
    pub(super) names: Vec<String>,
}

impl Mark {
    /// The values of all settings.
    pub(super) fn read(conn: &mut PgConnection, settings: &[String]) -> Vec<Self> {
        let names = names_of_transaction(conn);
        let read = |setting: &String| {
            let set = value(conn, &format!("SELECT current_setting('{setting}', true)"));
            let form = PLACES.iter().zip(&names).fold(
                set.as_str().unwrap_or_default().to_owned(),
                |form, (place, name)| form.replace(name.as_str(), &place.to_string()),
            );
            Self {
                form,
                names: names.clone(),
            }
        };
        settings.iter().map(read).collect()
    }

    pub(super) fn of(&self, names: &[String]) -> String {
        let places = PLACES.iter().zip(names);
        places.fold(self.form.clone(), |value, (place, name)| {
            value.replace(*place, name)
        })
    }

    /// The value as it was, as it would be in the transaction that runs, with its actor too, and with other places of a row.
    pub(super) fn forged(&self, conn: &mut PgConnection, actor: &str) -> Vec<String> {
        let present = self.of(&names_of_transaction(conn));
        let mut forged = vec![
            self.of(&self.names),
            present.replace("former", actor),
            present.clone(),
        ];
        if present.contains(",1)") {
            forged.extend((2..=9).map(|place| present.replace(",1)", &format!(",{place})"))));
        }
        forged
    }
}

/// Names the actor of a transaction.
pub(super) fn acts(actor: &str) -> String {
    format!(
        "SELECT set_config('threadline.actor_ref', '{{\"type\": \"user\", \"id\": \"{actor}\"}}', true);"
    )
}

pub(super) fn set(conn: &mut PgConnection, setting: &str, value: &str) {
    let quoted = value.replace('\'', "''");
    execute(
        conn,
        &format!("SELECT set_config('{setting}', '{quoted}', true)"),
    );
}

/// Marks of transactions in every state, one of each form: with and without an actor and an action, after several
/// commands and nested ones, in a savepoint, and after the commit marker.
pub(super) fn collect(app: &mut PgConnection, settings: &[String]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for work in [
        "INSERT INTO items VALUES (5)",
        "SELECT threadline_record_action_v1('first'); INSERT INTO items VALUES (5)",
        "DELETE FROM items WHERE id = 0; DO $$ BEGIN DELETE FROM items WHERE id = 1; INSERT INTO items VALUES (1); END $$",
        "SAVEPOINT s; INSERT INTO items VALUES (5); ROLLBACK TO s",
        "SAVEPOINT s; INSERT INTO items VALUES (5); RELEASE s; DELETE FROM items WHERE id = 5",
        "INSERT INTO items VALUES (5); SET CONSTRAINTS ALL IMMEDIATE",
    ] {
        for actor in ["", &acts("former")] {
            execute(app, &format!("BEGIN; {actor} {work}"));
            marks.extend(Mark::read(app, settings));
            execute(app, "ROLLBACK");
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    marks.retain(|mark| !mark.form.is_empty() && seen.insert(mark.form.clone()));
    marks
}

/// Begins a transaction, with an actor.
pub(super) fn begin(app: &mut PgConnection, actor: Option<&str>) {
    execute(
        app,
        &format!("BEGIN; {}", actor.map(acts).unwrap_or_default()),
    );
}

/// Runs `attack` for every value that a mark had or would have, in every setting, each in a transaction that it ends.
pub(super) fn each_forgery(
    app: &mut PgConnection,
    settings: &[String],
    marks: &[Mark],
    actor: Option<&str>,
    mut attack: impl FnMut(&mut PgConnection),
) {
    for setting in settings {
        for mark in marks {
            let mut at = 0;
            loop {
                begin(app, actor);
                let forged = mark.forged(app, actor.unwrap_or("nobody"));
                let Some(forged) = forged.get(at) else {
                    execute(app, "ROLLBACK");
                    break;
                };
                set(app, setting, forged);
                attack(app);
                at += 1;
            }
        }
    }
}
