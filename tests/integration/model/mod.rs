//! Random work, and whether history says of it what an independent model says.

mod sessions;
mod table;
mod truth;
mod work;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use threadline::{AsOf, Definition, Level, Snapshot, prelude::*};
use threadline_tests::TestDb;

use sessions::Run;
use table::{COLUMNS, Item, KEYS, items};
use truth::{Moment, State, Version};

/// How the table is made and captured. History is the same for all of them.
#[derive(Debug, Clone, Copy)]
enum Variant {
    Row,
    Statement,
    /// A key change moves the row to another partition.
    Partitioned,
    /// Reads take columns from earlier changes.
    OnChange(Level),
}

impl Variant {
    const ALL: [Self; 5] = [
        Self::Row,
        Self::Statement,
        Self::Partitioned,
        Self::OnChange(Level::Row),
        Self::OnChange(Level::Statement),
    ];

    fn create(self) -> String {
        match self {
            Self::Partitioned => format!(
                "CREATE TABLE items ({COLUMNS}) PARTITION BY LIST (id);
                 CREATE TABLE items_1 PARTITION OF items FOR VALUES IN (1);
                 CREATE TABLE items_other PARTITION OF items DEFAULT"
            ),
            _ => format!("CREATE TABLE items ({COLUMNS})"),
        }
    }

    fn definition(self) -> Definition {
        let definition = Item::DEFINITION;
        match self {
            Self::Row | Self::Partitioned => definition,
            Self::Statement => definition.level(Level::Statement),
            Self::OnChange(level) => definition
                .level(level)
                .on_change(&["blob", "extra", "label", "note", "numbers", "price", "tags"]),
        }
    }
}

fn recorded(auditor: &mut PgConnection, key: i64) -> Vec<Version> {
    let history = Item::history(key).load(auditor).unwrap();
    let versions = history.into_iter().map(|change| Version {
        op: change.op,
        changed_fields: change.changed_fields,
        row: match change.snapshot {
            Snapshot::After(row) | Snapshot::Before(row) => Some(row.image()),
            Snapshot::Absent => None,
            other => panic!("{other:?}"),
        },
    });
    versions.collect()
}

/// When each change of a key was written, oldest first.
fn written(auditor: &mut PgConnection, key: i64) -> Vec<DateTime<Utc>> {
    let history = Item::history(key).load(auditor).unwrap();
    history
        .iter()
        .rev()
        .map(|change| change.captured_at)
        .collect()
}

fn as_of(auditor: &mut PgConnection, key: i64, moment: DateTime<Utc>) -> State {
    match Item::as_of(key, moment).get_result(auditor).unwrap() {
        AsOf::Found { row, .. } => State::Found(row.image()),
        AsOf::Deleted(_) => State::Deleted,
        AsOf::NotYetCreated => State::NotYetCreated,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn history_and_as_of_equal_the_model(variant in select(Variant::ALL.as_slice()), steps in vec(sessions::step(), 1..16)) {
        let db = TestDb::new();
        db.create(&variant.create());
        db.capture("items", variant.definition());
        let mut run = Run::new(&db);
        run.all(&steps);

        // The model would be no judge if it were wrong about the table itself.
        let live = items::table.order(items::id).load::<Item>(&mut db.app()).unwrap();
        let live: Vec<_> = live.iter().map(Item::image).collect();
        prop_assert_eq!(live, run.truth.live());

        let mut auditor = db.auditor();
        for key in KEYS {
            prop_assert_eq!(recorded(&mut auditor, key), run.truth.versions(key), "history of {}", key);
            for (index, moment) in written(&mut auditor, key).into_iter().enumerate() {
                let before = as_of(&mut auditor, key, moment - TimeDelta::microseconds(1));
                prop_assert_eq!(before, run.truth.state_after(key, index), "{} before change {}", key, index);
                let then = as_of(&mut auditor, key, moment);
                prop_assert_eq!(then, run.truth.state_after(key, index + 1), "{} at change {}", key, index);
            }
            for (index, moment) in run.moments.iter().enumerate() {
                let expected = run.truth.state(key, Moment(index));
                prop_assert_eq!(as_of(&mut auditor, key, *moment), expected, "{} as of moment {}", key, index);
            }
        }
    }
}
