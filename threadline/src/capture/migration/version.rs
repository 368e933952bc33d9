//! Versions that sort after all others, as Diesel compares them.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::MigrationError;

/// What `diesel migration generate` puts before a migration's name.
const DIRECTORY: &str = "%Y-%m-%d-%H%M%S";
const VERSION: &str = "%Y%m%d%H%M%S";
const DIGITS: usize = 14;

/// Four digits behind the seconds, as Diesel 2.3 puts them there. All migrations of a run have them or none has, so that a
/// listing of the folder shows them in order: `-` sorts before `_`.
const LAST_NUMBER: u16 = 9999;

/// `__diesel_schema_migrations.version` is a `VARCHAR(50)`.
const MAX_CHARS: usize = 50;

/// The version of a migration: Diesel takes what stands before the first `_`, drops the dashes and compares as text.
pub(super) fn version_of(name: &str) -> String {
    name.split('_').next().unwrap_or_default().replace('-', "")
}

/// Versions for the migrations of one run, each after the one before.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    /// The name of the newest migration that exists, for messages.
    migration: &'a str,
    newest: String,
    place: Place,
}

/// Where the next version goes.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Into a second of its own.
    Second(NaiveDateTime),
    /// Into a second that it shares, with a number.
    Numbered(NaiveDateTime, u16),
    /// After a version that is no timestamp.
    Successor,
}

impl<'a> Versions<'a> {
    /// The versions of `count` migrations: a second each, of which the last is the present one. So none lies in the future, and
    /// what somebody adds next sorts after them.
    ///
    /// Where an existing migration has one of these seconds, all of them share the present one. Where one sorts after
    /// the present second, since it is of this very second or of the future, they share the second after it.
    pub(super) fn after(migration: &'a str, now: DateTime<Utc>, count: usize) -> Self {
        let newest = version_of(migration);
        let now = now.naive_utc();
        let is_free = |time: &NaiveDateTime| newest < stamp(*time).1;
        let place =
            if let Some(first) = seconds_before(now, count.saturating_sub(1)).filter(is_free) {
                Place::Second(first)
            } else {
                let free = Some(now).filter(is_free).or_else(|| second_after(&newest));
                match free {
                    Some(time) if count > 1 => Place::Numbered(time, 1),
                    Some(time) => Place::Second(time),
                    None => Place::Successor,
                }
            };
        Self {
            migration,
            newest,
            place,
        }
    }

    /// What to put before the `_` of the next directory's name.
    pub(super) fn next(&mut self) -> Result<String, MigrationError> {
        let (directory, version) = match self.place {
            Place::Second(time) => {
                self.place = Place::Second(time + TimeDelta::seconds(1));
                stamp(time)
            }
            Place::Numbered(time, number) => {
                self.place = match number {
                    LAST_NUMBER => Place::Numbered(time + TimeDelta::seconds(1), 1),
                    _ => Place::Numbered(time, number + 1),
                };
                let (directory, version) = stamp(time);
                (
                    format!("{directory}-{number:04}"),
                    format!("{version}{number:04}"),
                )
            }
            Place::Successor => {
                let version = successor(&self.newest);
                (version.clone(), version)
            }
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

fn seconds_before(time: NaiveDateTime, count: usize) -> Option<NaiveDateTime> {
    time.checked_sub_signed(TimeDelta::try_seconds(i64::try_from(count).ok()?)?)
}

/// The second after a version that is a timestamp, whatever digits follow the seconds (Diesel 2.3 appends four).
fn second_after(version: &str) -> Option<NaiveDateTime> {
    let seconds = version
        .get(..DIGITS)
        .filter(|_| version.bytes().all(|b| b.is_ascii_digit()))?;
    let time = NaiveDateTime::parse_from_str(seconds, VERSION).ok()?;
    let next = time.checked_add_signed(TimeDelta::seconds(1))?;
    let stamp = stamp(next).1;
    // The last second of the year 9999 has no successor of the same length.
    (*stamp > *version && stamp.len() == DIGITS).then_some(next)
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
        let mut versions = Versions::after(migration, now, count);
        (0..count).map(|_| versions.next().unwrap()).collect()
    }

    #[test]
    fn a_second_each_of_which_the_last_is_the_present_one() {
        for past in [
            "",
            "00000000000000_diesel_initial_setup",
            "2026-05-04-115957-ffff_x",
        ] {
            assert_eq!(after(past, 1), ["2026-05-04-120000"], "{past}");
            assert_eq!(
                after(past, 3),
                [
                    "2026-05-04-115958",
                    "2026-05-04-115959",
                    "2026-05-04-120000"
                ],
                "{past}"
            );
        }
    }

    #[test]
    fn without_a_second_each_they_share_the_present_one() {
        for past in [
            "2026-05-04-115958_x",
            "2026-05-04-115959-ffff_x",
            "20260504115959_x",
        ] {
            assert_eq!(after(past, 1), ["2026-05-04-120000"], "{past}");
            let all = after(past, 10_001);
            assert_eq!(all[0], "2026-05-04-120000-0001", "{past}");
            assert_eq!(all[9_998], "2026-05-04-120000-9999", "{past}");
            assert_eq!(all[9_999], "2026-05-04-120001-0001", "{past}");
            assert!(all.is_sorted(), "{past}");
        }
    }

    #[test]
    fn thirty_five_are_not_of_the_future() {
        for past in ["", "2026-05-04-110000_x", "2026-05-04-115950_x"] {
            let last = after(past, 35).pop().unwrap();
            assert!(last.starts_with("2026-05-04-120000"), "{last}");
        }
    }

    #[test]
    fn the_same_second_and_the_future_are_passed() {
        assert_eq!(
            after("2026-05-04-120000_x", 2),
            ["2026-05-04-120001-0001", "2026-05-04-120001-0002"]
        );
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
        let error = Versions::after(&name, Utc::now(), 1).next().unwrap_err();
        assert_eq!(error, MigrationError::NoVersionAfter { migration: name });
    }
}
