//! How the place of a page in a long log tells on reading it.

use std::time::Instant;

use diesel::prelude::*;
use threadline::{ActorRef, Cursor, List, TimelineFilter, timeline};

use crate::figures::{Spread, Target, ratio, reached};
use crate::log::Log;
use crate::markdown::{Table, paragraph, progress};
use crate::{Result, Scale};

const TARGET: Option<Target> = Target::new(1.5, 1.1);

/// Entries of a page.
const ENTRIES: i64 = 100;

type Timeline = List<threadline::query::Timeline>;

pub(crate) fn run(log: &mut Log, scale: &Scale) -> Result<()> {
    progress("reading: pages")?;
    paragraph(&format!(
        "#### A page of {ENTRIES} of `timeline`, anywhere in {} changes\n\nµs, medians of {} rounds of {}; the baseline is the \
         first page.",
        scale.changes, scale.rounds, scale.questions
    ))?;
    let header = [
        "",
        "first page",
        "µs",
        "expected",
        "after",
        "reached",
        "middle half",
    ];
    let mut table = Table::new(&header);
    let all = TimelineFilter::new;
    let lists = [
        ("everything", all(), TARGET),
        ("one table", all().table("users"), TARGET),
        (
            "an actor of all of it",
            all().actor(ActorRef::user(42)?),
            None,
        ),
    ];
    for (name, filter, target) in lists {
        let list = timeline(filter.clone()).limit(ENTRIES)?;
        let cursors = cursors(log, &timeline(filter))?;
        let mut medians = [Vec::new(), Vec::new()];
        // The first round fills caches and settles plans.
        for round in 0..=scale.rounds {
            let mut samples = [Vec::new(), Vec::new()];
            for question in 0..scale.questions {
                let anywhere = &cursors[question * 7919 % cursors.len()];
                samples[0].push(micros(log, list.clone())?);
                samples[1].push(micros(log, list.clone().at(anywhere)?)?);
            }
            if round > 0 {
                for (medians, samples) in medians.iter_mut().zip(samples) {
                    medians.push(Spread::of(samples).median);
                }
            }
        }
        let [first, anywhere] = medians;
        let [expected, after, reached, range] = reached(target, &ratio(&anywhere, &first));
        let micros = [first, anywhere].map(|samples| format!("{:.0}", Spread::of(samples).median));
        table.row(
            name,
            micros.into_iter().chain([expected, after, reached, range]),
        );
    }
    Ok(table.print()?)
}

/// Places all over the list, each with a whole page behind it.
fn cursors(log: &mut Log, list: &Timeline) -> Result<Vec<Cursor>> {
    let mut cursors = Vec::new();
    let mut page = list.clone().limit(1000)?.get_result(&mut log.conn)?;
    while let Some(cursor) = page.cursor {
        page = list
            .clone()
            .limit(1000)?
            .at(&cursor)?
            .get_result(&mut log.conn)?;
        if page.entries.len() as i64 >= ENTRIES {
            cursors.push(cursor);
        }
    }
    if cursors.is_empty() {
        return Err("the filled log has one page only".into());
    }
    Ok(cursors)
}

fn micros(log: &mut Log, list: Timeline) -> Result<f64> {
    let start = Instant::now();
    let page = list.get_result(&mut log.conn)?;
    let elapsed = start.elapsed().as_secs_f64() * 1e6;
    match page.entries.len() as i64 {
        ENTRIES => Ok(elapsed),
        count => Err(format!("a page has {count} entries, not {ENTRIES}").into()),
    }
}
