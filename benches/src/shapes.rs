//! What filters and joins make of a query as of a moment, against reading the same tables as they were.

use std::time::Instant;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use threadline::QueryAsOf;

use crate::figures::{Spread, Target, ratio, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::model::users;
use crate::moment::clock;
use crate::server::Server;
use crate::variant::{self, VARIANTS};
use crate::{Result, Scale};

diesel::table! { others (id) { id -> BigInt, name -> Text, active -> Bool, } }
diesel::allow_tables_to_appear_in_same_query!(users, others);

const TARGET: Option<Target> = Target::new(3.0, 1.5);

/// The tables as they were, read one after the other or in one query; how many rows that gave.
type Shape = fn(&mut PgConnection, DateTime<Utc>) -> QueryResult<usize>;

/// What is asked, and what it is compared to.
const SHAPES: [(&str, Shape, Shape); 4] = [
    ("a filter that keeps all", all, one_table),
    ("a filter that keeps a tenth", tenth, one_table),
    ("a filter that keeps one row", one, one_table),
    (
        "a join of two tables, each with a filter",
        joined,
        two_tables,
    ),
];

type Row = (i64, String);

fn one_table(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = users::table.select((users::id, users::name));
    Ok(query.as_of(moment).load::<Row>(conn)?.len())
}

fn two_tables(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = others::table.select((others::id, others::name));
    one_table(conn, moment)?;
    Ok(query.as_of(moment).load::<Row>(conn)?.len())
}

fn all(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = users::table.select((users::id, users::name));
    let filtered = query
        .filter(users::email.like("%@example.com"))
        .filter(users::last_login.is_null());
    Ok(filtered.as_of(moment).load::<Row>(conn)?.len())
}

fn tenth(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = users::table.select((users::id, users::name));
    let filtered = query.filter(users::age.eq(7));
    Ok(filtered.as_of(moment).load::<Row>(conn)?.len())
}

fn one(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = users::table.select((users::id, users::name));
    let filtered = query.filter(users::email.eq("user77@example.com"));
    Ok(filtered.as_of(moment).load::<Row>(conn)?.len())
}

fn joined(conn: &mut PgConnection, moment: DateTime<Utc>) -> QueryResult<usize> {
    let query = users::table
        .inner_join(others::table.on(others::id.eq(users::id)))
        .filter(users::email.like("%@example.com"))
        .filter(users::last_login.is_null())
        .filter(others::active)
        .filter(others::name.like("Name%"))
        .select((users::id, others::name));
    Ok(query.as_of(moment).load::<Row>(conn)?.len())
}

/// Two tables of so many rows, each changed once, as of now.
fn fill(server: &mut Server, rows: usize) -> Result<PgConnection> {
    let ours = variant::ours().next().ok_or("nothing of ours to measure")?;
    let mut conn = server.fresh("shapes", ours)?;
    conn.batch_execute("CREATE TABLE others (LIKE users INCLUDING ALL)")?;
    VARIANTS[ours].capture(&mut conn, "others")?;
    for table in ["users", "others"] {
        conn.batch_execute(&format!(
            "INSERT INTO {table} (id, email, name, age, settings, tags)
             SELECT n, 'user' || n || '@example.com', 'Name ' || n, n % 10, '{{\"theme\": \"dark\", \"locale\": \"en\"}}', '{{staff,billing}}'
             FROM generate_series(1, {rows}) n;
             UPDATE {table} SET balance = 1"
        ))?;
    }
    conn.batch_execute("VACUUM ANALYZE")?;
    Ok(conn)
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    let sizes = [1_000, scale.rows / 5, scale.rows];
    paragraph(&format!(
        "#### Filters and joins as of a moment\n\nMedians of {} rounds, in µs for each row of a table; the baseline reads the same tables without \
         condition, two of them one after the other. The ratio is that of {} rows.",
        scale.rounds, scale.rows
    ))?;
    let counted = sizes.map(|rows| format!("{rows} rows"));
    let [small, middle, large] = counted.each_ref().map(String::as_str);
    let mut table = Table::new(&[
        "",
        "baseline",
        small,
        middle,
        large,
        "expected",
        "after",
        "reached",
        "middle half",
    ]);
    let mut cells = SHAPES.map(|_| Vec::new());
    for rows in sizes {
        progress(&format!("reading: filters and joins over {rows} rows"))?;
        let mut conn = fill(server, rows)?;
        let moment = clock(&mut conn)?;
        for ((_, shape, baseline), cells) in SHAPES.iter().zip(&mut cells) {
            let [plain, asked] = ask(&mut conn, moment, [*baseline, *shape], scale)?;
            let per_row = |samples: &[f64]| {
                let median = Spread::of(samples.iter().copied()).median;
                format!("{:.1}", median / rows as f64)
            };
            if rows == scale.rows {
                cells.insert(0, per_row(&plain));
            }
            cells.push(per_row(&asked));
            if rows == scale.rows {
                cells.extend(reached(TARGET, &ratio(&asked, &plain)));
            }
        }
        drop(conn);
        server.discard("shapes")?;
    }
    for ((name, ..), cells) in SHAPES.iter().zip(cells) {
        table.row(name, cells);
    }
    Ok(table.print()?)
}

/// The microseconds of every round, for each of two shapes.
fn ask(
    conn: &mut PgConnection,
    moment: DateTime<Utc>,
    shapes: [Shape; 2],
    scale: &Scale,
) -> Result<[Vec<f64>; 2]> {
    let mut samples = [Vec::new(), Vec::new()];
    // The first round fills caches.
    for round in 0..=scale.rounds {
        for (shape, samples) in shapes.iter().zip(&mut samples) {
            let start = Instant::now();
            if shape(conn, moment)? == 0 {
                return Err("a query as of a moment found nothing".into());
            }
            if round > 0 {
                samples.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
    }
    Ok(samples)
}
