//! Values as bind parameters.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::AstPass;
use diesel::sql_types::{Nullable, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::capture::Literal;
use crate::record::ActorRef;

/// A text. No text of PostgreSQL has a NUL character: one that does is equal to none.
pub(super) fn push_text<'b>(out: &mut AstPass<'_, 'b, Pg>, text: &'b str) -> QueryResult<()> {
    if text.contains('\0') {
        out.push_sql("NULL");
        return Ok(());
    }
    out.push_bind_param::<Text, str>(text)
}

/// A text, or NULL.
pub(super) fn push_optional_text<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    text: Option<&'b str>,
) -> QueryResult<()> {
    match text {
        Some(text) => push_text(out, text)?,
        None => out.push_sql("NULL"),
    }
    out.push_sql("::text");
    Ok(())
}

pub(super) fn push_moment<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    moment: &'b DateTime<Utc>,
) -> QueryResult<()> {
    out.push_bind_param::<Timestamptz, _>(moment)
}

/// A UUID; what is none is equal to none.
pub(super) fn push_uuid<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    id: &'b Option<Uuid>,
) -> QueryResult<()> {
    out.push_bind_param::<Nullable<SqlUuid>, _>(id)
}

/// That the transaction `alias` is an actor's, in the terms of the index.
pub(super) fn push_actor<'b>(
    out: &mut AstPass<'_, 'b, Pg>,
    alias: &str,
    actor: &'b ActorRef,
) -> QueryResult<()> {
    let kind = Literal(actor.kind().as_str());
    out.push_sql(&format!(
        "{alias}.actor_ref ->> 'type' = {kind} AND {alias}.actor_ref ->> 'id' "
    ));
    match actor.id() {
        Some(id) => {
            out.push_sql("= ");
            push_text(out, id)
        }
        None => {
            out.push_sql("IS NULL");
            Ok(())
        }
    }
}
