//! Looking at tokens, and stepping over them.

use super::{Parser, source};
use crate::query::moment::AsOfError;
use crate::query::moment::tokens::{Kind, Token};

/// Words that end an alias, or the condition of a join.
pub(super) const CLAUSES: [&str; 22] = [
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

pub(super) fn not_one_select(token: &Token) -> AsOfError {
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
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn ahead(&self, distance: usize) -> Option<&Token> {
        self.tokens.get(self.at + distance)
    }

    pub(super) fn before(&self, distance: usize) -> Option<&Token> {
        self.tokens.get(self.at.checked_sub(distance)?)
    }

    pub(super) fn at_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(word))
    }

    pub(super) fn at_symbol(&self, symbol: char) -> bool {
        self.peek().is_some_and(|token| token.is_symbol(symbol))
    }

    /// Steps over the word, if it is next.
    pub(super) fn accept(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: char) -> Result<(), AsOfError> {
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
    pub(super) fn opens_query(&self) -> bool {
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

    /// `IS [NOT] DISTINCT FROM`
    pub(super) fn is_distinct_from(&self) -> bool {
        let word = |distance, word| {
            self.before(distance)
                .is_some_and(|token| token.is_word(word))
        };
        word(1, "distinct") && (word(2, "is") || word(2, "not") && word(3, "is"))
    }

    pub(super) fn is_part_of_a_name(&self) -> bool {
        [self.before(1), self.ahead(1)]
            .into_iter()
            .flatten()
            .any(|token| token.is_symbol('.'))
            || self.before(1).is_some_and(|token| token.is_word("as"))
    }

    /// Steps over parentheses without a query in them, such as column names.
    pub(super) fn group(&mut self) -> Result<(), AsOfError> {
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

    pub(super) fn name(&mut self) -> Result<String, AsOfError> {
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
}
