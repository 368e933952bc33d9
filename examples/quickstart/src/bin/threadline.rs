//! The application's `threadline` command: it knows the models, and so generates their capture migrations.

use std::process::ExitCode;

fn main() -> ExitCode {
    threadline_cli::run(example_quickstart::audited())
}
