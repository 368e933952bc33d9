//! SQL text, cut into tokens: as much as it takes to find out which tables a query reads.

use std::ops::Range;

use super::AsOfError;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a bare name, in lower case.
    Word(String),
    /// A quoted name.
    Quoted(String),
    /// A string, a number or a parameter.
    Value,
    /// Any other character.
    Symbol(char),
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

impl Token {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(found) if found == word)
    }

    pub(super) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol(symbol)
    }

    /// The name that it may be, as the catalog has it.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(name) | Kind::Quoted(name) => Some(name),
            _ => None,
        }
    }
}

/// All tokens of a text, without comments.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, AsOfError> {
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

fn unreadable(found: &str, instead: &'static str) -> AsOfError {
    AsOfError::NotASelect {
        found: found.to_owned(),
        instead,
    }
}

fn begins_a_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn is_in_a_name(c: char) -> bool {
    begins_a_name(c) || c.is_ascii_digit() || c == '$'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    /// Steps over characters that fit; what they were.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Steps behind the next occurrence of `end`; what stood before it.
    fn until(&mut self, end: &str, what: &str) -> Result<&'a str, AsOfError> {
        let rest = self.rest();
        let Some(found) = rest.find(end) else {
            return Err(unreadable(
                &format!("{what} without an end"),
                "write it to its end",
            ));
        };
        self.at += found + end.len();
        Ok(&rest[..found])
    }

    fn next(&mut self) -> Result<Option<Token>, AsOfError> {
        self.skip()?;
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(None);
        };
        let kind = if begins_a_name(first) {
            self.word()?
        } else if first == '"' {
            self.at += 1;
            Kind::Quoted(self.quoted('"', false)?)
        } else if first == '\'' {
            self.at += 1;
            let text = self.quoted('\'', false)?;
            // With standard_conforming_strings off, the string would not end there.
            if text.contains("\\'") || text.ends_with('\\') {
                return Err(unreadable(
                    "a backslash before a quote",
                    "bind the value, or write E'…'",
                ));
            }
            Kind::Value
        } else if first == '$' {
            self.dollar()?
        } else if first.is_ascii_digit() {
            self.take(|c| c.is_ascii_digit() || c == '.');
            Kind::Value
        } else {
            self.at += first.len_utf8();
            Kind::Symbol(first)
        };
        Ok(Some(Token {
            kind,
            span: start..self.at,
        }))
    }

    /// Steps over blanks and comments.
    fn skip(&mut self) -> Result<(), AsOfError> {
        loop {
            self.take(char::is_whitespace);
            if self.rest().starts_with("--") {
                self.take(|c| c != '\n' && c != '\r');
            } else if self.rest().starts_with("/*") {
                self.at += 2;
                let mut depth = 1;
                while depth > 0 {
                    self.take(|c| c != '*' && c != '/');
                    if self.rest().starts_with("*/") {
                        depth -= 1;
                        self.at += 2;
                    } else if self.rest().starts_with("/*") {
                        depth += 1;
                        self.at += 2;
                    } else if self.rest().is_empty() {
                        return Err(unreadable(
                            "a comment without an end",
                            "write it to its end",
                        ));
                    } else {
                        self.at += 1;
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> Result<Kind, AsOfError> {
        let word = self.take(is_in_a_name).to_ascii_lowercase();
        let rest = self.rest();
        if rest.starts_with('\'') && matches!(word.as_str(), "e" | "b" | "x" | "n") {
            self.at += 1;
            self.quoted('\'', word == "e")?;
            return Ok(Kind::Value);
        }
        if word == "u" && (rest.starts_with("&'") || rest.starts_with("&\"")) {
            return Err(unreadable("a U& escape", "write the characters themselves"));
        }
        Ok(Kind::Word(word))
    }

    /// What stands until the closing quote, which is doubled inside.
    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String, AsOfError> {
        let mut text = String::new();
        loop {
            text.push_str(self.take(|c| c != quote && (c != '\\' || !escapes)));
            let mut rest = self.rest().chars();
            match (rest.next(), rest.next()) {
                (Some('\\'), Some(escaped)) if escapes => {
                    self.at += 1 + escaped.len_utf8();
                }
                (Some(c), Some(next)) if c == quote && next == quote => {
                    text.push(quote);
                    self.at += 2;
                }
                (Some(c), _) if c == quote => {
                    self.at += 1;
                    return Ok(text);
                }
                _ => {
                    return Err(unreadable("a quote without an end", "write it to its end"));
                }
            }
        }
    }

    /// A parameter or a dollar-quoted string.
    fn dollar(&mut self) -> Result<Kind, AsOfError> {
        self.at += 1;
        if !self.take(|c| c.is_ascii_digit()).is_empty() {
            return Ok(Kind::Value);
        }
        let tag = self.take(|c| is_in_a_name(c) && c != '$');
        if self.rest().starts_with('$') {
            self.at += 1;
            self.until(&format!("${tag}$"), "a string")?;
        }
        Ok(Kind::Value)
    }
}
