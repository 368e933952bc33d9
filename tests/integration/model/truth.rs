//! What history must be: the second model of it, which knows nothing of triggers and of the log.

use std::collections::BTreeMap;

use threadline::Op;

use super::table::{Image, Item};
use super::work::{Rows, Statement};

/// How many times the clock was read before. A statement comes after the moments with a smaller number.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Moment(pub usize);

/// What a statement did to a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    pub op: Op,
    pub changed_fields: Option<Vec<String>>,
    /// The row after, or for a delete the row before.
    pub row: Option<Image>,
}

/// What is to be known of a key at a moment.
#[derive(Debug, PartialEq)]
pub enum State {
    NotYetCreated,
    Found(Image),
    Deleted,
}

/// The table, and everything that ever happened to each key, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    table: BTreeMap<i64, Item>,
    versions: BTreeMap<i64, Vec<(Moment, Version)>>,
}

/// A key as it was.
#[derive(Debug)]
pub struct Kept {
    pub key: i64,
    row: Option<Item>,
    versions: Vec<(Moment, Version)>,
}

impl Truth {
    /// The rows of the table, by key.
    pub fn live(&self) -> Vec<Image> {
        self.table.values().map(Item::image).collect()
    }

    /// The versions of a key, newest first.
    pub fn versions(&self, key: i64) -> Vec<Version> {
        let versions = self.versions.get(&key).into_iter().flatten();
        versions.rev().map(|(_, version)| version.clone()).collect()
    }

    pub fn state(&self, key: i64, moment: Moment) -> State {
        let versions = self.versions.get(&key).map_or(&[][..], Vec::as_slice);
        let count = versions.iter().take_while(|(at, _)| *at <= moment).count();
        self.state_after(key, count)
    }

    /// The state after the first so many versions of a key.
    pub fn state_after(&self, key: i64, count: usize) -> State {
        let versions = self.versions.get(&key).map_or(&[][..], Vec::as_slice);
        match versions[..count].last() {
            None => State::NotYetCreated,
            Some((_, version)) => match (version.op, &version.row) {
                (Op::Insert | Op::Update, Some(row)) => State::Found(row.clone()),
                _ => State::Deleted,
            },
        }
    }

    /// What is known of a key, to be restored when a transaction rolls back that others have written beside.
    pub fn keep(&self, key: i64) -> Kept {
        Kept {
            key,
            row: self.table.get(&key).cloned(),
            versions: self.versions.get(&key).cloned().unwrap_or_default(),
        }
    }

    pub fn restore(&mut self, kept: Kept) {
        match kept.row {
            Some(row) => self.table.insert(kept.key, row),
            None => self.table.remove(&kept.key),
        };
        self.versions.insert(kept.key, kept.versions);
    }

    /// Does what the statement does. `false` if it would give two rows one key: then the model is void.
    pub fn apply(&mut self, statement: &Statement, at: Moment) -> bool {
        match statement {
            Statement::Insert(new) => self.insert(new.clone(), at),
            Statement::Upsert(new) => match self.table.remove(&new.id) {
                Some(old) => self.update(old, new.clone(), at),
                None => self.insert(new.clone(), at),
            },
            Statement::Update(rows, edit) => {
                let old = self.take(*rows);
                // Two rows that get one key collide, and so do those with a row that isn't updated.
                let collide = edit.id.is_some() && old.len() > 1;
                !collide
                    && old.into_iter().all(|old| {
                        let new = edit.apply(old.clone());
                        self.update(old, new, at)
                    })
            }
            Statement::Delete(rows) => {
                for old in self.take(*rows) {
                    self.record(old.id, Op::Delete, Some(&old), at);
                }
                true
            }
            Statement::Truncate => {
                for old in self.take(Rows::All) {
                    self.record(old.id, Op::Truncate, None, at);
                }
                true
            }
        }
    }

    fn insert(&mut self, new: Item, at: Moment) -> bool {
        self.record(new.id, Op::Insert, Some(&new), at);
        self.table.insert(new.id, new).is_none()
    }

    /// `old` was taken out of the table.
    fn update(&mut self, old: Item, new: Item, at: Moment) -> bool {
        if old.id != new.id {
            self.record(old.id, Op::Delete, Some(&old), at);
            return self.insert(new, at);
        }
        let (before, after) = (old.image(), new.image());
        let changed: Vec<_> = before
            .iter()
            .filter(|(column, value)| after[*column] != **value)
            .map(|(column, _)| (*column).to_owned())
            .collect();
        if !changed.is_empty() {
            let version = Version {
                op: Op::Update,
                changed_fields: Some(changed),
                row: Some(after),
            };
            self.versions.entry(new.id).or_default().push((at, version));
        }
        self.table.insert(new.id, new).is_none()
    }

    fn take(&mut self, rows: Rows) -> Vec<Item> {
        let taken: Vec<_> = self
            .table
            .keys()
            .copied()
            .filter(|key| rows.has(*key))
            .collect();
        taken
            .iter()
            .filter_map(|key| self.table.remove(key))
            .collect()
    }

    fn record(&mut self, key: i64, op: Op, row: Option<&Item>, at: Moment) {
        let version = Version {
            op,
            changed_fields: None,
            row: row.map(Item::image),
        };
        self.versions.entry(key).or_default().push((at, version));
    }
}
