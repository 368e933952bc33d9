//! Generated tables that change under their history: as of a moment every row is what `threadline_decode` makes of it.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::Definition;
use threadline_tests::{TestDb, execute, rows, try_execute};

use super::clock;

/// A column's type, a value of it that row `{n}` may have, and one as JSON.
const TYPES: [(&str, &str, &str); 7] = [
    ("text", "'t{n}'", "\"f\""),
    ("varchar(20)", "'v{n}'", "\"f\""),
    ("integer", "{n}", "7"),
    ("numeric", "{n}.50", "7.5"),
    ("jsonb", "'{\"n\": [{n}, null]}'", "{\"f\": 1}"),
    ("text[]", "'{a{n},NULL}'", "[\"f\"]"),
    (
        "timestamptz",
        "'2024-02-29 12:00+00'::timestamptz + interval '{n} days'",
        "\"2020-01-01\"",
    ),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Policy {
    Plain,
    Exclude,
    Mask,
    OnChange,
}

#[derive(Debug, Clone)]
enum Step {
    /// Inserts the row with this key, or updates it.
    Write(usize, usize),
    Delete(usize),
    /// A column of a type, NOT NULL with a default or neither.
    Add(usize, bool),
    Drop(usize),
    Rename(usize),
    Policy(usize, Policy),
    /// What rows from before a column have is forgotten.
    Rewrite,
    /// Larger than the log takes.
    Oversized(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let policies = [
        Policy::Plain,
        Policy::Exclude,
        Policy::Mask,
        Policy::OnChange,
    ];
    prop_oneof![
        6 => (1..4_usize, 0..90_usize).prop_map(|(key, n)| Step::Write(key, n)),
        1 => (1..4_usize).prop_map(Step::Delete),
        3 => (0..TYPES.len(), any::<bool>()).prop_map(|(ty, required)| Step::Add(ty, required)),
        1 => any::<usize>().prop_map(Step::Drop),
        3 => any::<usize>().prop_map(Step::Rename),
        3 => (any::<usize>(), select(policies.to_vec())).prop_map(|(at, policy)| Step::Policy(at, policy)),
        1 => Just(Step::Rewrite),
        1 => (1..4_usize).prop_map(Step::Oversized),
    ]
}

#[derive(Debug, Clone)]
struct Column {
    ty: usize,
    policy: Policy,
    /// Newest first.
    former: Vec<String>,
}

struct Table<'a> {
    db: &'a TestDb,
    columns: BTreeMap<String, Column>,
    /// Names are few, so that a column may get one that another had.
    names: std::iter::Cycle<std::vec::IntoIter<String>>,
}

fn leaked(names: impl IntoIterator<Item = String>) -> &'static [&'static str] {
    let names: Vec<&str> = names.into_iter().map(|name| &*name.leak()).collect();
    names.leak()
}

impl<'a> Table<'a> {
    fn new(db: &'a TestDb) -> Self {
        db.create("CREATE TABLE t (id bigint PRIMARY KEY)");
        let names: Vec<_> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        let table = Self {
            db,
            columns: BTreeMap::new(),
            names: names.into_iter().cycle(),
        };
        table.capture();
        table
    }

    fn free_name(&mut self) -> Option<String> {
        let columns = &self.columns;
        let mut names = self.names.by_ref().take(5);
        names.find(|name| !columns.contains_key(name))
    }

    fn nth(&self, at: usize) -> Option<String> {
        let names = self.columns.keys();
        names.clone().nth(at % names.len().max(1)).cloned()
    }

    fn capture(&self) {
        let with = |policy| {
            let columns = self.columns.iter();
            leaked(
                columns
                    .filter(|(_, column)| column.policy == policy)
                    .map(|(name, _)| name.clone()),
            )
        };
        let formerly: Vec<(&str, &str)> = self
            .columns
            .iter()
            .flat_map(|(name, column)| {
                column
                    .former
                    .iter()
                    .map(|former| (&*name.clone().leak(), &*former.clone().leak()))
            })
            .collect();
        let definition = Definition::new("T", &["id"])
            .exclude(with(Policy::Exclude))
            .mask(with(Policy::Mask))
            .on_change(with(Policy::OnChange))
            .columns_formerly(formerly.leak());
        self.db.capture("t", definition);
    }

    fn alter(&self, sql: &str) {
        execute(&mut self.db.owner(), &format!("ALTER TABLE t {sql}"));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(key, n) => {
                let value = |ty: usize| TYPES[ty].1.replace("{n}", &n.to_string());
                let mut names = vec!["id".to_owned()];
                let mut values = vec![key.to_string()];
                let mut sets = vec![format!("id = {key}")];
                for (name, column) in &self.columns {
                    names.push(name.clone());
                    values.push(value(column.ty));
                    // Not all of them, so that something is stored only when it changes.
                    if n % 2 == 0 || column.policy != Policy::OnChange {
                        sets.push(format!("{name} = {}", value(column.ty)));
                    }
                }
                let sql = format!(
                    "INSERT INTO t ({}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET {}",
                    names.join(", "),
                    values.join(", "),
                    sets.join(", ")
                );
                execute(&mut self.db.app(), &sql);
            }
            Step::Delete(key) => execute(
                &mut self.db.app(),
                &format!("DELETE FROM t WHERE id = {key}"),
            ),
            Step::Add(ty, required) => {
                let Some(name) = self.free_name() else { return };
                let (sql, value, _) = TYPES[*ty];
                let default = format!(" NOT NULL DEFAULT {}", value.replace("{n}", "5"));
                let default = if *required { &default } else { "" };
                self.alter(&format!("ADD {name} {sql}{default}"));
                let column = Column {
                    ty: *ty,
                    policy: Policy::Plain,
                    former: Vec::new(),
                };
                self.columns.insert(name, column);
                self.capture();
            }
            Step::Drop(at) => {
                let Some(name) = self.nth(*at) else { return };
                self.alter(&format!("DROP {name}"));
                self.columns.remove(&name);
                self.capture();
            }
            Step::Rename(at) => {
                let (Some(old), Some(new)) = (self.nth(*at), self.free_name()) else {
                    return;
                };
                self.alter(&format!("RENAME {old} TO {new}"));
                if let Some(mut column) = self.columns.remove(&old) {
                    column.former.retain(|former| *former != new);
                    column.former.insert(0, old);
                    self.columns.insert(new, column);
                }
                self.capture();
            }
            Step::Policy(at, policy) => {
                let Some(name) = self.nth(*at) else { return };
                if let Some(column) = self.columns.get_mut(&name) {
                    column.policy = *policy;
                }
                self.capture();
            }
            Step::Rewrite => execute(&mut self.db.owner(), "VACUUM FULL t"),
            Step::Oversized(key) => {
                let text = self.columns.iter().find(|(_, column)| column.ty == 0);
                let Some((name, _)) = text else { return };
                let sql = format!("UPDATE t SET {name} = repeat('x', 1100000) WHERE id = {key}");
                execute(&mut self.db.app(), &sql);
            }
        }
    }
}

#[test]
fn of_several_former_names_the_newest_has_the_value() {
    let db = TestDb::new();
    db.create("CREATE TABLE t (id bigint PRIMARY KEY, a text)");
    let definition = Definition::new("T", &["id"]);
    db.create("ALTER TABLE t RENAME a TO b; ALTER TABLE t ADD a text");
    db.capture("t", definition.columns_formerly(&[("b", "a")]));
    execute(
        &mut db.app(),
        "INSERT INTO t (id, a, b) VALUES (1, 'another', 'its own')",
    );
    let moment = clock(&mut db.app()).to_rfc3339();
    db.create("ALTER TABLE t DROP a; ALTER TABLE t RENAME b TO c");
    db.capture("t", definition.columns_formerly(&[("c", "b"), ("c", "a")]));
    for sql in [
        format!("SELECT m.c FROM threadline_moment(NULL::t, 't', '{moment}') m"),
        "SELECT (d.row_image).c FROM audit_changes c, threadline_decode(NULL::t, 't', c.data_after, NULL) d".to_owned(),
    ] {
        let found = rows(&mut db.auditor(), &sql);
        assert_eq!(found, [serde_json::json!({"c": "its own"})], "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_a_moment_are_what_decoding_makes_of_them(steps in vec(step(), 4..24), filled in any::<usize>()) {
        let db = TestDb::new();
        let mut table = Table::new(&db);
        let mut moments = Vec::new();
        for step in &steps {
            table.take(step);
            if matches!(step, Step::Write(..) | Step::Delete(_) | Step::Oversized(_)) {
                moments.push(clock(&mut db.app()).to_rfc3339());
            }
        }
        let fill = match table.nth(filled) {
            Some(name) => format!("'{{\"{name}\": {}}}'", TYPES[table.columns[&name].ty].2),
            None => "'{}'".to_owned(),
        };
        let mut auditor = db.auditor();
        for moment in &moments {
            for fill in [fill.as_str(), "'{}'"] {
                let one_by_one = rows(&mut auditor, &format!(
                    "SELECT d.row_image::text AS row, d.problem FROM generate_series(1, 3) id
                     CROSS JOIN LATERAL threadline_as_of('t', jsonb_build_object('id', id), '{moment}') a
                     CROSS JOIN LATERAL threadline_decode(NULL::t, 't', threadline_whole(a.change), {fill}) d
                     WHERE a.outcome = 'found' ORDER BY id"
                ));
                let at_once = format!(
                    "SELECT m::text AS row, NULL AS problem FROM threadline_moment(NULL::t, 't', '{moment}', {fill}) m ORDER BY m.id"
                );
                // What DDL made unknown is told row by row, and refused at once.
                let is_unknown = try_execute(&mut auditor, &at_once).is_err_and(|refusal| refusal.contains("is unknown then"));
                if is_unknown {
                    let omitted = rows(&mut auditor, &format!(
                        "SELECT FROM generate_series(1, 3) id
                         CROSS JOIN LATERAL threadline_as_of('t', jsonb_build_object('id', id), '{moment}') a
                         CROSS JOIN LATERAL threadline_decode(NULL::t, 't', threadline_whole(a.change), {fill}) d
                         WHERE a.outcome = 'found' AND d.omitted <> '{{}}'"
                    ));
                    prop_assert!(!omitted.is_empty(), "{}", at_once);
                    continue;
                }
                // A column of another type may have the name now.
                if one_by_one.iter().all(|row| row["problem"].is_null()) {
                    prop_assert_eq!(rows(&mut auditor, &at_once), one_by_one, "{} {}", moment, fill);
                } else {
                    let refusal = try_execute(&mut auditor, &at_once).unwrap_err();
                    prop_assert!(refusal.contains("can't be read as the table is today"), "{}", refusal);
                }
            }
        }
    }
}
