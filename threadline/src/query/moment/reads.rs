//! What a query reads: the tables behind its FROM and JOIN, and the functions that it calls.
//!
//! Everything in a FROM that isn't recognised is refused, and so is every FROM that isn't understood: a table that were
//! overlooked would show its rows of today.

use std::collections::BTreeSet;

use super::AsOfError;
use super::parser::Parser;
use super::tokens::tokens;
use crate::capture::{Identifier, TableName};

/// What a SELECT reads.
#[derive(Debug)]
pub(super) struct Reads(Parser);

impl Reads {
    /// Reads the text of a SELECT, without executing anything.
    pub(super) fn of(sql: &str) -> Result<Self, AsOfError> {
        let read = Parser::read(tokens(sql)?)?;
        if read.tables.is_empty() {
            return Err(AsOfError::NoTable);
        }
        Ok(Self(read))
    }

    /// In the order of their first appearance.
    pub(super) fn tables(&self) -> &[TableName] {
        &self.0.tables
    }

    /// What stands before a parenthesis: functions, as far as they aren't keywords.
    pub(super) fn functions(&self) -> &BTreeSet<String> {
        &self.0.functions
    }

    /// Names that columns of a table may have: those behind its name or behind an alias. In a `text`, also those that stand
    /// alone. Some are of something else, which does no harm.
    pub(super) fn columns(&self, table: &TableName, text: bool) -> BTreeSet<&str> {
        let Parser {
            tokens,
            tables,
            places,
            ..
        } = &self.0;
        let is_of_another = |qualifier: &str| {
            let mut named = tables
                .iter()
                .filter(|table| table.name().as_str() == qualifier)
                .peekable();
            named.peek().is_some() && !named.any(|named| named == table)
        };
        let dot = |at: Option<usize>| {
            at.and_then(|at| tokens.get(at))
                .is_some_and(|token| token.is_symbol('.'))
        };
        let names = tokens.iter().enumerate().filter(|(at, _)| {
            let qualifier = at.checked_sub(2).filter(|_| dot(at.checked_sub(1)));
            !dot(Some(at + 1))
                && match qualifier {
                    Some(place) => {
                        !places.contains_key(&place)
                            && !tokens[place].name().is_some_and(is_of_another)
                    }
                    None => text,
                }
        });
        names.filter_map(|(_, token)| token.name()).collect()
    }

    /// The text with every `schema.table` as `name` calls it. With `aliased`, that is its name in a FROM alone, and its
    /// columns find it under its own name, as a text may call it.
    pub(super) fn renamed(
        &self,
        sql: &str,
        aliased: bool,
        name: impl Fn(usize, &TableName) -> String,
    ) -> String {
        let Parser {
            tokens,
            tables,
            places,
            ..
        } = &self.0;
        let mut text = String::with_capacity(sql.len());
        let (mut copied, mut at) = (0, 0);
        while let Some(window) = tokens.get(at..at + 3) {
            let named = tables.iter().enumerate().find(|(_, table)| {
                window[1].is_symbol('.')
                    && table.schema().map(Identifier::as_str) == window[0].name()
                    && Some(table.name().as_str()) == window[2].name()
            });
            let is_whole = at == 0 || !tokens[at - 1].is_symbol('.');
            let (Some((place, table)), true) = (named, is_whole) else {
                at += 1;
                continue;
            };
            text.push_str(&sql[copied..window[0].span.start]);
            match places.get(&at) {
                None if aliased => text.push_str(&table.name().to_string()),
                Some(false) if aliased => {
                    text.push_str(&format!("{} AS {}", name(place, table), table.name()));
                }
                _ => text.push_str(&name(place, table)),
            }
            copied = window[2].span.end;
            at += 3;
        }
        text.push_str(&sql[copied..]);
        text
    }
}
