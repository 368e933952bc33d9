//! A process for the tests to end: starts a cluster, prints its folder, and at the next line of its
//! stdin ends the way that its argument says.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::env;
use std::io;
use std::mem;
use std::process::{self, Command};

use scratch_postgres::ScratchPostgres;

fn main() {
    let postgres = match ScratchPostgres::start() {
        Ok(postgres) => postgres,
        Err(error) => return println!("{error}"),
    };
    println!("{}", postgres.dir().display());
    io::stdin().read_line(&mut String::new()).unwrap();

    match env::args().nth(1).as_deref() {
        Some("exit") => process::exit(0),
        Some("abort") => process::abort(),
        Some("panic") => panic!("as told"),
        Some("forget") => mem::forget(postgres),
        Some("leave a child") => {
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            println!("{}", child.id());
            process::abort();
        }
        _ => {}
    }
}
