//! What a query of one row is decoded to, so that `.get_result(conn)` infers it.

use std::marker::PhantomData;

use diesel::Expression;
use diesel::query_builder::QueryId;

/// The selection of an answer; only its type matters.
#[derive(Debug)]
pub struct Answer<T>(PhantomData<fn() -> T>);

impl<T> Answer<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: 'static> QueryId for Answer<T> {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

/// A value that one row of a query is.
pub trait AnswerRow {
    /// The types of the row's columns.
    type Sql: diesel::expression::TypedExpressionType;
}

impl<T: AnswerRow> Expression for Answer<T> {
    type SqlType = T::Sql;
}

/// `Selectable` for a type that is an [`AnswerRow`].
macro_rules! selectable {
    (@ [$($generic:tt)*] $answer:ty) => {
        impl<$($generic)*> diesel::Selectable<diesel::pg::Pg> for $answer {
            type SelectExpression = $crate::query::Answer<Self>;

            fn construct_selection() -> Self::SelectExpression {
                $crate::query::Answer::new()
            }
        }
    };
    ($answer:ty) => {
        $crate::query::selectable!(@ [] $answer);
    };
}
pub(crate) use selectable;
