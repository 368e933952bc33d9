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

/// As many transactions of an actor lead to its changes faster than a walk along the log meets them.
const FEW: u32 = 1000;

/// Of the changes.
pub(super) const PLACE: Ordered = Ordered {
    before: "",
    time: "tl_c.captured_at",
    id: "tl_c.id",
    inserted_by: "tl_c.xmin",
    transaction: "tl_c.transaction_id",
};

/// Of a page of them.
pub(super) const ON_PAGE: Ordered = Ordered {
    time: "tl_p.captured_at",
    id: "tl_p.id",
    ..PLACE
};

/// In a table: between two ends, ordered by it. The planner takes an equality for a chance to walk all of the log by time
/// instead, which is slow where the table is rare; this way only the index of the table has the order.
const PLACE_IN_TABLE: Ordered = Ordered {
    before: "tl_c.table_id",
    ..PLACE
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
        } else {
            self.place_lead()
        }
    }

    fn place_lead(&self) -> Lead {
        if self.table.is_some() || self.schema.is_some() {
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
        if lead != Lead::Actor {
            return self.push_changes_by(lead, walk, scope, side, out);
        }
        // The transactions of an actor lead to all of its changes, to be sorted by time. For one with very many of them
        // that takes longer than to walk the log, where they are met often.
        out.push_sql("(SELECT tl_c.* FROM ");
        self.push_changes_by(Lead::Actor, walk, scope, side, out)?;
        out.push_sql(" WHERE ");
        self.push_few(out)?;
        out.push_sql(" UNION ALL SELECT tl_c.* FROM ");
        self.push_changes_by(self.place_lead(), walk, scope, side, out)?;
        out.push_sql(" WHERE NOT ");
        self.push_few(out)?;
        out.push_sql(") AS tl_c");
        Ok(())
    }

    /// Whether an actor has few transactions. In the order of the index, so that it stops there.
    fn push_few<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&format!(
            "(SELECT count(*) <= {FEW} FROM (SELECT FROM audit_transactions AS tl_t WHERE true"
        ));
        self.push_transaction_actor("tl_t", out)?;
        out.push_sql(&format!(
            " ORDER BY tl_t.occurred_at LIMIT {FEW} + 1) AS tl_n)"
        ));
        Ok(())
    }

    fn push_changes_by<'b>(
        &'b self,
        lead: Lead,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        self.push_lead(lead, out)?;
        out.push_sql(
            " AS tl_i CROSS JOIN LATERAL (SELECT tl_c.* FROM audit_changes AS tl_c WHERE ",
        );
        out.push_sql(match lead {
            Lead::Transaction | Lead::Correlation | Lead::Request | Lead::Actor => {
                "tl_c.transaction_id = tl_i.id"
            }
            Lead::Key => "tl_c.id = tl_i.id",
            // By the ends of what is read.
            Lead::Table | Lead::Everything => "true",
        });
        self.push_conditions(lead, walk, side, out)?;
        let place = match lead {
            Lead::Table => &PLACE_IN_TABLE,
            _ => &PLACE,
        };
        walk.push_place(out, side, place)?;
        push_scope(scope, out, "tl_c")?;
        walk.push_order(out, side, place);
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
    fn push_conditions<'b>(
        &'b self,
        lead: Lead,
        walk: &Walk,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        for (moment, upper, operator, never) in [
            (&self.from, false, ">=", "'-infinity'"),
            (&self.to, true, "<=", "'infinity'"),
        ] {
            if walk.ends_at_cursor(side, upper) {
                continue;
            }
            match (lead, moment) {
                (Lead::Table, _) => out.push_sql(&format!(
                    " AND (tl_c.table_id, tl_c.captured_at) {operator} (tl_i.id, "
                )),
                (_, Some(_)) => out.push_sql(&format!(" AND tl_c.captured_at {operator} (")),
                (_, None) => continue,
            }
            match moment {
                Some(moment) => push_moment(out, moment)?,
                None => out.push_sql(never),
            }
            out.push_sql(")");
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
            // A value and no EXISTS, so that it is looked up for each change and the planner makes no join of it.
            out.push_sql(" AND (SELECT true");
            self.push_transaction_actor("tl_a", out)?;
            out.push_sql(" FROM audit_transactions AS tl_a WHERE tl_a.id = tl_c.transaction_id)");
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

    pub(super) fn push_tables<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
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
