//! Prints what capture and reading cost, as markdown. It is no test: it fails on nothing but errors.

mod figures;
mod markdown;
mod server;
mod variant;
mod write;

use std::env;
use std::process::ExitCode;

use server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is measured.
pub(crate) struct Scale {
    /// Rows of one statement.
    rows: usize,
    /// How often every variant has its turn.
    rounds: usize,
}

const FULL: Scale = Scale {
    rows: 50_000,
    rounds: 5,
};
const QUICK: Scale = Scale {
    rows: 10_000,
    rounds: 3,
};

type Part = fn(&mut Server, &Scale) -> Result<()>;

/// What can be asked for by name.
const PARTS: [(&str, Part); 1] = [("write", write::run)];

const USAGE: &str = "usage: threadline-benches [--quick] [PART]...";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = markdown::progress(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut scale = &FULL;
    let mut wanted = Vec::new();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--quick" => scale = &QUICK,
            part if PARTS.iter().any(|(name, _)| *name == part) => wanted.push(argument),
            other => return Err(format!("{other}? {USAGE}; parts are {}", names()).into()),
        }
    }
    let mut server = Server::start()?;
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            part(&mut server, scale)?;
        }
    }
    Ok(())
}

fn names() -> String {
    PARTS.map(|(name, _)| name).join(", ")
}
