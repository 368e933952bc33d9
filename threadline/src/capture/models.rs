//! The list of an application's audited models.

use diesel::pg::Pg;
use diesel::query_builder::QueryFragment;

use super::{CapturePlan, PlanError, TableName};
use crate::audited::Audited;
use crate::definition::Definition;

/// An explicit list of models; make it with [`models!`](crate::models).
///
/// It is explicit because a registry filled at link time is silently empty when the crate that holds the models isn't
/// named in the code of the binary.
#[derive(Debug, Clone, Default)]
pub struct Models {
    definitions: Vec<(String, Definition)>,
}

impl Models {
    /// Adds a model.
    #[must_use]
    pub fn with<M: Audited>(mut self) -> Self {
        self.definitions
            .push((rendered::<M::Table>(), M::DEFINITION));
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.definitions.is_empty()
    }

    /// The capture plans, in the order of the list, one for each table that a model owns.
    ///
    /// # Errors
    ///
    /// [`PlanError::TwoPlans`] if two models own the same table, and whatever makes a single plan impossible.
    pub fn plans(&self) -> Result<Vec<CapturePlan>, PlanError> {
        let mut plans: Vec<(&'static str, CapturePlan)> = Vec::new();
        for (table, definition) in self.definitions.iter().filter(|(_, d)| !d.read_only) {
            let table: TableName = table.parse()?;
            if let Some((first, _)) = plans.iter().find(|(_, plan)| *plan.table() == table) {
                return Err(PlanError::TwoPlans {
                    table: table.to_string(),
                    first: (*first).to_owned(),
                    second: definition.model.to_owned(),
                });
            }
            let plan = CapturePlan::for_definition(table, definition)?;
            plans.push((definition.model, plan));
        }
        Ok(plans.into_iter().map(|(_, plan)| plan).collect())
    }
}

/// A table as Diesel renders it, quoted: Diesel tells no other way, and this one can't differ from its queries.
pub(crate) fn rendered<T: QueryFragment<Pg> + Default>() -> String {
    let rendered = diesel::debug_query::<Pg, _>(&T::default()).to_string();
    rendered
        .strip_suffix(" -- binds: []")
        .unwrap_or(&rendered)
        .to_owned()
}

/// Lists models for [`Models`].
///
/// # Examples
///
/// ```
/// # mod app {
/// #     diesel::table! { users (id) { id -> BigInt, email -> Text, } }
/// #     #[derive(diesel::Queryable, diesel::Selectable, threadline::Audited)]
/// #     #[diesel(table_name = users)]
/// #     pub struct User { id: i64, email: String }
/// # }
/// let plans = threadline::models![app::User].plans()?;
/// assert_eq!(plans[0].table().to_string(), "users");
/// # Ok::<(), threadline::capture::PlanError>(())
/// ```
#[macro_export]
macro_rules! models {
    ($($model:ty),* $(,)?) => {
        $crate::capture::Models::default()$(.with::<$model>())*
    };
}
