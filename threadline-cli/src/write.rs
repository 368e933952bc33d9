//! Puts migrations into the directory, all of them or none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use threadline::capture::migration::NewMigration;

use crate::directory::Directory;
use crate::error::CliError;

/// Writes the migrations and says so.
pub(crate) fn write(
    directory: &Directory,
    migrations: &[NewMigration],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    place(directory, migrations)?;
    for migration in migrations {
        for file in ["up.sql", "down.sql"] {
            let path = directory.show(&migration.name).join(file);
            writeln!(out, "Wrote {}", path.display())?;
        }
    }
    Ok(())
}

/// Prints what the migrations would run.
pub(crate) fn print_sql(migrations: &[NewMigration], out: &mut dyn Write) -> Result<(), CliError> {
    for (at, migration) in migrations.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        write!(out, "{}", migration.up_sql)?;
    }
    Ok(())
}

/// Writes everything beside its place, where Diesel doesn't look, and then moves it there.
fn place(directory: &Directory, migrations: &[NewMigration]) -> Result<(), CliError> {
    let at = |path: PathBuf| move |source| CliError::Write { path, source };
    let staging = tempfile::Builder::new()
        .prefix(".threadline-")
        .tempdir_in(directory.path())
        .map_err(at(directory.show("")))?;
    for migration in migrations {
        let folder = staging.path().join(&migration.name);
        let shown = directory.show(&migration.name);
        fs::create_dir(&folder).map_err(at(shown.clone()))?;
        for (file, text) in [
            ("up.sql", &migration.up_sql),
            ("down.sql", &migration.down_sql),
        ] {
            fs::write(folder.join(file), text).map_err(at(shown.join(file)))?;
        }
    }

    let mut placed = Placed(Vec::new());
    for migration in migrations {
        let target = directory.path().join(&migration.name);
        // A rename would replace an empty folder.
        if target.symlink_metadata().is_ok() {
            return Err(CliError::InTheWay(directory.show(&migration.name)));
        }
        fs::rename(staging.path().join(&migration.name), &target)
            .map_err(at(directory.show(&migration.name)))?;
        placed.0.push(target);
    }
    placed.0.clear();
    Ok(())
}

/// Takes back what was placed before a failure.
struct Placed(Vec<PathBuf>);

impl Drop for Placed {
    fn drop(&mut self) {
        for path in &self.0 {
            remove(path);
        }
    }
}

fn remove(path: &Path) {
    // The failure that led here is reported; this one would hide it.
    let _ = fs::remove_dir_all(path);
}
