#![allow(clippy::unwrap_used)]

use chrono::{DateTime, Utc};

use super::header::{self, Header};
use super::{Change, Existing, MigrationError, Migrations, NewMigration, Unlisted};
use crate::Definition;
use crate::capture::{CapturePlan, Identifier, Policy, Storage, TableName, base, columns};

fn now() -> DateTime<Utc> {
    "2026-05-04T12:00:00Z".parse().unwrap()
}

/// A migrations directory in memory.
#[derive(Default)]
struct Directory(Vec<Existing>);

impl Directory {
    fn installed() -> Self {
        let mut directory = Self::default();
        let install = directory.read().install(None, None, now());
        directory.add(&[install.unwrap().unwrap()]);
        directory
    }

    fn read(&self) -> Migrations {
        Migrations::read(self.0.clone()).unwrap()
    }

    fn add(&mut self, migrations: &[NewMigration]) {
        self.0.extend(migrations.iter().map(|new| Existing {
            name: new.name.clone(),
            up_sql: new.up_sql.clone(),
        }));
    }

    /// Generates, and writes what came out.
    fn generate(&mut self, plans: &[CapturePlan]) -> Vec<NewMigration> {
        let new = self.read().generate(plans, Unlisted::Keep, now()).unwrap();
        self.add(&new);
        new
    }
}

fn plan(table: &str) -> CapturePlan {
    CapturePlan::for_table(table.parse().unwrap(), Policy::default()).unwrap()
}

fn masking(table: &str, column: &str) -> CapturePlan {
    let policy = Policy {
        mask: columns([column]).unwrap(),
        ..Policy::default()
    };
    CapturePlan::for_table(table.parse().unwrap(), policy).unwrap()
}

fn model(table: &str, definition: Definition) -> CapturePlan {
    CapturePlan::for_definition(table.parse().unwrap(), &definition).unwrap()
}

fn names(migrations: &[NewMigration]) -> Vec<&str> {
    migrations.iter().map(|new| new.name.as_str()).collect()
}

fn sql_of(migration: &NewMigration) -> &str {
    header::split(&migration.up_sql).unwrap().unwrap().1
}

#[test]
fn one_migration_a_table_and_then_nothing() {
    let mut directory = Directory::installed();
    let plans = [plan("users"), plan("billing.Posts!")];
    let new = directory.generate(&plans);
    assert_eq!(
        names(&new),
        [
            "2026-05-04-120001-0001_threadline_capture_users",
            "2026-05-04-120001-0002_threadline_capture_billing_posts",
        ]
    );
    assert_eq!(sql_of(&new[0]), plans[0].up_sql(&Storage::default()));
    assert!(
        new[0]
            .down_sql
            .ends_with(&plans[0].down_sql(&Storage::default()))
    );
    assert_eq!(directory.generate(&plans), []);
    assert_eq!(
        directory.generate(&[plan("public.users")])[0].change,
        Change::Recapture("public.users".parse().unwrap())
    );
}

#[test]
fn rolling_back_a_policy_issues_the_one_before() {
    let mut directory = Directory::installed();
    let first = directory.generate(&[plan("users")]);
    let second = directory.generate(&[masking("users", "ssn")]);
    let third = directory.generate(&[masking("users", "email")]);
    assert_eq!(
        names(&second),
        ["2026-05-04-120002_threadline_capture_users"]
    );
    assert_eq!(
        second[0].down_sql,
        format!("-- Captures users as before.\n\n{}", sql_of(&first[0]))
    );
    assert!(third[0].down_sql.ends_with(sql_of(&second[0])));
    assert_eq!(directory.generate(&[masking("users", "email")]), []);
}

#[test]
fn an_unlisted_table_stays_unless_it_is_released() {
    let mut directory = Directory::installed();
    let first = directory.generate(&[plan("users"), plan("posts")]);
    let listed = [plan("posts")];
    assert_eq!(directory.generate(&listed), []);

    let read = directory.read();
    assert_eq!(
        read.unlisted(&listed)
            .map(TableName::to_string)
            .collect::<Vec<_>>(),
        ["users"]
    );
    let released = read.generate(&listed, Unlisted::Release, now()).unwrap();
    assert_eq!(
        names(&released),
        ["2026-05-04-120002_threadline_release_users"]
    );
    assert!(
        released[0]
            .up_sql
            .starts_with("-- threadline: release users\n")
    );
    assert_eq!(
        sql_of(&released[0]),
        plan("users").down_sql(&Storage::default())
    );
    assert!(released[0].down_sql.contains(&format!(
        "IF to_regclass('\"users\"') IS NOT NULL THEN\n        EXECUTE $earlier$\n{}$earlier$;",
        sql_of(&first[0])
    )));

    directory.add(&released);
    let read = directory.read();
    assert_eq!(
        read.generate(&listed, Unlisted::Release, now()).unwrap(),
        []
    );
    let again = directory.generate(&[plan("users")]);
    assert_eq!(again[0].change, Change::Capture("users".parse().unwrap()));
}

#[test]
fn a_renamed_table_leaves_its_former_name_first() {
    let mut directory = Directory::installed();
    let key = Definition::new("User", &["id"]);
    let first = directory.generate(&[model("users", key)]);
    // Another model has taken the name.
    let plans = [
        model("users", key),
        model("people", key.formerly(&["users"])),
    ];
    let new = directory.generate(&plans);
    assert_eq!(
        names(&new),
        [
            "2026-05-04-120002-0001_threadline_capture_people",
            "2026-05-04-120002-0002_threadline_capture_users",
        ]
    );
    assert!(new[0].up_sql.contains("\n-- formerly: users\n"));
    assert_eq!(
        new[0].down_sql,
        format!(
            "-- Captures users as before.\n\n\
             SET LOCAL lock_timeout = '2s';\n\
             UPDATE \"public\".audit_tables t SET table_name = 'users', former_names = array_remove(t.former_names, 'users')\n\
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n\
             WHERE c.oid = to_regclass('\"people\"') AND t.table_schema = n.nspname AND t.table_name = c.relname;\n\
             ALTER TABLE \"people\" RENAME TO \"users\";\n\n\
             {}\n\
             ALTER TABLE \"users\" RENAME TO \"people\";\n",
            sql_of(&first[0])
        )
    );
    assert!(new[1].down_sql.starts_with("-- Ends the capture of users"));
    assert_eq!(directory.generate(&plans), []);
    assert_eq!(directory.read().unlisted(&plans).count(), 0);
}

#[test]
fn a_renamed_column_has_its_former_name_during_a_rollback() {
    let mut directory = Directory::installed();
    let user = Definition::new("User", &["id"]);
    directory.generate(&[model("users", user.mask(&["ssn"]))]);
    let renamed = user
        .mask(&["tax_id"])
        .columns_formerly(&[("tax_id", "ssn")]);
    let new = directory.generate(&[model("users", renamed)]);
    assert!(
        new[0]
            .down_sql
            .contains("ALTER TABLE \"users\" RENAME \"tax_id\" TO \"ssn\";\n\n")
    );
    assert!(
        new[0]
            .down_sql
            .ends_with("ALTER TABLE \"users\" RENAME \"ssn\" TO \"tax_id\";\n")
    );

    let later = renamed.store_changed_from();
    let new = directory.generate(&[model("users", later)]);
    assert!(
        !new[0].down_sql.contains("RENAME"),
        "the earlier SQL knows the new name"
    );
}

#[test]
fn a_column_that_is_no_longer_redacted_is_told() {
    let mut directory = Directory::installed();
    let user = Definition::new("User", &["id"]);
    directory.generate(&[model(
        "users",
        user.mask(&["ssn", "email"]).exclude(&["hash"]),
    )]);
    let after = user
        .exclude(&["tax_id"])
        .columns_formerly(&[("tax_id", "ssn"), ("digest", "hash")]);
    let new = directory.generate(&[model("users", after)]);
    assert_eq!(
        new[0].exposed,
        ["email", "hash"].map(|name| Identifier::new(name).unwrap())
    );
    assert!(
        new[0]
            .up_sql
            .contains("\n-- no longer redacted: email, hash\n")
    );
}

#[test]
fn capture_needs_the_audit_schema_that_it_calls() {
    let generate = |up_sql: &str| {
        let existing = Existing {
            name: "1_base".to_owned(),
            up_sql: up_sql.to_owned(),
        };
        Migrations::read([existing])?.generate(&[plan("users")], Unlisted::Keep, now())
    };
    assert_eq!(
        generate("CREATE TABLE users ();"),
        Err(MigrationError::NotInstalled)
    );
    assert!(matches!(
        generate("-- threadline: base revision 0\n-- storage: public\n"),
        Err(MigrationError::Outdated { installed: 0, .. })
    ));
    assert!(matches!(
        generate("-- threadline: base revision 4000000000\n-- storage: public\n"),
        Err(MigrationError::Newer { .. })
    ));
    assert!(matches!(
        generate("-- threadline: base revision one\n-- storage: public\n"),
        Err(MigrationError::Header { .. })
    ));
    assert!(matches!(
        generate("-- threadline: base revision 1\n"),
        Err(MigrationError::Header { .. })
    ));
    assert!(matches!(
        generate("-- threadline: erase users\n"),
        Err(MigrationError::Header { .. })
    ));
}

#[test]
fn an_older_audit_schema_is_upgraded_where_it_is() {
    let audit = Storage::new("audit").unwrap();
    let mut directory = Directory(vec![Existing {
        name: "1_base".to_owned(),
        up_sql: "-- threadline: base revision 0\n-- storage: audit\n-- owner: log\n\nSELECT 1;"
            .to_owned(),
    }]);
    let upgrade = directory
        .read()
        .install(None, None, now())
        .unwrap()
        .unwrap();
    let owner = Identifier::new("log").unwrap();
    assert_eq!(upgrade.change, Change::Upgrade);
    assert_eq!(sql_of(&upgrade), base::up_sql(&audit, Some(&owner)));
    assert!(
        upgrade.down_sql.ends_with("\nSELECT 1;\n"),
        "Diesel refuses a file without a statement"
    );

    directory.add(&[upgrade]);
    assert_eq!(
        directory.read().install(Some(&audit), Some(&owner), now()),
        Ok(None)
    );
    assert!(matches!(
        directory
            .read()
            .install(Some(&Storage::default()), None, now()),
        Err(MigrationError::OtherStorage { .. })
    ));
    let other = Identifier::new("other").unwrap();
    let owned = directory
        .read()
        .install(None, Some(&other), now())
        .unwrap()
        .unwrap();
    assert!(owned.up_sql.contains("\n-- owner: other\n"));
}

#[test]
fn two_plans_for_one_table_are_refused() {
    let read = Directory::installed().read();
    let error = read.generate(
        &[plan("users"), plan("public.users")],
        Unlisted::Keep,
        now(),
    );
    assert_eq!(
        error,
        Err(MigrationError::ListedTwice {
            table: "public.users".to_owned()
        })
    );
}

#[test]
fn names_stay_inside_their_comment() {
    let odd = [
        "a\nDROP TABLE users; --",
        "\r",
        "\"",
        "\\",
        "a.b",
        "a, b",
        "--",
        "Ä",
        "\u{2028}",
        ": ",
        "x y",
    ];
    for name in odd {
        let name = Identifier::new(name).unwrap();
        let table = TableName::new(Some(name.clone()), name.clone());
        let header = Header::Capture(header::Capture {
            table: table.clone(),
            formerly: Some(table),
            fingerprint: "0123456789abcdef".to_owned(),
            columns: vec![name.clone(), name.clone()],
            redacted: vec![name.clone()],
            exposed: vec![name.clone()],
            storage: Storage::default(),
        });
        let text = header.to_string();
        assert!(
            text.split(['\n', '\r'])
                .all(|line| line.is_empty() || line.starts_with("-- ")),
            "{text}"
        );
        assert_eq!(
            header::split(&header.before("SELECT 1;\n")),
            Ok(Some((header, "SELECT 1;\n")))
        );
    }
}

#[test]
fn a_header_is_found_among_comments_and_line_ends_of_others() {
    let text = "\r\n-- Reviewed: yes.\r\n-- threadline: capture users\r\n-- fingerprint: 00\r\n-- by: hand\r\n-- storage: public\r\n\r\nSELECT 1;\r\n-- threadline: release users\r\n";
    let (header, sql) = header::split(text).unwrap().unwrap();
    assert!(matches!(header, Header::Capture(capture) if capture.fingerprint == "00"));
    assert_eq!(sql, "SELECT 1;\r\n-- threadline: release users\r\n");
    assert_eq!(
        header::split("SELECT 1;\n-- threadline: release users\n"),
        Ok(None)
    );
}
