//! Where the figures come from.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::markdown::paragraph;
use crate::server::{SETTINGS, Server};
use crate::{Result, Scale};

#[derive(QueryableByName)]
struct Told {
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    date: String,
}

/// The heading of a run.
pub(crate) fn print(server: &mut Server, scale: &Scale) -> Result<()> {
    let told: Told = diesel::sql_query(
        "SELECT split_part(current_setting('server_version'), ' ', 1) AS version, current_date::text AS date",
    )
    .get_result(server.admin())?;
    let cores = available_parallelism()?;
    let settings = SETTINGS.map(|(name, value)| format!("{name}={value}"));
    paragraph(&format!(
        "### PostgreSQL {}, {}{}",
        told.version, told.date, scale.name
    ))?;
    paragraph(&format!(
        "{cores} cores{}{}{}; fsync=off, synchronous_commit=off, full_page_writes=off, {}",
        from_proc("cpuinfo", "model name").map_or(String::new(), |name| format!(" ({name})")),
        from_proc("meminfo", "MemTotal")
            .and_then(|kb| kb.trim_end_matches(" kB").parse::<u64>().ok())
            .map_or(String::new(), |kb| format!(
                ", {} GB",
                (kb + (1 << 19)) >> 20
            )),
        commit().map_or(String::new(), |commit| format!(", commit {commit}")),
        settings.join(", ")
    ))?;
    // Others at work are the first thing to suspect when a range is wide.
    if let Ok(load) = fs::read_to_string("/proc/loadavg") {
        let load = load.split(' ').take(2).collect::<Vec<_>>().join(" and ");
        paragraph(&format!("Load before: {load} over one and five minutes."))?;
    }
    Ok(())
}

/// A line of a file in /proc, where there is one.
fn from_proc(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{file}")).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
