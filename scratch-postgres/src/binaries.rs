use std::env;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use crate::Error;
use crate::account::Account;

const OVERRIDE: &str = "THREADLINE_PG_BIN";

/// Where packages install to. One component may hold a `*`.
const INSTALLED: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
];

/// The server binaries of one PostgreSQL version, known to run.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) dir: PathBuf,
    pub(crate) version: u32,
}

impl Binaries {
    pub(crate) fn find(account: &Account) -> Result<Binaries, Error> {
        if let Some(value) = env::var_os(OVERRIDE) {
            let dir = PathBuf::from(value);
            return match absolute(&dir) {
                Ok(dir) if holds_server(&dir) => Binaries::probe(dir, account),
                _ => Err(Error::WrongOverride { dir }),
            };
        }

        let path = env::var_os("PATH").unwrap_or_default();
        let mut first_choices = env::split_paths(&path)
            .chain(pg_config())
            .filter(|dir| dir.is_absolute() && holds_server(dir));
        let patterns = installed();

        let mut unusable = Vec::new();
        let mut probe = |dir| {
            let probed = Binaries::probe(dir, account);
            probed.map_err(|error| unusable.push(error)).ok()
        };
        let found = first_choices.find_map(&mut probe).or_else(|| {
            let installed = patterns.iter().flat_map(|pattern| expand(pattern));
            installed
                .filter_map(probe)
                .max_by_key(|found| found.version)
        });
        found.ok_or_else(|| {
            let searched = ["PATH", "pg_config --bindir"].map(str::to_owned);
            unusable.into_iter().next().unwrap_or(Error::NotInstalled {
                searched: searched.into_iter().chain(patterns).collect(),
            })
        })
    }

    /// Runs `postgres --version`: root's own folders, say, are closed to the server's account.
    fn probe(dir: PathBuf, account: &Account) -> Result<Binaries, Error> {
        let program = dir.join("postgres");
        let reason = match account.command(&program).arg("--version").output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout);
                if let Some(version) = major(&said) {
                    let dir = linked_from(&program).unwrap_or(dir);
                    return Ok(Binaries { dir, version });
                }
                format!("{said}{}", String::from_utf8_lossy(&output.stderr))
                    .trim()
                    .to_owned()
            }
            Err(error) => error.to_string(),
        };
        Err(Error::Unusable {
            program,
            account: account.suffix(),
            reason,
        })
    }
}

fn holds_server(dir: &Path) -> bool {
    dir.join("initdb").is_file() && dir.join("postgres").is_file()
}

/// A folder of `PATH` may hold links to the server and none to `psql`; the folder they lead to has all.
fn linked_from(program: &Path) -> Option<PathBuf> {
    let dir = program.canonicalize().ok()?.parent()?.to_owned();
    holds_server(&dir).then_some(dir)
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(dir.trim_end()))
}

fn installed() -> Vec<String> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .filter(|dir| dir.is_absolute())
        .map(|dir| format!("{}/threadline/postgres/*/bin", dir.display()));
    // Of root's own folders, the account of the server can enter none.
    let of_root = "/var/cache/threadline/postgres/*/bin".to_owned();
    INSTALLED
        .map(str::to_owned)
        .into_iter()
        .chain(cache)
        .chain([of_root])
        .collect()
}

/// The folders with server binaries that a pattern with one `*` stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Vec::new();
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let tail = after.trim_start_matches('/');
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path().join(tail))
        .filter(|dir| holds_server(dir))
        .collect()
}

/// The 17 of `postgres (PostgreSQL) 17.5 (Debian 17.5-1)`, and of `… 17beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit());
    number[..end.unwrap_or(number.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_major_version_is_read_from_releases_and_previews() {
        let says = |number| major(&format!("postgres (PostgreSQL) {number}\n"));
        assert_eq!(says("15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(says("18"), Some(18));
        assert_eq!(says("19beta2"), Some(19));
        assert_eq!(major("sh: not found"), None);
    }

    #[test]
    fn a_pattern_finds_only_folders_with_a_server() {
        let root = env::temp_dir().join(format!("scratch-postgres-{}", std::process::id()));
        for (dir, files) in [
            ("postgresql@16/bin", ["initdb", "postgres"]),
            ("postgresql@17/bin", ["psql", "pg_dump"]),
            ("mysql/bin", ["initdb", "postgres"]),
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
            for file in files {
                fs::write(root.join(dir).join(file), "").unwrap();
            }
        }
        let found = expand(&format!("{}/postgresql*/bin", root.display()));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [root.join("postgresql@16/bin")]);
    }
}
