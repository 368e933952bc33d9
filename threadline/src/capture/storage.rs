use super::{Identifier, PlanError};

/// The schema that holds the audit tables; `public` unless `threadline install` was told another.
///
/// Functions name it fully. Queries find it through `search_path`, so an application that chooses another schema adds it
/// there: `ALTER ROLE … SET search_path = public, audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage(Identifier);

impl Storage {
    /// Takes the name of a schema: lower-case letters, digits and underscores, no digit first.
    ///
    /// # Errors
    ///
    /// [`PlanError::Identifier`] for any other name.
    pub fn new(schema: impl Into<String>) -> Result<Self, PlanError> {
        let schema = Identifier::new(schema)?;
        let name = schema.as_str();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.chars().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(PlanError::Identifier {
                name: name.to_owned(),
                reason: "a storage schema has lower-case letters, digits and underscores only",
            });
        }
        Ok(Self(schema))
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &Identifier {
        &self.0
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self(Identifier::public())
    }
}
