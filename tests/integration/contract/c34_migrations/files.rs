//! A migrations directory, run as the command line wrote it.

use super::*;

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
