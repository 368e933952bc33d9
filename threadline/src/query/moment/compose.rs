//! Diesel's methods, applied to the query inside.

use diesel::Expression;
use diesel::query_dsl::QueryDsl;
use diesel::query_dsl::methods::{
    BoxedDsl, DistinctDsl, DistinctOnDsl, FilterDsl, GroupByDsl, HavingDsl, LimitDsl, OffsetDsl,
    OrFilterDsl, OrderDsl, SelectDsl, ThenOrderDsl,
};

use super::AsOfQuery;

impl<Q, T> QueryDsl for AsOfQuery<Q, T> {}

macro_rules! forward {
    ($($dsl:ident<$argument:ident $(: $bound:ident)?>: $method:ident;)*) => { $(
        impl<Q, T, $argument $(: $bound)?> $dsl<$argument> for AsOfQuery<Q, T>
        where
            Q: $dsl<$argument>,
        {
            type Output = AsOfQuery<<Q as $dsl<$argument>>::Output, T>;

            fn $method(self, argument: $argument) -> Self::Output {
                self.map(|query| $dsl::$method(query, argument))
            }
        }
    )* };
}

forward! {
    DistinctOnDsl<Selection>: distinct_on;
    FilterDsl<Predicate>: filter;
    GroupByDsl<Expr: Expression>: group_by;
    HavingDsl<Predicate>: having;
    OrFilterDsl<Predicate>: or_filter;
    OrderDsl<Expr: Expression>: order;
    SelectDsl<Selection: Expression>: select;
    ThenOrderDsl<Expr>: then_order_by;
}

impl<Q: DistinctDsl, T> DistinctDsl for AsOfQuery<Q, T> {
    type Output = AsOfQuery<Q::Output, T>;

    fn distinct(self) -> Self::Output {
        self.map(DistinctDsl::distinct)
    }
}

impl<Q: LimitDsl, T> LimitDsl for AsOfQuery<Q, T> {
    type Output = AsOfQuery<Q::Output, T>;

    fn limit(self, limit: i64) -> Self::Output {
        self.map(|query| LimitDsl::limit(query, limit))
    }
}

impl<Q: OffsetDsl, T> OffsetDsl for AsOfQuery<Q, T> {
    type Output = AsOfQuery<Q::Output, T>;

    fn offset(self, offset: i64) -> Self::Output {
        self.map(|query| OffsetDsl::offset(query, offset))
    }
}

impl<'a, DB, Q: BoxedDsl<'a, DB>, T> BoxedDsl<'a, DB> for AsOfQuery<Q, T> {
    type Output = AsOfQuery<Q::Output, T>;

    fn internal_into_boxed(self) -> Self::Output {
        self.map(BoxedDsl::internal_into_boxed)
    }
}
