//! C32: no name and no placeholder breaks out of the SQL, and the log never records itself.

mod capture;
mod own_tables;
mod quoting;

use std::cell::RefCell;

use diesel::prelude::*;
use diesel::sql_types::Text;
use proptest::prelude::*;
use serde_json::{Value, json};
use threadline::capture::{
    CapturePlan, Identifier, Literal, Placeholder, PlanError, Policy, Storage, TableName, columns,
};
use threadline_tests::{TestDb, execute, rows, try_execute, value};

/// Texts of everything that SQL gives a meaning to, and of anything at all but NUL.
fn hostile_text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        "'",
        "\"",
        "\\",
        "$$",
        "$threadline$",
        "$threadline_$",
        ":storage",
        ":mask",
        "--",
        "/*",
        "*/",
        ";",
        "\n",
        "\r\n",
        "\t",
        "%",
        "%s",
        "%I",
        "{",
        "}",
        ",",
        "NULL",
        "null",
        "é",
        "😀",
        "\u{202e}",
        " ",
        "E'",
        "U&\"",
        "\\'",
        "''",
        "\"\"",
        ".",
        "select",
        "t",
        "Über",
    ]);
    prop::collection::vec(
        prop_oneof![3 => special.prop_map(str::to_owned), 1 => "[^\\x00]{0,4}"],
        0..8,
    )
    .prop_map(|parts| parts.concat())
}

fn hostile_name() -> impl Strategy<Value = Identifier> {
    hostile_text().prop_filter_map("an identifier", |text| {
        let mut end = text.len().min(63);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Identifier::new(&text[..end]).ok()
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
