//! A revert to look at, to decide on, and to apply.

use diesel::deserialize::{self, Queryable};
use diesel::pg::Pg;
use diesel::sql_types::Json;

use super::conflict::{Conflict, Decision};
use super::error::{DecisionError, RevertError};
use super::planning::{Decisions, Planned, planned};
use super::source::Source;
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

    /// The statements, in order. Rows that can't be written at all have none, until their conflict is decided.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.planned.steps
    }

    /// What stands in the way, forced conflicts included. Those of rows that are skipped are gone.
    #[must_use]
    pub fn conflicts(&self) -> &[Conflict] {
        &self.planned.conflicts
    }

    /// The conflicts that nobody decided.
    pub fn undecided(&self) -> impl Iterator<Item = &Conflict> {
        self.conflicts()
            .iter()
            .filter(|conflict| !self.is_decided(conflict))
    }

    /// What was decided so far.
    pub fn decisions(&self) -> impl Iterator<Item = (&Conflict, Decision)> {
        self.decisions
            .iter()
            .map(|(conflict, decision)| (conflict, *decision))
    }

    /// Decides one conflict, and makes the steps and conflicts anew: what depends on a row that is skipped becomes a conflict
    /// of its own.
    ///
    /// # Errors
    ///
    /// [`DecisionError`] if the plan has no such conflict, or if it can't be forced.
    pub fn decide(&mut self, conflict: &Conflict, decision: Decision) -> Result<(), DecisionError> {
        if !self.conflicts().contains(conflict) {
            return Err(DecisionError::Unknown(Box::new(conflict.clone())));
        }
        if decision == Decision::Force && !conflict.may_force() {
            return Err(DecisionError::NotForcible(Box::new(conflict.clone())));
        }
        self.decisions.retain(|(decided, _)| decided != conflict);
        self.decisions.push((conflict.clone(), decision));
        self.planned = planned(&self.source, &self.decisions);
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
        loop {
            let next = self
                .undecided()
                .find_map(|conflict| Some((conflict.clone(), decide(conflict)?)));
            match next {
                Some((conflict, decision)) => self.decide(&conflict, decision)?,
                None => return Ok(()),
            }
        }
    }

    /// The plan as one text to review: the statements, then the conflicts as comments.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let statements = self.statements().map(|sql| format!("{sql};\n"));
        let conflicts = self.conflicts().iter().map(|conflict| {
            // One line, whatever a key holds.
            let text = conflict.to_string().replace(['\n', '\r'], " ");
            let decided = if self.is_decided(conflict) {
                "forced"
            } else {
                "conflict"
            };
            format!("-- {decided}: {text}\n")
        });
        statements.chain(conflicts).collect()
    }

    fn is_decided(&self, conflict: &Conflict) -> bool {
        self.decisions
            .iter()
            .any(|(decided, _)| decided == conflict)
    }

    /// What is run before the steps, and the steps.
    fn statements(&self) -> impl Iterator<Item = String> {
        let steps = self.steps().iter().map(|step| step.sql.clone());
        self.preparation().into_iter().chain(steps)
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
        let renewed = Self {
            planned: planned(&now.source, &self.decisions),
            decisions: self.decisions.clone(),
            scope: self.scope.clone(),
            ..now
        };
        renewed.check()?;
        if renewed.planned.steps != self.planned.steps {
            return Err(RevertError::Stale);
        }
        Ok(renewed)
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
            planned: planned(&source, &decisions),
            decisions,
            source,
        })
    }
}
