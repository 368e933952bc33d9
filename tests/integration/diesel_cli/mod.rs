//! The quickstart's migrations through Diesel's own command line.

mod commands;
mod renames;

use std::path::{Path, PathBuf};
use std::process::Command;

use diesel_migrations::MigrationHarness;
use serde_json::{Value, json};
use tempfile::TempDir;
use threadline::Audited;
use threadline::capture::Models;
use threadline_cli::{Environment, run_with};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

use crate::quickstart::{copy, quickstart};

const INSTALL: &str = "2026-01-05-090100_threadline_install";
const CUSTOMERS: &str = "2026-01-05-090101_threadline_capture_customers";
const NONE: [&str; 0] = [];
const NEWEST: &str = "2026-01-05-090103_threadline_capture_invoice_lines";

/// A copy of the quickstart's files and a database for it.
struct Application {
    db: TestDb,
    dir: TempDir,
    diesel: PathBuf,
}

impl Application {
    /// `None` where Diesel's command line isn't installed, and nobody insists.
    fn new(db: TestDb) -> Option<Self> {
        let diesel = binary()?;
        let dir = tempfile::tempdir().unwrap();
        copy(
            &quickstart().join("migrations"),
            &dir.path().join("migrations"),
        );
        std::fs::copy(
            quickstart().join("diesel.toml"),
            dir.path().join("diesel.toml"),
        )
        .unwrap();
        std::fs::create_dir(dir.path().join("src")).unwrap();
        Some(Self { db, dir, diesel })
    }

    fn migrated() -> Option<Self> {
        let app = Self::new(TestDb::empty())?;
        app.diesel(&["migration", "run"]).unwrap();
        Some(app)
    }

    /// What Diesel prints, or how it fails.
    fn diesel(&self, arguments: &[&str]) -> Result<String, String> {
        self.diesel_with(&[], arguments)
    }

    fn diesel_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
    ) -> Result<String, String> {
        let output = Command::new(&self.diesel)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("DATABASE_URL", self.db.url("tl_owner"))
            .env_remove("DIESEL_CONFIG_FILE")
            .env_remove("MIGRATION_DIRECTORY")
            .env_remove("PGOPTIONS")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8(output.stderr).unwrap())
        }
    }

    fn threadline(&self, models: Models, arguments: &[&str]) {
        let environment =
            Environment::new(self.dir.path(), "2026-02-01T12:00:00Z".parse().unwrap());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let arguments = ["threadline"].iter().chain(arguments);
        run_with(&models, arguments, &environment, &mut out, &mut err);
        assert_eq!(String::from_utf8(err).unwrap(), "");
    }

    fn migrations(&self) -> Vec<String> {
        names(&self.dir.path().join("migrations"))
    }

    fn set_aside(&self, migration: &str) {
        self.rename(("migrations", migration), ("aside", migration));
    }

    fn bring_back(&self, migration: &str) {
        self.rename(("aside", migration), ("migrations", migration));
    }

    fn rename(&self, from: (&str, &str), to: (&str, &str)) {
        let path = |(folder, name)| self.dir.path().join(folder).join(name);
        std::fs::create_dir_all(path((to.0, ""))).unwrap();
        std::fs::rename(path(from), path(to)).unwrap();
    }

    /// The migrations that `diesel migration list` shows as run.
    fn applied(&self) -> Vec<String> {
        let list = self.diesel(&["migration", "list"]).unwrap();
        let shown: Vec<_> = list.lines().skip(1).map(str::trim).collect();
        assert_eq!(shown.len(), self.migrations().len(), "{list}");
        shown
            .into_iter()
            .filter_map(|line| line.strip_prefix("[X] "))
            .map(str::to_owned)
            .collect()
    }

    fn captured(&self) -> Vec<String> {
        self.names("SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgname = '!threadline'")
    }

    /// The table of each change, in alphabetical order.
    fn recorded(&self) -> Vec<String> {
        self.names("SELECT table_name FROM audit_changes")
    }

    fn names(&self, query: &str) -> Vec<String> {
        let query = format!("SELECT name FROM ({query}) q(name) ORDER BY name COLLATE \"C\"");
        rows(&mut self.db.owner(), &query)
            .into_iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The ids of the customers, or of the invoices, that a table's changes are about.
    fn history(&self, table: &str) -> Vec<Value> {
        let query = format!(
            "SELECT coalesce(table_pk -> 'invoice_id', table_pk -> 'id') AS id FROM audit_changes
             WHERE table_name = '{table}' ORDER BY id"
        );
        rows(&mut self.db.owner(), &query)
            .into_iter()
            .map(|row| row["id"].clone())
            .collect()
    }

    fn closed_gaps(&self, table: &str) -> usize {
        let gaps = format!(
            "SELECT count(*) FROM audit_tables, unnest(gaps) gap
             WHERE table_name = '{table}' AND NOT upper_inf(gap)"
        );
        value(&mut self.db.owner(), &gaps).as_u64().unwrap() as usize
    }

    /// What the application writes: a row in each table.
    fn sign_up(&self, id: i32) {
        let sql = format!(
            r#"BEGIN;
            SELECT set_config('threadline.actor_ref', '{{"type": "system", "id": "test"}}', true);
            INSERT INTO customers (id, name, email, tax_id, password_hash) VALUES ({id}, 'One', 'one@example', '1', 'x');
            INSERT INTO invoices (id, customer_id, total) VALUES ({id}, {id}, 1);
            INSERT INTO invoice_lines VALUES ({id}, 1, 'one', 1);
            COMMIT"#
        );
        try_execute(&mut self.db.owner(), &sql).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// The names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Diesel's command line: the one in `THREADLINE_DIESEL_BIN`, or the newest that `script/test` has built.
fn binary() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("THREADLINE_DIESEL_BIN") {
        return Some(named.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    let tools = cache.join("threadline/tools");
    let built = tools
        .is_dir()
        .then(|| names(&tools))
        .into_iter()
        .flatten()
        .filter(|name| name.starts_with("diesel-"))
        .map(|name| tools.join(name).join("bin/diesel"))
        .rfind(|binary| binary.is_file());
    if built.is_none() {
        threadline_tests::skip(
            "no diesel command line; `script/test` builds it, THREADLINE_DIESEL_BIN names another",
        );
    }
    built
}
