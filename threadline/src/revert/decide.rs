//! Deciding many conflicts at once.

use std::collections::{BTreeSet, HashSet};

use super::conflict::{Conflict, Decision};
use super::draft::{Decisions, Draft};
use super::error::DecisionError;

/// Whether a conflict may be decided so.
pub(super) fn check(conflict: &Conflict, decision: Decision) -> Result<(), DecisionError> {
    if decision == Decision::Force && !conflict.may_force() {
        return Err(DecisionError::NotForcible(Box::new(conflict.clone())));
    }
    Ok(())
}

/// Decides every conflict that `answer` has an answer for, in the order of the rows. What depends on a row that is skipped is
/// planned anew and asked about again; nothing else is.
pub(super) fn decide_all(
    draft: &mut Draft<'_>,
    decisions: &mut Decisions,
    answer: impl Fn(&Conflict) -> Option<Decision>,
) -> Result<(), DecisionError> {
    let decided = decisions.iter().map(|(conflict, _)| conflict.clone());
    let mut asker = Asker {
        answer,
        decided: decided.collect(),
        decisions,
    };
    for conflict in draft.truncated.clone() {
        if asker.is_skipped(&conflict)? {
            draft.truncated.retain(|other| *other != conflict);
        }
    }
    while asker.rows(draft)? | asker.circles(draft)? {}
    Ok(())
}

struct Asker<'d, F> {
    answer: F,
    decided: HashSet<Conflict>,
    decisions: &'d mut Decisions,
}

impl<F: Fn(&Conflict) -> Option<Decision>> Asker<'_, F> {
    /// Asks about a conflict that nobody decided. Returns whether the answer is to skip it.
    fn is_skipped(&mut self, conflict: &Conflict) -> Result<bool, DecisionError> {
        if self.decided.contains(conflict) {
            return Ok(false);
        }
        let Some(decision) = (self.answer)(conflict) else {
            return Ok(false);
        };
        check(conflict, decision)?;
        self.decided.insert(conflict.clone());
        self.decisions.push((conflict.clone(), decision));
        Ok(decision == Decision::Skip)
    }

    /// Asks about the rows. Returns whether one was skipped.
    fn rows(&mut self, draft: &mut Draft<'_>) -> Result<bool, DecisionError> {
        let mut open: BTreeSet<usize> = draft.contested().collect();
        // Rows that stay as they are, until all others were asked about: a row may depend on many.
        let mut left = HashSet::new();
        let mut has_skipped = false;
        while let Some(place) = open.pop_first() {
            let mut is_skipped = false;
            for conflict in draft.conflicts_at(place) {
                if self.is_skipped(conflict)? {
                    is_skipped = true;
                    break;
                }
            }
            if is_skipped {
                has_skipped = true;
                let dependents = draft.skip(place);
                open.extend(dependents.into_iter().filter(|other| !left.contains(other)));
            } else {
                left.insert(place);
            }
        }
        Ok(has_skipped)
    }

    /// Asks about rows that depend on each other in a circle. Returns whether one was skipped.
    fn circles(&mut self, draft: &mut Draft<'_>) -> Result<bool, DecisionError> {
        let mut has_skipped = false;
        for (place, conflict) in draft.cyclic() {
            if self.is_skipped(&conflict)? {
                has_skipped = true;
                draft.skip(place);
            }
        }
        Ok(has_skipped)
    }
}
