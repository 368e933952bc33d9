//! A diff in the words of a model.

use std::marker::PhantomData;
use std::ops::Deref;

use diesel::query_source::Column;

use super::change_diff::{ChangeDiff, change_diff};
use super::field::FieldDiff;
use super::options::DiffOptions;
use crate::audited::Audited;
use crate::query::Change;

/// The diff of a [`Change`] of a model's row: a [`ChangeDiff`] whose fields are found by the model's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelDiff<M> {
    diff: ChangeDiff,
    model: PhantomData<fn() -> M>,
}

impl<M: Audited> Change<M> {
    /// What the change did to each field of the model; see [`change_diff`](super::change_diff).
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
    /// # use app::{User, users};
    /// use threadline::{Change, DiffOptions};
    ///
    /// fn old_email(change: &Change<User>) -> Option<String> {
    ///     let diff = change.diff(DiffOptions::new());
    ///     diff.field_of(users::email)?.before.recorded()?.as_str()
    /// }
    /// ```
    #[must_use]
    pub fn diff(&self, options: DiffOptions) -> ModelDiff<M> {
        ModelDiff {
            diff: change_diff(self, options),
            model: PhantomData,
        }
    }
}

impl<M: Audited> ModelDiff<M> {
    /// The field of one of the model's columns, under its present name or a former one that the model states; `None` if
    /// the diff doesn't list it.
    #[must_use]
    pub fn field_of<C: Column<Table = M::Table>>(&self, _: C) -> Option<&FieldDiff> {
        let former = M::DEFINITION
            .columns_formerly
            .iter()
            .filter(|(column, _)| *column == C::NAME)
            .map(|(_, former)| *former);
        [C::NAME]
            .into_iter()
            .chain(former)
            .find_map(|column| self.diff.field(column))
    }

    /// The fields by the names that they have in the model: that of the model's field, or of the column where the model
    /// leaves it out.
    ///
    /// # Examples
    ///
    /// ```
    /// # mod app {
    /// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
    /// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
    /// #     #[diesel(table_name = users)]
    /// #     pub struct User { pub id: i64, #[diesel(column_name = email)] pub address: String }
    /// # }
    /// # use app::User;
    /// use threadline::{Change, DiffOptions};
    ///
    /// fn changed(change: &Change<User>) -> Vec<String> {
    ///     let diff = change.diff(DiffOptions::new());
    ///     diff.by_field().map(|(field, _)| field.to_owned()).collect()
    /// }
    /// ```
    pub fn by_field(&self) -> impl Iterator<Item = (&str, &FieldDiff)> {
        self.diff.fields.iter().map(|field| {
            let column = field.column.as_str();
            let renamed = M::DEFINITION.columns_formerly.iter();
            let now = renamed
                .filter(|(_, former)| *former == column)
                .map(|(now, _)| *now)
                .next()
                .unwrap_or(column);
            let mut fields = M::FIELDS.iter();
            let name = fields.find(|(known, _)| *known == now);
            (name.map_or(column, |(_, name)| *name), field)
        })
    }

    /// Without the model.
    #[must_use]
    pub fn into_inner(self) -> ChangeDiff {
        self.diff
    }
}

impl<M> Deref for ModelDiff<M> {
    type Target = ChangeDiff;

    fn deref(&self) -> &ChangeDiff {
        &self.diff
    }
}
