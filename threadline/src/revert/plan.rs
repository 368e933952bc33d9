//! A revert to look at, to decide on, and to apply.

use std::collections::HashSet;

use diesel::deserialize::{self, Queryable};
use diesel::pg::Pg;
use diesel::sql_types::Json;

use super::conflict::{Conflict, Decision};
use super::decide;
use super::draft::{Decisions, Draft, Planned};
use super::error::{DecisionError, RevertError};
use super::source::Source;
use super::statement::{Batch, Statement, batches, statement};
use super::step::Step;
use super::subject::RevertSubject;
use crate::query::Scope;

/// What would restore the values before, and what stands in the way.
///
/// Changes of one row are reverted as one: what a transaction did to it in the end. Steps follow foreign and unique keys;
/// where these leave it open, what was written last is undone first.
///
/// Nothing in a plan is the value of a redacted column.
#[derive(Debug, Clone)]
pub struct RevertPlan {
    subject: RevertSubject,
    /// For a plan that was made in one.
    scope: Option<Scope>,
    source: Source,
    decisions: Decisions,
    planned: Planned,
}

/// Of what they do, whatever scope they were given since.
impl PartialEq for RevertPlan {
    fn eq(&self, other: &Self) -> bool {
        self.subject == other.subject
            && self.source == other.source
            && self.decisions == other.decisions
            && self.planned == other.planned
    }
}

impl RevertPlan {
    /// The scope that the plan was made in, which applying it needs: the plan is made again then.
    ///
    /// Another scope may not widen the plan: what has other statements is stale.
    ///
    /// ```
    /// use diesel::{connection::LoadConnection, pg::Pg};
    /// use threadline::{AuditContext, RevertError, RevertPlan, Reverted, Scope};
    ///
    /// fn apply(
    ///     conn: &mut impl LoadConnection<Backend = Pg>,
    ///     plan: RevertPlan,
    ///     context: &AuditContext,
    /// ) -> Result<Reverted, RevertError> {
    ///     plan.scope(Scope::field("tenant_id", 7)).apply(conn, context)
    /// }
    /// ```
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// The scope to make the plan again in. One that was made without a scope was allowed to be.
    pub(super) fn scope_again(&self) -> Scope {
        self.scope.clone().unwrap_or_else(Scope::unscoped)
    }

    /// What is reverted.
    #[must_use]
    pub fn subject(&self) -> RevertSubject {
        self.subject
    }

    /// What it does to each row, in order. Rows that can't be written at all have no step, until their conflict is decided.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.planned.steps
    }

    /// The statements, in order. One does all steps that write the same columns of a table and that nothing has to come
    /// between, up to 16 MB of values.
    ///
    /// # Examples
    ///
    /// ```
    /// fn show(plan: &threadline::RevertPlan) {
    ///     for statement in plan.statements() {
    ///         println!("{} rows: {}", statement.steps.len(), statement.sql);
    ///     }
    /// }
    /// ```
    pub fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        let mut rest = self.steps();
        let mut together = self.planned.together.iter().copied();
        let mut left = 0;
        std::iter::from_fn(move || {
            if left == 0 {
                left = together.next()?;
            }
            let statement = statement(&self.source, &rest[..left])?;
            let taken = statement.steps.len();
            rest = &rest[taken..];
            left -= taken;
            Some(statement)
        })
    }

    pub(super) fn batches(&self) -> Vec<Batch<'_>> {
        batches(self.preparation(), self.statements())
    }

    /// What stands in the way, forced conflicts included. Those of rows that are skipped are gone.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.planned.conflicts
    }

    /// The conflicts that nobody decided.
    pub fn undecided(&self) -> impl Iterator<Item = &Conflict> {
        let decided = self.decided();
        self.conflicts()
            .iter()
            .filter(move |conflict| !decided.contains(conflict))
    }

    fn decided(&self) -> HashSet<&Conflict> {
        self.decisions
            .iter()
            .map(|(conflict, _)| conflict)
            .collect()
    }

    /// What was decided so far.
    pub fn decisions(&self) -> impl Iterator<Item = (&Conflict, Decision)> {
        self.decisions
            .iter()
            .map(|(conflict, decision)| (conflict, *decision))
    }

    /// Decides one conflict. Where its row is skipped, the steps and conflicts are made anew: what depends on the row becomes a
    /// conflict of its own. For many, [`decide_all`](Self::decide_all) makes them once.
    ///
    /// # Errors
    ///
    /// [`DecisionError`] if the plan has no such conflict, or if it can't be forced.
    pub fn decide(&mut self, conflict: &Conflict, decision: Decision) -> Result<(), DecisionError> {
        if !self.conflicts().contains(conflict) {
            return Err(DecisionError::Unknown(Box::new(conflict.clone())));
        }
        decide::check(conflict, decision)?;
        self.decisions.retain(|(decided, _)| decided != conflict);
        self.decisions.push((conflict.clone(), decision));
        if decision == Decision::Skip {
            self.planned = Draft::new(&self.source, &self.decisions).planned();
        }
        Ok(())
    }

    /// Decides every conflict that `decide` has an answer for, those that follow from skipped rows included.
    ///
    /// # Errors
    ///
    /// As for [`decide`](Self::decide).
    ///
    /// # Examples
    ///
    /// ```
    /// use threadline::{ConflictKind, Decision, DecisionError, RevertPlan};
    ///
    /// /// Force where it is possible, and leave the other rows alone.
    /// fn force(plan: &mut RevertPlan) -> Result<(), DecisionError> {
    ///     plan.decide_all(|conflict| {
    ///         Some(if conflict.may_force() { Decision::Force } else { Decision::Skip })
    ///     })
    /// }
    /// ```
    pub fn decide_all(
        &mut self,
        decide: impl Fn(&Conflict) -> Option<Decision>,
    ) -> Result<(), DecisionError> {
        if self.undecided().next().is_none() {
            return Ok(());
        }
        let mut draft = Draft::new(&self.source, &self.decisions);
        let decided = decide::decide_all(&mut draft, &mut self.decisions, decide);
        self.planned = draft.planned();
        decided
    }

    /// The plan as one text to review: the statements, then the conflicts as comments.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let statements = self.statements().map(|statement| statement.sql);
        let statements = self.preparation().into_iter().chain(statements);
        let statements = statements.map(|sql| format!("{sql};\n"));
        let is_decided = self.decided();
        let conflicts = self.conflicts().iter().map(|conflict| {
            // One line, whatever a key holds.
            let text = conflict.to_string().replace(['\n', '\r'], " ");
            let decided = if is_decided.contains(conflict) {
                "forced"
            } else {
                "conflict"
            };
            format!("-- {decided}: {text}\n")
        });
        statements.chain(conflicts).collect()
    }

    pub(super) fn preparation(&self) -> Option<String> {
        let deferred = &self.planned.deferred;
        (!deferred.is_empty()).then(|| format!("SET CONSTRAINTS {} DEFERRED", deferred.join(", ")))
    }

    /// Whether it may be applied.
    pub(super) fn check(&self) -> Result<(), RevertError> {
        if self.source.scoped && self.scope.is_none() {
            return Err(RevertError::NeedsScope);
        }
        let undecided: Vec<_> = self.undecided().cloned().collect();
        if !undecided.is_empty() {
            return Err(RevertError::Undecided(undecided));
        }
        if self.steps().is_empty() {
            return Err(RevertError::Nothing);
        }
        Ok(())
    }

    /// This plan made anew from what the server says now, under the same decisions.
    pub(super) fn renewed(&self, now: Self) -> Result<Self, RevertError> {
        let mut renewed = Self {
            decisions: self.decisions.clone(),
            scope: self.scope.clone(),
            ..now
        };
        if renewed.decisions.iter().any(|(_, d)| *d == Decision::Skip) {
            renewed.planned = Draft::new(&renewed.source, &renewed.decisions).planned();
        }
        renewed.check()?;
        if renewed.preparation() != self.preparation()
            || renewed.steps() != self.steps()
            || !renewed.heads().eq(self.heads())
        {
            return Err(RevertError::Stale);
        }
        Ok(renewed)
    }

    /// The statements without their values: with the steps, all that they are made of.
    fn heads(&self) -> impl Iterator<Item = Option<String>> {
        let mut first = 0;
        self.planned.together.iter().map(move |steps| {
            let step = self.steps().get(first)?;
            first += steps;
            Some(self.source.table(step.table_id)?.statement(step, "[]"))
        })
    }
}

impl Queryable<Json, Pg> for RevertPlan {
    type Row = Source;

    fn build(source: Source) -> deserialize::Result<Self> {
        let subject = match (source.transaction_id, source.change_id) {
            (Some(id), _) => RevertSubject::Transaction(id),
            (None, Some(id)) => RevertSubject::Change(id),
            (None, None) => return Err("threadline_revert answered without a subject".into()),
        };
        let decisions = Vec::new();
        Ok(Self {
            subject,
            scope: None,
            planned: Draft::new(&source, &decisions).planned(),
            decisions,
            source,
        })
    }
}
