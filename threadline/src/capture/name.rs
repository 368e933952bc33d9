//! Identifiers and literals: the only ways into SQL text.

use std::fmt;

use super::PlanError;

/// PostgreSQL truncates identifiers beyond this many bytes (`NAMEDATALEN - 1`).
const MAX_BYTES: usize = 63;

/// An SQL identifier: not empty, at most 63 bytes, without NUL. Displays quoted.
///
/// # Examples
///
/// ```
/// use threadline::capture::Identifier;
///
/// let column = Identifier::new("Weird \"name\"")?;
/// assert_eq!(column.to_string(), r#""Weird ""name""""#);
/// # Ok::<(), threadline::capture::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier(String);

impl Identifier {
    /// Takes a name as it stands in the catalog, unquoted and in its own case.
    ///
    /// # Errors
    ///
    /// [`PlanError::Identifier`] if the name is empty, longer than 63 bytes or holds a NUL.
    pub fn new(name: impl Into<String>) -> Result<Self, PlanError> {
        let name = name.into();
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > MAX_BYTES {
            "it is longer than PostgreSQL's 63 bytes"
        } else if name.contains('\0') {
            "it holds a NUL character"
        } else {
            return Ok(Self(name));
        };
        Err(PlanError::Identifier { name, reason })
    }

    /// The schema that every database has.
    pub(super) fn public() -> Self {
        Self("public".to_owned())
    }

    /// The bare name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A text literal. Displays quoted, whatever `standard_conforming_strings` says.
///
/// # Examples
///
/// ```
/// use threadline::capture::Literal;
///
/// assert_eq!(Literal("it's").to_string(), "'it''s'");
/// assert_eq!(Literal(r"a\b").to_string(), r" E'a\\b'");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal<'a>(pub &'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = self.0.replace('\'', "''");
        if quoted.contains('\\') {
            // The space keeps a preceding identifier character from joining the E, as PQescapeLiteral() of libpq does.
            write!(f, " E'{}'", quoted.replace('\\', "\\\\"))
        } else {
            write!(f, "'{quoted}'")
        }
    }
}

/// Dollar-quotes a text, under a tag that it doesn't hold.
pub(super) fn dollar_quoted(tag: &str, text: &str) -> String {
    let mut tag = format!("${tag}$");
    while text.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("{tag}{text}{tag}")
}

/// A table, with its schema where one is named. Without one, `search_path` decides when the migration runs.
///
/// # Examples
///
/// ```
/// use threadline::capture::TableName;
///
/// let table: TableName = "billing.invoices".parse()?;
/// assert_eq!(table.to_string(), "billing.invoices");
/// assert_eq!(table.sql(), r#""billing"."invoices""#);
/// # Ok::<(), threadline::capture::PlanError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    schema: Option<Identifier>,
    name: Identifier,
}

impl TableName {
    /// A table by its schema and name.
    #[must_use]
    pub fn new(schema: Option<Identifier>, name: Identifier) -> Self {
        Self { schema, name }
    }

    /// The schema, if one is named.
    #[must_use]
    pub fn schema(&self) -> Option<&Identifier> {
        self.schema.as_ref()
    }

    /// The name without the schema.
    #[must_use]
    pub fn name(&self) -> &Identifier {
        &self.name
    }

    /// Quoted for SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.to_string(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{}.", schema.as_str())?;
        }
        f.write_str(self.name.as_str())
    }
}

/// Reads `name`, `schema.name` and the double-quoted forms of both.
impl std::str::FromStr for TableName {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut parts = split_quoted(text);
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(PlanError::Identifier {
                name: text.to_owned(),
                reason: "a table is named by `table` or `schema.table`",
            });
        }
        Ok(Self {
            schema: schema.map(Identifier::new).transpose()?,
            name: Identifier::new(name)?,
        })
    }
}

fn split_quoted(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    parts
}
