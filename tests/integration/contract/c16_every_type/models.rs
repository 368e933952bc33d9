//! Values that only Diesel's own types hold: those of everyday crates are in the model test and in `read::decode`.

use diesel::data_types::{PgDate, PgInterval, PgNumeric, PgTime, PgTimestamp};
use diesel::prelude::*;
use threadline::{Snapshot, prelude::*};
use threadline_tests::{TestDb, execute};

diesel::table! {
    extremes (id) {
        id -> Integer,
        number -> Numeric,
        day -> Date,
        moment -> Timestamp,
        instant -> Timestamptz,
        clock -> Time,
        span -> Interval,
        mac -> MacAddr8,
        lsn -> PgLsn,
        floats -> Array<Double>,
    }
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset, Audited)]
#[diesel(table_name = extremes)]
#[audited(store_changed_from)]
struct Extreme {
    id: i32,
    number: PgNumeric,
    day: PgDate,
    moment: PgTimestamp,
    instant: PgTimestamp,
    clock: PgTime,
    span: PgInterval,
    mac: [u8; 8],
    lsn: diesel::data_types::PgLsn,
    floats: Vec<f64>,
}

#[test]
fn c16_the_extremes_of_types_come_back_through_models() {
    let db = TestDb::new();
    db.create(
        "CREATE TABLE extremes (id int PRIMARY KEY, number numeric NOT NULL, day date NOT NULL, moment timestamp NOT NULL,
             instant timestamptz NOT NULL, clock time NOT NULL, span interval NOT NULL, mac macaddr8 NOT NULL, lsn pg_lsn NOT NULL,
             floats float8[] NOT NULL)",
    );
    db.capture("extremes", Extreme::DEFINITION);
    // Infinity is the largest and the smallest number of days and of microseconds since 2000.
    let ordinary = Extreme {
        id: 1,
        number: PgNumeric::Positive {
            weight: 0,
            scale: 2,
            digits: vec![1, 5000],
        },
        day: PgDate(-2_451_545),
        moment: PgTimestamp(-211_813_488_000_000_000),
        instant: PgTimestamp(9_223_371_331_199_999_999),
        clock: PgTime(86_400_000_000),
        // Before version 15 PostgreSQL doesn't read more hours than this, though it prints them.
        span: PgInterval::new(i64::from(i32::MAX) * 3_600_000_000, i32::MAX, i32::MIN),
        mac: [8, 0, 43, 1, 2, 3, 4, 255],
        lsn: diesel::data_types::PgLsn(u64::MAX),
        floats: vec![f64::MAX, 5e-324, f64::INFINITY],
    };
    let infinite = Extreme {
        number: PgNumeric::NaN,
        day: PgDate(i32::MAX),
        moment: PgTimestamp(i64::MIN),
        instant: PgTimestamp(i64::MAX),
        ..ordinary.clone()
    };
    let mut app = db.app();
    diesel::insert_into(extremes::table)
        .values(&ordinary)
        .execute(&mut app)
        .unwrap();
    diesel::update(extremes::table)
        .set(&infinite)
        .execute(&mut app)
        .unwrap();
    execute(&mut app, "DELETE FROM extremes");
    let history = Extreme::history(1).load(&mut db.auditor()).unwrap();
    let rows: Vec<_> = history
        .into_iter()
        .map(|change| match change.snapshot {
            Snapshot::After(row) | Snapshot::Before(row) => format!("{row:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    // As text, because NaN is not equal to itself.
    let [ordinary, infinite] = [ordinary, infinite].map(|row| format!("{row:?}"));
    assert_eq!(rows, [infinite.clone(), infinite, ordinary]);
}

/// `serde_json` holds no number beyond `f64`, and a `numeric` column may.
#[test]
fn c16_a_number_beyond_f64_takes_nothing_with_it() {
    diesel::table! { sums (id) { id -> Integer, note -> Text, } }

    #[derive(Debug, Queryable, Selectable, Audited)]
    #[diesel(table_name = sums)]
    #[audited(store_changed_from)]
    struct Sum {
        id: i32,
        note: String,
    }

    let db = TestDb::new();
    db.create("CREATE TABLE sums (id int PRIMARY KEY, note text NOT NULL, amount numeric)");
    db.capture("sums", Sum::DEFINITION);
    execute(
        &mut db.app(),
        "INSERT INTO sums VALUES (1, 'a', 1e400); UPDATE sums SET note = 'b', amount = 2",
    );
    let history = Sum::history(1).load(&mut db.auditor()).unwrap();
    let before = history[0].changed_from.as_ref().unwrap();
    assert_eq!(before["note"].as_json(), r#""a""#);
    assert_eq!(before["amount"].as_json(), format!("1{}", "0".repeat(400)));
    assert_eq!(
        history[0].after().map(|sum| (sum.id, &*sum.note)),
        Some((1, "b"))
    );
}
