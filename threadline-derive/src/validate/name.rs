use syn::Ident;

use crate::attr::plain;

/// Diesel's own default: the struct's name in snake case, with an `s`.
pub(super) fn default_table(model: &Ident) -> Ident {
    let mut table = String::new();
    for c in plain(model).chars() {
        if c.is_uppercase() && !table.is_empty() {
            table.push('_');
        }
        table.extend(c.to_lowercase());
    }
    table.push('s');
    Ident::new(&table, model.span())
}
