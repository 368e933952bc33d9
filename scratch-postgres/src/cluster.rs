use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::account::Account;
use crate::binaries::Binaries;
use crate::url;

/// Nothing to reach but the socket, nothing worth a sync, and room for a pool in every test.
const DEFAULTS: [&str; 7] = [
    "port=5432",
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "timezone=UTC",
];

/// A running PostgreSQL cluster that goes with this value, or with the process.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct ScratchPostgres {
    account: Account,
    binaries: Binaries,
    dir: PathBuf,
    /// Holds the server for as long as we hold its stdin. The standard library opens pipes
    /// close-on-exec, so that no other child of ours inherits our end and outlives us with it.
    keeper: Child,
    answers: Mutex<BufReader<ChildStdout>>,
}

/// Settings of a cluster to start; made by [`ScratchPostgres::builder`].
#[derive(Clone, Debug, Default)]
#[must_use = "nothing starts before `start`"]
pub struct Builder {
    settings: Vec<String>,
    /// The folder of the cluster to follow.
    primary: Option<PathBuf>,
}

impl ScratchPostgres {
    /// Makes a cluster and starts its server, which takes about a second.
    ///
    /// The encoding is UTF8 and the locale `C`. The superuser is `postgres` and needs no password;
    /// only the current user can reach the socket. Nothing is ever synced to disk.
    ///
    /// # Errors
    ///
    /// When there are no usable server binaries, or when the server does not start.
    pub fn start() -> Result<ScratchPostgres, Error> {
        ScratchPostgres::builder().start()
    }

    /// Starts with further server settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Settings of a streaming replica of this server, a copy of its files that follows it over the socket. It needs
    /// `pg_basebackup` beside the server's binaries, and settings as high as those of this server where
    /// PostgreSQL asks for that, such as `max_prepared_transactions`.
    ///
    /// ```no_run
    /// use scratch_postgres::ScratchPostgres;
    ///
    /// let primary = ScratchPostgres::start()?;
    /// let replica = primary.replica().start()?;
    /// # Ok::<(), scratch_postgres::Error>(())
    /// ```
    pub fn replica(&self) -> Builder {
        Builder {
            primary: Some(self.dir.clone()),
            ..Builder::default()
        }
    }

    /// Whether the server's binaries can make a [`replica`](ScratchPostgres::replica): some packages have no `pg_basebackup`.
    pub fn can_replicate(&self) -> bool {
        self.binaries.dir.join("pg_basebackup").is_file()
    }

    /// The URL of a database for the superuser `postgres`.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of a database for a role.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        url::socket(&self.dir, role, database)
    }

    /// The folder of the server binaries, where `psql` and `pg_dump` mostly are too.
    pub fn bin_dir(&self) -> &Path {
        &self.binaries.dir
    }

    /// The major version of the server, such as 17.
    pub fn version(&self) -> u32 {
        self.binaries.version
    }

    /// The folder with the socket, the log, and the data in `data`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command that runs as the user that the server runs as, for programs that refuse root too.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.account.command(program)
    }

    /// Kills the server without any shutdown, if it still runs, and starts it again on the same
    /// files, so that it recovers as after a crash of its processes.
    ///
    /// # Errors
    ///
    /// When the server does not start again.
    pub fn crash_and_restart(&self) -> Result<(), Error> {
        // A restart that panicked elsewhere leaves nothing half-read that matters.
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match self.keeper.stdin.as_ref() {
            Some(mut stdin) => stdin.write_all(b"restart\n"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        order.map_err(|source| Error::Spawn {
            program: "/bin/sh".to_owned(),
            account: self.account.suffix(),
            source,
        })?;
        read_answer(&mut answers)
            .map(drop)
            .map_err(|output| Error::Start {
                bin_dir: self.binaries.dir.clone(),
                output,
            })
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Builder {
    /// Sets a server setting; the last value of a name counts, also against our own defaults.
    ///
    /// ```
    /// use scratch_postgres::ScratchPostgres;
    ///
    /// let postgres = ScratchPostgres::builder()
    ///     .setting("max_prepared_transactions", "10")
    ///     .start()?;
    /// # Ok::<(), scratch_postgres::Error>(())
    /// ```
    pub fn setting(mut self, name: &str, value: &str) -> Builder {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Makes the cluster and starts its server, as [`ScratchPostgres::start`] does.
    ///
    /// # Errors
    ///
    /// When there are no usable server binaries, or when the server does not start, for instance
    /// because it does not accept a setting.
    pub fn start(self) -> Result<ScratchPostgres, Error> {
        let account = Account::for_server()?;
        let binaries = Binaries::find(&account)?;
        let mut command = account.command("/bin/sh");
        command.args(["-c", include_str!("keeper.sh"), "keeper.sh"]);
        command.arg(&binaries.dir).arg(base());
        command.arg(self.primary.as_deref().unwrap_or(Path::new("")));
        for setting in DEFAULTS
            .into_iter()
            .chain(self.settings.iter().map(String::as_str))
        {
            command.args(["-c", setting]);
        }
        let mut keeper = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for us: the keeper acts when we are gone.
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "/bin/sh".to_owned(),
                account: account.suffix(),
                source,
            })?;

        let mut output = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            let mut answers = BufReader::new(stdout);
            match read_answer(&mut answers) {
                Ok(dir) => {
                    return Ok(ScratchPostgres {
                        account,
                        binaries,
                        dir,
                        keeper,
                        answers: Mutex::new(answers),
                    });
                }
                Err(said) => output = said,
            }
        }
        let _ = keeper.wait();
        Err(Error::Start {
            bin_dir: binaries.dir,
            output,
        })
    }
}

/// The folder of a server that is ready, or else all that the keeper said before it ended.
fn read_answer(answers: &mut BufReader<ChildStdout>) -> Result<PathBuf, String> {
    let mut output = String::new();
    loop {
        let start = output.len();
        match answers.read_line(&mut output) {
            Ok(1..) => {}
            // A failed read leaves no `ready` line, and is reported as that.
            Ok(0) | Err(_) => return Err(output),
        }
        if let Some(dir) = output[start..].strip_prefix("ready ") {
            return Ok(PathBuf::from(dir.trim_end()));
        }
    }
}

/// Where the folder of the cluster goes: the temporary folder, or `/tmp` if that has a path too long
/// for a socket (107 bytes on Linux, 103 on macOS) or one that the server would take apart.
fn base() -> PathBuf {
    let dir = env::temp_dir();
    let plain = |text: &str| {
        let fine = |c: char| c.is_ascii_alphanumeric() || "/-_.+".contains(c);
        text.starts_with('/') && text.len() <= 70 && text.chars().all(fine)
    };
    match dir.to_str() {
        Some(text) if plain(text) => dir,
        _ => PathBuf::from("/tmp"),
    }
}

impl Drop for ScratchPostgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // It cannot fail for a child that nobody else waits for, and a drop has nobody to tell.
        let _ = self.keeper.wait();
    }
}
