//! The table: a column of every type that Diesel writes and reads without another crate, with few values each, so that many
//! an update changes nothing or a part.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::data_types::{PgInterval, PgMoney};
use diesel::prelude::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use threadline::prelude::*;
use uuid::Uuid;

type Range<T> = (std::ops::Bound<T>, std::ops::Bound<T>);

/// Every key that rows get: few, so that they meet; the last one is beyond what a JSON number holds.
pub const KEYS: [i64; 3] = [1, 2, 9_007_199_254_740_993];

/// A row, each value as text that tells apart what `==` doesn't: 1.0 from 1.00.
pub type Image = BTreeMap<&'static str, String>;

macro_rules! items {
    ($($column:ident: $rust:ty, [$($sql:tt)+], $ddl:literal, $values:expr;)+) => {
        diesel::table! {
            items (id) {
                id -> BigInt,
                $($column -> $($sql)+,)+
            }
        }

        #[derive(Debug, Clone, Queryable, Selectable, Insertable, Audited)]
        #[diesel(table_name = items)]
        #[audited(store_changed_from)]
        pub struct Item {
            pub id: i64,
            $(pub $column: $rust,)+
        }

        /// What an UPDATE sets besides the key.
        #[derive(Debug, Clone, AsChangeset)]
        #[diesel(table_name = items)]
        pub struct Values {
            $($column: Option<$rust>,)+
        }

        /// How the table is created.
        pub const COLUMNS: &str = concat!("id bigint PRIMARY KEY" $(, ", ", stringify!($column), " ", $ddl)+);

        const NAMES: &[&str] = &[$(stringify!($column)),+];

        /// The value of each column that a number stands for; 0 is the simplest one.
        mod values {
            use super::*;
            $(pub fn $column(choice: u8) -> $rust {
                let values: Vec<$rust> = $values;
                values[usize::from(choice) % values.len()].clone()
            })+
        }

        impl Item {
            /// `choices` has a number for each column but the key.
            fn new(id: i64, choices: &[u8]) -> Self {
                let mut choice = choices.iter().copied();
                Self { id, $($column: values::$column(choice.next().unwrap_or(0)),)+ }
            }

            /// The row with every value but the key set, for `ON CONFLICT DO UPDATE`.
            pub fn values(&self) -> Values {
                Values { $($column: Some(self.$column.clone()),)+ }
            }

            pub fn image(&self) -> Image {
                BTreeMap::from([("id", self.id.to_string()), $((stringify!($column), format!("{:?}", self.$column)),)+])
            }
        }

        impl Values {
            fn new(choices: &[Option<u8>]) -> Self {
                let mut choice = choices.iter().copied();
                Self { $($column: choice.next().flatten().map(values::$column),)+ }
            }

            pub fn is_empty(&self) -> bool {
                true $(&& self.$column.is_none())+
            }

            pub fn apply(&self, row: Item) -> Item {
                Item { id: row.id, $($column: self.$column.clone().unwrap_or(row.$column),)+ }
            }
        }
    };
}

items! {
    at: Option<DateTime<Utc>>, [Nullable<Timestamptz>], "timestamptz",
        vec![None, instant(-62_135_596_800_000_000), instant(1_700_000_000_123_456)];
    blob: Option<Vec<u8>>, [Nullable<Binary>], "bytea", vec![None, Some(vec![]), Some(vec![0, 255, b'\\'])];
    born: Option<NaiveDate>, [Nullable<Date>], "date", vec![None, NaiveDate::from_ymd_opt(-43, 3, 15), NaiveDate::from_ymd_opt(2024, 2, 29)];
    clock: Option<NaiveTime>, [Nullable<Time>], "time", vec![None, NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999)];
    code: String, [Bpchar], "char(3) NOT NULL", vec!["abc".into(), "ä  ".into()];
    counter: i32, [Integer], "integer NOT NULL", vec![0, i32::MIN, i32::MAX];
    done: bool, [Bool], "boolean NOT NULL", vec![false, true];
    // No jsonb `null`: the log doesn't tell it from NULL.
    extra: Option<Value>, [Nullable<Jsonb>], "jsonb",
        vec![None, Some(json!({})), Some(json!({"a": [1, null, "ü\"\\"], "b": {"c": false}})), Some(json!("text")), Some(json!(1)), Some(json!("1"))];
    flags: Option<Vec<Option<i32>>>, [Nullable<Array<Nullable<Integer>>>], "integer[]", vec![None, Some(vec![]), Some(vec![Some(1), None])];
    label: String, [Text], "text NOT NULL", vec![String::new(), "a".into(), "ä'b\"c\\d\n{}".into(), "null".into()];
    letter: u8, [CChar], r#""char" NOT NULL"#, vec![b'a', b'"'];
    mac: Option<[u8; 6]>, [Nullable<MacAddr>], "macaddr", vec![None, Some([8, 0, 43, 1, 2, 255])];
    moment: Option<NaiveDateTime>, [Nullable<Timestamp>], "timestamp", vec![None, instant(1_709_251_199_123_456).map(|at| at.naive_utc())];
    note: Option<Value>, [Nullable<Json>], "json", vec![None, Some(json!({"a": 1})), Some(json!([1.5, "x"]))];
    numbers: Option<Range<i32>>, [Nullable<Int4range>], "int4range", vec![None, Some((Included(1), Excluded(5))), Some((Unbounded, Excluded(-1)))];
    object: u32, [Oid], "oid NOT NULL", vec![0, u32::MAX];
    period: Option<Range<DateTime<Utc>>>, [Nullable<Tstzrange>], "tstzrange",
        vec![None, instant(0).map(|at| (Excluded(at), Unbounded))];
    price: Option<BigDecimal>, [Nullable<Numeric>], "numeric",
        vec![None, "1.0".parse().ok(), "1.00".parse().ok(), "-12345678901234567890.000012345".parse().ok()];
    ratio: f64, [Double], "float8 NOT NULL", vec![0.0, 0.1 + 0.2, 5e-324, f64::NAN, f64::NEG_INFINITY];
    share: f32, [Float], "float4 NOT NULL", vec![0.0, 0.1, f32::INFINITY];
    site: String, [VarChar], "varchar(20) NOT NULL", vec![String::new(), "[REDACTED]".into()];
    small: i16, [SmallInt], "smallint NOT NULL", vec![0, i16::MIN];
    span: Option<PgInterval>, [Nullable<Interval>], "interval", vec![None, Some(PgInterval::new(-1_000_001, 30, -14))];
    stay: Option<Range<NaiveDate>>, [Nullable<Daterange>], "daterange",
        vec![None, NaiveDate::from_ymd_opt(2024, 2, 29).map(|day| (Included(day), Unbounded))];
    tags: Vec<String>, [Array<Text>], "text[] NOT NULL", vec![vec![], vec!["a,b".into(), "NULL".into(), "{\"q\"}".into()]];
    tariff: Option<PgMoney>, [Nullable<Money>], "money", vec![None, Some(PgMoney(-123_456))];
    token: Option<Uuid>, [Nullable<Uuid>], "uuid", vec![None, Some(Uuid::from_u128(1)), Some(Uuid::max())];
}

fn instant(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}

pub fn key() -> impl Strategy<Value = i64> {
    select(KEYS.as_slice())
}

pub fn item() -> impl Strategy<Value = Item> {
    (key(), vec(choice(), NAMES.len())).prop_map(|(id, choices)| Item::new(id, &choices))
}

/// A few columns.
pub fn values() -> impl Strategy<Value = Values> {
    let choices = vec(option::weighted(0.08, choice()), NAMES.len());
    choices.prop_map(|choices| Values::new(&choices))
}

fn choice() -> impl Strategy<Value = u8> {
    0..12_u8
}
