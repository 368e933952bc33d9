//! The command line without models: tables are named by `--tables`.

use std::process::ExitCode;

fn main() -> ExitCode {
    threadline_cli::run(threadline::models![])
}
