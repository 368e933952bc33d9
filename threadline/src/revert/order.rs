//! An order of statements that foreign and unique keys allow.

use std::collections::{BTreeSet, HashMap};

use super::conflict::{Conflict, ConflictKind};
use super::planning::{Undo, writes};
use super::source::{ForeignKey, Row, Source, Table};
use super::step::{Step, StepKind};

/// Steps in order; what depends on itself is left out and named.
pub(super) struct Order {
    pub(super) steps: Vec<Step>,
    pub(super) cyclic: Vec<Conflict>,
    pub(super) deferred: Vec<String>,
}

/// `(first, second, whether a deferrable constraint asks for it)`, by index.
type Edge = (usize, usize, bool);

/// Orders the steps. Where keys leave it open, what was written last is undone first.
pub(super) fn ordered(
    source: &Source,
    tables: &HashMap<i32, &Table>,
    undone: Vec<Undo<'_>>,
) -> Order {
    let edges = edges(source, &undone);
    let mut deferred = Vec::new();
    let mut sorted = sort(&undone, &edges);
    if sorted.len() < undone.len() && edges.iter().any(|edge| edge.2) {
        let strict: Vec<Edge> = edges.into_iter().filter(|edge| !edge.2).collect();
        sorted = sort(&undone, &strict);
        let keys = source.foreign_keys.iter().filter(|key| key.deferrable);
        deferred = keys
            .map(|key| format!("{}.{}", key.schema.0, key.name.0))
            .collect();
    }
    let mut steps: Vec<Option<Step>> = Vec::new();
    let mut cyclic = Vec::new();
    for (index, undo) in undone.into_iter().enumerate() {
        if sorted.contains(&index) {
            steps.push(Some(undo.step));
        } else {
            cyclic.push(Conflict {
                table: tables
                    .get(&undo.row.table_id)
                    .map_or_else(String::new, |table| table.display_name()),
                key: undo.row.key.clone(),
                columns: undo.step.columns,
                kind: ConflictKind::Cycle,
                may_force: false,
            });
            steps.push(None);
        }
    }
    Order {
        steps: sorted
            .into_iter()
            .filter_map(|index| steps[index].take())
            .collect(),
        cyclic,
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
                edges.push((*holder, index, false));
            }
        }
    }
    edges.retain(|(first, second, _)| first != second);
    edges
}

fn foreign_key_edges(key: &ForeignKey, undone: &[Undo<'_>], edges: &mut Vec<Edge>) {
    let (mut coming, mut going) = (HashMap::new(), HashMap::new());
    let parents = undone.iter().enumerate().filter(|(_, undo)| {
        undo.row.table_id == key.parent && writes(&undo.step, &key.parent_columns)
    });
    for (index, undo) in parents {
        if undo.step.kind != StepKind::Delete {
            coming.extend(values(undo.row, &key.parent_columns, true).map(|v| (v, index)));
        }
        if undo.step.kind != StepKind::Insert {
            going.extend(values(undo.row, &key.parent_columns, false).map(|v| (v, index)));
        }
    }
    let children = undone.iter().enumerate().filter(|(_, undo)| {
        undo.row.table_id == key.child && writes(&undo.step, &key.child_columns)
    });
    for (index, undo) in children {
        if undo.step.kind != StepKind::Delete {
            let named = values(undo.row, &key.child_columns, true);
            if let Some(parent) = named.and_then(|values| coming.get(&values)) {
                edges.push((*parent, index, key.deferrable));
            }
        }
        if undo.step.kind != StepKind::Insert {
            let named = values(undo.row, &key.child_columns, false);
            if let Some(parent) = named.and_then(|values| going.get(&values)) {
                edges.push((index, *parent, key.deferrable));
            }
        }
    }
}

/// Indexes in an order that the edges allow; those that depend on themselves are missing.
fn sort(undone: &[Undo<'_>], edges: &[Edge]) -> Vec<usize> {
    let mut waiting_for = vec![0_usize; undone.len()];
    let mut followers = vec![Vec::new(); undone.len()];
    for (first, second, _) in edges {
        waiting_for[*second] += 1;
        followers[*first].push(*second);
    }
    let place = |index: usize| (undone[index].row.last_id, index);
    let mut free: BTreeSet<_> = (0..undone.len())
        .filter(|index| waiting_for[*index] == 0)
        .map(place)
        .collect();
    let mut sorted = Vec::with_capacity(undone.len());
    while let Some((_, index)) = free.pop_last() {
        sorted.push(index);
        for follower in &followers[index] {
            waiting_for[*follower] -= 1;
            if waiting_for[*follower] == 0 {
                free.insert(place(*follower));
            }
        }
    }
    sorted
}
