//! The derive macro of threadline.

use proc_macro::TokenStream;

/// Audits a Diesel model.
#[proc_macro_derive(Audited, attributes(audited, diesel))]
pub fn audited(_input: TokenStream) -> TokenStream {
    TokenStream::new()
}
