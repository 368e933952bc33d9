//! Validation: from statements, contradictions included, to a model that can be expanded.

mod name;
mod rules;
mod text;

pub(crate) use rules::{redacted_key, undecodable};

use proc_macro2::Span;
use syn::{Data, DeriveInput, GenericParam, Generics, Ident, LitStr, Path, Type, spanned::Spanned};

use crate::attr::{Actor, Attrs, Field, Level, List, Truncate, plain};
use crate::ctxt::Ctxt;

/// A model whose attributes hold together. Whether its columns exist is for rustc to say.
pub(crate) struct Model<'a> {
    pub(crate) input: &'a DeriveInput,
    /// The table's module.
    pub(crate) table: Path,
    /// The name of that module, for messages.
    pub(crate) table_name: String,
    /// The key, unless it is the one of the table's module.
    pub(crate) key: Option<Vec<Ident>>,
    pub(crate) rules: Rules,
    /// Redacted columns with a field that decodes them, and the field's place.
    pub(crate) decoded: Vec<(Listed, Span)>,
    /// Columns and the names of their fields.
    pub(crate) fields: Vec<(Ident, String)>,
}

/// What the attributes add to a plain `Definition`.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) read_only: bool,
    pub(crate) store_changed_from: bool,
    pub(crate) require_actor: Option<Actor>,
    pub(crate) level: Option<Level>,
    pub(crate) truncate: Option<Truncate>,
    pub(crate) mask_placeholder: Option<LitStr>,
    pub(crate) columns: Vec<Listed>,
    pub(crate) formerly: Vec<LitStr>,
    pub(crate) columns_formerly: Vec<(Ident, LitStr)>,
    pub(crate) fill: Vec<(Ident, String)>,
}

/// A column in a list.
#[derive(Clone)]
pub(crate) struct Listed {
    pub(crate) list: List,
    pub(crate) column: Ident,
    /// Where it was listed.
    pub(crate) span: Span,
}

impl Rules {
    pub(crate) fn redacted(&self) -> impl Iterator<Item = &Listed> {
        self.columns.iter().filter(|listed| listed.list.redacts())
    }

    /// The field's column, if it is redacted and nothing says what to decode instead.
    fn redacts(&self, field: &Field<'_>) -> Option<&Listed> {
        let filled = self.fill.iter().any(|(column, _)| *column == field.column);
        let mut redacted = self.redacted();
        redacted.find(|listed| listed.column == field.column && !filled && !is_option(field.ty))
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
    let table_name = table
        .segments
        .last()
        .map_or_else(String::new, |segment| plain(&segment.ident));
    let (key, rules) = rules::of(ctxt, &table_name, diesel_key, statements);
    let decoded = fields
        .iter()
        .filter_map(|field| Some((rules.redacts(field)?.clone(), field.span)))
        .collect();
    let fields = fields
        .iter()
        .filter_map(|field| Some((field.column.clone(), plain(field.name?))))
        .collect();
    Some(Model {
        input,
        table,
        table_name,
        key,
        rules,
        decoded,
        fields,
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
