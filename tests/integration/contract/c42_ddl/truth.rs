//! What a table held at moments, remembered beside the log: no answer may say otherwise.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use serde_json::Value;
use threadline_tests::{TestDb, rows, value};

/// The values of a row, by the numbers of its columns, as text.
type Row = BTreeMap<i64, Option<String>>;

/// Which table there is under a name, and the numbers of its columns.
#[derive(Clone)]
struct Shape {
    relation: Value,
    columns: BTreeMap<String, i64>,
}

/// A table's rows at a moment.
struct Moment {
    at: String,
    shape: Shape,
    rows: Vec<Row>,
}

impl Moment {
    /// What a row had then in a column that has this name in the table as it is now: a column keeps its number, and in another
    /// table it is the one of the name. Nothing if there was no such column.
    fn then<'r>(&self, row: &'r Row, now: &Shape, name: &str) -> Option<&'r Option<String>> {
        let columns = if self.shape.relation == now.relation {
            &now.columns
        } else {
            &self.shape.columns
        };
        row.get(columns.get(name)?)
    }
}

/// How much of what was asked got an answer. All of the answers were true.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Whether the table as a whole has an answer.
    pub whole: bool,
    /// Rows that were found, or known not to be there.
    pub rows: usize,
    /// Rows that are unknown.
    pub unknown: usize,
    /// Values that were found.
    pub values: usize,
    /// Values of found rows that are unknown.
    pub omitted: usize,
}

impl Known {
    pub fn is_no_less_than(&self, other: &Self) -> bool {
        self.whole >= other.whole && self.rows >= other.rows && self.values >= other.values
    }
}

/// The truth about a table, noted moment by moment.
pub struct Truth<'a> {
    db: &'a TestDb,
    /// As SQL has it.
    table: String,
    moments: Vec<Moment>,
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl<'a> Truth<'a> {
    pub fn of(db: &'a TestDb, table: &str) -> Self {
        Self {
            db,
            table: table.to_owned(),
            moments: Vec::new(),
        }
    }

    fn shape(&self) -> Shape {
        let conn = &mut self.db.superuser();
        let columns = rows(
            conn,
            &format!(
                "SELECT attname AS name, attnum AS number FROM pg_attribute
                 WHERE attrelid = to_regclass('{}') AND attnum > 0 AND NOT attisdropped",
                self.table
            ),
        );
        let pairs = columns.iter().map(|column| {
            let name = column["name"].as_str().unwrap().to_owned();
            (name, column["number"].as_i64().unwrap())
        });
        Shape {
            columns: pairs.collect(),
            relation: value(conn, &format!("to_regclass('{}')::oid::bigint", self.table)),
        }
    }

    /// Remembers what the table holds now. Returns the place of the moment.
    pub fn note(&mut self) -> usize {
        let conn = &mut self.db.superuser();
        let shape = self.shape();
        let numbered = |row: &Value| -> Row {
            let columns = shape.columns.iter();
            columns
                .map(|(name, number)| (*number, text(&row[name.as_str()])))
                .collect()
        };
        let held = if shape.columns.is_empty() {
            Vec::new()
        } else {
            rows(conn, &format!("SELECT * FROM {}", self.table))
        };
        let held: Vec<Row> = held.iter().map(numbered).collect();
        let at = value(conn, "clock_timestamp()::text");
        self.moments.push(Moment {
            at: at.as_str().unwrap().to_owned(),
            shape,
            rows: held,
        });
        self.moments.len() - 1
    }

    /// Every moment, asked about now.
    pub fn check_all(&self) -> Vec<Known> {
        (0..self.moments.len())
            .map(|place| self.check(place))
            .collect()
    }

    /// Asks about a moment, for the table as a whole and for every row that ever was.
    pub fn check(&self, place: usize) -> Known {
        let now = self.shape();
        let moment = &self.moments[place];
        let mut known = Known::default();
        if now.columns.is_empty() {
            return known;
        }
        self.check_whole(moment, &now, &mut known);
        let key = value(
            &mut self.db.superuser(),
            &format!(
                "SELECT to_jsonb(t.key_columns) FROM audit_tables t WHERE to_regclass(format('%I.%I', t.table_schema, t.table_name)) = '{}'::regclass",
                self.table
            ),
        );
        let key = key.as_array().into_iter().flatten();
        let key: Vec<&str> = key.filter_map(Value::as_str).collect();
        if key.is_empty() || key.iter().any(|name| !now.columns.contains_key(*name)) {
            return known;
        }
        let keys: BTreeSet<Vec<(&str, String)>> = self
            .moments
            .iter()
            .flat_map(|moment| moment.rows.iter().map(move |row| (moment, row)))
            .filter_map(|(moment, row)| {
                let parts = key.iter();
                parts
                    .map(|name| Some((*name, moment.then(row, &now, name)?.clone()?)))
                    .collect()
            })
            .collect();
        for key in keys {
            self.check_row(moment, &now, &key, &mut known);
        }
        known
    }

    fn check_whole(&self, moment: &Moment, now: &Shape, known: &mut Known) {
        let Moment { at, rows: held, .. } = moment;
        let asked: Vec<&str> = now.columns.keys().map(String::as_str).collect();
        let asked = asked.join(",");
        let table = &self.table;
        let query = format!(
            "SELECT to_jsonb(\"!row\") AS row FROM threadline_moment(NULL::{table}, '{table}', '{at}', '{{}}', '{{{asked}}}') \"!row\""
        );
        let Ok(answer) = load(&mut self.db.auditor(), &query) else {
            return;
        };
        known.whole = true;
        let same = |then: &Row, answered: &Value| {
            now.columns.keys().all(|name| {
                let then = moment.then(then, now, name);
                then.is_none_or(|then| *then == text(&answered[name.as_str()]))
            })
        };
        let mut left: Vec<&Row> = held.iter().collect();
        for row in &answer {
            let found = left.iter().position(|then| same(then, row));
            let found =
                found.unwrap_or_else(|| panic!("{table} at {at} had no row {row}: {held:?}"));
            left.swap_remove(found);
        }
        assert!(left.is_empty(), "{table} at {at} had {left:?}, too");
    }

    fn check_row(&self, moment: &Moment, now: &Shape, key: &[(&str, String)], known: &mut Known) {
        let Moment { at, rows: held, .. } = moment;
        let table = &self.table;
        let has_key = |row: &&Row| {
            key.iter()
                .all(|(name, value)| moment.then(row, now, name) == Some(&Some(value.clone())))
        };
        let then: Vec<&Row> = held.iter().filter(has_key).collect();
        let pk: serde_json::Map<_, _> = key
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
            .collect();
        let pk = Value::from(pk);
        let query = format!(
            "SELECT jsonb_build_object('outcome', a.outcome, 'row', to_jsonb(d.row_image), 'problem', d.problem, 'omitted', d.omitted || d.redacted) AS row
             FROM threadline_as_of('{table}', '{pk}', '{at}') a
             LEFT JOIN LATERAL threadline_decode(NULL::{table}, '{table}', CASE WHEN a.outcome = 'found' THEN threadline_whole(a.change) END, NULL) d ON true"
        );
        let Ok(answer) = load(&mut self.db.auditor(), &query) else {
            known.unknown += 1;
            return;
        };
        let answer = &answer[0];
        match answer["outcome"].as_str() {
            Some("found") => {
                let [then] = then[..] else {
                    panic!("{table} at {at}: {pk} was found, of {held:?}");
                };
                known.rows += 1;
                if answer["problem"] != Value::Null {
                    known.omitted += now.columns.len();
                    return;
                }
                let omitted = answer["omitted"].as_array().unwrap();
                for name in now.columns.keys() {
                    if omitted.iter().any(|o| o == name) {
                        known.omitted += 1;
                    } else if let Some(then) = moment.then(then, now, name) {
                        let said = text(&answer["row"][name.as_str()]);
                        assert_eq!(said, *then, "{name} of {pk} in {table} at {at}");
                        known.values += 1;
                    }
                }
            }
            Some("deleted" | "not_yet_created") => {
                assert!(
                    then.is_empty(),
                    "{table} at {at}: {pk} was there, not {answer}"
                );
                known.rows += 1;
            }
            Some("unknown") => known.unknown += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = diesel::sql_types::Jsonb)]
    row: Value,
}

fn load(conn: &mut PgConnection, query: &str) -> QueryResult<Vec<Value>> {
    let rows: Vec<Answer> = diesel::sql_query(query).load(conn)?;
    Ok(rows.into_iter().map(|answer| answer.row).collect())
}
