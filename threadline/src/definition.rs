//! What `#[derive(Audited)]` says of a model: constants, not yet validated.

/// Who has to be known before a table may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequireActor {
    /// Any actor, [`anonymous`](crate::ActorRef::anonymous) included.
    Any,
    /// An actor that has an id.
    Known,
}

/// What fires the capture of a table's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Level {
    /// A trigger for each row.
    #[default]
    Row,
    /// A trigger for each statement: the same records at a fraction of the cost for writes of many rows. Not for
    /// partitioned tables, nor for those that take part in inheritance.
    Statement,
}

/// What TRUNCATE of a table leaves in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Truncate {
    /// One line for the table; rows read as gone.
    #[default]
    Marker,
    /// A delete for each row, with what it was.
    Rows,
    /// Nothing: it is refused.
    Refuse,
}

/// The capture rules of one model, as its `#[audited(…)]` attributes state them.
///
/// The derive fills this in; by hand it is only needed for a model that can't use the derive.
///
/// # Examples
///
/// ```
/// use threadline::Definition;
///
/// const USER: Definition = Definition::new("User", &["id"])
///     .store_changed_from()
///     .mask(&["ssn"]);
/// assert_eq!(USER.mask, ["ssn"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definition {
    /// The model's name, for messages.
    pub model: &'static str,
    /// The key columns, in order.
    pub key: &'static [&'static str],
    /// The model reads history, and another one owns the table's capture plan.
    pub read_only: bool,
    /// Keep the values before an UPDATE or DELETE.
    pub store_changed_from: bool,
    /// Columns left out of `changed_fields` and `changed_from`.
    pub except_columns: &'static [&'static str],
    /// Columns that are never stored.
    pub exclude: &'static [&'static str],
    /// Columns stored as the placeholder.
    pub mask: &'static [&'static str],
    /// What stands for a masked value; `[REDACTED]` unless given.
    pub mask_placeholder: Option<&'static str>,
    /// Columns whose changes alone are not recorded.
    pub ignore_only: &'static [&'static str],
    /// Columns stored only when they change.
    pub on_change: &'static [&'static str],
    /// Whether a write without an actor is refused.
    pub require_actor: Option<RequireActor>,
    /// What fires capture.
    pub level: Level,
    /// What TRUNCATE leaves in the log.
    pub truncate: Truncate,
    /// Former names of the table, newest first.
    pub formerly: &'static [&'static str],
    /// Former names of columns: (column, former name).
    pub columns_formerly: &'static [(&'static str, &'static str)],
    /// Values to decode where the log has none: (column, JSON text).
    pub fill: &'static [(&'static str, &'static str)],
}

/// One setter for each list, usable in constants.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty;)*) => { $(
        $(#[$doc])*
        #[must_use]
        pub const fn $name(self, $name: &'static [$type]) -> Self {
            Self { $name, ..self }
        }
    )* };
}

impl Definition {
    /// A model that captures everything and keeps no values before.
    #[must_use]
    pub const fn new(model: &'static str, key: &'static [&'static str]) -> Self {
        Self {
            model,
            key,
            read_only: false,
            store_changed_from: false,
            except_columns: &[],
            exclude: &[],
            mask: &[],
            mask_placeholder: None,
            ignore_only: &[],
            on_change: &[],
            require_actor: None,
            level: Level::Row,
            truncate: Truncate::Marker,
            formerly: &[],
            columns_formerly: &[],
            fill: &[],
        }
    }

    /// Another model owns the table's capture plan.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self {
            read_only: true,
            ..self
        }
    }

    /// Keep the values before.
    #[must_use]
    pub const fn store_changed_from(self) -> Self {
        Self {
            store_changed_from: true,
            ..self
        }
    }

    /// What stands for a masked value.
    #[must_use]
    pub const fn mask_placeholder(self, placeholder: &'static str) -> Self {
        Self {
            mask_placeholder: Some(placeholder),
            ..self
        }
    }

    /// Refuse writes without an actor.
    #[must_use]
    pub const fn require_actor(self, require: RequireActor) -> Self {
        Self {
            require_actor: Some(require),
            ..self
        }
    }

    /// What fires capture.
    #[must_use]
    pub const fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// What TRUNCATE leaves in the log.
    #[must_use]
    pub const fn truncate(self, truncate: Truncate) -> Self {
        Self { truncate, ..self }
    }

    setters! {
        /// Columns left out of `changed_fields` and `changed_from`.
        except_columns: &'static str;
        /// Columns that are never stored.
        exclude: &'static str;
        /// Columns stored as the placeholder.
        mask: &'static str;
        /// Columns whose changes alone are not recorded.
        ignore_only: &'static str;
        /// Columns stored only when they change.
        on_change: &'static str;
        /// Former names of the table, newest first.
        formerly: &'static str;
        /// Former names of columns: (column, former name).
        columns_formerly: (&'static str, &'static str);
        /// Values to decode where the log has none: (column, JSON text).
        fill: (&'static str, &'static str);
    }
}
