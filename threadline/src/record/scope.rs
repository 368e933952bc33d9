//! What has to be set when a unit of work begins and when it has succeeded.

use super::context_error::ContextError;
use super::settings::Settings;
use super::settings_query::SetLocal;

/// The settings to put in force on entering an audited transaction and on leaving it.
///
/// After a failure nothing has to be restored, since rolling back does it, to the
/// transaction's start as to a savepoint. Releasing a savepoint, though, hands its
/// settings to the transaction around it.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) enter: Option<SetLocal>,
    pub(super) leave: Option<SetLocal>,
}

impl Scope {
    /// For a transaction of its own. It inherits nothing: what a session-level setting
    /// may hold was put there by another user of the connection.
    pub(super) fn outermost(settings: Settings) -> Self {
        Self {
            enter: Some(SetLocal(settings)),
            leave: None,
        }
    }

    /// For a savepoint in a transaction in which `outer` is in force.
    pub(super) fn nested(settings: Settings, outer: Settings) -> Result<Self, ContextError> {
        let inner = settings.within(&outer)?;
        Ok(if inner == outer {
            Self {
                enter: None,
                leave: None,
            }
        } else {
            Self {
                enter: Some(SetLocal(inner)),
                leave: Some(SetLocal(outer)),
            }
        })
    }
}
