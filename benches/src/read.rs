//! How the length of the log tells on what is read of one row.

use std::time::{Duration, Instant};

use chrono::Utc;
use diesel::prelude::*;
use threadline::{AsOf, AuditedDsl, Change};

use crate::figures::{Spread, Target, ratio, reached};
use crate::log::{HOT, Log};
use crate::markdown::{Table, paragraph, progress};
use crate::model::User;
use crate::pages;
use crate::server::Server;
use crate::{Result, Scale};

const TARGET: Option<Target> = Target::new(1.5, 1.1);

/// The changes of the log that is the baseline.
const SHORT: i64 = 10_000;

/// A turn ends after this, however few questions it had: one of them may turn out slow.
const TURN: Duration = Duration::from_secs(2);

/// Asks something, about another row for every number.
type Question = fn(&mut Log, i64) -> Result<()>;

/// What is asked, and the figure to reach. A row that is changed all the time has a longer history in a longer log.
const QUESTIONS: [(&str, Question, Option<Target>); 5] = [
    ("`as_of`, in the middle of the log", as_of, TARGET),
    ("`history`, newest 50 of 90", newest, TARGET),
    (
        "`history`, newest 50 of a tenth of the log",
        newest_hot,
        TARGET,
    ),
    ("`as_of` now, of a tenth of the log", as_of_hot_now, TARGET),
    (
        "`as_of` in the middle, of a tenth of the log",
        as_of_hot_middle,
        None,
    ),
];
// Exports against COPY go here, once they exist.

fn as_of(log: &mut Log, number: i64) -> Result<()> {
    let (row, moment) = (log.row(number), log.middle());
    found(User::as_of(row, moment).get_result(&mut log.conn)?)
}

fn as_of_hot_now(log: &mut Log, _number: i64) -> Result<()> {
    found(User::as_of(HOT, Utc::now()).get_result(&mut log.conn)?)
}

fn as_of_hot_middle(log: &mut Log, _number: i64) -> Result<()> {
    let moment = log.middle();
    found(User::as_of(HOT, moment).get_result(&mut log.conn)?)
}

fn newest(log: &mut Log, number: i64) -> Result<()> {
    let row = log.row(number);
    page(log, row)
}

fn newest_hot(log: &mut Log, _number: i64) -> Result<()> {
    page(log, HOT)
}

fn page(log: &mut Log, row: i64) -> Result<()> {
    let page: Vec<Change<User>> = User::history(row).limit(50).load(&mut log.conn)?;
    match page
        .iter()
        .filter(|change| change.after().is_some())
        .count()
    {
        50 => Ok(()),
        count => Err(format!("{count} changes of row {row} are on its newest page, not 50").into()),
    }
}

fn found(answer: AsOf<User>) -> Result<()> {
    match answer {
        AsOf::Found { .. } => Ok(()),
        _ => Err("the filled log has no such row".into()),
    }
}

pub(crate) fn run(server: &mut Server, scale: &Scale) -> Result<()> {
    let mut logs = [
        Log::fill(server, "read_short", SHORT)?,
        Log::fill(server, "read_long", scale.changes)?,
    ];
    progress("reading: asking")?;
    paragraph(&format!(
        "#### Reading one row of a log of {} changes\n\nµs, medians of {} rounds of up to {}; the baseline is a log of {SHORT} \
         changes.",
        scale.changes, scale.rounds, scale.questions
    ))?;
    let header = [
        "",
        "baseline",
        "µs",
        "expected",
        "after",
        "reached",
        "middle half",
    ];
    let mut table = Table::new(&header);
    for (name, question, target) in QUESTIONS {
        let [short, long] = ask(&mut logs, question, scale)?;
        let [expected, after, reached, range] = reached(target, &ratio(&long, &short));
        let micros = [short, long].map(|samples| format!("{:.0}", Spread::of(samples).median));
        table.row(
            name,
            micros.into_iter().chain([expected, after, reached, range]),
        );
    }
    table.print()?;
    pages::run(&mut logs[1], scale)?;
    drop(logs);
    server.discard("read_short")?;
    server.discard("read_long")
}

/// The median of every round in microseconds, for each log.
fn ask(logs: &mut [Log; 2], question: Question, scale: &Scale) -> Result<[Vec<f64>; 2]> {
    let mut medians = [Vec::new(), Vec::new()];
    let mut number = 0;
    // The first round fills caches and settles plans.
    for round in 0..=scale.rounds {
        let mut samples = [Vec::new(), Vec::new()];
        let begun = Instant::now();
        for _ in 0..scale.questions {
            if begun.elapsed() > TURN {
                break;
            }
            number += 1;
            for (log, samples) in logs.iter_mut().zip(&mut samples) {
                let start = Instant::now();
                question(log, number)?;
                samples.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        // So slow that it has no need of rounds.
        let slow = begun.elapsed() > 3 * TURN;
        for (medians, samples) in medians.iter_mut().zip(samples) {
            if round > 0 || slow {
                medians.push(Spread::of(samples).median);
            }
        }
        if slow {
            break;
        }
    }
    Ok(medians)
}
