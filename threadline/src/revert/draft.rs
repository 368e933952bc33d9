//! A plan in the making: what each row takes, and which rows it is because of that others have no conflict.

use std::collections::{HashMap, HashSet};

use super::conflict::{Conflict, ConflictKind, Decision};
use super::order::{self, Undo};
use super::planning::Planner;
use super::source::{Row, Source, Table};
use super::step::Step;
use crate::query::RecordedRow;

/// Conflicts with what was decided about them.
pub(super) type Decisions = Vec<(Conflict, Decision)>;

/// What a plan consists of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) steps: Vec<Step>,
    /// How many of the steps, one after the other, are done together.
    pub(super) together: Vec<usize>,
    pub(super) conflicts: Vec<Conflict>,
    /// Constraints that have to be deferred, quoted.
    pub(super) deferred: Vec<String>,
}

pub(super) struct Draft<'a> {
    source: &'a Source,
    /// Conflicts about tables as a whole.
    pub(super) truncated: Vec<Conflict>,
    rows: Vec<Drafted<'a>>,
    places: HashMap<(i32, &'a RecordedRow), usize>,
    /// Where rows are that come back and that foreign keys miss.
    returning: Returning<'a>,
}

/// By foreign key and by the values that it names.
type Returning<'a> = HashMap<(i32, &'a str), HashMap<Vec<String>, Vec<usize>>>;

struct Drafted<'a> {
    table: &'a Table,
    row: &'a Row,
    is_skipped: bool,
    /// Whether a row was skipped that it depends on.
    is_outdated: bool,
    /// The step, as if every conflict were forced.
    step: Option<Step>,
    conflicts: Vec<Conflict>,
    /// The rows that would have another conflict without this one.
    dependents: Vec<usize>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(source: &'a Source, decisions: &Decisions) -> Self {
        let skips = decisions.iter().filter(|(_, d)| *d == Decision::Skip);
        let skipped: HashSet<_> = skips.map(|(conflict, _)| conflict.row()).collect();
        let named = source.tables.iter().map(|t| (t.id, (t, t.display_name())));
        let tables: HashMap<i32, (&Table, String)> = named.collect();
        let rows = source.rows.iter().filter_map(|row| {
            let (table, name) = tables.get(&row.table_id)?;
            Some(Drafted {
                table,
                row,
                is_skipped: skipped.contains(&(name.as_str(), &row.key)),
                is_outdated: false,
                step: None,
                conflicts: Vec::new(),
                dependents: Vec::new(),
            })
        });
        let rows: Vec<Drafted<'a>> = rows.collect();
        let places = rows
            .iter()
            .map(|Drafted { row, .. }| (row.table_id, &row.key));
        let truncated = source.truncated.iter().map(|table| truncated(table));
        let mut draft = Self {
            source,
            truncated: truncated.filter(|c| !skipped.contains(&c.row())).collect(),
            places: places.zip(0..).collect(),
            returning: returning(source, &rows),
            rows,
        };
        for place in 0..draft.rows.len() {
            draft.plan(place);
        }
        draft
    }

    /// Plans a row, by what is skipped now.
    fn plan(&mut self, place: usize) {
        let Drafted { table, row, .. } = self.rows[place];
        if self.rows[place].is_skipped {
            return;
        }
        let mut planner = Planner::new(table, row, self);
        let step = planner.step();
        let Planner {
            conflicts, relied, ..
        } = planner;
        for other in relied {
            self.rows[other].dependents.push(place);
        }
        self.rows[place].is_outdated = false;
        self.rows[place].step = step;
        self.rows[place].conflicts = conflicts;
    }

    /// The places of rows that have conflicts, or may have by now.
    pub(super) fn contested(&self) -> impl Iterator<Item = usize> {
        let rows = self.rows.iter().enumerate();
        rows.filter(|(_, drafted)| drafted.is_outdated || !drafted.conflicts.is_empty())
            .map(|(place, _)| place)
    }

    /// The conflicts of a row.
    pub(super) fn conflicts_at(&mut self, place: usize) -> &[Conflict] {
        if self.rows[place].is_outdated {
            self.plan(place);
        }
        &self.rows[place].conflicts
    }

    /// Leaves a row alone. Returns the places of those that depend on it.
    pub(super) fn skip(&mut self, place: usize) -> Vec<usize> {
        let skipped = &mut self.rows[place];
        skipped.is_skipped = true;
        skipped.is_outdated = false;
        skipped.step = None;
        skipped.conflicts.clear();
        let mut dependents = std::mem::take(&mut skipped.dependents);
        dependents.retain(|dependent| {
            let row = &mut self.rows[*dependent];
            row.is_outdated = !row.is_skipped;
            row.is_outdated
        });
        dependents
    }

    /// The row that the plan writes, if it writes one with this key.
    pub(super) fn active(&self, table: i32, key: &RecordedRow) -> Option<(usize, &'a Row)> {
        let place = *self.places.get(&(table, key))?;
        let drafted = &self.rows[place];
        (!drafted.is_skipped).then_some((place, drafted.row))
    }

    /// Where the row is that comes back with these values of what a foreign key names.
    pub(super) fn returning(
        &self,
        child: i32,
        constraint: &str,
        wanted: &[String],
    ) -> Option<usize> {
        let parents = self.returning.get(&(child, constraint))?.get(wanted)?;
        let mut parents = parents.iter().copied();
        parents.find(|place| !self.rows[*place].is_skipped)
    }

    /// The conflicts of rows that depend on each other in a circle, with their places.
    pub(super) fn cyclic(&self) -> Vec<(usize, Conflict)> {
        let undone = self.undone();
        let order = order::ordered(self.source, &undone);
        let cyclic = order.cyclic.into_iter().map(|index| &undone[index]);
        cyclic.map(|undo| (undo.place, cycle(undo.step))).collect()
    }

    fn undone(&self) -> Vec<Undo<'_>> {
        let rows = self.rows.iter().enumerate();
        let undone = rows.filter_map(|(place, Drafted { row, step, .. })| {
            let step = step.as_ref()?;
            Some(Undo { place, row, step })
        });
        undone.collect()
    }

    /// The plan of what is not skipped.
    pub(super) fn planned(mut self) -> Planned {
        for place in 0..self.rows.len() {
            if self.rows[place].is_outdated {
                self.plan(place);
            }
        }
        let undone = self.undone();
        let order = order::ordered(self.source, &undone);
        let steps = order.statements.iter().flatten();
        let places: Vec<usize> = steps.map(|index| undone[*index].place).collect();
        let cyclic = order.cyclic.iter().map(|index| cycle(undone[*index].step));
        let cyclic: Vec<Conflict> = cyclic.collect();
        let rows = self.rows.iter().flat_map(|drafted| &drafted.conflicts);
        let conflicts = self.truncated.iter().chain(rows).cloned().chain(cyclic);
        let conflicts = conflicts.collect();
        let taken = places
            .into_iter()
            .filter_map(|place| self.rows[place].step.take());
        Planned {
            steps: taken.collect(),
            together: order.statements.iter().map(Vec::len).collect(),
            conflicts,
            deferred: order.deferred,
        }
    }
}

/// The rows that come back, for the foreign keys that miss some.
fn returning<'a>(source: &'a Source, rows: &[Drafted<'a>]) -> Returning<'a> {
    let missed: HashSet<(i32, &str)> = rows
        .iter()
        .flat_map(|Drafted { row, .. }| row.orphaned.iter().map(|o| (row.table_id, &*o.constraint)))
        .collect();
    let mut returning = Returning::new();
    for key in &source.foreign_keys {
        let constraint = (key.child, key.name.0.as_str());
        if !missed.contains(&constraint) {
            continue;
        }
        let parents: &mut HashMap<_, Vec<_>> = returning.entry(constraint).or_default();
        for (place, Drafted { row, .. }) in rows.iter().enumerate() {
            if row.table_id == key.parent
                && row.before.is_some()
                && let Some(values) = order::values(row, &key.parent_columns, true)
            {
                parents.entry(values).or_default().push(place);
            }
        }
    }
    returning
}

fn truncated(table: &str) -> Conflict {
    Conflict {
        table: table.to_owned(),
        key: RecordedRow::default(),
        columns: Vec::new(),
        kind: ConflictKind::Truncated,
        may_force: false,
    }
}

fn cycle(step: &Step) -> Conflict {
    Conflict {
        table: step.table.clone(),
        key: step.key.clone(),
        columns: step.columns.clone(),
        kind: ConflictKind::Cycle,
        may_force: false,
    }
}
