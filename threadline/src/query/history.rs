//! Entry points of the typed read path.

use diesel::dsl::{AsSelect, Desc, Order, Select};
use diesel::expression::AsExpression;
use diesel::internal::table_macro::{FromClause, SelectStatement};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_dsl::methods::{OrderDsl, SelectDsl};
use diesel::sql_types::Timestamptz;

use super::as_of_rows::{AsOfKeys, AsOfRow, AsOfRows, ManyKeys, OneKey};
use super::columns;
use super::key::IntoKey;
use super::moment::AsOfQuery;
use super::scope::Scope;
use super::scoped::Reads;
use super::source::{OfRow, OfTable, Source};
use crate::audited::Audited;

/// A query of a [`Source`]: a native Diesel select statement.
pub type Changes<M, F = OfTable> = SelectStatement<FromClause<Source<M, F>>>;

/// What [`AuditedDsl::history`] returns.
pub type History<M, K> = Order<Changes<M, OfRow<K>>, Desc<columns::id>>;

/// What [`AuditedDsl::all_as_of`] returns.
pub type AllAsOf<M, T> = AsOfQuery<Select<<M as Audited>::Table, AsSelect<M, Pg>>, T>;

/// History of audited models, as Diesel queries: nothing runs until they are loaded.
///
/// Load them with Diesel or diesel-async; `.filter`, `.order`, `.limit`, `.select`, `.into_boxed` and the rest of Diesel
/// apply. The caller needs SELECT on the audit tables: the role `threadline_reader` has it.
pub trait AuditedDsl: Audited + Selectable<Pg> {
    /// Every change of the row with this id, newest first, without a limit.
    ///
    /// The id is a value for the key column, or a tuple for a key of several columns. An error of the query names the
    /// table if it isn't audited.
    ///
    /// Diesel keeps the order when it counts, which PostgreSQL refuses: count with
    /// [`changes_of`](AuditedDsl::changes_of).
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User { pub id: i64, pub email: String }
    /// # }
    /// # use app::User;
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{Op, change, prelude::*};
    ///
    /// fn corrections(conn: &mut impl LoadConnection<Backend = Pg>) -> QueryResult<()> {
    ///     let changes = User::history(42)
    ///         .filter(change::op.eq(Op::Update))
    ///         .limit(10)
    ///         .load(conn)?;
    ///     for change in changes {
    ///         println!("{} {:?}", change.captured_at, change.after().map(|user| &user.email));
    ///     }
    ///     Ok(())
    /// }
    /// ```
    fn history<Id, Kind>(id: Id) -> History<Self, Id::Expression>
    where
        Id: IntoKey<Self::Key, Kind>,
        Source<Self, OfRow<Id::Expression>>: QuerySource,
        Changes<Self, OfRow<Id::Expression>>: OrderDsl<Desc<columns::id>>,
    {
        OrderDsl::order(Self::changes_of(id), columns::id.desc())
    }

    /// Every change of the row with this id, in no order: to count, to aggregate or to order by something else.
    fn changes_of<Id, Kind>(id: Id) -> Changes<Self, OfRow<Id::Expression>>
    where
        Id: IntoKey<Self::Key, Kind>,
        Source<Self, OfRow<Id::Expression>>: QuerySource,
    {
        SelectStatement::simple(Source::new(OfRow(id.into_key())))
    }

    /// Every change of the table, in no order. Give it a filter or a limit: the log is long.
    fn changes() -> Changes<Self>
    where
        Source<Self, OfTable>: QuerySource,
    {
        SelectStatement::simple(Source::new(OfTable))
    }

    /// The row with this id as it was at a moment; a query of exactly one [`AsOf`](crate::AsOf).
    ///
    /// It goes by the time of writing (`captured_at`): a change counts from the moment of its statement, even where its
    /// transaction committed later.
    ///
    /// # Cost
    ///
    /// Changes of the row that came after the moment are passed over in the index, from the newest on: 10,000 of them take about
    /// a millisecond. The index is by number, and numbers don't tell the time where a clock was set back, so it can't be entered
    /// at the moment. What was written since the last VACUUM is looked at in the table, which takes some ten times as long.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User { pub id: i64, pub email: String }
    /// # }
    /// # use app::User;
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{AsOf, prelude::*};
    ///
    /// fn yesterday(conn: &mut impl LoadConnection<Backend = Pg>) -> QueryResult<Option<String>> {
    ///     let moment = chrono::Utc::now() - chrono::TimeDelta::days(1);
    ///     Ok(match User::as_of(42, moment).get_result(conn)? {
    ///         AsOf::Found { row, .. } => Some(row.email),
    ///         _ => None,
    ///     })
    /// }
    /// ```
    fn as_of<Id, Kind, T>(id: Id, moment: T) -> AsOfRow<Self, Id::Expression, T::Expression>
    where
        Id: IntoKey<Self::Key, Kind>,
        T: AsExpression<Timestamptz>,
    {
        AsOfKeys::new(OneKey(id.into_key()), moment.as_expression(), None)
    }

    /// The same reads, of what is in a scope. A table under row level security is read by these alone, or by
    /// [`unscoped`](AuditedDsl::unscoped) ones.
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { invoices (id) { id -> BigInt, tenant_id -> BigInt, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = invoices)]
    /// #     pub struct Invoice { pub id: i64, pub tenant_id: i64 }
    /// # }
    /// # use app::Invoice;
    /// use threadline::{Scope, prelude::*};
    ///
    /// let history = Invoice::scoped(Scope::field("tenant_id", 7)).history(42);
    /// ```
    fn scoped(scope: Scope) -> Reads<Self>
    where
        Self: Sized,
    {
        Reads::new(scope)
    }

    /// The same reads, of everything, on purpose; see [`Scope::unscoped`].
    fn unscoped() -> Reads<Self>
    where
        Self: Sized,
    {
        Reads::new(Scope::unscoped())
    }

    /// The rows with these ids as they were at a moment: one [`AsOf`](crate::AsOf) for each id, in the order of the ids.
    ///
    /// It is [`as_of`](AuditedDsl::as_of) for several rows in one query, by the time of writing too. The protocol allows for
    /// 65,535 values, so for as many ids, or parts of keys.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User { pub id: i64, pub email: String }
    /// # }
    /// # use app::User;
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::{AsOf, prelude::*};
    ///
    /// fn then(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<Vec<User>> {
    ///     let rows = User::as_of_many([42, 43], moment).load(conn)?;
    ///     Ok(rows.into_iter().filter_map(AsOf::into_row).collect())
    /// }
    /// ```
    fn as_of_many<Id, Kind, T>(
        ids: impl IntoIterator<Item = Id>,
        moment: T,
    ) -> AsOfRows<Self, Id::Expression, T::Expression>
    where
        Id: IntoKey<Self::Key, Kind>,
        T: AsExpression<Timestamptz>,
    {
        let keys = ids.into_iter().map(IntoKey::into_key);
        AsOfKeys::new(ManyKeys(keys.collect()), moment.as_expression(), None)
    }

    /// All rows as they were at a moment: `table.select(Model::as_select()).as_of(moment)`, which goes by the time of commit
    /// (see [`QueryAsOf::as_of`](crate::QueryAsOf::as_of)) and composes further, with the model's fills for columns that
    /// the log has no value for.
    ///
    /// For one row by its key, [`as_of`](AuditedDsl::as_of) is quicker.
    ///
    /// These are all rows of the table: a `#[diesel(base_query = …)]` of the model isn't applied, since only Diesel's `HasQuery`
    /// knows it. `Model::query()` begins with it, and is asked as of a moment like any query, as below.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     use diesel::prelude::*;
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, active -> Bool, } }
    /// #     #[derive(HasQuery, threadline::Audited)]
    /// #     #[diesel(table_name = users, base_query = users::table.filter(users::active))]
    /// #     pub struct User { pub id: i64, pub email: String }
    /// # }
    /// # use app::{User, users};
    /// use chrono::{DateTime, Utc};
    /// use diesel::connection::LoadConnection;
    /// use diesel::{pg::Pg, prelude::*};
    /// use threadline::prelude::*;
    ///
    /// // #[diesel(table_name = users, base_query = users::table.filter(users::active))]
    /// fn active(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<Vec<User>> {
    ///     User::query().as_of(moment).filled_by::<User>().load(conn)
    /// }
    ///
    /// fn page(conn: &mut impl LoadConnection<Backend = Pg>, moment: DateTime<Utc>) -> QueryResult<Vec<User>> {
    ///     User::all_as_of(moment).order(users::email).limit(50).load(conn)
    /// }
    /// ```
    fn all_as_of<T>(moment: T) -> AllAsOf<Self, T::Expression>
    where
        Self::Table: SelectDsl<AsSelect<Self, Pg>>,
        AsSelect<Self, Pg>: Expression,
        T: AsExpression<Timestamptz>,
    {
        let all = SelectDsl::select(Self::Table::default(), Self::as_select());
        AsOfQuery::new(all, moment.as_expression()).filled_by::<Self>()
    }
}

impl<M: Audited + Selectable<Pg>> AuditedDsl for M {}
