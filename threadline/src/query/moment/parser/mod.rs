//! The grammar of a SELECT, as far as it tells which tables are read.

mod from;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use super::AsOfError;
use super::grouping::Grouping;
use super::tokens::Token;
use crate::capture::TableName;
use steps::not_one_select;

/// Functions with a FROM among their arguments.
const WITH_FROM: [&str; 4] = ["extract", "overlay", "substring", "trim"];

const COMMA: &str = "write a JOIN, if need be a CROSS JOIN";

/// Reads tokens, one after the other.
#[derive(Debug)]
pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    at: usize,
    /// In the order of their first appearance.
    pub(super) tables: Vec<TableName>,
    /// Where a FROM or a JOIN names a table, by token, and whether it gives it an alias.
    pub(super) places: BTreeMap<usize, bool>,
    /// Names before a parenthesis: functions, as far as they aren't keywords.
    pub(super) functions: BTreeSet<String>,
}

fn source(found: impl Into<String>, instead: &'static str) -> AsOfError {
    AsOfError::Unrecognised {
        found: found.into(),
        instead,
    }
}

impl Parser {
    /// Reads the one SELECT that the tokens are.
    pub(super) fn read(tokens: Vec<Token>) -> Result<Self, AsOfError> {
        let mut parser = Self {
            tokens,
            at: 0,
            tables: Vec::new(),
            places: BTreeMap::new(),
            functions: BTreeSet::new(),
        };
        parser.query(&[])?;
        match parser.peek() {
            Some(token) => Err(not_one_select(token)),
            None => Ok(parser),
        }
    }

    /// A query, until its end or the parenthesis that closes it. `known` are the names that WITH gave around it.
    fn query(&mut self, known: &[String]) -> Result<(), AsOfError> {
        let mut known = known.to_vec();
        if self.accept("with") {
            self.with(&mut known)?;
        }
        if !(self.at_word("select") || self.at_word("values") || self.opens_query()) {
            return Err(match self.peek() {
                Some(token) => not_one_select(token),
                None => AsOfError::NotASelect {
                    found: "nothing in it".to_owned(),
                    instead: "write a SELECT",
                },
            });
        }
        let mut grouping = Grouping::default();
        let mut has_from = false;
        while let Some(token) = self.peek() {
            if token.is_symbol(')') {
                break;
            } else if token.is_symbol('(') {
                self.parentheses(&known, &mut grouping)?;
            } else if token.is_word("select") {
                grouping.check()?;
                grouping = Grouping::default();
                has_from = false;
                self.at += 1;
            } else if token.is_word("from") && !self.is_distinct_from() && !self.is_part_of_a_name()
            {
                if has_from {
                    return Err(source("a second FROM", "write one for each SELECT"));
                }
                has_from = true;
                self.at += 1;
                grouping.end_selection();
                self.item(&known)?;
                if self.at_symbol(',') {
                    return Err(source("a comma", COMMA));
                }
            } else if token.is_symbol(';') || self.begins_no_select(token) {
                return Err(not_one_select(token));
            } else {
                grouping.see(&self.tokens[self.at..]);
                self.at += 1;
            }
        }
        grouping.check()
    }

    /// The queries of a WITH, each known to those after it.
    fn with(&mut self, known: &mut Vec<String>) -> Result<(), AsOfError> {
        let recursive = self.accept("recursive");
        loop {
            let name = self.name()?;
            let mut inside = known.clone();
            inside.extend(recursive.then(|| name.clone()));
            if self.at_symbol('(') {
                self.group()?;
            }
            if !self.accept("as") {
                return Err(source("a WITH without AS", "write WITH name AS (SELECT …)"));
            }
            self.accept("not");
            self.accept("materialized");
            if !self.opens_query() {
                return Err(source(
                    "a WITH that is no SELECT",
                    "write data in a statement of its own",
                ));
            }
            self.expect('(')?;
            self.query(&inside)?;
            self.expect(')')?;
            known.push(name);
            if !self.at_symbol(',') {
                return Ok(());
            }
            self.at += 1;
        }
    }

    /// A word that has no place in a SELECT, or only in its FROM.
    fn begins_no_select(&self, token: &Token) -> bool {
        let words = ["into", "join", "table", "tablesample"];
        words.iter().any(|word| token.is_word(word)) && !self.is_part_of_a_name()
    }

    /// Parentheses in an expression: a query, or arguments, or a part of the expression.
    fn parentheses(&mut self, known: &[String], grouping: &mut Grouping) -> Result<(), AsOfError> {
        let function = self.before(1).and_then(Token::name).map(str::to_owned);
        self.functions.extend(function.clone());
        if self.opens_query() {
            self.at += 1;
            self.query(known)?;
            return self.expect(')');
        }
        let may_have_from = function.is_some_and(|name| WITH_FROM.contains(&name.as_str()));
        self.at += 1;
        while let Some(token) = self.peek() {
            if token.is_symbol(')') {
                break;
            } else if token.is_symbol('(') {
                self.parentheses(known, grouping)?;
            } else if (token.is_word("from") && !may_have_from && !self.is_distinct_from()
                || token.is_word("join")
                || token.is_word("select"))
                && !self.is_part_of_a_name()
            {
                return Err(source(
                    "a FROM inside an expression",
                    "write the subquery as (SELECT …)",
                ));
            } else {
                grouping.see_inside(&self.tokens[self.at..]);
                self.at += 1;
            }
        }
        self.expect(')')
    }
}
