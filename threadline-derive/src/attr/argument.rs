//! The arguments of a word, at the struct and at a field.

use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Ident, Lit, LitStr, Meta, MetaNameValue, Token};

use super::keyword::{ColumnWord, StructWord};
use super::{Actor, Level, Statement, Truncate, What, json, plain};
use crate::ctxt::Ctxt;

pub(super) fn at_struct(ctxt: &Ctxt, word: StructWord, meta: &Meta) -> syn::Result<Vec<Statement>> {
    let what = match word {
        StructWord::Of(word) => return about_columns(ctxt, word, meta),
        StructWord::ReadOnly => flag(meta).map(|()| What::ReadOnly),
        StructWord::StoreChangedFrom => flag(meta).map(|()| What::StoreChangedFrom),
        StructWord::RequireActor => require_actor(meta).map(What::RequireActor),
        StructWord::Level => {
            let words = [("row", Level::Row), ("statement", Level::Statement)];
            choice(meta, &words).map(What::Level)
        }
        StructWord::Truncate => {
            let words = [
                ("marker", Truncate::Marker),
                ("rows", Truncate::Rows),
                ("refuse", Truncate::Refuse),
            ];
            choice(meta, &words).map(What::Truncate)
        }
        StructWord::PrimaryKey => columns(meta).map(What::PrimaryKey),
        StructWord::MaskPlaceholder => {
            let text = text(value(meta, r#""[REDACTED]""#)?)?;
            return Ok(vec![Statement {
                span: text.span(),
                what: What::MaskPlaceholder(text),
            }]);
        }
    }?;
    let span = meta.path().span();
    Ok(vec![Statement { what, span }])
}

fn about_columns(ctxt: &Ctxt, word: ColumnWord, meta: &Meta) -> syn::Result<Vec<Statement>> {
    Ok(match word {
        ColumnWord::List(list) => {
            let say = |column: Ident| Statement {
                span: column.span(),
                what: What::Column(list, column),
            };
            columns(meta)?.into_iter().map(say).collect()
        }
        ColumnWord::Formerly if matches!(meta, Meta::List(_)) => {
            each_column(ctxt, word, meta, |column, then| {
                Ok(What::ColumnFormerly(column, text(then)?))
            })?
        }
        ColumnWord::Formerly => {
            let then = text(value(meta, r#""old_table""#)?)?;
            vec![Statement {
                span: then.span(),
                what: What::Formerly(then),
            }]
        }
        ColumnWord::Fill => each_column(ctxt, word, meta, |column, literal| {
            Ok(What::Fill(column, literal_or_null(ctxt, literal)))
        })?,
    })
}

pub(super) fn at_field(
    ctxt: &Ctxt,
    word: ColumnWord,
    meta: &Meta,
    column: Ident,
) -> syn::Result<Statement> {
    let (what, span) = match word {
        ColumnWord::List(list) => {
            let Meta::Path(path) = meta else {
                return Err(syn::Error::new_spanned(
                    meta,
                    format!(
                        "at a field, write `{}` alone: it means the field's own column",
                        word.at_field()
                    ),
                ));
            };
            (What::Column(list, column), path.span())
        }
        ColumnWord::Formerly => {
            let then = text(value(meta, r#""old_column""#)?)?;
            let span = then.span();
            (What::ColumnFormerly(column, then), span)
        }
        ColumnWord::Fill => {
            let json = literal_or_null(ctxt, value(meta, "literal")?);
            (What::Fill(column, json), meta.path().span())
        }
    };
    Ok(Statement { what, span })
}

fn flag(meta: &Meta) -> syn::Result<()> {
    match meta {
        Meta::Path(_) => Ok(()),
        _ => Err(syn::Error::new_spanned(
            meta,
            format!("`{0}` takes no value; write `{0}` alone", name(meta)),
        )),
    }
}

fn require_actor(meta: &Meta) -> syn::Result<Actor> {
    if matches!(meta, Meta::Path(_)) {
        return Ok(Actor::Any);
    }
    if word(meta).is_some_and(|word| word == "known") {
        return Ok(Actor::Known);
    }
    Err(syn::Error::new_spanned(
        meta,
        "write `require_actor` for any actor, or `require_actor = known` for one that has an id",
    ))
}

/// `name = word`, where a word in quotes is as good.
fn word(meta: &Meta) -> Option<String> {
    match meta {
        Meta::NameValue(MetaNameValue { value, .. }) => match value {
            Expr::Path(path) => path.path.get_ident().map(plain),
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// `name = word`, for one of these words.
fn choice<T: Copy>(meta: &Meta, words: &[(&str, T)]) -> syn::Result<T> {
    let said = word(meta);
    let found = words
        .iter()
        .find(|(word, _)| said.as_deref() == Some(*word));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("`{} = {word}`", name(meta)))
            .collect();
        syn::Error::new_spanned(meta, format!("write {}", known.join(" or ")))
    })
}

/// `word(a, b)`.
fn columns(meta: &Meta) -> syn::Result<Vec<Ident>> {
    let named = match meta {
        Meta::List(list) => {
            list.parse_args_with(Punctuated::<Ident, Token![,]>::parse_terminated)?
        }
        _ => Punctuated::new(),
    };
    if named.is_empty() {
        return Err(syn::Error::new_spanned(
            meta,
            format!("name the columns: `{}(column, …)`", name(meta)),
        ));
    }
    Ok(named.into_iter().collect())
}

/// `word(a = …, b = …)`. A mistake in one pair doesn't hide the others.
fn each_column(
    ctxt: &Ctxt,
    word: ColumnWord,
    meta: &Meta,
    say: impl Fn(Ident, &Expr) -> syn::Result<What>,
) -> syn::Result<Vec<Statement>> {
    let usage = || syn::Error::new_spanned(meta, format!("write `{}`", word.at_struct()));
    let pairs = match meta {
        Meta::List(list) => {
            list.parse_args_with(Punctuated::<MetaNameValue, Token![,]>::parse_terminated)?
        }
        _ => return Err(usage()),
    };
    if pairs.is_empty() {
        return Err(usage());
    }
    let mut said = Vec::new();
    for pair in pairs {
        let span = pair.path.span();
        match pair
            .path
            .require_ident()
            .and_then(|column| say(column.clone(), &pair.value))
        {
            Ok(what) => said.push(Statement { what, span }),
            Err(error) => ctxt.syn_error(error),
        }
    }
    Ok(said)
}

/// `word = …`.
fn value<'a>(meta: &'a Meta, example: &str) -> syn::Result<&'a Expr> {
    match meta {
        Meta::NameValue(pair) => Ok(&pair.value),
        _ => Err(syn::Error::new_spanned(
            meta,
            format!("`{0}` needs a value: `{0} = {example}`", name(meta)),
        )),
    }
}

/// An unusable literal counts as given, or the missing value would be a second error about the same column.
fn literal_or_null(ctxt: &Ctxt, literal: &Expr) -> String {
    json::text(literal).unwrap_or_else(|error| {
        ctxt.syn_error(error);
        "null".to_owned()
    })
}

fn text(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        _ => Err(syn::Error::new_spanned(
            value,
            "expected a string literal, in quotes",
        )),
    }
}

fn name(meta: &Meta) -> String {
    meta.path().get_ident().map_or_else(String::new, plain)
}
