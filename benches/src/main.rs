//! Prints what capture and reading cost, as markdown. It is no test: it fails on nothing but errors.

mod callgrind;
mod figures;
mod kinds;
mod log;
mod machine;
mod markdown;
mod memory;
mod model;
mod moment;
mod pages;
mod profile;
mod read;
mod reverts;
mod server;
mod shapes;
mod size;
mod transactions;
mod variant;
mod write;

use std::env;
use std::process::ExitCode;

// The bundled libpq, as in the tests.
use pq_sys as _;

use server::Server;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much is measured.
pub(crate) struct Scale {
    /// What the heading says of it.
    name: &'static str,
    /// Rows of one statement.
    rows: usize,
    /// How often every variant has its turn.
    rounds: usize,
    /// Transactions of a turn.
    units: usize,
    /// Changes of the long log.
    changes: i64,
    /// Questions of a turn.
    questions: usize,
}

const FULL: Scale = Scale {
    name: "",
    rows: 50_000,
    rounds: 5,
    units: 200,
    changes: 1_000_000,
    questions: 100,
};
const QUICK: Scale = Scale {
    name: ", quick",
    rows: 5_000,
    rounds: 3,
    units: 50,
    changes: 100_000,
    questions: 30,
};

type Part = fn(&mut Server, &Scale) -> Result<()>;

/// What can be asked for by name.
const PARTS: [(&str, Part); 8] = [
    ("write", write::run),
    ("kinds", kinds::run),
    ("transactions", transactions::run),
    ("size", size::run),
    ("memory", memory::run),
    ("read", read::run),
    ("moment", moment::run),
    ("reverts", reverts::run),
];

const USAGE: &str = "usage: threadline-benches [--quick] [PART]... | profile [OPERATION]...";

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
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let Some(("profile", operations)) = arguments.split_first().map(|(a, b)| (a.as_str(), b)) {
        return profile::run(operations);
    }
    let mut scale = &FULL;
    let mut wanted = Vec::new();
    for argument in arguments {
        match argument.as_str() {
            "--quick" => scale = &QUICK,
            part if PARTS.iter().any(|(name, _)| *name == part) => wanted.push(argument),
            other => return Err(format!("{other}? {USAGE}; parts are {}", names()).into()),
        }
    }
    let mut server = Server::start()?;
    machine::print(&mut server, scale)?;
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
