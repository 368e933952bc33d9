//! What capture adds to an UPDATE of tables and transactions of every kind, against that of the usual table.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::figures::{Spread, Target, overhead, ratio, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::server::{Server, timed};
use crate::variant::{CLASSIC, PLAIN, VARIANTS, in_turn, ours};
use crate::{Result, Scale};

/// What a table or a transaction is like.
struct Kind {
    name: &'static str,
    /// What is done to the table before it is captured.
    prepare: &'static str,
    /// What is measured, in one transaction.
    update: &'static str,
}

const USUAL: &str =
    "UPDATE kinds SET name = name || ' jr.', balance = balance + 1, age = coalesce(age, 0) + 1";

const KINDS: [Kind; 7] = [
    Kind {
        name: "usual",
        prepare: "",
        update: USUAL,
    },
    Kind {
        name: "a BEFORE UPDATE trigger sets `updated_at`",
        prepare: "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
                  CREATE TRIGGER touch BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch()",
        update: USUAL,
    },
    Kind {
        name: "the rows are locked first",
        prepare: "",
        update: "DO $$ BEGIN PERFORM FROM kinds FOR UPDATE; UPDATE kinds SET name = name || ' jr.', balance = balance + 1, age = coalesce(age, 0) + 1; END $$",
    },
    Kind {
        name: "an upsert",
        prepare: "",
        update: "INSERT INTO kinds SELECT * FROM kinds ON CONFLICT (id) DO UPDATE SET name = kinds.name || ' jr.', balance = kinds.balance + 1, age = coalesce(kinds.age, 0) + 1",
    },
    Kind {
        name: "a `json` column",
        prepare: "ALTER TABLE kinds ALTER settings DROP DEFAULT; ALTER TABLE kinds ALTER settings TYPE json, ALTER settings SET DEFAULT '{}'",
        update: USUAL,
    },
    Kind {
        name: "a column that is stored as text (`jsonb[]`)",
        prepare: "ALTER TABLE kinds ADD COLUMN docs jsonb[] DEFAULT ARRAY[jsonb '{\"a\": 1}']",
        update: USUAL,
    },
    Kind {
        name: "both, with the trigger",
        prepare: "ALTER TABLE kinds ALTER settings DROP DEFAULT; ALTER TABLE kinds ALTER settings TYPE json, ALTER settings SET DEFAULT '{}', ADD COLUMN docs jsonb[] DEFAULT ARRAY[jsonb '{\"a\": 1}'];
                  CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;
                  CREATE TRIGGER touch BEFORE UPDATE ON kinds FOR EACH ROW EXECUTE FUNCTION touch()",
        update: USUAL,
    },
];

const TARGET: Option<Target> = Target::new(3.0, 1.5);

/// Microseconds a row, by variant, by round.
type Samples = Vec<Vec<f64>>;

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    let sizes = [1_000, scale.rows];
    paragraph(&format!(
        "#### UPDATE of tables of every kind\n\nWhat capture takes over the plain UPDATE, in µs a row of one statement; medians of {} rounds. The \
         ratio is that to the usual table, of {} rows.",
        scale.rounds, scale.rows
    ))?;
    let counted = sizes.map(|rows| format!("{rows} rows"));
    let header = [
        "",
        &counted[0],
        &counted[1],
        "expected",
        "after",
        "reached",
        "middle half",
    ];
    let mut table = Table::new(&header);
    let none = || VARIANTS.iter().map(|_| Vec::new()).collect::<Samples>();
    let mut all: Vec<[Samples; 2]> = KINDS.iter().map(|_| [none(), none()]).collect();
    for round in 0..scale.rounds {
        progress(&format!("writing: round {} of {}", round + 1, scale.rounds))?;
        for (kind, samples) in KINDS.iter().zip(&mut all) {
            for (rows, samples) in sizes.into_iter().zip(samples) {
                measure(server, round, kind, rows, samples)?;
            }
        }
    }
    for variant in ours() {
        for (kind, samples) in KINDS.iter().zip(&all) {
            let over = |samples: &Samples| overhead(&samples[variant], &samples[PLAIN]);
            let mut cells = Vec::from(
                samples
                    .each_ref()
                    .map(|samples| format!("+ {:.1}", Spread::of(over(samples)).median)),
            );
            cells.extend(reached(
                TARGET,
                &ratio(&over(&samples[1]), &over(&all[0][1])),
            ));
            table.row(&format!("{}: {}", VARIANTS[variant].name, kind.name), cells);
        }
    }
    Ok(table.print()?)
}

/// One round: the uncaptured table, and each of ours.
fn measure(
    server: &mut Server,
    round: usize,
    kind: &Kind,
    rows: usize,
    samples: &mut Samples,
) -> Result<()> {
    for variant in in_turn(round).filter(|place| *place != CLASSIC) {
        let mut conn = fill(server, kind, variant, rows)?;
        samples[variant].push(timed(&mut conn, kind.update)? / rows as f64);
        drop(conn);
        server.discard("kinds")?;
    }
    Ok(())
}

/// A table of this kind and so many rows, in a database of its own.
fn fill(server: &mut Server, kind: &Kind, variant: usize, rows: usize) -> Result<PgConnection> {
    let mut conn = server.fresh("kinds", variant)?;
    conn.batch_execute(&format!(
        "CREATE TABLE kinds (LIKE users INCLUDING ALL); {}",
        kind.prepare
    ))?;
    conn.batch_execute(&format!(
        "INSERT INTO kinds (id, email, name, age, tags) SELECT n, 'user' || n || '@example.com', 'Name ' || n, n % 10, '{{staff,billing}}'
         FROM generate_series(1, {rows}) n"
    ))?;
    VARIANTS[variant].capture(&mut conn, "kinds")?;
    // Functions are compiled and catalogs read at a connection's first writes.
    conn.batch_execute("UPDATE kinds SET name = name || '!' WHERE id = 1")?;
    conn.batch_execute("VACUUM ANALYZE kinds")?;
    conn.batch_execute("CHECKPOINT")?;
    Ok(conn)
}
