//! A table, as a filter names it.

use crate::capture::TableName;

/// The text of the filter, and the schema and name that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterTable {
    text: String,
    qualified: Option<TableName>,
}

impl FilterTable {
    pub(super) fn new(text: String) -> Self {
        // A text that can't be read as a name is taken literally: no table has it, and the query's error repeats it.
        let balanced = text.matches('"').count().is_multiple_of(2);
        let qualified = text.parse().ok().filter(|_| balanced);
        Self { text, qualified }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The schema and the name, where the filter `schema` is `schema`. A text that names another schema is a name as a
    /// whole, so that the schema and the name of an entry find its table even if the name has a dot.
    pub(super) fn resolve<'a>(&'a self, schema: Option<&'a str>) -> (Option<&'a str>, &'a str) {
        match (&self.qualified, schema) {
            (Some(table), None) => (
                table.schema().map(|schema| schema.as_str()),
                table.name().as_str(),
            ),
            (Some(table), Some(schema))
                if table.schema().is_none_or(|own| own.as_str() == schema) =>
            {
                (Some(schema), table.name().as_str())
            }
            _ => (schema, &self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FilterTable;

    #[test]
    fn a_schema_stands_before_a_dot_outside_of_quotes() {
        for (text, schema, resolved) in [
            ("users", None, (None, "users")),
            ("users", Some("app"), (Some("app"), "users")),
            ("Users", None, (None, "Users")),
            ("billing.invoices", None, (Some("billing"), "invoices")),
            (
                r#""my.schema"."a ""b""""#,
                None,
                (Some("my.schema"), r#"a "b""#),
            ),
            (r#""a.b""#, None, (None, "a.b")),
            (
                "billing.invoices",
                Some("billing"),
                (Some("billing"), "invoices"),
            ),
            // The name of an entry whose name has a dot.
            ("a.b", Some("public"), (Some("public"), "a.b")),
        ] {
            let table = FilterTable::new(text.to_owned());
            assert_eq!(table.resolve(schema), resolved, "{text} in {schema:?}");
        }
    }

    #[test]
    fn what_is_no_name_is_taken_literally() {
        for text in ["a.b.c", ".b", "a.", r#"we"ird"#, r#""a.b"#, ""] {
            let table = FilterTable::new(text.to_owned());
            assert_eq!(table.resolve(None), (None, text));
        }
    }
}
