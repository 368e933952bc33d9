//! The conditions as SQL.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};

use super::{Anything, Exactly};
use crate::capture::{Literal, rendered};

/// What is said of the value on one side of a change.
pub trait Side {
    /// Whether nothing is said.
    const ANYTHING: bool;

    /// The recorded fields that it may be, as `jsonb[]`.
    ///
    /// # Errors
    ///
    /// Whatever rendering the value raises.
    fn push_fields<'b, C>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()>
    where
        C: Column,
        C::Table: QueryFragment<Pg> + Default;
}

impl Side for Anything {
    const ANYTHING: bool = true;

    fn push_fields<'b, C>(&'b self, _: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        Ok(())
    }
}

impl<E: QueryFragment<Pg>> Side for Exactly<E> {
    const ANYTHING: bool = false;

    fn push_fields<'b, C>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()>
    where
        C: Column,
        C::Table: QueryFragment<Pg> + Default,
    {
        // A subquery, so that the value is printed once and not for each change.
        out.push_sql("((SELECT threadline_values(");
        push_column::<C>(&mut out);
        out.push_sql(", ");
        self.0.walk_ast(out.reborrow())?;
        out.push_sql("))::jsonb[])");
        Ok(())
    }
}

/// `'"schema"."table"'::regclass, 'column'`
fn push_column<C>(out: &mut AstPass<'_, '_, Pg>)
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
{
    out.push_sql(&Literal(&rendered::<C::Table>()).to_string());
    out.push_sql("::regclass, ");
    out.push_sql(&Literal(C::NAME).to_string());
}

/// That the change is an update of the column.
pub(super) fn push_updated<C>(out: &mut AstPass<'_, '_, Pg>)
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
{
    out.push_sql("tl_c.op = 'update' AND tl_c.changed_fields && (SELECT threadline_names(");
    push_column::<C>(out);
    out.push_sql("))::text[]");
}

pub(super) fn push_from<'b, C, S: Side>(
    side: &'b S,
    out: &mut AstPass<'_, 'b, Pg>,
) -> QueryResult<()>
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
{
    out.push_sql("((tl_c.op = 'delete' OR ");
    push_updated::<C>(out);
    out.push_sql(
        ") AND threadline_holds_one_of(CASE WHEN tl_c.changed_from ?| (SELECT threadline_names(",
    );
    push_column::<C>(out);
    out.push_sql("))::text[] THEN tl_c.changed_from ELSE threadline_earlier(tl_c) END, ");
    side.push_fields::<C>(out.reborrow())?;
    out.push_sql("))");
    Ok(())
}

pub(super) fn push_to<'b, C, S: Side>(side: &'b S, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>
where
    C: Column,
    C::Table: QueryFragment<Pg> + Default,
{
    // Twice, because an index can find what contains a document, and only the other condition knows what equals it.
    out.push_sql("(tl_c.data_after @> ANY ");
    side.push_fields::<C>(out.reborrow())?;
    out.push_sql(" AND threadline_holds_one_of(tl_c.data_after, ");
    side.push_fields::<C>(out.reborrow())?;
    out.push_sql(") AND (tl_c.op IN ('insert', 'baseline') OR ");
    push_updated::<C>(out);
    out.push_sql("))");
    Ok(())
}
