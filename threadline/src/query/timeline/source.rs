//! Where the changes of a timeline come from.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::Uuid as SqlUuid;

use super::filter::TimelineFilter;
use super::row;
use crate::capture::Literal;
use crate::query::push::{push_actor, push_moment, push_optional_text, push_text};
use crate::query::scope::{Scope, push_scope};
use crate::query::walk::{Ordered, Side, Walk};

/// What leads to the changes: the filter that promises the fewest. The others are looked at one change at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    Transaction,
    Correlation,
    Request,
    Key,
    Actor,
    Table,
    Everything,
}

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

    pub(super) fn place_lead(&self) -> Lead {
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
        match self.lead() {
            Lead::Actor => self.push_changes_of_actor(walk, scope, side, out),
            lead => self.push_changes_by(lead, walk, scope, side, out),
        }
    }

    pub(super) fn push_changes_by<'b>(
        &'b self,
        lead: Lead,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        self.push_lead(lead, out)?;
        out.push_sql(" CROSS JOIN LATERAL (SELECT tl_c.* FROM ");
        if lead == Lead::Key {
            self.push_entries_of_key(walk, side, out)?;
            out.push_sql(" JOIN audit_changes AS tl_c ON tl_c.id = tl_e.id WHERE true");
        } else {
            out.push_sql("audit_changes AS tl_c WHERE ");
            out.push_sql(match lead {
                // By the ends of what is read.
                Lead::Table | Lead::Everything => "true",
                _ => "tl_c.transaction_id = tl_i.id",
            });
            self.push_window(lead, walk, side, "tl_c", out)?;
        }
        self.push_conditions(lead, out)?;
        let place = match lead {
            Lead::Table => &PLACE_IN_TABLE,
            Lead::Key => &row::ENTRY,
            _ => &PLACE,
        };
        if lead != Lead::Key {
            walk.push_beyond(out, side, place)?;
        }
        walk.push_seen(out, place)?;
        push_scope(scope, out, "tl_c")?;
        walk.push_order(out, side, place);
        walk.push_limit(out, side);
        out.push_sql(") AS tl_c");
        Ok(())
    }

    /// A FROM item: what leads to changes is `tl_i.id`, and where the filter has a key, where they are is `tl_k`.
    fn push_lead<'b>(&'b self, lead: Lead, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        match lead {
            Lead::Everything => out.push_sql("(SELECT)"),
            Lead::Table => {
                out.push_sql("(SELECT ");
                self.push_tables(out)?;
                out.push_sql(" AS id)");
            }
            Lead::Key => return self.push_places_of_key(out),
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
        out.push_sql(" AS tl_i");
        if self.key.is_some() {
            out.push_sql(" CROSS JOIN ");
            self.push_places_of_key(out)?;
        }
        Ok(())
    }

    /// ` AND …` for the moments from which and to which `changes`, an alias, are read.
    pub(super) fn push_window<'b>(
        &'b self,
        lead: Lead,
        walk: &Walk,
        side: Side,
        changes: &str,
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
                    " AND ({changes}.table_id, {changes}.captured_at) {operator} (tl_i.id, "
                )),
                (_, Some(_)) => out.push_sql(&format!(" AND {changes}.captured_at {operator} (")),
                (_, None) => continue,
            }
            match moment {
                Some(moment) => push_moment(out, moment)?,
                None => out.push_sql(never),
            }
            out.push_sql(")");
        }
        Ok(())
    }

    /// ` AND …` for every other filter that doesn't lead.
    fn push_conditions<'b>(&'b self, lead: Lead, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Some(op) = &self.op {
            // In the text, so that an index of rare ones serves every plan.
            out.push_sql(&format!(" AND tl_c.op = {}", Literal(op.as_str())));
        }
        if let Some(column) = &self.changed_field {
            out.push_sql(" AND tl_c.changed_fields @> ARRAY[");
            push_optional_text(out, Some(column))?;
            out.push_sql("]");
        }
        if self.key.is_some() {
            out.push_sql(row::OF_KEY);
        } else if (self.table.is_some() || self.schema.is_some()) && lead != Lead::Table {
            // Even where another filter leads: a table that isn't audited is an error, not an empty page.
            out.push_sql(" AND tl_c.table_id = ANY (ARRAY(SELECT ");
            self.push_tables(out)?;
            out.push_sql("))");
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

    /// The schema and the name of the tables, as far as the filter names them.
    pub(super) fn place(&self) -> (Option<&str>, Option<&str>) {
        let schema = self.schema.as_deref();
        match &self.table {
            Some(table) => {
                let (schema, name) = table.resolve(schema);
                (schema, Some(name))
            }
            None => (schema, None),
        }
    }

    pub(super) fn push_tables<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (schema, table) = self.place();
        out.push_sql("threadline_tables_v1(");
        push_optional_text(out, schema)?;
        out.push_sql(", ");
        push_optional_text(out, table)?;
        out.push_sql(")");
        Ok(())
    }

    pub(super) fn push_transaction_actor<'b>(
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
