#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;
use threadline::capture::Models;
use threadline_cli::{Environment, run_with};

/// An application's directory, with an empty `migrations` in it.
pub(crate) struct App {
    directory: TempDir,
    models: Models,
    pub(crate) environment: Environment,
}

/// What one command line came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl App {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("threadline")
            .tempdir()
            .unwrap();
        fs::create_dir(directory.path().join("migrations")).unwrap();
        let now = "2026-05-04T12:00:00Z".parse().unwrap();
        Self {
            environment: Environment::new(directory.path(), now),
            directory,
            models: Models::default(),
        }
    }

    /// One that has run `threadline install`.
    pub(crate) fn installed() -> Self {
        let app = Self::new();
        app.succeeds("install");
        app
    }

    pub(crate) fn with(self, models: Models) -> Self {
        Self { models, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command line whose arguments have no spaces in them.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.run_args(&line.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, args: &[&str]) -> Ran {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["threadline"].iter().chain(args);
        let code = run_with(&self.models, args, &self.environment, &mut out, &mut err);
        // The temporary directory has another name each time.
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(self.path().to_str().unwrap(), "[app]")
        };
        Ran {
            code,
            out: text(out),
            err: text(err),
        }
    }

    /// What a command that works prints.
    pub(crate) fn succeeds(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{line}");
        ran.out
    }

    /// The message of a command that doesn't, and that writes nothing.
    pub(crate) fn fails(&self, code: u8, line: &str) -> String {
        let before = self.files();
        let ran = self.run(line);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (code, ""),
            "{line}: {}",
            ran.err
        );
        assert!(ran.err.starts_with("error: "), "{}", ran.err);
        assert_eq!(self.files(), before, "{line}");
        ran.err
    }

    pub(crate) fn create_dir(&self, path: &str) {
        fs::create_dir_all(self.path().join(path)).unwrap();
    }

    pub(crate) fn create(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// The SQL below the header of an `up.sql`.
    pub(crate) fn sql(&self, migration: &str) -> String {
        let text = self.read(&format!("migrations/{migration}/up.sql"));
        text.split_once("\n\n").unwrap().1.to_owned()
    }

    /// The header of an `up.sql`, without what depends on how plans are rendered.
    pub(crate) fn header(&self, migration: &str) -> String {
        let text = self.read(&format!("migrations/{migration}/up.sql"));
        let (header, _) = text.split_once("\n\n").unwrap();
        header
            .lines()
            .map(|line| match line.strip_prefix("-- fingerprint: ") {
                Some(digits) if digits.len() == 16 => "-- fingerprint: [16 digits]\n".to_owned(),
                _ => format!("{line}\n"),
            })
            .collect()
    }

    /// Everything below the directory, hidden files included, in order.
    pub(crate) fn files(&self) -> String {
        fn walk(directory: &Path, root: &Path, files: &mut Vec<String>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, files);
                } else {
                    files.push(path.strip_prefix(root).unwrap().display().to_string());
                }
            }
        }
        let mut files = Vec::new();
        walk(self.path(), self.path(), &mut files);
        files.sort();
        files.join("\n")
    }
}

/// An output that fails.
pub(crate) struct Broken(pub(crate) io::ErrorKind);

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
