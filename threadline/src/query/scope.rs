//! What a reader may see: a filter that the application owns.

use std::fmt;
use std::sync::Arc;

use diesel::expression::BoxableExpression;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment as _};
use diesel::result::Error::QueryBuilderError;
use diesel::sql_types::Bool;
use diesel::{QueryResult, debug_query};

use super::push::{push_optional_text, push_text};
use super::table::push_relation;
use crate::audited::Audited;
use crate::schema::audit_changes;

/// What a reader may see of the log, such as the changes of one tenant. What is out of scope looks exactly like what
/// doesn't exist.
///
/// Every read takes one. A read without any is refused where row level security is in force on a table that it may reach,
/// since that is not in force on the table's history, and wherever the setting `threadline.require_scope` is on, a reminder that the
/// session may turn off:
///
/// ```sql
/// ALTER ROLE support SET threadline.require_scope = on;
/// ```
///
/// # Examples
///
/// ```
/// use threadline::{Scope, TimelineFilter, timeline};
///
/// let tenant = Scope::field("tenant_id", 7);
/// let page = timeline(TimelineFilter::new().table("invoices")).scope(tenant);
/// ```
#[derive(Clone)]
#[must_use = "a scope restricts the read that it is given to"]
pub struct Scope(Rule);

/// What a scope is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Judged {
    /// A change: was the row in scope before it, or after?
    Change,
    /// The row that a change left, or the last one that it took away.
    Row,
}

type Condition = dyn BoxableExpression<audit_changes::table, Pg, SqlType = Bool> + Send + Sync;

#[derive(Clone)]
enum Rule {
    Unscoped,
    Field { column: String, value: String },
    Metadata { key: String, value: String },
    // Boxed too: the query builder's debug text wants a type with a size.
    Matching(Arc<Box<Condition>>),
    Both(Arc<(Scope, Scope)>),
}

impl Scope {
    /// Everything, on purpose.
    pub const fn unscoped() -> Self {
        Self(Rule::Unscoped)
    }

    /// Changes of rows whose column had this value before the change, or has it after it. The value is compared as text,
    /// as `->>` prints it.
    ///
    /// Out of scope is whatever doesn't tell: tables without the column, columns that are redacted, a TRUNCATE.
    pub fn field(column: impl Into<String>, value: impl fmt::Display) -> Self {
        Self(Rule::Field {
            column: column.into(),
            value: value.to_string(),
        })
    }

    /// Changes of transactions whose context had this value among its metadata, compared as text; see
    /// [`AuditContext::metadata`](crate::AuditContext::metadata).
    pub fn metadata(key: impl Into<String>, value: impl fmt::Display) -> Self {
        Self(Rule::Metadata {
            key: key.into(),
            value: value.to_string(),
        })
    }

    /// Changes for which an expression over `audit_changes` holds.
    ///
    /// ```
    /// use diesel::prelude::*;
    /// use threadline::{Scope, schema::audit_changes};
    ///
    /// let billing = Scope::matching(audit_changes::table_schema.eq("billing"));
    /// ```
    pub fn matching(
        condition: impl BoxableExpression<audit_changes::table, Pg, SqlType = Bool> + Sync + 'static,
    ) -> Self {
        Self(Rule::Matching(Arc::new(Box::new(condition))))
    }

    /// What is in both scopes.
    pub fn and(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Rule::Unscoped, rule) | (rule, Rule::Unscoped) => Self(rule),
            (one, other) => Self(Rule::Both(Arc::new((Self(one), Self(other))))),
        }
    }

    fn is_unscoped(&self) -> bool {
        matches!(self.0, Rule::Unscoped)
    }

    /// A scope that hides something.
    pub(crate) fn restricting(scope: &Option<Self>) -> Option<&Self> {
        scope.as_ref().filter(|scope| !scope.is_unscoped())
    }

    /// ` AND …` that the change `alias`, a row of `audit_changes`, is in scope.
    pub(super) fn push<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        alias: &str,
        judged: Judged,
    ) -> QueryResult<()> {
        match &self.0 {
            Rule::Unscoped => {}
            Rule::Field { column, value } => {
                out.push_sql(&match judged {
                    Judged::Change => format!(" AND threadline_had_or_has_v1({alias}, "),
                    Judged::Row => format!(" AND threadline_state({alias}) ->> ("),
                });
                push_optional_text(out, Some(column))?;
                out.push_sql(match judged {
                    Judged::Change => ", ",
                    Judged::Row => ") = (",
                });
                push_optional_text(out, Some(value))?;
                out.push_sql(")");
            }
            Rule::Metadata { key, value } => {
                out.push_sql(&format!(
                    " AND EXISTS (SELECT FROM audit_transactions AS tl_m WHERE tl_m.id = {alias}.transaction_id AND tl_m.meta ->> "
                ));
                push_optional_text(out, Some(key))?;
                out.push_sql(" = ");
                push_text(out, value)?;
                out.push_sql(")");
            }
            Rule::Matching(condition) => {
                out.push_sql(&format!(
                    " AND EXISTS (SELECT FROM (SELECT {alias}.*) AS audit_changes WHERE "
                ));
                condition.walk_ast(out.reborrow())?;
                out.push_sql(")");
            }
            Rule::Both(scopes) => {
                scopes.0.push(out, alias, judged)?;
                scopes.1.push(out, alias, judged)?;
            }
        }
        Ok(())
    }
}

/// With its values: a cursor belongs to one scope.
impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Unscoped => f.write_str("unscoped"),
            Rule::Field { column, value } => write!(f, "field {column:?} {value:?}"),
            Rule::Metadata { key, value } => write!(f, "metadata {key:?} {value:?}"),
            Rule::Matching(condition) => {
                write!(f, "matching {}", debug_query::<Pg, _>(condition.as_ref()))
            }
            Rule::Both(scopes) => write!(f, "{:?} and {:?}", scopes.0, scopes.1),
        }
    }
}

/// ` AND …` for a read that was given a scope, or none.
pub(crate) fn push_scope<'b>(
    scope: &'b Option<Scope>,
    out: &mut AstPass<'_, 'b, Pg>,
    alias: &str,
) -> QueryResult<()> {
    match scope {
        Some(scope) => scope.push(out, alias, Judged::Change),
        None => Ok(()),
    }
}

/// True, or an error for a read without a scope where one is asked for: of the tables by this name in this schema, or of
/// any audited table.
pub(crate) fn push_asked<'b>(
    scope: &Option<Scope>,
    out: &mut AstPass<'_, 'b, Pg>,
    schema: Option<&'b str>,
    table: Option<&'b str>,
) -> QueryResult<()> {
    if scope.is_some() {
        out.push_sql("true");
        return Ok(());
    }
    out.push_sql("threadline_without_scope_v1(");
    push_optional_text(out, schema)?;
    out.push_sql(", ");
    push_optional_text(out, table)?;
    out.push_sql(")");
    Ok(())
}

/// The relation of a model; an error of the query for one whose history has to be read with a scope, and is not.
pub(super) fn push_asked_of<M: Audited>(scope: Option<&Scope>, out: &mut AstPass<'_, '_, Pg>) {
    if scope.is_some() {
        push_relation::<M>(out);
    } else {
        out.push_sql("threadline_without_scope_v1(");
        push_relation::<M>(out);
        out.push_sql(")");
    }
}

pub(super) fn query_error(
    error: impl std::error::Error + Send + Sync + 'static,
) -> diesel::result::Error {
    QueryBuilderError(Box::new(error))
}
