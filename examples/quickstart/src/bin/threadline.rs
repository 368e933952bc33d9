//! The application's `threadline` command: it knows the models, and so generates their capture migrations.

use std::process::ExitCode;

use example_quickstart::models::{Customer, Invoice, InvoiceLine};

fn main() -> ExitCode {
    threadline_cli::run(threadline::models![Customer, Invoice, InvoiceLine])
}
