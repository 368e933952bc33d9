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

use self::Statement::{Insert, InsertFamilies, Other};

/// What is reverted, of `users` that have an order each.
struct Shape {
    name: &'static str,
    before: Option<&'static str>,
    /// The transaction.
    work: Statement,
    since: Option<&'static str>,
    /// What the revert comes to.
    opposite: Statement,
}

/// Of all users.
#[derive(Clone, Copy)]
enum Statement {
    Insert,
    /// With an order each.
    InsertFamilies,
    Other(&'static str),
}

const UPDATE: &str =
    "UPDATE users SET name = name || ' jr.', balance = balance + 1, updated_at = clock_timestamp()";
const DELETE: &str = "DELETE FROM users";

const UPDATED: Shape = Shape {
    name: "UPDATE",
    before: None,
    work: Other(UPDATE),
    since: None,
    opposite: Other(UPDATE),
};

const SHAPES: [Shape; 6] = [
    UPDATED,
    Shape {
        name: "INSERT",
        before: Some(DELETE),
        work: Insert,
        opposite: Other(DELETE),
        ..UPDATED
    },
    Shape {
        name: "DELETE",
        before: Some("DELETE FROM orders"),
        work: Other(DELETE),
        opposite: Insert,
        ..UPDATED
    },
    Shape {
        name: "DELETE that cascades to as many rows",
        work: Other(DELETE),
        opposite: InsertFamilies,
        ..UPDATED
    },
    Shape {
        name: "five UPDATEs",
        work: Other(
            "UPDATE users SET age = 1; UPDATE users SET balance = 2; UPDATE users SET age = 3, name = '';
             UPDATE users SET age = 4; UPDATE users SET balance = 5",
        ),
        ..UPDATED
    },
    Shape {
        name: "UPDATE, all changed since",
        since: Some("UPDATE users SET balance = -1"),
        ..UPDATED
    },
];

const ORDERS: &str = "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE, total numeric); CREATE INDEX ON orders (user_id)";
const AN_ORDER_EACH: &str = "INSERT INTO orders (user_id, total) SELECT id, 1 FROM users";

impl Statement {
    fn sql(self, rows: usize) -> String {
        match self {
            Insert => statement("INSERT", rows),
            InsertFamilies => format!("{};\n{AN_ORDER_EACH}", statement("INSERT", rows)),
            Other(sql) => sql.to_owned(),
        }
    }
}

/// Microseconds a row, of one round.
struct Sample {
    plain: f64,
    captured: f64,
    plan: f64,
    apply: f64,
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    paragraph(&format!(
        "#### Reverts\n\nµs per row of `users`; medians of {} rounds. Plain is the statement that the revert comes to, where \
         nothing is captured; captured, the same where the tables are. A plan includes its decisions; an application includes the plan that it makes anew, and capture.",
        scale.rounds
    ))?;
    let mut table = Table::new(&[
        "",
        "rows",
        "plain",
        "captured",
        "plan",
        "apply",
        "plan / captured",
        "apply / captured",
    ]);
    for shape in &SHAPES {
        for rows in [scale.rows / 50, scale.rows / 5, scale.rows] {
            progress(&format!("reverts: {}, {rows} rows", shape.name))?;
            let samples = (0..scale.rounds).map(|_| measure(server, rows, shape));
            let samples = samples.collect::<Result<Vec<Sample>>>()?;
            let median = |of: fn(&Sample) -> f64| Spread::of(samples.iter().map(of)).median;
            let micros = [
                median(|s| s.plain),
                median(|s| s.captured),
                median(|s| s.plan),
                median(|s| s.apply),
            ];
            let ratios = [
                median(|s| s.plan / s.captured),
                median(|s| s.apply / s.captured),
            ];
            let cells = micros.map(|figure| format!("{figure:.1}")).into_iter();
            let ratios = ratios.map(|ratio| format!("**{ratio:.2}**"));
            table.row(
                shape.name,
                [rows.to_string()].into_iter().chain(cells).chain(ratios),
            );
        }
    }
    Ok(table.print()?)
}

fn measure(server: &mut Server, rows: usize, shape: &Shape) -> Result<Sample> {
    let per_row = |micros: f64| micros / rows as f64;
    let ours = ours().next().ok_or("nothing of ours to measure")?;
    let mut opposite = |variant| -> Result<f64> {
        let mut conn = prepared(server, rows, variant)?;
        if let Insert | InsertFamilies = shape.opposite {
            conn.batch_execute("TRUNCATE users, orders")?;
        }
        if let Other(DELETE) = shape.opposite {
            conn.batch_execute("TRUNCATE orders")?;
        }
        settle(&mut conn)?;
        let micros = timed(&mut conn, &shape.opposite.sql(rows))?;
        drop(conn);
        server.discard("reverts")?;
        Ok(per_row(micros))
    };
    let plain = opposite(PLAIN)?;
    let captured = opposite(ours)?;

    let mut conn = prepared(server, rows, ours)?;
    if let Some(before) = shape.before {
        conn.batch_execute(before)?;
    }
    conn.batch_execute(&shape.work.sql(rows))?;
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
        plain,
        captured,
        plan: per_row((planned - start).as_secs_f64() * 1e6),
        apply: per_row((applied - planned).as_secs_f64() * 1e6),
    })
}

/// Users with an order each.
fn prepared(server: &mut Server, rows: usize, variant: usize) -> Result<PgConnection> {
    let mut conn = server.fresh("reverts", variant)?;
    conn.batch_execute(ORDERS)?;
    if variant != PLAIN {
        VARIANTS[variant].capture(&mut conn, "orders")?;
    }
    conn.batch_execute(&InsertFamilies.sql(rows))?;
    Ok(conn)
}
