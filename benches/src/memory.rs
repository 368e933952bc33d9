//! How much memory a connection keeps that has written to captured tables.

use std::fs;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::markdown::{Table, paragraph, progress};
use crate::server::{Server, number};
use crate::variant::{CLASSIC, PLAIN, VARIANTS};
use crate::{Result, Scale};

/// Tables that the connection writes to.
const TABLES: usize = 20;

/// What a connection holds more: after its first table, and after each further one.
struct Kilobytes {
    first: f64,
    further: f64,
}

pub(crate) fn run(server: &mut Server, _scale: &Scale) -> Result<()> {
    progress("memory")?;
    let source = if server.version() >= 14 {
        "pg_backend_memory_contexts"
    } else {
        "RssAnon in /proc"
    };
    paragraph(&format!(
        "#### Memory per connection\n\nkB by {source}, after INSERT, UPDATE and DELETE in {TABLES} tables. Captured ones: \
         what they take over the plain one."
    ))?;
    let header = ["", "first table", "each further table", "against classic"];
    let mut table = Table::new(&header);
    let plain = measure(server, PLAIN)?;
    let mut classic = f64::NAN;
    for (place, variant) in VARIANTS.iter().enumerate() {
        if place == PLAIN {
            let cells = [plain.first, plain.further].map(|kb| format!("{kb:.0}"));
            table.row(variant.name, cells);
            continue;
        }
        let kb = measure(server, place)?;
        let (first, further) = (kb.first - plain.first, kb.further - plain.further);
        let mut cells = vec![format!("+ {first:.0}"), format!("+ {further:.0}")];
        if place == CLASSIC {
            classic = further;
        } else {
            cells.push(format!("{:.2}", further / classic));
        }
        table.row(variant.name, cells);
    }
    Ok(table.print()?)
}

fn measure(server: &mut Server, variant: usize) -> Result<Kilobytes> {
    let mut conn = server.fresh("memory", variant)?;
    for table in 0..TABLES {
        let table = format!("t{table}");
        conn.batch_execute(&format!("CREATE TABLE {table} (LIKE users INCLUDING ALL)"))?;
        VARIANTS[variant].capture(&mut conn, &table)?;
    }
    drop(conn);

    let mut conn = server.connect("memory")?;
    in_use(server, &mut conn)?; // its own first time takes memory too
    let before = in_use(server, &mut conn)?;
    write(&mut conn, 0)?;
    let first = in_use(server, &mut conn)?;
    for table in 1..TABLES {
        write(&mut conn, table)?;
    }
    let all = in_use(server, &mut conn)?;
    drop(conn);
    server.discard("memory")?;
    Ok(Kilobytes {
        first: first - before,
        further: (all - first) / (TABLES - 1) as f64,
    })
}

fn write(conn: &mut PgConnection, table: usize) -> QueryResult<()> {
    for sql in [
        format!("INSERT INTO t{table} (email, name) VALUES ('ada@example.com', 'Ada')"),
        format!("UPDATE t{table} SET name = 'Ada L.'"),
        format!("DELETE FROM t{table}"),
    ] {
        conn.batch_execute(&sql)?;
    }
    Ok(())
}

/// What the connection's backend holds, in kB.
fn in_use(server: &Server, conn: &mut PgConnection) -> Result<f64> {
    if server.version() >= 14 {
        let sql = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts";
        return Ok(number(conn, sql)? as f64 / 1024.0);
    }
    let pid = number(conn, "SELECT pg_backend_pid()")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|l| l.split_whitespace().next());
    Ok(kilobytes.ok_or("no RssAnon in /proc")?.parse()?)
}
