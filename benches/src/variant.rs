//! What is compared: the same table, captured in different ways.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel_migrations::MigrationHarness;
use threadline::Level;
use threadline::capture::{CapturePlan, Policy, Storage};

use crate::Result;
use crate::figures::Target;

/// One way of capturing a table.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    capture: Capture,
    /// What its overhead should be against the classic trigger's: INSERT, UPDATE, no-op UPDATE, DELETE.
    pub(crate) targets: [Option<Target>; 4],
}

enum Capture {
    Nothing,
    Classic,
    Threadline(fn() -> Policy),
}

/// The baseline, what ours is compared to, and then ours. To compare another policy, add it at the end.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant::baseline("plain", Capture::Nothing),
    Variant::baseline("classic", Capture::Classic),
    Variant::ours(
        "row level",
        policy,
        [
            Target::new(0.58, 0.45),
            Target::new(0.52, 0.42),
            Target::new(0.10, 0.05),
            Target::new(0.58, 0.50),
        ],
    ),
    Variant::ours(
        "statement level",
        || Policy {
            level: Level::Statement,
            ..policy()
        },
        [
            Target::new(0.35, 0.25),
            Target::new(0.42, 0.30),
            None,
            Target::new(0.38, 0.28),
        ],
    ),
];
/// The place of the uncaptured table in [`VARIANTS`].
pub(crate) const PLAIN: usize = 0;
/// The place of the classic trigger in [`VARIANTS`].
pub(crate) const CLASSIC: usize = 1;

/// The places of what is ours in [`VARIANTS`].
pub(crate) fn ours() -> impl Iterator<Item = usize> {
    CLASSIC + 1..VARIANTS.len()
}

/// The places of all variants, in another order every round, so that none is always the first.
pub(crate) fn in_turn(round: usize) -> impl Iterator<Item = usize> {
    (0..VARIANTS.len()).map(move |place| (place + round) % VARIANTS.len())
}

/// Values before are kept, as the classic trigger keeps them.
fn policy() -> Policy {
    Policy {
        store_changed_from: true,
        ..Policy::default()
    }
}

impl Variant {
    const fn baseline(name: &'static str, capture: Capture) -> Variant {
        Variant {
            name,
            capture,
            targets: [None; 4],
        }
    }

    const fn ours(
        name: &'static str,
        policy: fn() -> Policy,
        targets: [Option<Target>; 4],
    ) -> Variant {
        Variant {
            name,
            capture: Capture::Threadline(policy),
            targets,
        }
    }

    /// Brings the log into an empty database.
    pub(crate) fn install(&self, conn: &mut PgConnection) -> Result<()> {
        match self.capture {
            Capture::Nothing => {}
            Capture::Classic => conn.batch_execute(include_str!("../sql/classic.sql"))?,
            Capture::Threadline(_) => {
                conn.run_pending_migrations(threadline::MIGRATIONS)?;
            }
        }
        Ok(())
    }

    /// Starts to capture a table, whose key is `id`.
    pub(crate) fn capture(&self, conn: &mut PgConnection, table: &str) -> Result<()> {
        match self.capture {
            Capture::Nothing => {}
            Capture::Classic => conn.batch_execute(&format!(
                "CREATE TRIGGER classic AFTER INSERT OR UPDATE OR DELETE ON {table}
                 FOR EACH ROW EXECUTE FUNCTION classic_capture('id')"
            ))?,
            Capture::Threadline(policy) => {
                let plan = CapturePlan::for_table(table.parse()?, policy())?;
                conn.batch_execute(&plan.up_sql(&Storage::default()))?;
            }
        }
        Ok(())
    }
}
