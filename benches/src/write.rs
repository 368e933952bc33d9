//! What capture adds to statements of many rows.

use diesel::connection::SimpleConnection;

use crate::figures::{Spread, overhead, ratio, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::server::{Server, settle, timed};
use crate::variant::{CLASSIC, PLAIN, VARIANTS, in_turn, ours};
use crate::{Result, Scale};

/// What is measured, in the order in which it runs.
pub(crate) const OPERATIONS: [&str; 4] = ["INSERT", "UPDATE", "no-op UPDATE", "DELETE"];

/// The statement of an operation on that many rows. UPDATE changes three of the twelve columns.
pub(crate) fn statement(operation: &str, rows: usize) -> String {
    match operation {
        "INSERT" => format!(
            r#"INSERT INTO users (email, name, age, balance, settings, tags, last_login)
               SELECT 'user' || i || '@example.com', 'User Number ' || i, 20 + i % 60, i % 10000,
                      '{{"theme": "dark", "locale": "en", "page": 50, "beta": false}}', '{{staff,billing,eu}}', now()
               FROM generate_series(1, {rows}) i"#
        ),
        "UPDATE" => {
            "UPDATE users SET name = name || ' jr.', balance = balance + 1, updated_at = clock_timestamp()".to_owned()
        }
        "no-op UPDATE" => {
            "UPDATE users SET name = name, balance = balance, updated_at = updated_at".to_owned()
        }
        _ => "DELETE FROM users".to_owned(),
    }
}

/// Microseconds a row, by variant, by operation, by round.
type Samples = Vec<[Vec<f64>; 4]>;

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    let mut samples: Samples = VARIANTS.iter().map(|_| Default::default()).collect();
    for round in 0..scale.rounds {
        progress(&format!("writing: round {} of {}", round + 1, scale.rounds))?;
        for variant in in_turn(round) {
            measure(server, scale.rows, variant, &mut samples)?;
        }
    }
    print(scale, &samples)
}

/// One round of one variant, in a database of its own.
fn measure(server: &mut Server, rows: usize, variant: usize, samples: &mut Samples) -> Result<()> {
    let mut conn = server.fresh("writing", variant)?;
    // Functions are compiled and catalogs read at a connection's first writes.
    conn.batch_execute("INSERT INTO users (email, name) VALUES ('first', 'First')")?;
    conn.batch_execute("UPDATE users SET name = 'Second'; DELETE FROM users")?;
    for (place, operation) in OPERATIONS.into_iter().enumerate() {
        settle(&mut conn)?;
        let micros = timed(&mut conn, &statement(operation, rows))?;
        samples[variant][place].push(micros / rows as f64);
    }
    drop(conn);
    server.discard("writing")
}

fn print(scale: &Scale, samples: &Samples) -> Result<()> {
    paragraph(&format!(
        "#### Writing many rows\n\nµs per row of {} rows in one statement; medians of {} rounds. Captured ones: what they \
         take over the plain one.",
        scale.rows, scale.rounds
    ))?;
    let over =
        |variant: usize, place: usize| overhead(&samples[variant][place], &samples[PLAIN][place]);
    let mut table = Table::new(&["", "INSERT", "UPDATE", "no-op UPDATE", "DELETE"]);
    for (place, variant) in VARIANTS.iter().enumerate() {
        table.row(
            variant.name,
            (0..OPERATIONS.len()).map(|operation| {
                if place == PLAIN {
                    format!(
                        "{:.1}",
                        Spread::of(samples[PLAIN][operation].clone()).median
                    )
                } else {
                    format!("+ {:.1}", Spread::of(over(place, operation)).median)
                }
            }),
        );
    }
    table.print()?;

    paragraph("Overhead against the classic trigger's:")?;
    let mut table = Table::new(&["", "expected", "after", "reached", "middle half"]);
    for variant in ours() {
        for (place, operation) in OPERATIONS.into_iter().enumerate() {
            let ratio = ratio(&over(variant, place), &over(CLASSIC, place));
            let name = format!("{}: {operation}", VARIANTS[variant].name);
            table.row(&name, reached(VARIANTS[variant].targets[place], &ratio));
        }
    }
    Ok(table.print()?)
}
