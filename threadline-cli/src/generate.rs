//! `threadline generate`.

use std::io::Write;

use threadline::capture::migration::{Change, NewMigration, Unlisted};
use threadline::capture::{CapturePlan, Models, TableName};

use crate::Environment;
use crate::args::GenerateArguments;
use crate::directory::Directory;
use crate::error::CliError;
use crate::list::{self, describe};
use crate::write;

pub(crate) fn run(
    arguments: &GenerateArguments,
    models: &Models,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let plans = list::plans(arguments, models)?;
    let unlisted = match arguments.prune {
        true => Unlisted::Release,
        false => Unlisted::Keep,
    };
    let directory = Directory::find(arguments.output.migration_dir.as_deref(), environment)?;
    let migrations = directory.read()?;
    let new = migrations
        .generate(&plans, unlisted, environment.now)
        .map_err(|error| directory.error(error))?;

    if arguments.output.dry_run || arguments.check {
        dry_run(&plans, &new, out)?;
        return match new.len() {
            missing if missing > 0 && arguments.check => Err(CliError::NotGenerated { missing }),
            _ => Ok(()),
        };
    }
    if arguments.output.print_sql {
        if new.is_empty() {
            writeln!(out, "-- Nothing changed.")?;
        }
        return write::print_sql(&new, out);
    }
    if new.is_empty() {
        writeln!(
            out,
            "Nothing changed: the migrations capture every table as asked."
        )?;
    } else {
        write::write(&directory, &new, out)?;
    }
    for migration in &new {
        for column in &migration.exposed {
            writeln!(
                out,
                "Note: `{}` redacts `{}` no longer: its values are stored in the clear from then on.",
                migration.name,
                describe::name(column)
            )?;
        }
    }
    // With tables from the command line the list is never meant to be all.
    if !arguments.prune && arguments.tables.is_empty() {
        for table in migrations.unlisted(&plans) {
            writeln!(
                out,
                "Note: `{table}` stays captured and no model is for it; `--prune` would end that."
            )?;
        }
    }
    if !new.is_empty() {
        writeln!(out, "\nNext: `diesel migration run`.")?;
    }
    Ok(())
}

/// One line for each table.
fn dry_run(
    plans: &[CapturePlan],
    new: &[NewMigration],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    for plan in plans {
        writeln!(
            out,
            "{} ({})",
            describe::plan(plan),
            outcome(plan.table(), new)
        )?;
    }
    for migration in new {
        if let Change::Release(table) = &migration.change {
            writeln!(out, "{} (capture ends)", describe::table(table))?;
        }
    }
    Ok(())
}

fn outcome(table: &TableName, new: &[NewMigration]) -> String {
    let found = new.iter().find_map(|migration| match &migration.change {
        Change::Capture(of) if of == table => Some(("new".to_owned(), migration)),
        Change::Recapture(of) if of == table => Some(("changed".to_owned(), migration)),
        Change::Rename { from, to } if to == table => {
            Some((format!("renamed from {}", describe::table(from)), migration))
        }
        _ => None,
    });
    match found {
        None => "unchanged".to_owned(),
        Some((change, migration)) if migration.exposed.is_empty() => change,
        Some((change, migration)) => {
            format!(
                "{change}, no longer redacted: {}",
                describe::list(&migration.exposed)
            )
        }
    }
}
