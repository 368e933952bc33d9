//! `threadline install`.

use std::io::Write;

use threadline::capture::migration::{Change, NewMigration};
use threadline::capture::{Identifier, Storage};

use crate::Environment;
use crate::args::InstallArguments;
use crate::directory::Directory;
use crate::error::CliError;
use crate::write;

pub(crate) fn run(
    arguments: &InstallArguments,
    environment: &Environment,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let storage = arguments.schema.as_ref().map(Storage::new).transpose()?;
    let owner = arguments.owner.as_ref().map(Identifier::new).transpose()?;

    let directory = Directory::find(arguments.output.migration_dir.as_deref(), environment)?;
    let new = directory
        .read()?
        .revoking_create(arguments.revoke_create)
        .install(storage.as_ref(), owner.as_ref(), environment.now)
        .map_err(|error| directory.error(error))?;
    let Some(new) = new else {
        let comment = if arguments.output.print_sql {
            "-- "
        } else {
            ""
        };
        writeln!(
            out,
            "{comment}The audit schema is up to date: nothing to write."
        )?;
        return Ok(());
    };
    if arguments.output.print_sql {
        return write::print_sql(&[new], out);
    }
    if arguments.output.dry_run {
        writeln!(
            out,
            "{}: {}",
            directory.show(&new.name).display(),
            purpose(&new)
        )?;
        return Ok(());
    }
    write::write(&directory, std::slice::from_ref(&new), out)?;
    if new.change == Change::Install {
        hints(&storage.clone().unwrap_or_default(), out)?;
    }
    if let Some(owner) = &owner {
        leaves_open(&storage.unwrap_or_default(), owner, out)?;
    }
    writeln!(
        out,
        "\nNext: `diesel migration run`, then `threadline generate`."
    )?;
    Ok(())
}

fn purpose(new: &NewMigration) -> &'static str {
    match new.change {
        Change::Install => "creates the audit tables",
        _ => "adds to the audit tables what they lack",
    }
}

/// What the application has to know of the schema that it chose.
fn hints(storage: &Storage, out: &mut dyn Write) -> Result<(), CliError> {
    if *storage == Storage::default() {
        writeln!(
            out,
            "\nKeep the audit tables out of the application's schema.rs; in diesel.toml:\n\n\
             [print_schema]\n\
             filter = {{ except_tables = [\"^audit_(actions|changes|commits|tables|transactions)$\"] }}"
        )?;
    } else {
        writeln!(
            out,
            "\nQueries find the audit tables through search_path; put their schema at its end:\n\n\
             ALTER ROLE … SET search_path = \"$user\", public, {};",
            storage.schema()
        )?;
    }
    Ok(())
}

/// What an owner of the log can't keep others from.
fn leaves_open(storage: &Storage, owner: &Identifier, out: &mut dyn Write) -> Result<(), CliError> {
    if *storage == Storage::default() {
        writeln!(
            out,
            "\nThe tables and functions will belong to {owner}; the schema public can't: it belongs to the owner of the\n\
             database, who may still drop them. With `--schema audit`, the schema belongs to {owner} too."
        )?;
    } else {
        writeln!(
            out,
            "\nThe schema {} will belong to {owner}, with the tables and functions in it.",
            storage.schema()
        )?;
    }
    Ok(())
}
