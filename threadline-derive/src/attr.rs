//! Parsing: `#[audited(…)]` at the struct and at its fields become the same statements.

mod argument;
mod diesel;
mod json;
mod keyword;

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Ident, LitStr, Meta, Path, Token, Type};

use crate::ctxt::Ctxt;
use keyword::{AT_FIELD, AT_STRUCT, Words};

/// What the input says, one statement after the other, contradictions included.
pub(crate) struct Attrs<'a> {
    pub(crate) input: &'a DeriveInput,
    /// `#[diesel(table_name = …)]`.
    pub(crate) table: Option<Path>,
    /// `#[diesel(primary_key(…))]`.
    pub(crate) diesel_key: Option<Vec<Ident>>,
    pub(crate) fields: Vec<Field<'a>>,
    pub(crate) statements: Vec<Statement>,
}

/// A field of the model that stands for a column.
pub(crate) struct Field<'a> {
    /// `None` in a tuple struct.
    pub(crate) name: Option<&'a Ident>,
    pub(crate) column: Ident,
    pub(crate) ty: &'a Type,
    pub(crate) span: Span,
}

/// One thing that an attribute says.
pub(crate) struct Statement {
    pub(crate) what: What,
    /// Where a mistake in it is shown.
    pub(crate) span: Span,
}

pub(crate) enum What {
    ReadOnly,
    StoreChangedFrom,
    RequireActor(Actor),
    Level(Level),
    Truncate(Truncate),
    MaskPlaceholder(LitStr),
    PrimaryKey(Vec<Ident>),
    Formerly(LitStr),
    Column(List, Ident),
    ColumnFormerly(Ident, LitStr),
    /// A column and JSON text.
    Fill(Ident, String),
}

#[derive(Clone, Copy)]
pub(crate) enum Actor {
    Any,
    Known,
}

#[derive(Clone, Copy)]
pub(crate) enum Level {
    Row,
    Statement,
}

#[derive(Clone, Copy)]
pub(crate) enum Truncate {
    Marker,
    Rows,
    Refuse,
}

/// The lists of columns, as they are spelt at the struct and in `Definition`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    ExceptColumns,
    Exclude,
    Mask,
    IgnoreOnly,
    OnChange,
}

impl List {
    pub(crate) const ALL: [Self; 5] = [
        Self::ExceptColumns,
        Self::Exclude,
        Self::Mask,
        Self::IgnoreOnly,
        Self::OnChange,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExceptColumns => "except_columns",
            Self::Exclude => "exclude",
            Self::Mask => "mask",
            Self::IgnoreOnly => "ignore_only",
            Self::OnChange => "on_change",
        }
    }

    /// Whether its columns are kept out of the log.
    pub(crate) fn redacts(self) -> bool {
        matches!(self, Self::Exclude | Self::Mask)
    }
}

pub(crate) fn parse<'a>(ctxt: &Ctxt, input: &'a DeriveInput) -> Attrs<'a> {
    let diesel = diesel::of_struct(ctxt, &input.attrs);
    let mut attrs = Attrs {
        input,
        table: diesel.table,
        diesel_key: diesel.key,
        fields: Vec::new(),
        statements: Vec::new(),
    };
    for (word, meta) in words(ctxt, &input.attrs, &AT_STRUCT) {
        match argument::at_struct(ctxt, word, &meta) {
            Ok(said) => attrs.statements.extend(said),
            Err(error) => ctxt.syn_error(error),
        }
    }
    if let Data::Struct(data) = &input.data {
        for field in &data.fields {
            parse_field(ctxt, field, &mut attrs);
        }
    }
    attrs
}

fn parse_field<'a>(ctxt: &Ctxt, field: &'a syn::Field, attrs: &mut Attrs<'a>) {
    let diesel = diesel::of_field(ctxt, &field.attrs);
    let column = match diesel.without_column {
        Some(reason) => Err(reason),
        None => diesel
            .column
            .or_else(|| field.ident.clone())
            .ok_or("has neither a name nor a `#[diesel(column_name = …)]`"),
    };
    for (word, meta) in words(ctxt, &field.attrs, &AT_FIELD) {
        let said = match &column {
            Ok(column) => argument::at_field(ctxt, word, &meta, column.clone()),
            Err(reason) => Err(syn::Error::new(
                meta.path().span(),
                format!(
                    "this field {reason}, so it stands for no single column; name the column at the struct: `#[audited({})]`",
                    word.at_struct()
                ),
            )),
        };
        match said {
            Ok(statement) => attrs.statements.push(statement),
            Err(error) => ctxt.syn_error(error),
        }
    }
    if let Ok(column) = column {
        attrs.fields.push(Field {
            name: field.ident.as_ref(),
            column,
            ty: &field.ty,
            span: field
                .ident
                .as_ref()
                .map_or_else(|| field.ty.span(), Ident::span),
        });
    }
}

/// The known words of every `#[audited(…)]`; the others are errors.
fn words<W: Copy>(ctxt: &Ctxt, attrs: &[Attribute], at: &Words<W>) -> Vec<(W, Meta)> {
    let mut known = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("audited")) {
        let metas = match attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) {
            Ok(metas) if metas.is_empty() => {
                let message = format!("`#[audited()]` says nothing; {}", at.known());
                ctxt.error(attr.span(), message);
                continue;
            }
            Ok(metas) => metas,
            Err(error) => {
                ctxt.syn_error(error);
                continue;
            }
        };
        for meta in metas {
            match at.find(meta.path()) {
                Ok(word) => known.push((word, meta)),
                Err(error) => ctxt.syn_error(error),
            }
        }
    }
    known
}

/// The name as it is read, without `r#`.
pub(crate) fn plain(ident: &Ident) -> String {
    ident.unraw().to_string()
}
