//! Rolled back, without losing what was recorded.

use super::*;

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
        // A right that was granted on is revoked with what came of it; that drops nothing.
        let text = text.to_lowercase().replace("from %s cascade", "");
        assert!(!text.contains("cascade"), "{text}");
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
