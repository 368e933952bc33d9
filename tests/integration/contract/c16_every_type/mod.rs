//! C16: every type that can round-trip does, whatever the settings of the writer and of the reader.

mod models;
mod moment;

use diesel::PgConnection;
use serde_json::Value;
use threadline::{Definition, Level};
use threadline_tests::{TestDb, execute, offers, rows, try_execute, value};

/// One line of `values.txt`.
struct Case {
    /// The type, and a default where it needs one.
    ty: &'static str,
    value: &'static str,
    /// What comes back, if it isn't the value.
    instead: Option<&'static str>,
}

fn cases() -> impl Iterator<Item = Case> {
    let lines = include_str!("values.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut fields = line.split('\t');
        Case {
            ty: fields.next().unwrap(),
            value: fields.next().unwrap(),
            instead: fields.next(),
        }
    })
}

/// Types that no column can have a value of, or none that stays: they live inside indexes and in the catalog.
const INTERNAL: &str = "^(gbtreekey([0-9]+|_var)|gtrgm|ghstore|ltree_gist|intbig_gkey|gtsvector|pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_.*)$";

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
        && (!name.starts_with("xml") || offers(conn, "SELECT xml '<a/>'"))
}

/// Settings that change how values print and are read.
const HOSTILE_WRITER: &str = "SET timezone = 'America/New_York'; SET datestyle = 'SQL, DMY'; SET intervalstyle = sql_standard;
    SET bytea_output = escape; SET extra_float_digits = -3";
const HOSTILE_READER: &str = "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German'; SET intervalstyle = postgres_verbose;
    SET bytea_output = escape; SET extra_float_digits = 0; SET xmloption = document; SET array_nulls = off; SET quote_all_identifiers = on";

/// What the images of an update and of a delete hold, if it differs to the last bit from what the table holds.
fn differing(
    writer: &mut PgConnection,
    reader: &mut PgConnection,
    table: &str,
    case: &Case,
) -> Vec<String> {
    let statements = format!(
        "INSERT INTO {table} VALUES (1); UPDATE {table} SET v = {};
         INSERT INTO {table} SELECT 2, v FROM {table}; DELETE FROM {table} WHERE id = 2",
        case.value
    );
    try_execute(writer, &statements)
        .unwrap_or_else(|error| panic!("{} {}: {error}", case.ty, case.value));
    let images = rows(
        reader,
        &format!(
            "SELECT c.op, c.changed_fields, d.problem, logged.v::text AS v,
                 -- Subselects, because a comparison of ROW(…) with ROW(…) asks for the operators of the columns' types.
                 (SELECT o FROM (SELECT live.v) o) OPERATOR(pg_catalog.*=) (SELECT n FROM (SELECT logged.v) n) AS same
             FROM audit_changes c, {table} live, threadline_decode(NULL::{table}, '{table}', coalesce(c.data_after, c.changed_from), NULL) d,
                  LATERAL (SELECT (d.row_image).*) logged
             WHERE c.table_name = '{table}' AND c.op IN ('update', 'delete') ORDER BY c.id"
        ),
    );
    let ops: Vec<_> = images
        .iter()
        .map(|image| image["op"].as_str().unwrap())
        .collect();
    if case.value == "NULL" {
        assert_eq!(ops, ["delete"]);
    } else {
        assert_eq!(ops, ["update", "delete"], "{} {}", case.ty, case.value);
        assert_eq!(images[0]["changed_fields"], serde_json::json!(["v"]));
    }
    let differing = images.iter().filter(|image| image["same"] != true);
    differing
        .map(|image| match &image["problem"] {
            Value::Null => image["v"].as_str().unwrap_or("NULL").to_owned(),
            problem => problem.to_string(),
        })
        .collect()
}

#[test]
fn c16_every_value_round_trips() {
    let db = with_modules();
    let (mut owner, mut reader, mut writer) = (db.owner(), db.superuser(), db.superuser());
    let (cases, lacking): (Vec<_>, Vec<_>) = cases().partition(|case| exists(&mut owner, case.ty));
    for case in lacking {
        assert_lacks(&mut owner, case.ty);
    }
    let (cases, later): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| {
        !(case.ty == "numeric" && case.value.contains("Infinity")) || version(&mut owner) >= 140_000
    });
    for case in later {
        let refused = try_execute(&mut owner, &format!("SELECT {}::{}", case.value, case.ty));
        refused.expect_err("version 14 brought it");
    }
    // All tables before the first write: sessions that have many plans take long over the news of each new table.
    for (number, case) in cases.iter().enumerate() {
        for level in [Level::Row, Level::Statement] {
            let table = table(number, level);
            let create = format!(
                "CREATE TABLE {table} (id bigint PRIMARY KEY, v {})",
                case.ty
            );
            execute(&mut owner, &create);
            let definition = Definition::new("Model", &["id"])
                .store_changed_from()
                .level(level);
            db.capture(&table, definition);
        }
    }
    execute(&mut reader, HOSTILE_READER);
    execute(&mut writer, HOSTILE_WRITER);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        for level in [Level::Row, Level::Statement] {
            let table = table(number, level);
            let found = differing(&mut writer, &mut reader, &table, case);
            // Version 13 checks a domain's value through the binary input of its base type, and its cube has none.
            let unreadable = (case.ty == "earth" && version(&mut owner) < 140_000)
                .then_some(r#""column v: no binary input function available for type \"cube\"""#);
            let expected: Vec<_> = case
                .instead
                .or(unreadable)
                .iter()
                .flat_map(|instead| [*instead; 2])
                .collect();
            if found != expected {
                wrong.push(format!(
                    "{table}: {} {} became {found:?}",
                    case.ty, case.value
                ));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

fn table(number: usize, level: Level) -> String {
    format!("t{number}_{level:?}").to_lowercase()
}

fn version(conn: &mut PgConnection) -> i64 {
    let number = value(conn, "current_setting('server_version_num')::integer");
    number.as_i64().unwrap()
}

/// A type that a server may lack: of an older version, or of a module that it doesn't offer.
fn assert_lacks(conn: &mut PgConnection, ty: &str) {
    let later = ty.contains("multirange") && version(conn) < 140_000;
    let modules = match ty {
        "vector" | "halfvec" | "sparsevec" => "'vector'",
        _ => "'hstore', 'isn', 'cube', 'ltree'",
    };
    let offered = value(
        conn,
        &format!("EXISTS (SELECT FROM pg_available_extensions WHERE name IN ({modules}))"),
    );
    assert!(later || offered == false, "no type {ty}");
}

/// A later version brings a type that nobody thought of, by itself or in a module.
#[test]
fn c16_every_type_has_a_value() {
    let db = with_modules();
    let mut superuser = db.superuser();
    let listed: Vec<_> = cases()
        .filter(|case| case.ty.starts_with("xml") || exists(&mut superuser, case.ty))
        .map(|case| format!("'{}'::regtype", case.ty.split(" DEFAULT").next().unwrap()))
        .collect();
    let without = rows(
        &mut superuser,
        &format!(
            "SELECT t.oid::regtype::text AS type
             FROM pg_type t LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
             WHERE (t.typnamespace = 'pg_catalog'::regnamespace OR d.objid IS NOT NULL)
               AND t.typtype IN ('b', 'd', 'e', 'r', 'm') AND t.typcategory <> 'A' AND t.typname !~ '{INTERNAL}' AND t.oid <> ALL (ARRAY[{}])
             ORDER BY t.oid",
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
