//! Ids in Rust to keys in SQL.

use std::marker::PhantomData;

use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::query_source::Column;
use diesel::sql_types::SqlType;
use diesel::{Expression, QueryResult};

use crate::audited::{Many, One};
use crate::capture::Literal;

/// A value, or a tuple of values, for the key column or columns `Columns` of a model.
///
/// `Kind` is inferred; it keeps the implementations for one column and for several apart.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no id of this model",
    label = "the key of the model is `{Columns}`",
    note = "give a value for the key column, or a tuple with one value for each key column in the order of the key"
)]
pub trait IntoKey<Columns, Kind> {
    /// The arguments of `jsonb_build_object` that make the key.
    type Expression: QueryFragment<Pg>;

    /// Turns the value into the expression.
    fn into_key(self) -> Self::Expression;
}

/// One column of a key and its value.
#[derive(Debug, Clone, Copy)]
pub struct KeyPart<C, E> {
    column: PhantomData<C>,
    value: E,
}

impl<C: 'static, E: QueryId> QueryId for KeyPart<C, E> {
    type QueryId = KeyPart<C, E::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = E::HAS_STATIC_QUERY_ID;
}

impl<C: Column, E: QueryFragment<Pg>> QueryFragment<Pg> for KeyPart<C, E> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&Literal(C::NAME).to_string());
        out.push_sql(", ");
        self.value.walk_ast(out)
    }
}

#[diagnostic::do_not_recommend]
impl<C, T> IntoKey<C, One> for T
where
    C: Column,
    C::SqlType: SqlType,
    T: AsExpression<C::SqlType>,
    T::Expression: Expression + QueryFragment<Pg>,
{
    type Expression = KeyPart<C, T::Expression>;

    fn into_key(self) -> Self::Expression {
        KeyPart {
            column: PhantomData,
            value: self.as_expression(),
        }
    }
}

macro_rules! key_of_several_columns {
    ($($column:ident $value:ident $index:tt)+) => {
        #[diagnostic::do_not_recommend]
        impl<$($column, $value),+> IntoKey<($($column,)+), Many> for ($($value,)+)
        where
            $($value: IntoKey<$column, One>),+
        {
            type Expression = ($(<$value as IntoKey<$column, One>>::Expression,)+);

            fn into_key(self) -> Self::Expression {
                ($(self.$index.into_key(),)+)
            }
        }
    };
}

key_of_several_columns!(A TA 0);
key_of_several_columns!(A TA 0 B TB 1);
key_of_several_columns!(A TA 0 B TB 1 C TC 2);
key_of_several_columns!(A TA 0 B TB 1 C TC 2 D TD 3);
key_of_several_columns!(A TA 0 B TB 1 C TC 2 D TD 3 E TE 4);
key_of_several_columns!(A TA 0 B TB 1 C TC 2 D TD 3 E TE 4 F TF 5);
key_of_several_columns!(A TA 0 B TB 1 C TC 2 D TD 3 E TE 4 F TF 5 G TG 6);
key_of_several_columns!(A TA 0 B TB 1 C TC 2 D TD 3 E TE 4 F TF 5 G TG 6 H TH 7);
