use std::io;
use std::path::PathBuf;

/// Why there is no scratch cluster. Each message names what is missing and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `THREADLINE_PG_BIN` names a folder without the server binaries.
    #[error(
        "THREADLINE_PG_BIN is `{}`, which does not hold `initdb` and `postgres`: \
         name the folder that does, or unset it to have the usual places searched",
        .dir.display()
    )]
    WrongOverride {
        /// The value of the variable.
        dir: PathBuf,
    },

    /// No server binaries on this machine.
    #[error(
        "no PostgreSQL server binaries (`initdb`, `postgres`) on this machine: \
         `apt-get install postgresql`, `brew install postgresql@17`, \
         or name the folder that holds them in THREADLINE_PG_BIN; searched {}",
        .searched.join(", ")
    )]
    NotInstalled {
        /// The places searched, in order.
        searched: Vec<String>,
    },

    /// There are server binaries, but they do not run.
    #[error(
        "`{}` does not run{account}: {reason}; \
         install PostgreSQL where that user can run it, or name another folder in THREADLINE_PG_BIN",
        .program.display()
    )]
    Unusable {
        /// The program that was tried.
        program: PathBuf,
        /// ` as <user>`, or nothing when no other user is involved.
        account: String,
        /// What the system or the program said.
        reason: String,
    },

    /// The process runs as root, and there is no user to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as: \
         add one (`useradd --system postgres`), or run as another user"
    )]
    NoAccount,

    /// A program of the operating system could not be run.
    #[error(
        "could not run `{program}`{account}: {source}; it has to be on this machine and allowed"
    )]
    Spawn {
        /// The program.
        program: String,
        /// ` as <user>`, or nothing when no other user is involved.
        account: String,
        /// What the system said.
        source: io::Error,
    },

    /// The cluster was not made, or its server did not start.
    #[error(
        "PostgreSQL from `{}` did not start; check the settings and the room in the temporary folder. {}",
        .bin_dir.display(), .output.trim_end()
    )]
    Start {
        /// The folder of the server binaries.
        bin_dir: PathBuf,
        /// What failed, with the log of `initdb` or of the server.
        output: String,
    },
}
