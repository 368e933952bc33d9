//! An order of statements that foreign and unique keys allow.

use std::collections::{BTreeSet, HashMap};

use super::source::{ForeignKey, Row, Source};
use super::step::{Step, StepKind};

/// A row that the plan writes.
pub(super) struct Undo<'a> {
    /// Its place among all rows.
    pub(super) place: usize,
    pub(super) row: &'a Row,
    pub(super) step: &'a Step,
}

/// Rows by index, in order.
pub(super) struct Order {
    /// Those that one statement writes are together.
    pub(super) statements: Vec<Vec<usize>>,
    /// Those that depend on themselves.
    pub(super) cyclic: Vec<usize>,
    pub(super) deferred: Vec<String>,
}

/// That one row has to be written before another one, by index.
struct Edge {
    first: usize,
    second: usize,
    /// Whether a deferrable constraint asks for it.
    is_deferrable: bool,
    /// Whether it is enough if one statement writes both, after which foreign keys are checked. Unique keys are checked
    /// row by row.
    may_share: bool,
}

/// Orders the steps, and puts those together that one statement can do. Where keys leave it open, what was written last is
/// undone first.
pub(super) fn ordered(source: &Source, undone: &[Undo<'_>]) -> Order {
    let mut edges = edges(source, undone);
    let mut deferred = Vec::new();
    let mut statements = sort(undone, &edges);
    let is_sorted =
        |statements: &[Vec<usize>]| statements.iter().map(Vec::len).sum::<usize>() == undone.len();
    if !is_sorted(&statements) && edges.iter().any(|edge| edge.is_deferrable) {
        edges.retain(|edge| !edge.is_deferrable);
        statements = sort(undone, &edges);
        let keys = source.foreign_keys.iter().filter(|key| key.deferrable);
        deferred = keys
            .map(|key| format!("{}.{}", key.schema.0, key.name.0))
            .collect();
    }
    let mut is_cyclic = vec![true; undone.len()];
    for index in statements.iter().flatten() {
        is_cyclic[*index] = false;
    }
    Order {
        statements,
        cyclic: (0..undone.len())
            .filter(|index| is_cyclic[*index])
            .collect(),
        deferred,
    }
}

/// The values of some columns before or after the reverted work, as text; `None` if one is NULL or unknown.
pub(super) fn values(row: &Row, columns: &[String], before: bool) -> Option<Vec<String>> {
    // Of an updated row the log may know only what changed.
    let (first, second) = if before {
        (&row.before, &row.after)
    } else {
        (&row.after, &row.before)
    };
    let value = |column: &String| {
        let known = first.as_ref()?.get(column);
        let value = known.or_else(|| second.as_ref()?.get(column))?;
        (!value.is_null()).then(|| value.as_json().to_owned())
    };
    columns.iter().map(value).collect()
}

fn edges(source: &Source, undone: &[Undo<'_>]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for key in &source.foreign_keys {
        foreign_key_edges(key, undone, &mut edges);
    }
    let place: HashMap<_, _> = undone
        .iter()
        .enumerate()
        .map(|(index, undo)| ((undo.row.table_id, &undo.row.key), index))
        .collect();
    for (index, undo) in undone.iter().enumerate() {
        for taken in &undo.row.taken {
            if let Some(holder) = place.get(&(undo.row.table_id, &taken.holder)) {
                edges.push(Edge {
                    first: *holder,
                    second: index,
                    is_deferrable: false,
                    may_share: false,
                });
            }
        }
    }
    edges.retain(|edge| edge.first != edge.second);
    edges
}

fn foreign_key_edges(key: &ForeignKey, undone: &[Undo<'_>], edges: &mut Vec<Edge>) {
    let (mut coming, mut going) = (HashMap::new(), HashMap::new());
    let edge = |first, second| Edge {
        first,
        second,
        is_deferrable: key.deferrable,
        may_share: true,
    };
    let parents = undone.iter().enumerate().filter(|(_, undo)| {
        undo.row.table_id == key.parent && undo.step.writes(&key.parent_columns)
    });
    for (index, undo) in parents {
        if undo.step.kind != StepKind::Delete {
            coming.extend(values(undo.row, &key.parent_columns, true).map(|v| (v, index)));
        }
        if undo.step.kind != StepKind::Insert {
            going.extend(values(undo.row, &key.parent_columns, false).map(|v| (v, index)));
        }
    }
    let children = undone
        .iter()
        .enumerate()
        .filter(|(_, undo)| undo.row.table_id == key.child && undo.step.writes(&key.child_columns));
    for (index, undo) in children {
        if undo.step.kind != StepKind::Delete {
            let named = values(undo.row, &key.child_columns, true);
            if let Some(parent) = named.and_then(|values| coming.get(&values)) {
                edges.push(edge(*parent, index));
            }
        }
        if undo.step.kind != StepKind::Insert {
            let named = values(undo.row, &key.child_columns, false);
            if let Some(parent) = named.and_then(|values| going.get(&values)) {
                edges.push(edge(index, *parent));
            }
        }
    }
}

/// What is free to be written, as its steps' forms see it.
struct Queue<'a> {
    undone: &'a [Undo<'a>],
    /// The form of each step, by number.
    forms: Vec<usize>,
    /// How many rows each waits for.
    waiting_for: Vec<usize>,
    /// What was written last is last.
    free: BTreeSet<(i64, usize)>,
    free_of_form: Vec<BTreeSet<(i64, usize)>>,
}

impl<'a> Queue<'a> {
    fn new(undone: &'a [Undo<'a>], edges: &[Edge]) -> Self {
        let mut numbers = HashMap::new();
        let forms = undone.iter().map(|undo| {
            let next = numbers.len();
            *numbers.entry(undo.step.form()).or_insert(next)
        });
        let forms: Vec<usize> = forms.collect();
        let mut queue = Self {
            undone,
            forms,
            waiting_for: vec![1; undone.len()],
            free: BTreeSet::new(),
            free_of_form: vec![BTreeSet::new(); numbers.len()],
        };
        for edge in edges {
            queue.waiting_for[edge.second] += 1;
        }
        for index in 0..undone.len() {
            queue.release(index);
        }
        queue
    }

    /// Waits for one row less.
    fn release(&mut self, index: usize) {
        self.waiting_for[index] -= 1;
        if self.waiting_for[index] == 0 {
            let place = (self.undone[index].row.last_id, index);
            self.free.insert(place);
            self.free_of_form[self.forms[index]].insert(place);
        }
    }

    fn pop(&mut self, form: usize) -> Option<usize> {
        let place = self.free_of_form[form].pop_last()?;
        self.free.remove(&place);
        Some(place.1)
    }
}

/// Statements in an order that the edges allow, each as the indexes of its rows; those that depend on themselves are
/// missing. A statement writes all that is free and of one form: that of what was written last.
fn sort(undone: &[Undo<'_>], edges: &[Edge]) -> Vec<Vec<usize>> {
    let mut followers = vec![Vec::new(); undone.len()];
    for edge in edges {
        followers[edge.first].push((edge.second, edge.may_share));
    }
    let mut queue = Queue::new(undone, edges);
    let mut statements = Vec::new();
    while let Some((_, last)) = queue.free.last() {
        let form = queue.forms[*last];
        let (mut statement, mut later) = (Vec::new(), Vec::new());
        while let Some(index) = queue.pop(form) {
            statement.push(index);
            for (follower, may_share) in &followers[index] {
                if *may_share && queue.forms[*follower] == form {
                    queue.release(*follower);
                } else {
                    later.push(*follower);
                }
            }
        }
        for follower in later {
            queue.release(follower);
        }
        statements.push(statement);
    }
    statements
}
