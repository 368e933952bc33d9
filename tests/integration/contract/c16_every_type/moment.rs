//! C16 as of a moment: whole tables are decoded by SQL that is made for them, single rows by `threadline_decode`.

use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, value};

use super::{Case, cases, exists, version, with_modules};

/// The row with this id, decoded both ways.
fn both(db: &TestDb, moment: &str) -> [String; 2] {
    let mut auditor = db.auditor();
    let table = format!(
        "SELECT m::text AS row FROM threadline_moment(NULL::wide, 'wide', {moment}, '{{}}', '{{}}') m WHERE id = 1"
    );
    let single = format!(
        "SELECT coalesce(d.problem, d.row_image::text) AS row
         FROM threadline_as_of('wide', '{{\"id\": 1}}', {moment}) a, threadline_decode(NULL::wide, 'wide', threadline_whole(a.change), NULL) d"
    );
    [table, single].map(|sql| {
        let rows = rows(&mut auditor, &sql);
        assert_eq!(rows.len(), 1, "{sql}");
        rows[0]["row"].as_str().unwrap().to_owned()
    })
}

/// A table with a column for every value: as it is, with other names since, and with as many columns that came since.
#[test]
fn c16_every_value_is_decoded_alike_as_of_a_moment() {
    let db = with_modules();
    let mut owner = db.owner();
    let version = version(&mut owner);
    // What an old server has no binary input for fails either way.
    let legible = |case: &Case| {
        version >= 140_000
            || !(case.ty == "earth" || case.ty == "numeric" && case.value.contains("Infinity"))
    };
    let cases: Vec<_> = cases()
        .filter(|case| exists(&mut owner, case.ty) && legible(case))
        .collect();
    assert!(cases.len() > 100, "{}", cases.len());
    let columns = |item: &dyn Fn(usize, &Case) -> String| {
        let items = cases.iter().enumerate();
        let items: Vec<_> = items.map(|(number, case)| item(number, case)).collect();
        items.join(", ")
    };
    execute(
        &mut owner,
        &format!(
            "CREATE TABLE wide (id bigint PRIMARY KEY, {})",
            columns(&|number, case| format!("v{number} {}", case.ty))
        ),
    );
    db.capture("wide", Definition::new("Wide", &["id"]));
    execute(
        &mut db.superuser(),
        &format!(
            "INSERT INTO wide VALUES (1, {})",
            columns(&|_, case| case.value.to_owned())
        ),
    );
    let moment = value(&mut owner, "clock_timestamp()::text");
    let moment = format!("'{}'", moment.as_str().unwrap());
    let [table, single] = both(&db, &moment);
    assert_eq!(table, single);

    let formerly: Vec<_> = (0..cases.len())
        .map(|number| (&*format!("w{number}").leak(), &*format!("v{number}").leak()))
        .collect();
    for (new, old) in &formerly {
        execute(
            &mut owner,
            &format!("ALTER TABLE wide RENAME {old} TO {new}"),
        );
    }
    let definition = Definition::new("Wide", &["id"]).columns_formerly(formerly.leak());
    db.capture("wide", definition);
    for (number, case) in cases.iter().enumerate() {
        let ty = case.ty.split(" DEFAULT").next().unwrap();
        let is_domain = format!("(SELECT typtype = 'd' FROM pg_type WHERE oid = '{ty}'::regtype)");
        // For a domain PostgreSQL rewrites the table, and forgets what the rows before have of other columns; and a default
        // can't depend on a role.
        if ty != "regrole" && value(&mut owner, &is_domain) == false {
            let add = format!("ALTER TABLE wide ADD a{number} {ty} DEFAULT {}", case.value);
            execute(&mut owner, &add);
            // Noted each time: some rewrite the table, and then PostgreSQL forgets what the ones before gave its rows.
            db.capture("wide", definition);
        }
    }
    let [renamed, single] = both(&db, &moment);
    assert_eq!(renamed, single);
    assert!(
        renamed.starts_with(table.trim_end_matches(')')),
        "{renamed}\n{table}"
    );
    assert!(renamed.len() > 3 * table.len() / 2, "{renamed}");
}
