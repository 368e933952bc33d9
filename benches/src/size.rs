//! How much a change takes in the log, heap and indexes.

use diesel::prelude::*;

use crate::figures::{Spread, Target, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::server::{Server, number};
use crate::transactions::{WRITES, unit_of_work};
use crate::variant::{CLASSIC, VARIANTS, ours};
use crate::write::statement;
use crate::{Result, Scale};

const TARGET: Option<Target> = Target::new(1.0, 0.85);

/// Writes something, and tells how many changes that is.
type Workload = fn(&mut PgConnection, &Scale) -> Result<i64>;

/// No-ops are no changes; so there are none in these.
const WORKLOADS: [(&str, Workload); 2] = [
    ("INSERT, UPDATE, DELETE of many rows", statements),
    ("transactions of one-row writes", transactions),
];

fn statements(conn: &mut PgConnection, scale: &Scale) -> Result<i64> {
    for operation in ["INSERT", "UPDATE", "DELETE"] {
        crate::server::timed(conn, &statement(operation, scale.rows))?;
    }
    Ok(3 * i64::try_from(scale.rows)?)
}

fn transactions(conn: &mut PgConnection, scale: &Scale) -> Result<i64> {
    let units = scale.units * 10;
    for _ in 0..units {
        unit_of_work(conn)?;
    }
    Ok(WRITES * i64::try_from(units)?)
}

/// Bytes a change: heap, with what is toasted, and indexes.
struct Bytes {
    heap: f64,
    indexes: f64,
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    progress("size")?;
    paragraph(
        "#### Bytes per change\n\nAll tables of the log, with the same changes. The classic trigger keeps no old row of a \
         DELETE; the others do.",
    )?;
    let header = ["", "heap", "indexes", "expected", "after", "reached"];
    let mut table = Table::new(&header);
    for (name, workload) in WORKLOADS {
        let classic = measure(server, CLASSIC, workload, scale)?;
        let row = |variant: usize| format!("{name}: {}", VARIANTS[variant].name);
        table.row(&row(CLASSIC), classic.cells());
        for variant in ours() {
            let bytes = measure(server, variant, workload, scale)?;
            let ratio =
                Spread::of([(bytes.heap + bytes.indexes) / (classic.heap + classic.indexes)]);
            let [expected, after, reached, _] = reached(TARGET, &ratio);
            table.row(
                &row(variant),
                bytes.cells().into_iter().chain([expected, after, reached]),
            );
        }
    }
    Ok(table.print()?)
}

fn measure(
    server: &mut Server,
    variant: usize,
    workload: Workload,
    scale: &Scale,
) -> Result<Bytes> {
    let mut conn = server.fresh("size", variant)?;
    let (heap, indexes) = sizes(&mut conn)?;
    let changes = workload(&mut conn, scale)? as f64;
    let (heap, indexes) = {
        let after = sizes(&mut conn)?;
        (after.0 - heap, after.1 - indexes)
    };
    drop(conn);
    server.discard("size")?;
    Ok(Bytes {
        heap: heap as f64 / changes,
        indexes: indexes as f64 / changes,
    })
}

fn sizes(conn: &mut PgConnection) -> Result<(i64, i64)> {
    let mut sum = |function: &str| {
        number(
            conn,
            &format!(
                "SELECT sum({function}(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'audit\\_%'
                 AND relnamespace = 'public'::regnamespace"
            ),
        )
    };
    Ok((sum("pg_table_size")?, sum("pg_indexes_size")?))
}

impl Bytes {
    fn cells(&self) -> [String; 2] {
        [self.heap, self.indexes].map(|bytes| format!("{bytes:.0}"))
    }
}
