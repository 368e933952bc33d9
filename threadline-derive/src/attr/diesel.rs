//! What Diesel's own attributes say of the table and its columns.

use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Ident, LitStr, Path, Token, Type, parenthesized, token};

use crate::ctxt::Ctxt;

#[derive(Default)]
pub(super) struct OfStruct {
    pub(super) table: Option<Path>,
    pub(super) key: Option<Vec<Ident>>,
}

pub(super) fn of_struct(ctxt: &Ctxt, attrs: &[Attribute]) -> OfStruct {
    let mut found = OfStruct::default();
    each(ctxt, attrs, |meta| {
        if meta.path.is_ident("table_name") {
            let table = meta.value()?.parse()?;
            // Insertable allows several tables; Selectable reads from the first one.
            found.table.get_or_insert(table);
        } else if meta.path.is_ident("primary_key") {
            let list;
            parenthesized!(list in meta.input);
            let columns = Punctuated::<Ident, Token![,]>::parse_terminated(&list)?;
            found.key = Some(columns.into_iter().collect());
        } else {
            skip(&meta)?;
        }
        Ok(())
    });
    found
}

#[derive(Default)]
pub(super) struct OfField {
    pub(super) column: Option<Ident>,
    /// Why the field stands for no column, to follow "this field".
    pub(super) without_column: Option<&'static str>,
}

pub(super) fn of_field(ctxt: &Ctxt, attrs: &[Attribute]) -> OfField {
    let mut found = OfField::default();
    each(ctxt, attrs, |meta| {
        if meta.path.is_ident("column_name") {
            found.column = Some(column_name(&meta)?);
        } else if meta.path.is_ident("embed") {
            found.without_column = Some("is embedded");
        } else if meta.path.is_ident("select_expression") {
            found.without_column = Some("is a `select_expression`");
            skip(&meta)?;
        } else {
            skip(&meta)?;
        }
        Ok(())
    });
    found
}

/// Diesel takes an identifier, or a string for a name that is a keyword.
fn column_name(meta: &ParseNestedMeta<'_>) -> syn::Result<Ident> {
    let value = meta.value()?;
    if !value.peek(LitStr) {
        return value.parse();
    }
    let name: LitStr = value.parse()?;
    name.parse::<Ident>().or_else(|_| {
        let raw = syn::parse_str::<Ident>(&format!("r#{}", name.value()));
        raw.map(|raw| Ident::new_raw(&super::plain(&raw), name.span()))
            .map_err(|error| syn::Error::new(name.span(), error))
    })
}

fn each(
    ctxt: &Ctxt,
    attrs: &[Attribute],
    mut of: impl FnMut(ParseNestedMeta<'_>) -> syn::Result<()>,
) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("diesel")) {
        if let Err(error) = attr.parse_nested_meta(&mut of) {
            ctxt.syn_error(error);
        }
    }
}

/// Passes over an argument that concerns Diesel alone.
fn skip(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    if meta.input.peek(token::Paren) {
        let list;
        parenthesized!(list in meta.input);
        list.parse::<proc_macro2::TokenStream>()?;
    } else if meta.input.peek(Token![=]) {
        let value = meta.value()?;
        let is_type = meta.path.get_ident().is_some_and(|name| {
            let name = name.to_string();
            name.ends_with("_type") || name.ends_with("_as")
        });
        if is_type {
            value.parse::<Type>()?;
        } else {
            value.parse::<Expr>()?;
        }
    }
    Ok(())
}
