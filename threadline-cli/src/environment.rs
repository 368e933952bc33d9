use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

/// What a command knows of the world besides its arguments.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Environment {
    /// Relative paths start here, and the search for `migrations` and `diesel.toml`.
    pub current_dir: PathBuf,
    /// `MIGRATION_DIRECTORY`, as Diesel's command line has it.
    pub migration_directory: Option<PathBuf>,
    /// `DIESEL_CONFIG_FILE`, as Diesel's command line has it.
    pub diesel_config_file: Option<PathBuf>,
    /// The time that new migrations bear.
    pub now: DateTime<Utc>,
}

impl Environment {
    /// A directory at a time, without environment variables.
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline_cli::Environment;
    ///
    /// let environment = Environment::new("/srv/app", "2026-05-04T12:00:00Z".parse()?);
    /// assert_eq!(environment.migration_directory, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(current_dir: impl Into<PathBuf>, now: DateTime<Utc>) -> Self {
        Self {
            current_dir: current_dir.into(),
            migration_directory: None,
            diesel_config_file: None,
            now,
        }
    }

    /// That of this process, now.
    ///
    /// # Errors
    ///
    /// If the current directory is gone or can't be read.
    ///
    /// # Examples
    ///
    /// ```
    /// let environment = threadline_cli::Environment::of_process()?;
    /// assert_eq!(environment.current_dir, std::env::current_dir()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of_process() -> io::Result<Self> {
        let set = |text: &OsString| !text.is_empty();
        Ok(Self {
            current_dir: env::current_dir()?,
            migration_directory: env::var_os("MIGRATION_DIRECTORY")
                .filter(set)
                .map(PathBuf::from),
            diesel_config_file: env::var_os("DIESEL_CONFIG_FILE")
                .filter(set)
                .map(PathBuf::from),
            now: Utc::now(),
        })
    }
}
