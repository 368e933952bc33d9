//! The comments at the head of a generated `up.sql`.

use std::fmt;

use super::word::{self, Table, Word};
use crate::capture::{Identifier, Storage, TableName};

/// What a generated migration says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// It creates or upgrades the audit schema.
    Base {
        revision: u32,
        storage: Storage,
        owner: Option<Identifier>,
    },
    /// It captures a table.
    Capture(Capture),
    /// It ends the capture of a table.
    Release { table: TableName },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) table: TableName,
    /// The name that the table was captured under by the migration before.
    pub(super) formerly: Option<TableName>,
    pub(super) fingerprint: String,
    /// The columns that the plan names: its SQL refuses to run where one of them is missing.
    pub(super) columns: Vec<Identifier>,
    pub(super) redacted: Vec<Identifier>,
    /// What the migration before redacted, for the reviewer of this one.
    pub(super) exposed: Vec<Identifier>,
    pub(super) storage: Storage,
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base {
                revision,
                storage,
                owner,
            } => {
                writeln!(f, "-- threadline: base revision {revision}")?;
                writeln!(f, "-- storage: {}", Word(storage.schema()))?;
                match owner {
                    Some(owner) => writeln!(f, "-- owner: {}", Word(owner)),
                    None => Ok(()),
                }
            }
            Self::Capture(capture) => {
                writeln!(f, "-- threadline: capture {}", Table(&capture.table))?;
                if let Some(formerly) = &capture.formerly {
                    writeln!(f, "-- formerly: {}", Table(formerly))?;
                }
                writeln!(f, "-- fingerprint: {}", capture.fingerprint)?;
                for (name, columns) in [
                    ("columns", &capture.columns),
                    ("redacted", &capture.redacted),
                    ("no longer redacted", &capture.exposed),
                ] {
                    if !columns.is_empty() {
                        let columns: Vec<_> = columns.iter().map(|c| Word(c).to_string()).collect();
                        writeln!(f, "-- {name}: {}", columns.join(", "))?;
                    }
                }
                writeln!(f, "-- storage: {}", Word(capture.storage.schema()))
            }
            Self::Release { table } => writeln!(f, "-- threadline: release {}", Table(table)),
        }
    }
}

impl Header {
    /// Puts the header before the SQL; [`split`] takes them apart.
    pub(super) fn before(&self, sql: &str) -> String {
        format!("{self}\n{sql}")
    }
}

/// Parts an `up.sql` into its header and the SQL below it; `None` if Threadline didn't write it.
///
/// Comments that somebody added around the header do no harm.
pub(super) fn split(up_sql: &str) -> Result<Option<(Header, &str)>, String> {
    let (mut title, mut lines, mut end) = (None, Vec::new(), 0);
    for line in up_sql.split_inclusive('\n') {
        let text = line.trim_end();
        match text
            .strip_prefix("-- ")
            .and_then(|text| text.split_once(": "))
        {
            Some(("threadline", is)) if title.is_none() => title = Some(is),
            Some(line) if title.is_some() => lines.push(line),
            _ if title.is_none() && (text.is_empty() || text.starts_with("--")) => {}
            _ if text.starts_with("--") => {}
            _ => break,
        }
        end += line.len();
    }
    let Some(title) = title else { return Ok(None) };
    let below = &up_sql[end..];
    let sql = below.strip_prefix("\r\n").or(below.strip_prefix('\n'));
    Ok(Some((parse(title, &lines)?, sql.unwrap_or(below))))
}

fn parse(title: &str, lines: &[(&str, &str)]) -> Result<Header, String> {
    let line = |name: &str| {
        lines
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, text)| *text)
    };
    let storage = || {
        let text = line("storage").ok_or("the line `-- storage: …` is missing")?;
        read("storage", text, |text| {
            Storage::new(word::identifier(text)?.as_str()).ok()
        })
    };
    let columns = |name| read(name, line(name).unwrap_or_default(), word::identifiers);
    match title.split_once(' ') {
        Some(("base", revision)) => Ok(Header::Base {
            revision: read("base", revision, |text| {
                text.strip_prefix("revision ")?.parse().ok()
            })?,
            storage: storage()?,
            owner: line("owner")
                .map(|text| read("owner", text, word::identifier))
                .transpose()?,
        }),
        Some(("capture", table)) => Ok(Header::Capture(Capture {
            table: read("capture", table, word::table)?,
            formerly: line("formerly")
                .map(|text| read("formerly", text, word::table))
                .transpose()?,
            fingerprint: line("fingerprint")
                .ok_or("the line `-- fingerprint: …` is missing")?
                .to_owned(),
            columns: columns("columns")?,
            redacted: columns("redacted")?,
            exposed: columns("no longer redacted")?,
            storage: storage()?,
        })),
        Some(("release", table)) => Ok(Header::Release {
            table: read("release", table, word::table)?,
        }),
        _ => Err(format!(
            "`{title}` is neither `base`, `capture` nor `release`"
        )),
    }
}

fn read<T>(line: &str, text: &str, reader: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    reader(text).ok_or_else(|| format!("`{text}` makes no sense after `{line}`"))
}
