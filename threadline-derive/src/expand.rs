//! Expansion: from a valid model to tokens, without a further question.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Ident, Path, parse_quote};

use crate::attr::{Actor, Level, List, Truncate, plain};
use crate::validate::{Model, Rules, redacted_key, undecodable};

pub(crate) fn expand(model: &Model<'_>) -> TokenStream {
    let name = &model.input.ident;
    let table = &model.table;
    let key = key(model);
    let definition = definition(model);
    let fields = fields(model);
    let mut generics = model.input.generics.clone();
    let is_generic = !generics.params.is_empty();
    if is_generic {
        // Parameters are refused; with this bound, that is the only error.
        generics
            .make_where_clause()
            .predicates
            .push(parse_quote!(Self: 'static));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let assertions = (!is_generic).then(|| assertions(model));
    quote! {
        #[automatically_derived]
        impl #impl_generics ::threadline::Audited for #name #type_generics #where_clause {
            type Table = #table::table;
            type Key = #key;
            const DEFINITION: ::threadline::Definition = #definition;
            #fields
        }
        #assertions
    }
}

fn key(model: &Model<'_>) -> TokenStream {
    let table = &model.table;
    match model.key.as_deref() {
        None => quote!(<#table::table as ::diesel::query_source::Table>::PrimaryKey),
        Some([column]) => quote!(#table::#column),
        Some(columns) => quote!((#(#table::#columns,)*)),
    }
}

/// The name that the column has in the catalog. A column that isn't there is an error at `column`.
fn name_of(table: &Path, column: &Ident) -> TokenStream {
    quote!(<#table::#column as ::diesel::query_source::Column>::NAME)
}

fn fields(model: &Model<'_>) -> TokenStream {
    let pairs = model.fields.iter().map(|(column, field)| {
        let column = name_of(&model.table, column);
        quote!((#column, #field))
    });
    quote!(const FIELDS: &'static [(&'static str, &'static str)] = &[#(#pairs),*];)
}

fn definition(model: &Model<'_>) -> TokenStream {
    let table = &model.table;
    let name = plain(&model.input.ident);
    let Rules {
        read_only,
        store_changed_from,
        require_actor,
        level,
        truncate,
        mask_placeholder,
        columns,
        formerly,
        columns_formerly,
        fill,
    } = &model.rules;

    let read_only = read_only.then(|| quote!(.read_only()));
    let store_changed_from = store_changed_from.then(|| quote!(.store_changed_from()));
    let lists = List::ALL.into_iter().filter_map(|list| {
        let names: Vec<_> = columns
            .iter()
            .filter(|listed| listed.list == list)
            .map(|listed| name_of(table, &listed.column))
            .collect();
        let setter = Ident::new(list.name(), proc_macro2::Span::call_site());
        (!names.is_empty()).then(|| quote!(.#setter(&[#(#names),*])))
    });
    let mask_placeholder = mask_placeholder
        .as_ref()
        .map(|text| quote!(.mask_placeholder(#text)));
    let require_actor = require_actor.map(|actor| {
        let actor = match actor {
            Actor::Any => quote!(Any),
            Actor::Known => quote!(Known),
        };
        quote!(.require_actor(::threadline::RequireActor::#actor))
    });
    let level = level.map(|level| {
        let level = match level {
            Level::Row => quote!(Row),
            Level::Statement => quote!(Statement),
        };
        quote!(.level(::threadline::Level::#level))
    });
    let truncate = truncate.map(|truncate| {
        let truncate = match truncate {
            Truncate::Marker => quote!(Marker),
            Truncate::Rows => quote!(Rows),
            Truncate::Refuse => quote!(Refuse),
        };
        quote!(.truncate(::threadline::Truncate::#truncate))
    });
    let formerly = (!formerly.is_empty()).then(|| quote!(.formerly(&[#(#formerly),*])));
    let columns_formerly = (!columns_formerly.is_empty()).then(|| {
        let pairs = columns_formerly.iter().map(|(column, then)| {
            let now = name_of(table, column);
            quote!((#now, #then))
        });
        quote!(.columns_formerly(&[#(#pairs),*]))
    });
    let fill = (!fill.is_empty()).then(|| {
        let pairs = fill.iter().map(|(column, json)| {
            let column = name_of(table, column);
            quote!((#column, #json))
        });
        quote!(.fill(&[#(#pairs),*]))
    });

    quote! {
        ::threadline::Definition::new(#name, ::threadline::audited::key_names::<_, Self::Key>())
            #read_only
            #store_changed_from
            #(#lists)*
            #mask_placeholder
            #require_actor
            #level
            #truncate
            #formerly
            #columns_formerly
            #fill
    }
}

/// What only rustc can check: the key of the table's module, and the types of columns.
fn assertions(model: &Model<'_>) -> TokenStream {
    let Model {
        input,
        table,
        table_name,
        ..
    } = model;
    let model_name = &input.ident;
    let key = quote!(<#model_name as ::threadline::Audited>::DEFINITION.key);
    let redacted = model.key.is_none().then(|| {
        let each = model.rules.redacted().map(|listed| {
            let name = name_of(table, &listed.column);
            let message = redacted_key(table_name, listed);
            quote_spanned! {listed.span=>
                const _: () = ::threadline::audited::assert_not_key(#name, #key, #message);
            }
        });
        quote!(#(#each)*)
    });
    let decoded = model.decoded.iter().map(|(listed, span)| {
        let column = &listed.column;
        let name = name_of(table, column);
        let message = undecodable(table_name, listed);
        let decodes = quote! {{
            #[allow(unused_imports)]
            use ::threadline::audited::NeedsFill as _;
            ::threadline::audited::Redacted::<
                <#table::#column as ::diesel::expression::Expression>::SqlType
            >::DECODES
        }};
        quote_spanned! {*span=>
            const _: () = ::threadline::audited::assert_decodes(#decodes, #name, #key, #message);
        }
    });
    quote! {
        #redacted
        #(#decoded)*
    }
}
