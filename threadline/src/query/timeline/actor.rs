//! Where the changes of an actor come from.
//!
//! Its transactions lead to all of them, to be sorted by time: the order of transactions is not that of their changes, since
//! one may go on while others begin and end. A walk along the log meets them in order, but not soon if the actor was last there
//! long ago. Either shows the same; `threadline_walk_v1` only tells which is likely to be faster.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::Text;

use super::filter::TimelineFilter;
use super::source::Lead;
use crate::query::push::{push_moment, push_optional_text};
use crate::query::scope::Scope;
use crate::query::walk::{Side, Walk};
use crate::record::ActorRef;

impl TimelineFilter {
    pub(super) fn push_changes_of_actor<'b>(
        &'b self,
        walk: &'b Walk,
        scope: &'b Option<Scope>,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("(SELECT tl_c.* FROM (SELECT ");
        self.push_walked(walk, side, out)?;
        // A fence, so that it is found out once.
        out.push_sql(" AS walked OFFSET 0) AS tl_w CROSS JOIN LATERAL (SELECT tl_c.* FROM ");
        self.push_changes_by(Lead::Actor, walk, scope, side, out)?;
        out.push_sql(" WHERE NOT tl_w.walked UNION ALL SELECT tl_c.* FROM ");
        self.push_changes_by(self.place_lead(), walk, scope, side, out)?;
        out.push_sql(" WHERE tl_w.walked) AS tl_c) AS tl_c");
        Ok(())
    }

    fn push_walked<'b>(
        &'b self,
        walk: &'b Walk,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql("threadline_walk_v1(");
        let actor = self.actor.as_ref();
        push_optional_text(out, actor.map(|actor| actor.kind().as_str()))?;
        out.push_sql(", ");
        push_optional_text(out, actor.and_then(ActorRef::id))?;
        out.push_sql(", ");
        match self.place_lead() {
            Lead::Table => {
                out.push_sql("ARRAY(SELECT ");
                self.push_tables(out)?;
                out.push_sql(")");
            }
            // Any table.
            _ => out.push_sql("'{NULL}'"),
        }
        out.push_sql(", ");
        match &self.op {
            Some(op) => out.push_bind_param::<Text, _>(op)?,
            None => out.push_sql("NULL"),
        }
        out.push_sql(", ");
        push_optional_text(out, self.changed_field.as_deref())?;
        for (moment, upper, never) in [
            (&self.from, false, "-infinity"),
            (&self.to, true, "infinity"),
        ] {
            out.push_sql(", ");
            match walk.end(side, upper).or(moment.as_ref()) {
                Some(moment) => push_moment(out, moment)?,
                None => out.push_sql(&format!("'{never}'")),
            }
        }
        let order = walk.direction(side);
        out.push_sql(&format!(", '{order}', {})", walk.fetched(side)));
        Ok(())
    }
}
