//! How a model's table appears in the SQL of history queries.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::result::Error::QueryBuilderError;
use diesel::{QueryResult, Selectable};

use crate::audited::Audited;
use crate::capture::{Literal, TableName, rendered};

/// The table's name, for an alias.
pub(super) fn table_name<M: Audited>() -> QueryResult<TableName> {
    rendered::<M::Table>()
        .parse()
        .map_err(|error| QueryBuilderError(Box::new(error)))
}

/// The name of a table, without its schema.
pub(super) fn name_of<T: QueryFragment<Pg> + Default>() -> QueryResult<String> {
    let name: TableName = rendered::<T>()
        .parse()
        .map_err(|error| QueryBuilderError(Box::new(error)))?;
    Ok(name.name().as_str().to_owned())
}

/// `'"schema"."table"'::regclass`
pub(super) fn push_relation<M: Audited>(out: &mut AstPass<'_, '_, Pg>) {
    out.push_sql(&Literal(&rendered::<M::Table>()).to_string());
    out.push_sql("::regclass");
}

/// How rows of the model's table are decoded, as a subquery, so that it is looked up once for all of them.
pub(super) fn push_recipe<M: Audited>(out: &mut AstPass<'_, '_, Pg>) {
    out.push_sql("(SELECT threadline_recipe(");
    push_relation::<M>(out);
    out.push_sql(", ");
    out.push_sql(&Literal(&fill::<M>()).to_string());
    out.push_sql("::jsonb))");
}

/// `CROSS JOIN LATERAL` the recorded row `data`, decoded, and then as a table under the name of the model's table.
pub(super) fn push_decoded<M: Audited>(
    out: &mut AstPass<'_, '_, Pg>,
    data: &str,
) -> QueryResult<()> {
    out.push_sql(" CROSS JOIN LATERAL threadline_decode(NULL::");
    out.push_sql(&rendered::<M::Table>());
    out.push_sql(", ");
    push_recipe::<M>(out);
    out.push_sql(", ");
    out.push_sql(data);
    out.push_sql(") AS tl_r CROSS JOIN LATERAL (SELECT (tl_r.row_image).*) AS ");
    out.push_identifier(table_name::<M>()?.name().as_str())
}

/// The model's own selection, of the decoded row.
pub(super) fn push_selection<M: Audited + Selectable<Pg>>(
    out: &mut AstPass<'_, '_, Pg>,
    fragment: &impl QueryFragment<Pg>,
) -> QueryResult<()> {
    out.push_sql(&unqualified::<M>(fragment)?);
    Ok(())
}

/// The SQL of a fragment without bind values, with columns of a table that has a schema qualified by the table alone:
/// an alias can't have a schema.
fn unqualified<M: Audited>(fragment: &impl QueryFragment<Pg>) -> QueryResult<String> {
    let sql = diesel::debug_query::<Pg, _>(fragment).to_string();
    let sql = sql
        .strip_suffix(" -- binds: []")
        .ok_or_else(|| QueryBuilderError("a selection with bind values has no history".into()))?;
    let name = table_name::<M>()?;
    Ok(match name.schema() {
        None => sql.to_owned(),
        Some(_) => sql.replace(&format!("{}.", name.sql()), &format!("{}.", name.name())),
    })
}

/// The model's fills as one JSON object.
pub(super) fn fill<M: Audited>() -> String {
    let fields: Vec<_> = M::DEFINITION
        .fill
        .iter()
        .map(|(column, json)| format!("{}:{json}", serde_json::Value::from(*column)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
