//! Versions that sort after all others, as Diesel compares them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::MigrationError;

/// What `diesel migration generate` puts before a migration's name.
const DIRECTORY: &str = "%Y-%m-%d-%H%M%S";
const VERSION: &str = "%Y%m%d%H%M%S";
const DIGITS: usize = 14;

/// `__diesel_schema_migrations.version` is a `VARCHAR(50)`.
const MAX_CHARS: usize = 50;

/// The version of a migration: Diesel takes what stands before the first `_`, drops the dashes and compares as text.
pub(super) fn version_of(name: &str) -> String {
    name.split('_').next().unwrap_or_default().replace('-', "")
}

/// Hands out versions, each after the one before.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    /// The name of the newest migration that exists, for messages.
    migration: &'a str,
    newest: String,
    now: DateTime<Utc>,
}

impl<'a> Versions<'a> {
    pub(super) fn after(migration: &'a str, now: DateTime<Utc>) -> Self {
        Self {
            migration,
            newest: version_of(migration),
            now,
        }
    }

    /// What to put before the `_` of the next directory's name.
    ///
    /// The present moment, unless something sorts after it: a migration of the future, of this second, or one that
    /// somebody named by hand.
    pub(super) fn next(&mut self) -> Result<String, MigrationError> {
        let now = self.now.naive_utc();
        let (directory, version) = if *self.newest < *now.format(VERSION).to_string() {
            stamp(now)
        } else {
            second_after(&self.newest).unwrap_or_else(|| {
                let version = successor(&self.newest);
                (version.clone(), version)
            })
        };
        if version.chars().count() > MAX_CHARS {
            return Err(MigrationError::NoVersionAfter {
                migration: self.migration.to_owned(),
            });
        }
        self.newest = version;
        Ok(directory)
    }
}

fn stamp(time: NaiveDateTime) -> (String, String) {
    (
        time.format(DIRECTORY).to_string(),
        time.format(VERSION).to_string(),
    )
}

/// The second after a version that is a timestamp, whatever digits follow the seconds (Diesel 2.3 appends four).
fn second_after(version: &str) -> Option<(String, String)> {
    let seconds = version
        .get(..DIGITS)
        .filter(|_| version.bytes().all(|b| b.is_ascii_digit()))?;
    let time = NaiveDateTime::parse_from_str(seconds, VERSION).ok()?;
    let next = stamp(time.checked_add_signed(TimeDelta::seconds(1))?);
    // The last second of the year 9999 has no successor of the same length.
    (*next.1 > *version && next.1.len() == DIGITS).then_some(next)
}

/// The version itself with its last number raised, or with a digit appended where that would lengthen the number.
fn successor(version: &str) -> String {
    let stem = version.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = &version[stem.len()..];
    let nines = number.len() - number.trim_end_matches('9').len();
    if nines == number.len() {
        return format!("{version}1");
    }
    let at = version.len() - nines - 1;
    let raised = char::from(version.as_bytes()[at] + 1);
    format!("{}{raised}{}", &version[..at], "0".repeat(nines))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn after(migration: &str, count: usize) -> Vec<String> {
        let now = "2026-05-04T12:00:00Z".parse().unwrap();
        let mut versions = Versions::after(migration, now);
        (0..count).map(|_| versions.next().unwrap()).collect()
    }

    #[test]
    fn the_present_moment_then_a_second_each() {
        for past in [
            "",
            "00000000000000_diesel_initial_setup",
            "2026-05-04-115959-ffff_x",
        ] {
            assert_eq!(
                after(past, 2),
                ["2026-05-04-120000", "2026-05-04-120001"],
                "{past}"
            );
        }
    }

    #[test]
    fn the_same_second_and_the_future_are_passed() {
        assert_eq!(after("2026-05-04-120000_x", 1), ["2026-05-04-120001"]);
        assert_eq!(after("2026-05-04-120000-0000_x", 1), ["2026-05-04-120001"]);
        assert_eq!(after("20990101000000_x", 1), ["2099-01-01-000001"]);
        assert_eq!(after("2099-12-31-235959_x", 1), ["2100-01-01-000000"]);
    }

    #[test]
    fn versions_that_are_no_time_get_a_successor() {
        assert_eq!(
            after("99999999999999_x", 2),
            ["999999999999991", "999999999999992"]
        );
        assert_eq!(after("99991231235959_x", 1), ["99991231235960"]);
        assert_eq!(after("9_x", 2), ["91", "92"]);
        assert_eq!(after("v1-9_x", 2), ["v20", "v21"]);
        assert_eq!(after("first_x", 2), ["first1", "first2"]);
        assert_eq!(after("30001399000000_x", 1), ["30001399000001"]);
    }

    #[test]
    fn each_sorts_after_the_one_before() {
        for newest in [
            "",
            "99999999999998_x",
            "99991231235958_x",
            "é_x",
            "z",
            "1-2-9_x",
        ] {
            let mut last = version_of(newest);
            for directory in after(newest, 120) {
                let version = version_of(&format!("{directory}_threadline_capture_users"));
                assert!(last < version, "{newest}: {last} before {version}");
                last = version;
            }
        }
    }

    #[test]
    fn a_version_too_long_for_diesel_is_refused() {
        let name = "z".repeat(50);
        let error = Versions::after(&name, Utc::now()).next().unwrap_err();
        assert_eq!(error, MigrationError::NoVersionAfter { migration: name });
    }
}
