//! What a revert costs, against the plain UPDATE of the same rows.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Uuid;
use threadline::{ActorRef, AuditContext, Decision, revert_transaction_plan};

use crate::figures::Spread;
use crate::markdown::{Table, paragraph, progress};
use crate::server::{Server, settle, timed};
use crate::variant::{PLAIN, VARIANTS, ours};
use crate::write::statement;
use crate::{Result, Scale};

/// What is reverted, of `users` that have an order each.
struct Shape {
    name: &'static str,
    before: Option<&'static str>,
    /// The transaction; the INSERT of all users if there is none.
    work: Option<&'static str>,
    since: Option<&'static str>,
}

const UPDATE: &str =
    "UPDATE users SET name = name || ' jr.', balance = balance + 1, updated_at = clock_timestamp()";

const SHAPES: [Shape; 6] = [
    Shape::new("UPDATE", None, Some(UPDATE), None),
    Shape::new("INSERT", Some("DELETE FROM users"), None, None),
    Shape::new(
        "DELETE",
        Some("DELETE FROM orders"),
        Some("DELETE FROM users"),
        None,
    ),
    Shape::new(
        "DELETE that cascades to as many rows",
        None,
        Some("DELETE FROM users"),
        None,
    ),
    Shape::new(
        "five UPDATEs",
        None,
        Some(
            "UPDATE users SET age = 1; UPDATE users SET balance = 2; UPDATE users SET age = 3, name = '';
             UPDATE users SET age = 4; UPDATE users SET balance = 5",
        ),
        None,
    ),
    Shape::new(
        "UPDATE, all changed since",
        None,
        Some(UPDATE),
        Some("UPDATE users SET balance = -1"),
    ),
];

const ORDERS: &str = "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, total numeric); CREATE INDEX ON orders (user_id)";

impl Shape {
    const fn new(
        name: &'static str,
        before: Option<&'static str>,
        work: Option<&'static str>,
        since: Option<&'static str>,
    ) -> Shape {
        Shape {
            name,
            before,
            work,
            since,
        }
    }
}

/// Microseconds a row, of one round.
struct Sample {
    plain: f64,
    plan: f64,
    apply: f64,
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    paragraph(&format!(
        "#### Reverts\n\nµs per row of `users`; medians of {} rounds. Plain is the UPDATE of three columns where nothing is \
         captured. A plan includes its decisions; an application includes the plan that it makes anew, and capture.",
        scale.rounds
    ))?;
    let mut table = Table::new(&["", "rows", "plain", "plan", "apply"]);
    for shape in &SHAPES {
        for rows in [scale.rows / 50, scale.rows / 5, scale.rows] {
            progress(&format!("reverts: {}, {rows} rows", shape.name))?;
            let samples = (0..scale.rounds).map(|_| measure(server, rows, shape));
            let samples = samples.collect::<Result<Vec<Sample>>>()?;
            let median = |of: fn(&Sample) -> f64| {
                format!("{:.1}", Spread::of(samples.iter().map(of)).median)
            };
            let figures = [median(|s| s.plain), median(|s| s.plan), median(|s| s.apply)];
            table.row(shape.name, [rows.to_string()].into_iter().chain(figures));
        }
    }
    Ok(table.print()?)
}

fn measure(server: &mut Server, rows: usize, shape: &Shape) -> Result<Sample> {
    let per_row = |micros: f64| micros / rows as f64;
    let insert = statement("INSERT", rows);
    let mut conn = server.fresh("reverts", PLAIN)?;
    conn.batch_execute(&insert)?;
    settle(&mut conn)?;
    let plain = timed(&mut conn, UPDATE)?;
    drop(conn);
    server.discard("reverts")?;

    let variant = ours().next().ok_or("nothing of ours to measure")?;
    let mut conn = server.fresh("reverts", variant)?;
    conn.batch_execute(ORDERS)?;
    VARIANTS[variant].capture(&mut conn, "orders")?;
    conn.batch_execute(&insert)?;
    conn.batch_execute("INSERT INTO orders (user_id, total) SELECT id, 1 FROM users")?;
    if let Some(before) = shape.before {
        conn.batch_execute(before)?;
    }
    conn.batch_execute(shape.work.unwrap_or(&insert))?;
    let newest = sql::<Uuid>("SELECT transaction_id FROM audit_changes ORDER BY id DESC LIMIT 1");
    let transaction: uuid::Uuid = newest.get_result(&mut conn)?;
    if let Some(since) = shape.since {
        conn.batch_execute(since)?;
    }
    conn.batch_execute("VACUUM ANALYZE")?;
    conn.batch_execute("CHECKPOINT")?;
    let start = Instant::now();
    let mut plan = revert_transaction_plan(transaction).get_result(&mut conn)?;
    plan.decide_all(|_| Some(Decision::Force))?;
    let planned = Instant::now();
    plan.apply(&mut conn, &AuditContext::new(ActorRef::admin("bench")?))?;
    let applied = Instant::now();
    drop(conn);
    server.discard("reverts")?;
    Ok(Sample {
        plain: per_row(plain),
        plan: per_row((planned - start).as_secs_f64() * 1e6),
        apply: per_row((applied - planned).as_secs_f64() * 1e6),
    })
}
