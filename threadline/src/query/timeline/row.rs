//! Where the changes of one row come from.

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;

use super::filter::TimelineFilter;
use super::key::FilterKey;
use super::source::{Lead, PLACE};
use crate::query::push::push_optional_text;
use crate::query::walk::{Ordered, Side, Walk};

/// Of the entries of a row's changes in the index.
pub(super) const ENTRY: Ordered = Ordered {
    time: "tl_e.captured_at",
    id: "tl_e.id",
    ..PLACE
};

/// ` AND …`: the change is one of the row of `tl_k`.
pub(super) const OF_KEY: &str = " AND tl_c.table_id = tl_k.table_id AND tl_c.table_pk = tl_k.table_pk \
    AND (tl_c.op <> 'truncate' OR threadline_was_there_v1(tl_k.table_id, tl_k.keys, tl_c.id))";

impl TimelineFilter {
    /// A FROM item `tl_k`: the keys under which the log has the row.
    pub(super) fn push_places_of_key<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        let (schema, table) = self.place();
        out.push_sql("threadline_key_places_v1(");
        push_optional_text(out, schema)?;
        out.push_sql(", ");
        push_optional_text(out, table)?;
        out.push_sql(", ");
        push_optional_text(out, self.key.as_ref().map(FilterKey::json))?;
        out.push_sql("::jsonb) AS tl_k");
        Ok(())
    }

    /// A FROM item `tl_e`: the changes of the hash of `tl_k` in the order of the walk. The index has them by their number,
    /// which is not their order by time where a clock was set back; but it has the time too, so all of them are sorted without
    /// a look at any, and only those of the page are looked at.
    pub(super) fn push_entries_of_key<'b>(
        &'b self,
        walk: &'b Walk,
        side: Side,
        out: &mut AstPass<'_, 'b, Pg>,
    ) -> QueryResult<()> {
        out.push_sql(
            "(SELECT tl_e.id, tl_e.captured_at FROM audit_changes AS tl_e WHERE tl_e.table_id = tl_k.table_id AND tl_e.key_hash = tl_k.key_hash",
        );
        self.push_window(Lead::Key, walk, side, "tl_e", out)?;
        walk.push_beyond(out, side, &ENTRY)?;
        walk.push_order(out, side, &ENTRY);
        out.push_sql(") AS tl_e");
        Ok(())
    }
}
