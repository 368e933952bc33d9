//! What capture adds to a transaction of few writes, its commit and the seal included.

use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use crate::figures::{Spread, Target, overhead, ratio, reached};
use crate::markdown::{Table, paragraph, progress};
use crate::model::users;
use crate::server::Server;
use crate::variant::{CLASSIC, PLAIN, VARIANTS, in_turn, ours};
use crate::{Result, Scale};

/// Writes of one row each in a transaction.
pub(crate) const WRITES: i64 = 4;

const TARGET: Option<Target> = Target::new(0.70, 0.55);

diesel::define_sql_function! {
    fn set_config(name: Text, value: Text, local: Bool) -> Text;
}

/// One unit of work, as an application sends it: prepared statements, a round trip each.
pub(crate) fn unit_of_work(conn: &mut PgConnection) -> QueryResult<()> {
    conn.transaction(|conn| {
        let actor = r#"{"type": "user", "id": "42"}"#;
        diesel::select(set_config("threadline.actor_ref", actor, true)).execute(conn)?;
        let id: i64 = diesel::insert_into(users::table)
            .values((
                users::email.eq("ada@example.com"),
                users::name.eq("Ada"),
                users::age.eq(36),
                users::tags.eq(vec!["staff", "billing"]),
            ))
            .returning(users::id)
            .get_result(conn)?;
        diesel::update(users::table.find(id))
            .set((users::name.eq("Ada L."), users::updated_at.eq(now)))
            .execute(conn)?;
        diesel::update(users::table.find(id))
            .set((users::role.eq("admin"), users::active.eq(false)))
            .execute(conn)?;
        diesel::delete(users::table.find(id)).execute(conn)?;
        Ok(())
    })
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    let mut conns = Vec::new();
    for place in 0..VARIANTS.len() {
        conns.push(server.fresh(&format!("transactions_{place}"), place)?);
    }
    for conn in &mut conns {
        for _ in 0..scale.units / 4 {
            unit_of_work(conn)?;
        }
    }
    // Short turns, so that what else the machine does comes to all of them.
    let rounds = scale.rounds * 4;
    progress(&format!("transactions: {rounds} rounds"))?;
    let mut samples = vec![Vec::new(); VARIANTS.len()];
    for round in 0..rounds {
        for variant in in_turn(round) {
            conns[variant].batch_execute("VACUUM users")?;
            let start = Instant::now();
            for _ in 0..scale.units {
                unit_of_work(&mut conns[variant])?;
            }
            let micros = start.elapsed().as_secs_f64() * 1e6;
            samples[variant].push(micros / scale.units as f64);
        }
    }
    drop(conns);
    for place in 0..VARIANTS.len() {
        server.discard(&format!("transactions_{place}"))?;
    }
    print(scale, &samples)
}

fn print(scale: &Scale, samples: &[Vec<f64>]) -> Result<()> {
    paragraph(&format!(
        "#### Transactions of {WRITES} one-row writes\n\nOne insert, two updates and one delete, with an actor, one \
         connection, commit included; µs per transaction, medians of {} rounds of {}. Captured ones: what they take over \
         the plain one.",
        scale.rounds * 4,
        scale.units
    ))?;
    let over = |variant: usize| overhead(&samples[variant], &samples[PLAIN]);
    let classic = over(CLASSIC);
    let mut table = Table::new(&["", "µs", "expected", "after", "reached", "middle half"]);
    for place in [PLAIN, CLASSIC] {
        let micros = match place {
            PLAIN => format!("{:.0}", Spread::of(samples[PLAIN].clone()).median),
            _ => format!("+ {:.0}", Spread::of(classic.clone()).median),
        };
        table.row(VARIANTS[place].name, [micros]);
    }
    for variant in ours() {
        let micros = format!("+ {:.0}", Spread::of(over(variant)).median);
        let [expected, after, reached, range] = reached(TARGET, &ratio(&over(variant), &classic));
        table.row(
            VARIANTS[variant].name,
            [micros, expected, after, reached, range],
        );
    }
    Ok(table.print()?)
}
