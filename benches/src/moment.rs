//! What a table as of a moment costs, against decoding its rows.

use std::time::Instant;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use threadline::AuditedDsl;

use crate::figures::{Spread, Target, ratio, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::model::User;
use crate::server::Server;
use crate::{Result, Scale, shapes, variant};

const TARGET: Option<Target> = Target::new(3.0, 1.5);

const ROWS: usize = 20_000;

/// Every row is inserted and changed so often.
const VERSIONS: i32 = 10;

/// The newest lines of the log, decoded as they stand: the floor.
const DECODE: &str = "SELECT (d.r).* FROM (
    SELECT jsonb_populate_record(NULL::users, c.data_after) AS r FROM audit_changes c
    WHERE c.id > (SELECT max(id) FROM audit_changes) - 20000 OFFSET 0) d";

pub(crate) fn clock(conn: &mut PgConnection) -> Result<DateTime<Utc>> {
    Ok(diesel::select(sql::<Timestamptz>("clock_timestamp()")).get_result(conn)?)
}

/// The moments that are asked about, each with what it is.
fn fill(conn: &mut PgConnection) -> Result<[(&'static str, DateTime<Utc>); 3]> {
    conn.batch_execute(&format!(
        "INSERT INTO users (email, name, age, settings, tags)
         SELECT 'user' || n || '@example.com', 'Name ' || n, n % 90, '{{\"theme\": \"dark\", \"locale\": \"en\"}}', '{{staff,billing}}'
         FROM generate_series(1, {ROWS}) n"
    ))?;
    let mut half = clock(conn)?;
    for version in 1..VERSIONS {
        conn.batch_execute(&format!(
            "UPDATE users SET name = 'Name {version}', balance = {version}, updated_at = clock_timestamp()"
        ))?;
        if version == VERSIONS / 2 {
            half = clock(conn)?;
        }
    }
    let before = clock(conn)?;
    Ok([
        ("half of the changes before", half),
        ("one row in twenty changed since", before),
        ("all changes before", before),
    ])
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    progress("reading: a table as of a moment")?;
    let ours = variant::ours().next().ok_or("nothing of ours to measure")?;
    let mut conn = server.fresh("moment", ours)?;
    let moments = fill(&mut conn)?;
    paragraph(&format!(
        "#### A table of {ROWS} rows with {VERSIONS} versions each, as of a moment\n\nms, medians of {} rounds; the baseline \
         decodes {ROWS} lines of the log. Both load their rows.",
        scale.rounds
    ))?;
    let header = [
        "",
        "baseline",
        "ms",
        "expected",
        "after",
        "reached",
        "middle half",
    ];
    let mut table = Table::new(&header);
    for (place, (name, moment)) in moments.into_iter().enumerate() {
        let moment = if place == 2 {
            clock(&mut conn)?
        } else {
            moment
        };
        if place == 1 {
            conn.batch_execute("UPDATE users SET balance = -1 WHERE id % 20 = 0")?;
        }
        conn.batch_execute("VACUUM ANALYZE")?;
        let [decoded, asked] = ask(&mut conn, moment, scale)?;
        let [expected, after, reached, range] = reached(TARGET, &ratio(&asked, &decoded));
        let millis = [decoded, asked].map(|samples| format!("{:.0}", Spread::of(samples).median));
        table.row(
            name,
            millis.into_iter().chain([expected, after, reached, range]),
        );
    }
    drop(conn);
    server.discard("moment")?;
    table.print()?;
    shapes::run(server, scale)
}

/// The milliseconds of every round, for the baseline and for the query.
fn ask(conn: &mut PgConnection, moment: DateTime<Utc>, scale: &Scale) -> Result<[Vec<f64>; 2]> {
    let mut samples = [Vec::new(), Vec::new()];
    // The first round fills caches.
    for round in 0..=scale.rounds {
        let start = Instant::now();
        let decoded = diesel::sql_query(DECODE).load::<User>(conn)?.len();
        let between = Instant::now();
        let asked = User::all_as_of(moment).load(conn)?.len();
        let end = Instant::now();
        if [decoded, asked] != [ROWS; 2] {
            return Err(
                format!("{decoded} rows were decoded, {asked} were there at the moment").into(),
            );
        }
        if round > 0 {
            samples[0].push((between - start).as_secs_f64() * 1e3);
            samples[1].push((end - between).as_secs_f64() * 1e3);
        }
    }
    Ok(samples)
}
