//! Columns that are selected without being grouped by.

use std::collections::BTreeSet;

use super::AsOfError;
use super::tokens::{Kind, Token};

/// The columns of one SELECT, as far as they stand outside of function calls.
#[derive(Debug, Default)]
pub(super) struct Grouping {
    place: Place,
    selected: Vec<String>,
    grouped: BTreeSet<String>,
    /// Some of the grouping can't be told from its text, such as `GROUP BY 1`.
    is_open: bool,
    /// What is next goes on with a name that was seen.
    goes_on: bool,
}

#[derive(Debug, Default, PartialEq)]
enum Place {
    #[default]
    Selection,
    Between,
    Groups,
    After,
}

impl Grouping {
    /// The FROM begins.
    pub(super) fn end_selection(&mut self) {
        self.place = Place::Between;
    }

    /// Looks at the token that is next, outside of parentheses.
    pub(super) fn see(&mut self, tokens: &[Token]) {
        let [first, ..] = tokens else { return };
        let goes_on = std::mem::replace(&mut self.goes_on, first.is_symbol('.'));
        if goes_on {
            return;
        }
        if first.is_word("group") && self.place == Place::Between {
            self.place = Place::Groups;
        } else if self.place == Place::Groups {
            let ends = [
                "having",
                "window",
                "union",
                "intersect",
                "except",
                "order",
                "limit",
                "offset",
                "fetch",
                "for",
            ];
            if ends.iter().any(|word| first.is_word(word)) {
                self.place = Place::After;
            } else {
                self.group(tokens);
            }
        } else if self.place == Place::Selection {
            self.selected.extend(column(tokens));
        }
    }

    /// Looks at the token that is next, in parentheses: there may be a function around it.
    pub(super) fn see_inside(&mut self, tokens: &[Token]) {
        let dot = tokens.first().is_some_and(|token| token.is_symbol('.'));
        if !std::mem::replace(&mut self.goes_on, dot) && self.place == Place::Groups {
            self.group(tokens);
        }
    }

    fn group(&mut self, tokens: &[Token]) {
        self.grouped.extend(column(tokens));
        // A bare name may be the alias of anything.
        self.is_open |= tokens.first().is_some_and(|token| {
            token.kind == Kind::Value || matches!(&token.kind, Kind::Word(word) if word != "by" && tokens.get(1).is_none_or(|next| !next.is_symbol('.')))
        });
    }

    /// Refuses a SELECT that PostgreSQL would only take from a table, for the sake of its primary key.
    pub(super) fn check(&self) -> Result<(), AsOfError> {
        let grouped = matches!(self.place, Place::Groups | Place::After);
        let mut columns: Vec<_> = self
            .selected
            .iter()
            .filter(|column| !self.grouped.contains(*column))
            .cloned()
            .collect();
        columns.dedup();
        if !grouped || self.is_open || columns.is_empty() {
            return Ok(());
        }
        Err(AsOfError::GroupedByKey { columns })
    }
}

/// `table.column` or `schema.table.column`, if it begins here.
fn column(tokens: &[Token]) -> Option<String> {
    let dotted = |at: usize| {
        let name = tokens.get(at + 1)?.name()?;
        tokens.get(at)?.is_symbol('.').then(|| name.to_owned())
    };
    let mut parts = vec![tokens.first()?.name()?.to_owned(), dotted(1)?];
    parts.extend(dotted(3));
    Some(parts.join("."))
}
