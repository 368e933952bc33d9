//! The derive macro of threadline. Use it through `threadline::Audited`.

mod attr;
mod ctxt;
mod expand;
#[cfg(test)]
mod tests;
mod validate;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

#[doc = include_str!("audited.md")]
#[proc_macro_derive(Audited, attributes(audited, diesel))]
pub fn audited(input: TokenStream) -> TokenStream {
    derive(&parse_macro_input!(input as DeriveInput)).into()
}

/// Errors come beside the implementation, not instead of it, so that one mistake is one error.
fn derive(input: &DeriveInput) -> proc_macro2::TokenStream {
    let ctxt = ctxt::Ctxt::new();
    let attrs = attr::parse(&ctxt, input);
    let model = validate::validate(&ctxt, attrs);
    let mut tokens = ctxt.check();
    tokens.extend(model.as_ref().map(expand::expand));
    tokens
}
