//! Finds and reads the migrations directory, the same one that Diesel's command line works on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use threadline::capture::migration::{Existing, MigrationError, Migrations};

use crate::Environment;
use crate::error::CliError;

/// A migrations directory that exists.
pub(crate) struct Directory {
    path: PathBuf,
    /// How messages call it: relative to the current directory where it lies below that.
    shown: PathBuf,
}

impl Directory {
    /// The flag, else `MIGRATION_DIRECTORY`, else `diesel.toml`, else `migrations` here or above.
    pub(crate) fn find(flag: Option<&Path>, environment: &Environment) -> Result<Self, CliError> {
        let here = &environment.current_dir;
        let named = match flag.or(environment.migration_directory.as_deref()) {
            Some(path) => Some(here.join(path)),
            None => configured(environment)?,
        };
        let path = match named {
            Some(path) if path.is_dir() => path,
            Some(path) => return Err(CliError::NoDirectory(shown(&path, here))),
            None => here
                .ancestors()
                .map(|above| above.join("migrations"))
                .find(|path| path.is_dir())
                .ok_or_else(|| CliError::NoDirectoryAbove(here.clone()))?,
        };
        let shown = shown(&path, here);
        Ok(Self { path, shown })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How messages call something in it.
    pub(crate) fn show(&self, name: impl AsRef<Path>) -> PathBuf {
        self.shown.join(name)
    }

    /// Reads what Diesel takes for migrations: folders whose name doesn't begin with a dot.
    pub(crate) fn read(&self) -> Result<Migrations, CliError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::Read { path, source }
        };
        let mut existing = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(at(&self.shown))? {
            let entry = entry.map_err(at(&self.shown))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !entry.path().is_dir() {
                continue;
            }
            let up_sql = match fs::read_to_string(entry.path().join("up.sql")) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                result => result.map_err(at(&self.show(&name).join("up.sql")))?,
            };
            existing.push(Existing { name, up_sql });
        }
        Migrations::read(existing).map_err(|error| self.error(error))
    }

    pub(crate) fn error(&self, source: MigrationError) -> CliError {
        CliError::Migration {
            directory: self.shown.clone(),
            source,
        }
    }
}

fn shown(path: &Path, here: &Path) -> PathBuf {
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

#[derive(Deserialize)]
struct Config {
    migrations_directory: Option<MigrationsDirectory>,
}

#[derive(Deserialize)]
struct MigrationsDirectory {
    dir: PathBuf,
}

/// The directory that `diesel.toml` names, relative to that file.
fn configured(environment: &Environment) -> Result<Option<PathBuf>, CliError> {
    let here = &environment.current_dir;
    let file = match &environment.diesel_config_file {
        Some(file) => Some(here.join(file)),
        None => here
            .ancestors()
            .map(|above| above.join("diesel.toml"))
            .find(|file| file.is_file()),
    };
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(&file).map_err(|source| CliError::Read {
        path: shown(&file, here),
        source,
    })?;
    let config: Config = toml::from_str(&text).map_err(|error| CliError::Config {
        path: shown(&file, here),
        reason: error.message().to_owned(),
    })?;
    let base = file.parent().unwrap_or(here);
    Ok(config
        .migrations_directory
        .map(|named| base.join(named.dir)))
}
