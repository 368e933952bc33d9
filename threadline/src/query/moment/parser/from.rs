//! What stands behind FROM and JOIN.

use super::steps::CLAUSES;
use super::{COMMA, Parser, source};
use crate::capture::{Identifier, TableName};
use crate::query::moment::AsOfError;
use crate::query::moment::grouping::Grouping;
use crate::query::moment::tokens::{Kind, Token};

const CALL: &str = "load what the function returns by itself";

impl Parser {
    /// An item of a FROM with what is joined to it.
    pub(super) fn item(&mut self, known: &[String]) -> Result<(), AsOfError> {
        self.operand(known)?;
        while self.joins() {
            self.operand(known)?;
            if self.accept("using") {
                self.group()?;
            } else if self.accept("on") {
                self.condition(known)?;
            }
        }
        Ok(())
    }

    /// Steps over `[NATURAL] [CROSS | INNER | LEFT …] JOIN`, if it is next.
    fn joins(&mut self) -> bool {
        let words = [
            "natural", "cross", "inner", "left", "right", "full", "outer",
        ];
        let mut ahead = 0;
        while self
            .ahead(ahead)
            .is_some_and(|token| words.iter().any(|word| token.is_word(word)))
        {
            ahead += 1;
        }
        let found = self.ahead(ahead).is_some_and(|token| token.is_word("join"));
        if found {
            self.at += ahead + 1;
        }
        found
    }

    /// The condition of a join: until the next clause.
    fn condition(&mut self, known: &[String]) -> Result<(), AsOfError> {
        while let Some(token) = self.peek() {
            if token.is_symbol('(') {
                self.parentheses(known, &mut Grouping::default())?;
            } else if token.is_symbol(')') || token.is_symbol(',') || token.is_symbol(';') {
                break;
            } else if token.is_word("on") {
                return Err(source("a join in a join", "put parentheses around it"));
            } else if let Kind::Word(word) = &token.kind {
                // LEFT and RIGHT are functions too.
                let is_called = self.ahead(1).is_some_and(|next| next.is_symbol('('))
                    && (word == "left" || word == "right");
                if CLAUSES.contains(&word.as_str())
                    && !is_called
                    && !self.is_distinct_from()
                    && !self.is_part_of_a_name()
                {
                    break;
                }
                self.at += 1;
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// A table, a subquery or a join in parentheses, with its alias.
    fn operand(&mut self, known: &[String]) -> Result<(), AsOfError> {
        self.accept("lateral");
        if self.opens_query() {
            self.at += 1;
            self.query(known)?;
            self.expect(')')?;
        } else if self.at_symbol('(') {
            self.at += 1;
            self.item(known)?;
            if self.at_symbol(',') {
                return Err(source("a comma", COMMA));
            }
            self.expect(')')?;
        } else if self.at_word("only") {
            return Err(source("ONLY", "name the table: its history has all rows"));
        } else if self.at_word("rows") && self.ahead(1).is_some_and(|next| next.is_word("from")) {
            return Err(source("ROWS FROM", CALL));
        } else {
            let place = self.at;
            self.table(known)?;
            let end = self.at;
            self.alias()?;
            self.places.insert(place, self.at > end);
            return Ok(());
        }
        self.alias()
    }

    fn table(&mut self, known: &[String]) -> Result<(), AsOfError> {
        let first = self.name()?;
        let table = if self.at_symbol('.') {
            self.at += 1;
            let name = self.name()?;
            TableName::new(Some(Identifier::new(first)?), Identifier::new(name)?)
        } else {
            TableName::new(None, Identifier::new(first)?)
        };
        if self.at_symbol('(') {
            return Err(source(format!("the function {table}"), CALL));
        } else if self.at_word("tablesample") {
            return Err(source("TABLESAMPLE", "order by random() and limit"));
        } else if self.at_symbol('*') || self.at_symbol('.') {
            return Err(source(
                format!("a `{table}` that goes on"),
                "name it as table or schema.table",
            ));
        }
        let is_known =
            table.schema().is_none() && known.iter().any(|name| name == table.name().as_str());
        if !is_known && !self.tables.contains(&table) {
            self.tables.push(table);
        }
        Ok(())
    }

    /// `[AS] name [(columns)]`, if it is next.
    fn alias(&mut self) -> Result<(), AsOfError> {
        let named = self.accept("as");
        let is_clause = matches!(self.peek(), Some(Token { kind: Kind::Word(word), .. }) if CLAUSES.contains(&word.as_str()) || word == "window");
        if named || self.peek().is_some_and(|token| token.name().is_some()) && !is_clause {
            self.name()?;
            if self.at_symbol('(') {
                self.group()?;
            }
        }
        if self.at_word("tablesample") {
            return Err(source("TABLESAMPLE", "order by random() and limit"));
        }
        Ok(())
    }
}
