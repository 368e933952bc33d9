//! C16: every type that can round-trip does, whatever the settings of the writer and of the reader.

mod models;

use std::collections::BTreeSet;

use diesel::PgConnection;
use serde_json::Value;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// One line of `values.txt`, and the column that holds it.
struct Case {
    column: String,
    /// The type, and a default where it needs one.
    ty: &'static str,
    value: &'static str,
    /// What comes back, if it isn't the value.
    instead: Option<&'static str>,
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = include_str!("values.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.enumerate().map(|(number, line)| {
        let mut fields = line.split('\t');
        Case {
            column: format!("v{number}"),
            ty: fields.next().unwrap(),
            value: fields.next().unwrap(),
            instead: fields.next(),
        }
    })
}

/// Types of the server's modules that no column can have a value of: they only live inside indexes.
const OF_INDEXES: &str = "^(gbtreekey([0-9]+|_var)|gtrgm|ghstore|ltree_gist|intbig_gkey)$";

const TYPES: &str = "
    CREATE TYPE comp AS (a int, b text, ts timestamptz);
    CREATE DOMAIN dpos AS int CHECK (value > 0);
    CREATE DOMAIN darr AS text[];
    CREATE DOMAIN dnn AS text NOT NULL;
    CREATE DOMAIN dcomp AS comp;
    CREATE TYPE frange AS RANGE (subtype = float8);
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');";

/// A database with every module that the server offers.
fn with_modules() -> TestDb {
    let db = TestDb::new();
    let mut superuser = db.superuser();
    let modules = rows(
        &mut superuser,
        "SELECT name FROM pg_available_extensions ORDER BY name",
    );
    for module in modules {
        let name = module["name"].as_str().unwrap();
        // Some need another language or a library that isn't there.
        let _ = try_execute(
            &mut superuser,
            &format!("CREATE EXTENSION IF NOT EXISTS \"{name}\" CASCADE"),
        );
    }
    execute(&mut superuser, TYPES);
    if value(&mut superuser, "to_regtype('hstore') IS NOT NULL") == true {
        execute(&mut superuser, "CREATE TYPE hcomp AS (h hstore, n int)");
    }
    db
}

fn exists(conn: &mut PgConnection, ty: &str) -> bool {
    // A type with a modifier or fields, such as numeric(10,2), is there if its name is.
    let name = ty.split(['(', ' ']).next().unwrap();
    value(conn, &format!("to_regtype('{name}') IS NOT NULL")) == true
}

/// Both tables, one for each level, have a column for each value.
const TABLES: [(&str, Level); 2] = [("by_row", Level::Row), ("by_statement", Level::Statement)];

fn create(db: &TestDb, cases: &[Case]) {
    let columns: String = cases
        .iter()
        .map(|case| format!(", {} {}", case.column, case.ty))
        .collect();
    for (table, level) in TABLES {
        db.create(&format!(
            "CREATE TABLE {table} (id bigint PRIMARY KEY{columns})"
        ));
        let definition = Definition::new("Model", &["id"])
            .store_changed_from()
            .level(level);
        db.capture(table, definition);
    }
}

/// Settings that change how values print.
const HOSTILE_WRITER: &str = "SET timezone = 'America/New_York'; SET datestyle = 'SQL, DMY'; SET intervalstyle = sql_standard;
    SET bytea_output = escape; SET extra_float_digits = -3; SET xmloption = document";
const HOSTILE_READER: &str = "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET intervalstyle = postgres_verbose;
    SET bytea_output = escape; SET extra_float_digits = 0; SET xmloption = document";

/// The columns of row `id` that differ, to the last bit, between the table and what `image` of its newest change holds:
/// their names and the values that the log has.
fn differing(
    reader: &mut PgConnection,
    table: &str,
    id: i64,
    image: &str,
    cases: &[Case],
) -> BTreeSet<(String, String)> {
    let columns: Vec<_> = cases
        .iter()
        .map(|case| {
            // Subselects, because a comparison of ROW(…) with ROW(…) asks for the operators of the columns' types.
            format!(
                "CASE WHEN (SELECT o FROM (SELECT live.{0} AS v) o) OPERATOR(pg_catalog.*<>) (SELECT n FROM (SELECT logged.{0} AS v) n)
                 THEN jsonb_build_array('{0}', coalesce(logged.{0}::text, 'NULL')) END",
                case.column
            )
        })
        .collect();
    // In several queries, because one of this size takes seconds to plan.
    let newest = format!(
        "(SELECT {image} AS image FROM audit_changes WHERE table_name = '{table}' AND table_pk = '{{\"id\": \"{id}\"}}' ORDER BY id DESC LIMIT 1)"
    );
    let mut found = BTreeSet::new();
    for columns in columns.chunks(20) {
        let sql = format!(
            "SELECT d.problem, array_remove(ARRAY[{}], NULL) AS differing
             FROM {newest} c, kept_{table} live, threadline_decode(NULL::{table}, '{table}', c.image, NULL) d,
                  LATERAL (SELECT (d.row_image).*) logged
             WHERE live.id = {id}",
            columns.join(", ")
        );
        let row = &rows(reader, &sql)[0];
        assert_eq!(row["problem"], Value::Null);
        for pair in row["differing"].as_array().unwrap() {
            let text = |at: usize| pair[at].as_str().unwrap().to_owned();
            found.insert((text(0), text(1)));
        }
    }
    found
}

#[test]
fn c16_every_value_round_trips() {
    let db = with_modules();
    let mut reader = db.superuser();
    let (cases, lacking): (Vec<_>, Vec<_>) = cases().partition(|case| exists(&mut reader, case.ty));
    for case in lacking {
        assert_lacks(&mut reader, case.ty);
    }
    create(&db, &cases);
    execute(&mut reader, HOSTILE_READER);
    let exceptions: BTreeSet<_> = cases
        .iter()
        .filter_map(|case| Some((case.column.clone(), case.instead?.to_owned())))
        .collect();
    let mut writer = db.superuser();
    execute(&mut writer, HOSTILE_WRITER);
    for (table, _) in TABLES {
        execute(
            &mut writer,
            &format!("CREATE TABLE kept_{table} (LIKE {table}); INSERT INTO {table} VALUES (1)"),
        );
        for case in &cases {
            let set = format!("UPDATE {table} SET {} = {}", case.column, case.value);
            try_execute(&mut writer, &set).unwrap_or_else(|error| panic!("{}: {error}", case.ty));
            let changed = "SELECT array_to_string(changed_fields, ',') FROM audit_changes ORDER BY id DESC LIMIT 1";
            let expected = if case.value == "NULL" {
                None
            } else {
                Some(&case.column)
            };
            if let Some(column) = expected {
                assert_eq!(
                    value(&mut writer, changed),
                    **column,
                    "{} {}",
                    case.ty,
                    case.value
                );
            }
        }
        execute(
            &mut writer,
            &format!(
                "CREATE TEMP TABLE copy AS SELECT * FROM {table}; UPDATE copy SET id = 2; INSERT INTO {table} SELECT * FROM copy; DROP TABLE copy;
                 INSERT INTO kept_{table} SELECT * FROM {table}; DELETE FROM {table} WHERE id = 2"
            ),
        );
        for (id, image) in [(1, "data_after"), (2, "changed_from")] {
            let found = differing(&mut reader, table, id, image, &cases);
            assert_eq!(found, exceptions, "{image} of {table}");
        }
    }
}

/// A type that a server may lack: of an older version, or of a module that it doesn't offer.
fn assert_lacks(conn: &mut PgConnection, ty: &str) {
    let version = value(conn, "current_setting('server_version_num')::integer");
    let later = ty.ends_with("multirange") && version.as_i64() < Some(140_000);
    let offered = value(
        conn,
        "EXISTS (SELECT FROM pg_available_extensions WHERE name IN ('hstore', 'isn', 'cube', 'ltree'))",
    );
    assert!(later || offered == false, "no type {ty}");
}

/// A module of a later version brings a type that nobody thought of.
#[test]
fn c16_every_type_of_every_module_has_a_value() {
    let db = with_modules();
    let mut superuser = db.superuser();
    let listed: Vec<_> = cases()
        .filter(|case| exists(&mut superuser, case.ty))
        .map(|case| format!("'{}'::regtype", case.ty.split(" DEFAULT").next().unwrap()))
        .collect();
    let without = rows(
        &mut superuser,
        &format!(
            "SELECT e.extname AS module, t.typname AS type
             FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
             JOIN pg_extension e ON e.oid = d.refobjid
             WHERE t.typtype IN ('b', 'd', 'e', 'r') AND t.typcategory <> 'A' AND t.typname !~ '{OF_INDEXES}' AND t.oid <> ALL (ARRAY[{}])",
            listed.join(", ")
        ),
    );
    assert_eq!(without, Vec::<Value>::new());
}

/// Also inside arrays, composites and domains.
#[test]
fn c16_hstore_is_stored_as_its_text() {
    let db = with_modules();
    let mut superuser = db.superuser();
    if !exists(&mut superuser, "hstore") {
        return assert_lacks(&mut superuser, "hstore");
    }
    for level in [Level::Row, Level::Statement] {
        execute(
            &mut superuser,
            "DROP TABLE IF EXISTS bags; CREATE TABLE bags (id int PRIMARY KEY, bag hstore, bags hstore[], comp hcomp);
             ALTER TABLE bags OWNER TO tl_owner",
        );
        db.capture("bags", Definition::new("Bag", &["id"]).level(level));
        execute(
            &mut superuser,
            "INSERT INTO bags SELECT 1, b, ARRAY[b], (b, 1)::hcomp FROM (SELECT 'a=>1, b=>NULL'::hstore AS b) q;
             UPDATE bags SET bag = bag || 'a=>\"2\"'",
        );
        let images =
            "SELECT data_after, changed_fields FROM audit_changes ORDER BY id DESC LIMIT 2";
        let expected = |bag: &str, changed: Value| {
            serde_json::json!({"changed_fields": changed, "data_after": {
                "id": 1, "bag": bag, "bags": r#"{"\"a\"=>\"1\", \"b\"=>NULL"}"#,
                "comp": r#"("""a""=>""1"", ""b""=>NULL",1)"#,
            }})
        };
        assert_eq!(
            rows(&mut db.auditor(), images),
            [
                expected(r#""a"=>"2", "b"=>NULL"#, serde_json::json!(["bag"])),
                expected(r#""a"=>"1", "b"=>NULL"#, Value::Null),
            ]
        );
    }
}
