//! Everything that is known about a unit of work.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::actor::ActorRef;
use super::context_error::ContextError;
use super::settings::Settings;

/// The actor of a unit of work and the request it belongs to, stored with the
/// transaction of every change that it makes.
///
/// Build one where the request is authenticated and hand it to
/// [`transaction`](super::transaction()) wherever rows are written. The setters take
/// any text; its limits are checked by [`validate`](Self::validate) and again when a
/// transaction starts. An empty text counts as not given.
///
/// ```
/// use threadline::{ActorRef, AuditContext};
///
/// let context = AuditContext::new(ActorRef::user(42)?)
///     .request_id("req-7")
///     .correlation_id("checkout-19")
///     .source("billing-api")
///     .metadata("tenant", "acme");
/// context.validate()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use = "a context attributes nothing until it is given to `transaction`"]
pub struct AuditContext {
    pub(super) actor: Option<ActorRef>,
    pub(super) source: String,
    pub(super) request_id: String,
    pub(super) correlation_id: String,
    pub(super) job_id: String,
    pub(super) metadata: Map<String, Value>,
}

impl AuditContext {
    /// The key of the metadata under which [`remote_address`](Self::remote_address) is
    /// stored.
    pub const REMOTE_ADDRESS: &'static str = "remote_address";

    /// A context whose changes are `actor`'s.
    ///
    /// ```
    /// use threadline::{ActorRef, AuditContext};
    ///
    /// let context = AuditContext::new(ActorRef::anonymous());
    /// assert_eq!(context.actor(), Some(&ActorRef::anonymous()));
    /// ```
    pub fn new(actor: ActorRef) -> Self {
        Self {
            actor: Some(actor),
            ..Self::default()
        }
    }

    /// A context without an actor, the same as [`default`](Self::default).
    ///
    /// Inside another audited transaction it keeps that one's actor. On its own it
    /// leaves the changes without one, which a table that requires an actor refuses.
    ///
    /// ```
    /// let context = threadline::AuditContext::unattributed().source("importer");
    /// assert_eq!(context.actor(), None);
    /// ```
    pub fn unattributed() -> Self {
        Self::default()
    }

    /// The request that caused the work; at most 255 characters.
    ///
    /// ```
    /// let context = threadline::AuditContext::unattributed().request_id("req-7");
    /// ```
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = id.into();
        self
    }

    /// What ties the work to that of other requests and services, such as a trace id;
    /// at most 255 characters.
    ///
    /// ```
    /// let context = threadline::AuditContext::unattributed().correlation_id("checkout-19");
    /// ```
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = id.into();
        self
    }

    /// The run of a background job that does the work; at most 255 characters.
    ///
    /// ```
    /// use threadline::{ActorRef, AuditContext};
    ///
    /// let context = AuditContext::new(ActorRef::job("nightly-invoices")?).job_id("8812");
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    pub fn job_id(mut self, id: impl Into<String>) -> Self {
        self.job_id = id.into();
        self
    }

    /// The part of the application that writes, such as a service or a command; at most
    /// 255 characters.
    ///
    /// ```
    /// let context = threadline::AuditContext::unattributed().source("billing-api");
    /// ```
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Where the request came from, stored in the metadata under
    /// [`REMOTE_ADDRESS`](Self::REMOTE_ADDRESS). The database sees the application's
    /// own address only.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    ///
    /// let context = threadline::AuditContext::unattributed()
    ///     .remote_address(Ipv4Addr::new(203, 0, 113, 9));
    /// ```
    pub fn remote_address(self, address: impl Into<IpAddr>) -> Self {
        self.metadata(Self::REMOTE_ADDRESS, address.into().to_string())
    }

    /// Adds one key to the metadata, replacing what it held. As JSON text, they take at
    /// most 16 KiB, in at most 64 levels.
    ///
    /// ```
    /// let context = threadline::AuditContext::unattributed()
    ///     .metadata("tenant", "acme")
    ///     .metadata("flags", serde_json::json!({"dry_run": false}));
    /// ```
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The actor, unless the context is unattributed.
    ///
    /// ```
    /// use threadline::{ActorRef, AuditContext};
    ///
    /// let ann = ActorRef::user("ann")?;
    /// assert_eq!(AuditContext::new(ann.clone()).actor(), Some(&ann));
    /// # Ok::<_, threadline::ActorError>(())
    /// ```
    #[must_use]
    pub const fn actor(&self) -> Option<&ActorRef> {
        self.actor.as_ref()
    }

    /// Checks the limits that [`transaction`](super::transaction()) will insist on.
    ///
    /// Worth calling where identifiers come from a client's headers, so that a request
    /// is turned away before any work is done for it.
    ///
    /// ```
    /// use threadline::{AuditContext, ContextError};
    ///
    /// let context = AuditContext::unattributed().request_id("x".repeat(1000));
    /// assert!(matches!(
    ///     context.validate(),
    ///     Err(ContextError::TooLong { field: "request_id", limit: 255, .. })
    /// ));
    /// ```
    ///
    /// # Errors
    ///
    /// [`ContextError`] that names the field: a text of more than 255 characters or with
    /// control characters, metadata of more than 16 KiB or 64 levels or with a NUL
    /// character.
    pub fn validate(&self) -> Result<(), ContextError> {
        Settings::try_from(self).map(drop)
    }
}
