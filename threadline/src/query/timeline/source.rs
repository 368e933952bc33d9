//! Where the changes of a timeline come from.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Text, Uuid as SqlUuid};

use super::filter::TimelineFilter;
use crate::query::push::{push_actor, push_moment, push_optional_text, push_text};
use crate::query::scope::{Scope, push_scope};
use crate::query::walk::{Ordered, Side, Walk};

/// What leads to the changes: the filter that promises the fewest. The others are looked at one change at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Transaction,
    Correlation,
    Request,
    Key,
    Actor,
    Table,
    Everything,
}

const PLACE: Ordered = Ordered {
    time: "tl_c.captured_at",
    id: "tl_c.id",
    inserted_by: "tl_c.xmin",
    transaction: "tl_c.transaction_id",
};

impl TimelineFilter {
    fn lead(&self) -> Lead {
        if self.transaction.is_some() {
            Lead::Transaction
        } else if self.correlation_id.is_some() {
            Lead::Correlation
        } else if self.request_id.is_some() {
            Lead::Request
        } else if self.key.is_some() {
            Lead::Key
        } else if self.actor.is_some() {
            Lead::Actor
        } else if self.table.is_some() || self.schema.is_some() {
            Lead::Table
        } else {
            Lead::Everything
        }
    }

    /// A FROM item that ends with `AS tl_c`, the changes: for each of what leads to them as many as may be on the page.
    pub(super) fn push_changes<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let lead = self.lead();
        self.push_lead(lead, out)?;
        out.push_sql(
            " AS tl_i CROSS JOIN LATERAL (SELECT tl_c.* FROM audit_changes AS tl_c WHERE ",
        );
        out.push_sql(match lead {
            Lead::Transaction | Lead::Correlation | Lead::Request | Lead::Actor => {
                "tl_c.transaction_id = tl_i.id"
            }
            Lead::Key => "tl_c.id = tl_i.id",
            Lead::Table => "tl_c.table_id = tl_i.id",
            Lead::Everything => "true",
        });
        self.push_conditions(lead, out)?;
        walk.push_place(out, side, &PLACE)?;
        push_scope(scope, out, "tl_c")?;
        walk.push_order(out, side, "tl_c.captured_at", "tl_c.id");
        walk.push_limit(out, side);
        out.push_sql(") AS tl_c");
        Ok(())
    }

    fn push_lead<'b>(&'b self, lead: Lead, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match lead {
            Lead::Everything => out.push_sql("(SELECT)"),
            Lead::Table => {
                out.push_sql("(SELECT ");
                self.push_tables(out)?;
                out.push_sql(" AS id)");
            }
            Lead::Key => {
                out.push_sql("(SELECT threadline_key_changes_v1(");
                push_optional_text(out, self.schema.as_deref())?;
                out.push_sql(", ");
                push_optional_text(out, self.table.as_deref())?;
                out.push_sql(", ");
                push_optional_text(out, self.key.as_ref().map(super::key::FilterKey::json))?;
                out.push_sql("::jsonb) AS id)");
            }
            Lead::Transaction => {
                out.push_sql("(SELECT ");
                out.push_bind_param::<diesel::sql_types::Nullable<SqlUuid>, _>(&self.transaction)?;
                out.push_sql("::uuid AS id)");
            }
            Lead::Correlation => push_tied(out, "correlation_id", &self.correlation_id)?,
            Lead::Request => push_tied(out, "request_id", &self.request_id)?,
            Lead::Actor => {
                out.push_sql("(SELECT tl_t.id FROM audit_transactions AS tl_t WHERE true");
                self.push_transaction_actor("tl_t", out)?;
                out.push_sql(")");
            }
        }
        Ok(())
    }

    /// ` AND …` for every filter that doesn't lead.
    fn push_conditions<'b>(&'b self, lead: Lead, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(from) = &self.from {
            out.push_sql(" AND tl_c.captured_at >= ");
            push_moment(out, from)?;
        }
        if let Some(to) = &self.to {
            out.push_sql(" AND tl_c.captured_at <= ");
            push_moment(out, to)?;
        }
        if let Some(op) = &self.op {
            out.push_sql(" AND tl_c.op = ");
            out.push_bind_param::<Text, _>(op)?;
        }
        if let Some(column) = &self.changed_field {
            out.push_sql(" AND tl_c.changed_fields @> ARRAY[");
            push_optional_text(out, Some(column))?;
            out.push_sql("]");
        }
        if self.table.is_some() || self.schema.is_some() {
            // Even where another filter leads: a table that isn't audited is an error, not an empty page.
            if !matches!(lead, Lead::Table | Lead::Key) {
                out.push_sql(" AND tl_c.table_id = ANY (ARRAY(SELECT ");
                self.push_tables(out)?;
                out.push_sql("))");
            }
        }
        if self.key.is_some() && lead != Lead::Key {
            out.push_sql(" AND tl_c.id = ANY (ARRAY");
            self.push_lead(Lead::Key, out)?;
            out.push_sql(")");
        }
        if self.actor.is_some() && lead != Lead::Actor {
            out.push_sql(" AND EXISTS (SELECT FROM audit_transactions AS tl_a WHERE tl_a.id = tl_c.transaction_id");
            self.push_transaction_actor("tl_a", out)?;
            out.push_sql(")");
        }
        if self.correlation_id.is_some() && lead != Lead::Correlation {
            out.push_sql(" AND tl_c.transaction_id = ANY (ARRAY");
            push_tied(out, "correlation_id", &self.correlation_id)?;
            out.push_sql(")");
        }
        if self.request_id.is_some() && lead != Lead::Request {
            out.push_sql(" AND tl_c.transaction_id = ANY (ARRAY");
            push_tied(out, "request_id", &self.request_id)?;
            out.push_sql(")");
        }
        Ok(())
    }

    fn push_tables<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("threadline_tables_v1(");
        push_optional_text(out, self.schema.as_deref())?;
        out.push_sql(", ");
        push_optional_text(out, self.table.as_deref())?;
        out.push_sql(")");
        Ok(())
    }

    fn push_transaction_actor<'b>(
        &'b self,
        alias: &str,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        match &self.actor {
            Some(actor) => {
                out.push_sql(" AND ");
                push_actor(out, alias, actor)
            }
            None => Ok(()),
        }
    }
}

/// The transactions that share an id, or that have an action which does.
pub(in crate::query) fn push_tied<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    column: &str,
    id: &'b Option<String>,
) -> QueryResult<()> {
    let id = id.as_deref().unwrap_or_default();
    out.push_sql(&format!(
        "(SELECT tl_t.id FROM audit_transactions AS tl_t WHERE tl_t.{column} = "
    ));
    push_text(out, id)?;
    out.push_sql(&format!(
        " UNION SELECT tl_x.transaction_id FROM audit_actions AS tl_x WHERE tl_x.{column} = "
    ));
    push_text(out, id)?;
    out.push_sql(")");
    Ok(())
}
