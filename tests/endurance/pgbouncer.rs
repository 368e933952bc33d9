//! A PgBouncer of the test's own, in front of a database.

use std::fs;
use std::process::{Child, Stdio};

use diesel::prelude::*;
use tempfile::TempDir;
use threadline_tests::{TestDb, program, skip, wait_for};

/// Transaction mode with one server connection, which all clients share. It ends when its standard input does, so that
/// it goes with the test however that ends, and with it goes its folder.
#[derive(Debug)]
pub struct PgBouncer {
    shell: Child,
    folder: TempDir,
    database: String,
}

impl PgBouncer {
    /// `None` where it isn't installed, and nobody insists.
    pub fn start(db: &TestDb) -> Option<Self> {
        let Some(program) = program("pgbouncer") else {
            skip("no pgbouncer; install it with `apt-get install pgbouncer`");
            return None;
        };
        let postgres = db.postgres();
        // It refuses root too, and its folder has to be its own.
        let folder = TempDir::new().unwrap();
        let at = folder.path();
        let server = postgres.dir().display();
        fs::write(at.join("users"), "\"tl_app\" \"\"\n").unwrap();
        let settings = format!(
            "[databases]
            * = host={server} port=5432
            [pgbouncer]
            listen_addr =
            listen_port = 6432
            unix_socket_dir = {at}
            auth_type = trust
            auth_file = {at}/users
            pool_mode = transaction
            default_pool_size = 1
            logfile = {at}/log
            ",
            at = at.display()
        );
        fs::write(at.join("settings"), settings.replace("            ", "")).unwrap();
        let owner = postgres.command("id").arg("-u").output().unwrap();
        let owner = String::from_utf8(owner.stdout).unwrap();
        std::os::unix::fs::chown(at, Some(owner.trim().parse().unwrap()), None).unwrap();

        let mut shell = postgres.command("/bin/sh");
        let script = r#""$1" -q "$2/settings" </dev/null & read -r _; kill $!; wait"#;
        shell.args(["-c", script, "sh"]).arg(program).arg(at);
        let shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let bouncer = Self {
            shell,
            database: db.name().to_owned(),
            folder,
        };
        wait_for("pgbouncer to answer", || {
            PgConnection::establish(&bouncer.url()).ok()
        });
        Some(bouncer)
    }

    /// The URL of the database for `tl_app`.
    pub fn url(&self) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgresql://tl_app@{folder}:6432/{}", self.database)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
