//! Validation: from statements, contradictions included, to a model that can be expanded.

mod name;
mod rules;

pub(crate) use rules::redacted_key;

use proc_macro2::Span;
use syn::{Data, DeriveInput, GenericParam, Generics, Ident, LitStr, Path, Type, spanned::Spanned};

use crate::attr::{Actor, Attrs, Field, List};
use crate::ctxt::Ctxt;

/// A model whose attributes hold together. Whether its columns exist is for rustc to say.
pub(crate) struct Model<'a> {
    pub(crate) input: &'a DeriveInput,
    /// The table's module.
    pub(crate) table: Path,
    /// The key, unless it is the one of the table's module.
    pub(crate) key: Option<Vec<Ident>>,
    pub(crate) rules: Rules,
    /// Fields whose column is redacted and that need a value to decode.
    pub(crate) redacted_fields: Vec<(Ident, Span)>,
}

/// What the attributes add to a plain `Definition`.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) read_only: bool,
    pub(crate) store_changed_from: bool,
    pub(crate) require_actor: Option<Actor>,
    pub(crate) mask_placeholder: Option<LitStr>,
    pub(crate) columns: Vec<(List, Ident)>,
    pub(crate) formerly: Vec<LitStr>,
    pub(crate) columns_formerly: Vec<(Ident, LitStr)>,
    pub(crate) fill: Vec<(Ident, String)>,
}

impl Rules {
    pub(crate) fn redacted(&self) -> impl Iterator<Item = &(List, Ident)> {
        self.columns.iter().filter(|(list, _)| list.redacts())
    }

    fn needs_value(&self, field: &Field<'_>) -> bool {
        let redacted = self.redacted().any(|(_, column)| *column == field.column);
        let filled = self.fill.iter().any(|(column, _)| *column == field.column);
        redacted && !filled && !is_option(field.ty)
    }
}

/// What is right about the input; `None` where not even the table is known.
///
/// Mistakes are left out of the model, so that each is reported here alone.
pub(crate) fn validate<'a>(ctxt: &Ctxt, attrs: Attrs<'a>) -> Option<Model<'a>> {
    let Attrs {
        input,
        table,
        diesel_key,
        fields,
        statements,
    } = attrs;
    refuse_generics(ctxt, &input.generics);
    let is_struct = matches!(input.data, Data::Struct(_));
    if !is_struct {
        ctxt.error(
            input.ident.span(),
            format!(
                "`{}` can't be an audited model: `Audited` is for structs that Diesel loads rows of a table into",
                input.ident
            ),
        );
    }
    let table = match table {
        Some(table) => table,
        None if is_struct => name::default_table(&input.ident).into(),
        None => return None,
    };
    let (key, rules) = rules::of(ctxt, &table, diesel_key, statements);
    let redacted_fields = fields
        .into_iter()
        .filter(|field| rules.needs_value(field))
        .map(|field| (field.column, field.span))
        .collect();
    Some(Model {
        input,
        table,
        key,
        rules,
        redacted_fields,
    })
}

fn refuse_generics(ctxt: &Ctxt, generics: &Generics) {
    for parameter in &generics.params {
        let what = match parameter {
            GenericParam::Lifetime(_) => "a lifetime parameter",
            GenericParam::Type(_) => "a type parameter",
            GenericParam::Const(_) => "a const parameter",
        };
        ctxt.error(
            parameter.span(),
            format!(
                "an audited model can't have {what}: rows of the log are owned values of one table; derive `Audited` on a struct without parameters"
            ),
        );
    }
}

fn is_option(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Option"),
        Type::Group(group) => is_option(&group.elem),
        Type::Paren(paren) => is_option(&paren.elem),
        _ => false,
    }
}
