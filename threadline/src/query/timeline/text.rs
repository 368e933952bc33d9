//! Filters as texts, both ways.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};

use super::error::FilterError;
use super::filter::TimelineFilter;
use super::key::FilterKey;
use super::table::FilterTable;

type Put = fn(&mut TimelineFilter, &str) -> Option<()>;
type Show = fn(&TimelineFilter) -> Option<String>;

/// A filter by its name: what its values look like, how one is read, and how it is printed.
struct Field {
    name: &'static str,
    expected: &'static str,
    put: Put,
    show: Show,
}

const MOMENT: &str = "a time with its offset, such as 2026-03-15T10:30:00Z";

const FIELDS: [Field; 11] = [
    Field {
        name: "table",
        expected: "the name of a table, such as users or billing.invoices",
        put: |filter, text| name(text).map(|text| filter.table = Some(FilterTable::new(text))),
        show: |filter| filter.table.as_ref().map(|table| table.text().to_owned()),
    },
    Field {
        name: "schema",
        expected: "the name of a schema, such as public",
        put: |filter, text| name(text).map(|text| filter.schema = Some(text)),
        show: |filter| filter.schema.clone(),
    },
    Field {
        name: "key",
        expected: r#"the key of a row, such as {"id": 42} or id=42"#,
        put: |filter, text| FilterKey::parse(text).map(|key| filter.key = Some(key)),
        show: |filter| filter.key.as_ref().map(ToString::to_string),
    },
    Field {
        name: "actor",
        expected: "an actor, such as user:42 or anonymous",
        put: |filter, text| text.parse().ok().map(|actor| filter.actor = Some(actor)),
        show: |filter| filter.actor.as_ref().map(ToString::to_string),
    },
    Field {
        name: "from",
        expected: MOMENT,
        put: |filter, text| moment(text).map(|moment| filter.from = Some(moment)),
        show: |filter| filter.from.map(printed),
    },
    Field {
        name: "to",
        expected: MOMENT,
        put: |filter, text| moment(text).map(|moment| filter.to = Some(moment)),
        show: |filter| filter.to.map(printed),
    },
    Field {
        name: "correlation_id",
        expected: "a text that isn't empty",
        put: |filter, text| name(text).map(|text| filter.correlation_id = Some(text)),
        show: |filter| filter.correlation_id.clone(),
    },
    Field {
        name: "request_id",
        expected: "a text that isn't empty",
        put: |filter, text| name(text).map(|text| filter.request_id = Some(text)),
        show: |filter| filter.request_id.clone(),
    },
    Field {
        name: "op",
        expected: "insert, update, delete, truncate or baseline",
        put: |filter, text| text.parse().ok().map(|op| filter.op = Some(op)),
        show: |filter| filter.op.map(|op| op.to_string()),
    },
    Field {
        name: "changed_field",
        expected: "the name of a column, such as email",
        put: |filter, text| name(text).map(|text| filter.changed_field = Some(text)),
        show: |filter| filter.changed_field.clone(),
    },
    Field {
        name: "transaction",
        expected: "the id of a transaction, such as 00000000-0000-0000-0000-000000000123",
        put: |filter, text| text.parse().ok().map(|id| filter.transaction = Some(id)),
        show: |filter| filter.transaction.map(|id| id.to_string()),
    },
];

fn name(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|moment| moment.to_utc())
}

fn printed(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) fn names() -> String {
    FIELDS.map(|field| field.name).join(", ")
}

impl TimelineFilter {
    /// Reads filters by name, such as the parameters of a request.
    ///
    /// | name | value |
    /// |---|---|
    /// | `table` | a name, or `schema.table`; see [`table`](Self::table) |
    /// | `schema`, `changed_field` | a name |
    /// | `key` | `{"id": 42}` or `id=42`; needs `table` |
    /// | `actor` | `user:42`, `service_account:billing`, `anonymous` |
    /// | `from`, `to` | RFC 3339, such as `2026-03-15T10:30:00Z`; both inclusive |
    /// | `correlation_id`, `request_id` | a text |
    /// | `op` | `insert`, `update`, `delete`, `truncate`, `baseline` |
    /// | `transaction` | a UUID |
    ///
    /// # Errors
    ///
    /// [`FilterError`] that names the filter: an unknown one, one that is given twice, a value that can't be read, a key
    /// without its table.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, FilterError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut filter = Self::default();
        for (key, value) in pairs {
            filter.put(key.as_ref(), value.as_ref())?;
        }
        filter.check()?;
        Ok(filter)
    }

    /// Reads filters of the form `key=value`, such as the arguments of a command.
    ///
    /// ```
    /// use threadline::TimelineFilter;
    ///
    /// let filter = TimelineFilter::from_texts(["table=users", "key=id=42"])?;
    /// assert_eq!(filter, TimelineFilter::new().table("users").key([("id", 42)]));
    /// # Ok::<_, threadline::FilterError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`from_pairs`](Self::from_pairs), and for a text without `=`.
    pub fn from_texts<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for text in texts {
            let text = text.as_ref();
            let (key, value) = text.split_once('=').ok_or_else(|| FilterError::NoPair {
                text: text.to_owned(),
            })?;
            filter.put(key, value)?;
        }
        filter.check()?;
        Ok(filter)
    }

    /// The filters that are set, by name, as [`from_pairs`](Self::from_pairs) reads them.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        FIELDS
            .iter()
            .filter_map(|field| Some((field.name, (field.show)(self)?)))
            .collect()
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), FilterError> {
        let field = FIELDS
            .iter()
            .find(|field| field.name == key)
            .ok_or_else(|| FilterError::UnknownKey {
                key: key.to_owned(),
                suggestion: nearest(key),
            })?;
        if (field.show)(self).is_some() {
            return Err(FilterError::Twice { key: field.name });
        }
        (field.put)(self, value).ok_or_else(|| FilterError::BadValue {
            key: field.name,
            value: value.to_owned(),
            expected: field.expected,
        })
    }

    /// What can't be said by the type.
    pub(super) fn check(&self) -> Result<(), FilterError> {
        if self.key.is_some() && self.table.is_none() {
            return Err(FilterError::KeyWithoutTable);
        }
        Ok(())
    }
}

/// `table=users op=update`, for people to read.
impl fmt::Display for TimelineFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.pairs().iter().enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The filter whose name differs the least, if it is near enough to be a slip.
fn nearest(key: &str) -> Option<&'static str> {
    // What other libraries and people call them.
    let synonym = match key {
        "actor_ref" | "user" => Some("actor"),
        "operation" => Some("op"),
        "since" => Some("from"),
        "until" => Some("to"),
        "id" | "pk" => Some("key"),
        "transaction_id" => Some("transaction"),
        _ => None,
    };
    let distances = FIELDS
        .iter()
        .map(|field| (distance(key, field.name), field.name));
    let near = distances
        .filter(|(distance, name)| *distance <= (name.len() / 2).min(3))
        .min();
    synonym.or(near.map(|(_, name)| name))
}

/// How many letters have to be put in, left out or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (index, letter) in one.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = index + 1;
        for (column, known) in other.iter().enumerate() {
            let changed = before + usize::from(letter != *known);
            before = row[column + 1];
            row[column + 1] = changed.min(before + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(pairs: &[(&str, &str)]) -> String {
        TimelineFilter::from_pairs(pairs.iter().copied())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_filter_is_named_with_the_one_it_was_meant_for() {
        for (slip, meant) in [
            ("tabel", "table"),
            ("corelation_id", "correlation_id"),
            ("actor_ref", "actor"),
            ("changed_fields", "changed_field"),
            ("operation", "op"),
            ("Table", "table"),
        ] {
            let error = refused(&[(slip, "x")]);
            assert!(
                error.starts_with(&format!("unknown filter `{slip}`; did you mean `{meant}`?; filters are table, schema, key")),
                "{error}"
            );
        }
        assert!(refused(&[("colour", "red")]).starts_with("unknown filter `colour`; filters are"));
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_expected() {
        for (key, value, expected) in [
            ("table", "", "the name of a table"),
            ("actor", "42", "user:42"),
            ("actor", "user:", "user:42"),
            ("from", "2026-03-15", "2026-03-15T10:30:00Z"),
            ("to", "2026-03-15T10:30:00", "with its offset"),
            ("op", "UPDATE", "insert, update, delete"),
            ("transaction", "123", "00000000-0000"),
            ("key", "42", "id=42"),
            ("key", "{}", "id=42"),
            ("key", r#"{"id": [1]}"#, "id=42"),
            ("key", r#"{"id": null}"#, "id=42"),
            ("key", "id=1,id=2", "id=42"),
            ("correlation_id", "a\0", "a text"),
        ] {
            let error = refused(&[(key, value)]);
            assert!(
                error.contains(&format!("the filter `{key}` can't be `{value}`; expected")),
                "{error}"
            );
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_filter_is_given_once_and_a_key_has_a_table() {
        assert_eq!(
            refused(&[("op", "insert"), ("op", "update")]),
            "the filter `op` is given twice; leave one out"
        );
        assert!(refused(&[("key", "id=1")]).contains("needs the filter `table`"));
        let error = TimelineFilter::from_texts(["table"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`table` is no filter; expected `key=value`, such as `table=users`"
        );
    }

    #[test]
    fn every_filter_reads_back() {
        let pairs = [
            ("table", r#"public."a.b""#),
            ("schema", "public"),
            ("key", r#"{"a":"1","b":"x=y"}"#),
            ("actor", "user:tenant:7"),
            ("from", "2026-03-15T10:30:00.000001Z"),
            ("to", "2026-03-15T10:30:01Z"),
            ("correlation_id", "c 1"),
            ("request_id", "r"),
            ("op", "delete"),
            ("changed_field", "email"),
            ("transaction", "00000000-0000-0000-0000-000000000123"),
        ];
        let filter = TimelineFilter::from_pairs(pairs).unwrap();
        let printed: Vec<_> = filter.pairs();
        assert_eq!(printed, pairs.map(|(key, value)| (key, value.to_owned())));
        assert_eq!(printed.len(), FIELDS.len());
    }

    #[test]
    fn a_key_keeps_every_digit_and_both_forms_agree() {
        let json = FilterKey::parse(r#"{"id": 12345678901234567890123, "b": true}"#).unwrap();
        assert_eq!(
            json,
            FilterKey::parse("b=true, id=12345678901234567890123").unwrap()
        );
        assert_eq!(
            json,
            FilterKey::new([("id", "12345678901234567890123"), ("b", "true")])
        );
    }
}
