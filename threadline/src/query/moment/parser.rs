//! The grammar of a SELECT, as far as it tells which tables are read.

use std::collections::{BTreeMap, BTreeSet};

use super::AsOfError;
use super::grouping::Grouping;
use super::tokens::{Kind, Token};
use crate::capture::{Identifier, TableName};

/// Words that end an alias, or the condition of a join.
const CLAUSES: [&str; 22] = [
    "cross",
    "except",
    "fetch",
    "for",
    "from",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "join",
    "left",
    "limit",
    "natural",
    "offset",
    "on",
    "order",
    "right",
    "tablesample",
    "union",
    "using",
    "where",
];

/// Functions with a FROM among their arguments.
const WITH_FROM: [&str; 4] = ["extract", "overlay", "substring", "trim"];

const CALL: &str = "load what the function returns by itself";

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

fn not_one_select(token: &Token) -> AsOfError {
    let found = match &token.kind {
        Kind::Word(word) => word.to_ascii_uppercase(),
        Kind::Quoted(name) => format!("\"{name}\""),
        Kind::Value => "a value".to_owned(),
        Kind::Symbol(symbol) => format!("a `{symbol}`"),
    };
    AsOfError::NotASelect {
        found,
        instead: "write a single SELECT, without a semicolon",
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

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn ahead(&self, distance: usize) -> Option<&Token> {
        self.tokens.get(self.at + distance)
    }

    fn before(&self, distance: usize) -> Option<&Token> {
        self.tokens.get(self.at.checked_sub(distance)?)
    }

    fn at_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(word))
    }

    fn at_symbol(&self, symbol: char) -> bool {
        self.peek().is_some_and(|token| token.is_symbol(symbol))
    }

    /// Steps over the word, if it is next.
    fn accept(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: char) -> Result<(), AsOfError> {
        if self.at_symbol(symbol) {
            self.at += 1;
            return Ok(());
        }
        Err(self.peek().map_or_else(
            || AsOfError::NotASelect {
                found: "an end too early".to_owned(),
                instead: "close its parentheses",
            },
            not_one_select,
        ))
    }

    /// Whether the parenthesis here holds a query.
    fn opens_query(&self) -> bool {
        let mut inside = self.tokens[self.at..]
            .iter()
            .skip_while(|token| token.is_symbol('('));
        self.at_symbol('(')
            && inside.next().is_some_and(|token| {
                ["select", "table", "values", "with"]
                    .iter()
                    .any(|word| token.is_word(word))
            })
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

    /// `IS [NOT] DISTINCT FROM`
    fn is_distinct_from(&self) -> bool {
        let word = |distance, word| {
            self.before(distance)
                .is_some_and(|token| token.is_word(word))
        };
        word(1, "distinct") && (word(2, "is") || word(2, "not") && word(3, "is"))
    }

    fn is_part_of_a_name(&self) -> bool {
        [self.before(1), self.ahead(1)]
            .into_iter()
            .flatten()
            .any(|token| token.is_symbol('.'))
            || self.before(1).is_some_and(|token| token.is_word("as"))
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

    /// Steps over parentheses without a query in them, such as column names.
    fn group(&mut self) -> Result<(), AsOfError> {
        self.expect('(')?;
        while self
            .peek()
            .is_some_and(|token| token.name().is_some() || token.is_symbol(','))
        {
            if self.at_word("select") {
                break;
            }
            self.at += 1;
        }
        self.expect(')')
    }

    /// An item of a FROM with what is joined to it.
    fn item(&mut self, known: &[String]) -> Result<(), AsOfError> {
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

    fn name(&mut self) -> Result<String, AsOfError> {
        let name = self.peek().and_then(Token::name).map(str::to_owned);
        match name {
            Some(name)
                if !(self
                    .peek()
                    .is_some_and(|token| matches!(token.kind, Kind::Word(_)))
                    && CLAUSES.contains(&name.as_str())) =>
            {
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.peek().map_or_else(
                || source("nothing", "name a table"),
                |token| {
                    let found = match not_one_select(token) {
                        AsOfError::NotASelect { found, .. } => found,
                        other => other.to_string(),
                    };
                    source(found, "name a table")
                },
            )),
        }
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
