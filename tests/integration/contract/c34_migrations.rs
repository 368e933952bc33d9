//! C34: installing twice, regenerating and rolling back, by code; Diesel's command line has tests of its own.

use std::fs;
use std::path::{Path, PathBuf};

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use serde_json::{Value, json};
use tempfile::TempDir;
use threadline::capture::migration::{Existing, Migrations, NewMigration, Unlisted};
use threadline::capture::{CapturePlan, Identifier, Policy, Storage, base, columns};
use threadline::{Definition, MIGRATIONS};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

const NOTES: &str = "CREATE TABLE notes (id int PRIMARY KEY, text text)";

/// Everything in `public` but Diesel's own table: its name, and the oid under which it is known.
const CATALOG: &str = "
    SELECT 'relation ' || oid::regclass AS name, oid::bigint FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'function ' || oid::regprocedure, oid::bigint FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'trigger ' || tgname || ' of ' || tgrelid::regclass, t.oid::bigint
        FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'constraint ' || conname || ' of ' || conrelid::regclass, oid::bigint
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT 'column ' || attname || ' of ' || attrelid::regclass, NULL
        FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'right ' || acl || ' on ' || relname, NULL
        FROM pg_class, unnest(relacl::text[]) acl WHERE relnamespace = 'public'::regnamespace";

fn catalog(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.owner(),
        &format!(
            "SELECT name, oid FROM ({CATALOG}) q WHERE name NOT LIKE '%\\_\\_diesel%' ORDER BY name"
        ),
    )
}

fn log(db: &TestDb) -> Vec<Value> {
    rows(
        &mut db.owner(),
        "SELECT c.*, t.actor_ref FROM audit_changes c JOIN audit_transactions t ON t.id = c.transaction_id ORDER BY c.id",
    )
}

fn base_sql() -> String {
    base::up_sql(&Storage::default(), None)
}

fn plan(table: &str, policy: Policy) -> CapturePlan {
    CapturePlan::for_table(table.parse().unwrap(), policy).unwrap()
}

#[test]
fn c34_installing_twice_changes_nothing() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    let before = (catalog(&db), log(&db));
    execute(&mut db.owner(), &base_sql());
    assert_eq!((catalog(&db), log(&db)), before);

    // Each migration by itself, too, as an embedded source runs them.
    let mut owner = db.owner();
    for migration in MigrationSource::<Pg>::migrations(&MIGRATIONS).unwrap() {
        migration.run(&mut owner).unwrap();
    }
    assert_eq!((catalog(&db), log(&db)), before);
}

#[test]
fn c34_capturing_twice_changes_nothing() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    let entry = |db: &TestDb| value(&mut db.owner(), "SELECT to_jsonb(t) FROM audit_tables t");
    let before = (catalog(&db), log(&db), entry(&db));
    db.capture(
        "notes",
        Definition::new("Model", &["id"]).store_changed_from(),
    );
    assert_eq!((catalog(&db), log(&db), entry(&db)), before);
}

#[test]
fn c34_install_adds_what_an_older_schema_lacks_and_nothing_else() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    let complete = catalog(&db);
    let line = log(&db);

    execute(
        &mut db.owner(),
        "DROP INDEX audit_changes_time;
         ALTER TABLE audit_changes DROP COLUMN changed_from;
         DROP FUNCTION threadline_history(regclass, jsonb);
         DROP FUNCTION threadline_seal_v1() CASCADE;
         DROP TRIGGER threadline_guard ON audit_actions;
         DROP TABLE audit_commits;
         REVOKE SELECT ON audit_transactions FROM threadline_reader",
    );
    let older = catalog(&db);
    execute(&mut db.owner(), &base_sql());
    let upgraded = catalog(&db);

    let names = |catalog: &[Value]| -> Vec<_> {
        catalog
            .iter()
            .map(|object| object["name"].clone())
            .collect()
    };
    assert_eq!(names(&upgraded), names(&complete));
    let replaced: Vec<_> = older
        .iter()
        .filter(|object| !upgraded.contains(object))
        .filter(|object| !object["name"].as_str().unwrap().starts_with("right "))
        .collect();
    assert_eq!(replaced, [] as [&Value; 0]);
    assert!(older.len() < complete.len() - 10);
    assert_eq!(log(&db), line);

    execute(&mut db.app(), "UPDATE notes SET text = 'b'");
    let mut auditor = db.auditor();
    let from = value(
        &mut auditor,
        r#"SELECT jsonb_agg(changed_from ORDER BY id) FROM threadline_history('notes', '{"id": 1}')"#,
    );
    assert_eq!(from, json!([null, {"text": "a"}]));
    assert_eq!(value(&mut auditor, "SELECT count(*) FROM audit_commits"), 1);
}

#[test]
fn c34_install_gives_up_on_a_log_in_use() {
    let db = TestDb::new();
    db.audited("notes", NOTES);
    let before = catalog(&db);
    let mut app = db.app();
    execute(&mut app, "BEGIN");
    execute(&mut app, "INSERT INTO notes VALUES (1, 'a')");
    let refusal = try_execute(&mut db.owner(), &base_sql()).unwrap_err();
    assert!(refusal.contains("lock timeout"), "{refusal}");
    assert_eq!(catalog(&db), before);
    execute(&mut app, "COMMIT");
    execute(&mut db.owner(), &base_sql());
}

#[test]
fn c34_rolling_back_a_fresh_installation_leaves_nothing() {
    let db = TestDb::empty();
    let mut owner = db.owner();
    for _ in 0..2 {
        let installed = owner.run_pending_migrations(MIGRATIONS).unwrap().len();
        assert_ne!(catalog(&db), [] as [Value; 0]);
        let reverted = owner.revert_all_migrations(MIGRATIONS).unwrap().len();
        assert_eq!(reverted, installed);
        assert_eq!(catalog(&db), [] as [Value; 0]);
    }
}

#[test]
fn c34_the_log_is_not_rolled_back_under_a_captured_table_or_while_it_holds_anything() {
    let db = TestDb::new();
    db.create(NOTES);
    let notes = plan("notes", Policy::default());
    db.apply(&notes).unwrap();
    let before = catalog(&db);
    let mut owner = db.owner();
    let mut refused = |next: &str| {
        let error = owner
            .revert_all_migrations(MIGRATIONS)
            .unwrap_err()
            .to_string();
        assert!(error.contains(next), "{error}");
    };

    refused(
        "threadline: still captured: notes\nRevert the capture migrations of these tables first.",
    );
    assert_eq!(catalog(&db), before);
    execute(&mut db.app(), "INSERT INTO notes VALUES (1, 'a')");
    execute(&mut db.owner(), &notes.down_sql(&Storage::default()));
    let before = catalog(&db);
    refused(
        "threadline: the audit log is not empty and stays\nExport it first; then revert with PGOPTIONS=",
    );
    assert_eq!(catalog(&db), before);
    assert_eq!(log(&db).len(), 1);

    // An action alone is something, too.
    let db = TestDb::new();
    execute(
        &mut db.app(),
        "SELECT threadline_record_action_v1('user.invited')",
    );
    let mut owner = db.owner();
    let error = owner.revert_last_migration(MIGRATIONS).unwrap_err();
    assert!(error.to_string().contains("is not empty"), "{error}");
    execute(&mut owner, "SET threadline.drop_log = 'yes'");
    owner.revert_all_migrations(MIGRATIONS).unwrap();
    assert_eq!(catalog(&db), [] as [Value; 0]);
}

#[test]
fn c34_what_depends_on_the_log_is_not_dropped_with_it() {
    let db = TestDb::new();
    execute(
        &mut db.owner(),
        "CREATE VIEW deletions AS SELECT * FROM audit_changes WHERE op = 'delete'",
    );
    let before = catalog(&db);
    let refusal = try_execute(&mut db.owner(), &base::down_sql(&Storage::default())).unwrap_err();
    assert!(refusal.contains("other objects depend on it"), "{refusal}");
    assert_eq!(catalog(&db), before);
}

#[test]
fn c34_nothing_is_dropped_with_cascade() {
    let mut texts = Vec::new();
    let owner = Identifier::new("log_owner").unwrap();
    for storage in [Storage::default(), Storage::new("audit").unwrap()] {
        texts.push(base::up_sql(&storage, Some(&owner)));
        texts.push(base::down_sql(&storage));
        let plan = plan("notes", Policy::default());
        texts.push(plan.up_sql(&storage));
        texts.push(plan.down_sql(&storage));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in ["migrations", "examples", "threadline/src"] {
        sql_files(&root.join(folder), &mut texts);
    }
    assert!(texts.len() > 20, "{}", texts.len());
    for text in texts {
        assert!(!text.to_lowercase().contains("cascade"), "{text}");
    }
}

fn sql_files(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sql_files(&path, texts);
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn c34_versions_run_after_whatever_is_there() {
    for newest in [
        "2026-01-02-030405_create_notes",
        "2026-05-04-120000_create_notes",
        "20260504120000_create_notes",
        "2026-05-04-120000-0001_create_notes",
        "2099-12-31-235959_create_notes",
        "99991231235959_create_notes",
        "99999999999999_create_notes",
        "v9_create_notes",
    ] {
        for migrated in [false, true] {
            let files = Files::new(newest, NOTES);
            let db = TestDb::empty();
            let mut owner = db.owner();
            if migrated {
                owner.run_pending_migrations(files.source()).unwrap();
            }
            files.install();
            files.generate(&[plan("notes", Policy::default())]);
            files.generate(&[plan("notes", store_changed_from())]);

            let run = owner.run_pending_migrations(files.source()).unwrap();
            assert_eq!(run.len(), if migrated { 3 } else { 4 }, "{newest}");
            let applied: Vec<_> = owner
                .applied_migrations()
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(applied.len(), 4, "{newest}: versions are unique");
            let reverted = owner.revert_last_migration(files.source()).unwrap();
            assert_eq!(reverted.to_string(), applied[0], "{newest}");
            execute(
                &mut owner,
                "INSERT INTO notes VALUES (1, 'a'); UPDATE notes SET text = 'b'",
            );
            assert_eq!(log(&db).len(), 2, "{newest}");
            assert_eq!(log(&db)[1]["changed_from"], Value::Null, "{newest}");
        }
    }
}

#[test]
fn c34_regenerating_writes_nothing_until_something_changed() {
    let files = Files::new("2026-01-02-030405_create_notes", NOTES);
    let plans = |policy| [plan("notes", policy)];
    files.install();
    assert_eq!(files.generate(&plans(Policy::default())), 1);
    assert_eq!(files.generate(&plans(Policy::default())), 0);
    assert_eq!(files.generate(&plans(store_changed_from())), 1);
    assert_eq!(files.generate(&plans(store_changed_from())), 0);
    assert_eq!(files.read().install(None, None, now()).unwrap(), None);
    // Back to the first policy is a change again, and a migration of its own.
    assert_eq!(files.generate(&plans(Policy::default())), 1);

    let db = TestDb::empty();
    let mut owner = db.owner();
    assert_eq!(
        owner.run_pending_migrations(files.source()).unwrap().len(),
        5
    );
    assert_eq!(
        owner.run_pending_migrations(files.source()).unwrap().len(),
        0
    );
}

#[test]
fn c34_the_earlier_policy_captures_while_a_later_one_is_rolled_back() {
    let files = Files::new("2026-01-02-030405_create_notes", NOTES);
    files.install();
    files.generate(&[plan("notes", store_changed_from())]);
    let masked = Policy {
        mask: columns(["text"]).unwrap(),
        ..Policy::default()
    };
    files.generate(&[plan("notes", masked)]);

    let db = TestDb::empty();
    let mut owner = db.owner();
    owner.run_pending_migrations(files.source()).unwrap();
    execute(&mut owner, "INSERT INTO notes VALUES (1, 'a')");
    let trigger = "SELECT oid::bigint FROM pg_trigger WHERE tgname = '!threadline'";
    let before = value(&mut owner, trigger);

    owner.revert_last_migration(files.source()).unwrap();
    execute(&mut owner, "INSERT INTO notes VALUES (2, 'b')");
    owner.run_pending_migrations(files.source()).unwrap();
    execute(&mut owner, "INSERT INTO notes VALUES (3, 'c')");
    assert_eq!(value(&mut owner, trigger), before);
    let texts: Vec<_> = log(&db)
        .iter()
        .map(|line| line["data_after"]["text"].clone())
        .collect();
    assert_eq!(texts, ["[REDACTED]", "b", "[REDACTED]"]);
    assert_eq!(
        value(&mut owner, "SELECT gaps FROM audit_tables"),
        json!([])
    );

    // Further back, there is no policy to return to: capture ends and the log stays.
    for _ in 0..2 {
        owner.revert_last_migration(files.source()).unwrap();
    }
    execute(&mut owner, "INSERT INTO notes VALUES (4, 'd')");
    assert_eq!(log(&db).len(), 3);
    owner.revert_last_migration(files.source()).unwrap_err();
    owner.run_pending_migrations(files.source()).unwrap();
    execute(&mut owner, "INSERT INTO notes VALUES (5, 'e')");
    assert_eq!(log(&db).len(), 4);
}

fn store_changed_from() -> Policy {
    Policy {
        store_changed_from: true,
        ..Policy::default()
    }
}

fn now() -> chrono::DateTime<chrono::Utc> {
    "2026-05-04T12:00:00Z".parse().unwrap()
}

/// A migrations directory, written as the command line writes it.
struct Files(TempDir);

impl Files {
    fn new(name: &str, up_sql: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write(name, up_sql, "DROP TABLE notes");
        files
    }

    fn write(&self, name: &str, up_sql: &str, down_sql: &str) {
        let folder = self.0.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("up.sql"), up_sql).unwrap();
        fs::write(folder.join("down.sql"), down_sql).unwrap();
    }

    fn add(&self, new: NewMigration) {
        self.write(&new.name, &new.up_sql, &new.down_sql);
    }

    fn read(&self) -> Migrations {
        let folders = fs::read_dir(self.0.path()).unwrap();
        let folders = folders.map(|entry| -> PathBuf { entry.unwrap().path() });
        Migrations::read(folders.map(|folder| Existing {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            up_sql: fs::read_to_string(folder.join("up.sql")).unwrap(),
        }))
        .unwrap()
    }

    fn install(&self) {
        self.add(self.read().install(None, None, now()).unwrap().unwrap());
    }

    /// How many migrations it took.
    fn generate(&self, plans: &[CapturePlan]) -> usize {
        let new = self.read().generate(plans, Unlisted::Keep, now()).unwrap();
        let count = new.len();
        new.into_iter().for_each(|new| self.add(new));
        count
    }

    fn source(&self) -> FileBasedMigrations {
        FileBasedMigrations::from_path(self.0.path()).unwrap()
    }
}
