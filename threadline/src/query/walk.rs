//! Where a page is in its list, in SQL.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};

use super::page::{BEHIND, Cursor, EntryId};
use super::push::push_moment;

/// The order of a walk, its limit, and where it is.
#[derive(Debug, Clone)]
pub struct Walk {
    pub(super) limit: i64,
    pub(super) oldest_first: bool,
    at: Option<At>,
}

/// A cursor with what is bound of it.
#[derive(Debug, Clone)]
struct At {
    cursor: Cursor,
    /// The whole text of what is seen, and the `pg_snapshot` of it.
    seen: String,
    snapshot: String,
}

/// The columns that a list is ordered by, and what tells whether the walk sees an entry.
pub(super) struct Ordered {
    /// A column that is one value, that of `tl_i.id`, and that the order begins with; empty for none.
    pub(super) before: &'static str,
    pub(super) time: &'static str,
    pub(super) id: &'static str,
    /// The `xmin` of the row.
    pub(super) inserted_by: &'static str,
    pub(super) transaction: &'static str,
}

/// Which way a page is read.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// The page itself.
    Ahead,
    /// What comes before it, the nearest first, from the cursor's own entry on.
    Behind,
}

impl Walk {
    pub(super) fn new(limit: i64) -> Self {
        Self {
            limit,
            oldest_first: false,
            at: None,
        }
    }

    pub(super) fn go_to(&mut self, cursor: &Cursor) {
        self.at = Some(At {
            seen: cursor.seen.to_string(),
            snapshot: cursor.seen.snapshot(),
            cursor: cursor.clone(),
        });
    }

    pub(super) fn cursor(&self) -> Option<&Cursor> {
        self.at.as_ref().map(|at| &at.cursor)
    }

    fn back(&self) -> bool {
        self.cursor().is_some_and(|cursor| cursor.back)
    }

    fn descending(&self, side: Side) -> bool {
        self.oldest_first == (self.back() != matches!(side, Side::Behind))
    }

    /// Whether the cursor is itself the upper end, or the lower end, of what is read. Beside another one it had better be the
    /// only one: an index scan begins at either.
    pub(super) fn ends_at_cursor(&self, side: Side, upper: bool) -> bool {
        self.end(side, upper).is_some()
    }

    /// The moment of the cursor, if that is the upper end, or the lower end, of what is read.
    pub(super) fn end(&self, side: Side, upper: bool) -> Option<&DateTime<Utc>> {
        let cursor = self.cursor()?;
        (self.descending(side) == upper).then_some(&cursor.position.at)
    }

    /// The order in SQL.
    pub(super) fn direction(&self, side: Side) -> &'static str {
        if self.descending(side) { "DESC" } else { "ASC" }
    }

    /// ` ORDER BY …`
    pub(super) fn push_order(&self, out: &mut AstPass<'_, '_, Pg>, side: Side, columns: &Ordered) {
        let order = self.direction(side);
        let Ordered {
            before, time, id, ..
        } = columns;
        let columns = [*before, *time, *id]
            .into_iter()
            .filter(|column| !column.is_empty());
        for (index, column) in columns.enumerate() {
            out.push_sql(if index == 0 { " ORDER BY " } else { ", " });
            out.push_sql(&format!("{column} {order}"));
        }
    }

    /// ` LIMIT …`: one more than asked for, to see whether there is more.
    pub(super) fn push_limit(&self, out: &mut AstPass<'_, '_, Pg>, side: Side) {
        // In the text, since a plan for any limit would be one for a tenth of the log.
        out.push_sql(&format!(" LIMIT {}", self.fetched(side)));
    }

    /// As many by one column, and those that equal the last of them.
    pub(super) fn push_ties(&self, out: &mut AstPass<'_, '_, Pg>, side: Side, time: &str) {
        let order = self.direction(side);
        let fetched = self.fetched(side);
        out.push_sql(&format!(
            " ORDER BY {time} {order} FETCH FIRST {fetched} ROWS WITH TIES"
        ));
    }

    pub(super) fn fetched(&self, side: Side) -> i64 {
        match side {
            Side::Ahead => self.limit + 1,
            Side::Behind => 1,
        }
    }

    /// ` AND …`: beyond the cursor, and seen by the walk.
    pub(super) fn push_place<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        side: Side,
        columns: &Ordered,
    ) -> QueryResult<()> {
        self.push_beyond(out, side, columns)?;
        self.push_seen(out, columns)
    }

    /// ` AND …`: beyond the cursor. An index knows it.
    pub(super) fn push_beyond<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        side: Side,
        columns: &Ordered,
    ) -> QueryResult<()> {
        let Some(At { cursor, .. }) = &self.at else {
            return Ok(());
        };
        let Ordered {
            before, time, id, ..
        } = columns;
        let operator = match (self.descending(side), side) {
            (true, Side::Ahead) => "<",
            (true, Side::Behind) => "<=",
            (false, Side::Ahead) => ">",
            (false, Side::Behind) => ">=",
        };
        out.push_sql(&if before.is_empty() {
            format!(" AND ({time}, {id}) {operator} (")
        } else {
            format!(" AND ({before}, {time}, {id}) {operator} (tl_i.id, ")
        });
        push_moment(out, &cursor.position.at)?;
        out.push_sql(", ");
        match &cursor.position.id {
            EntryId::Change(id) => out.push_bind_param::<BigInt, _>(id)?,
            EntryId::Transaction(id) => out.push_bind_param::<SqlUuid, _>(id)?,
        }
        out.push_sql(")");
        Ok(())
    }

    /// ` AND …`: seen by the walk. Only the row knows it.
    pub(super) fn push_seen<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        columns: &Ordered,
    ) -> QueryResult<()> {
        let Some(At {
            cursor, snapshot, ..
        }) = &self.at
        else {
            return Ok(());
        };
        let Ordered {
            inserted_by,
            transaction,
            ..
        } = columns;
        // What was inserted before every transaction that was running then is seen; only the rest is looked at closely.
        // The age of a row is that of the latest transaction with its 32 bits, so that it is right for old rows too.
        let now = "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)";
        let (looks_closely, covered) = match cursor.seen.covered() {
            None => ("threadline_seen_v1", String::new()),
            Some(covered) => ("threadline_seen_on_standby_v1", format!(", {covered}")),
        };
        out.push_sql(&format!(
            " AND ((({now} - {inserted_by}::text::bigint) & 4294967295) > {now} - {} OR {looks_closely}({inserted_by}, {transaction}, ",
            cursor.seen.oldest()
        ));
        out.push_bind_param::<Text, _>(snapshot)?;
        out.push_sql(&format!("::pg_snapshot{covered}))"));
        Ok(())
    }

    /// The columns of a page after its entries and what is behind it.
    pub(super) fn push_facts<'b>(
        &'b self,
        out: &mut AstPass<'_, 'b, Pg>,
        fingerprint: u64,
    ) -> QueryResult<()> {
        match &self.at {
            Some(At {
                cursor,
                seen,
                snapshot,
            }) => {
                // Not in a function: what calls a volatile one, as pg_is_in_recovery is, is not inlined.
                out.push_sql(&format!(
                    "CASE WHEN pg_is_in_recovery() AND NOT threadline_walk_goes_on_v1({}, ",
                    cursor.seen.begun_at()
                ));
                out.push_bind_param::<Text, _>(snapshot)?;
                out.push_sql(&format!("::pg_snapshot) THEN '{BEHIND}' ELSE "));
                out.push_bind_param::<Text, _>(seen)?;
                out.push_sql("::text END");
            }
            None => out.push_sql(
                "CASE WHEN pg_is_in_recovery() THEN threadline_standby_snapshot_v1(pg_current_snapshot()) \
                 ELSE pg_current_snapshot()::text || '/' || threadline_run_v1() END",
            ),
        }
        // Quoted, because the smallest number is none without its sign.
        out.push_sql(&format!(
            ", '{}'::bigint, {}, {}::bigint",
            fingerprint.cast_signed(),
            self.back(),
            self.limit
        ));
        Ok(())
    }
}
