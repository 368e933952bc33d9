//! Literals as JSON text.

use std::fmt::Write;

use syn::{Expr, ExprLit, ExprUnary, Lit, UnOp};

/// The literal of a `fill`.
pub(super) fn text(value: &Expr) -> syn::Result<String> {
    let text = match value {
        Expr::Lit(ExprLit { lit, .. }) => match lit {
            Lit::Str(text) => Some(quoted(&text.value())),
            Lit::Bool(value) => Some(value.value.to_string()),
            lit => number(lit),
        },
        Expr::Unary(ExprUnary {
            op: UnOp::Neg(_),
            expr,
            ..
        }) => match &**expr {
            Expr::Lit(ExprLit { lit, .. }) => number(lit).map(|number| format!("-{number}")),
            _ => None,
        },
        _ => None,
    };
    text.ok_or_else(|| {
        syn::Error::new_spanned(
            value,
            "`fill` takes a string, a number or a bool, written as a literal; PostgreSQL reads a string as the column's type",
        )
    })
}

fn number(lit: &Lit) -> Option<String> {
    match lit {
        Lit::Int(number) => Some(number.base10_digits().to_owned()),
        Lit::Float(number) => Some(float(number.base10_digits())),
        _ => None,
    }
}

/// Rust writes `007.5` and `1.`; JSON has neither leading zeros nor a bare point.
fn float(digits: &str) -> String {
    // In an attribute, syn takes the sign of a number as a part of the literal.
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let digits = digits.trim_start_matches('0');
    let lead = if digits.starts_with(|c: char| c.is_ascii_digit()) {
        ""
    } else {
        "0"
    };
    let trail = if digits.ends_with('.') { "0" } else { "" };
    format!("{sign}{lead}{digits}{trail}")
}

fn quoted(text: &str) -> String {
    let mut json = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            // Writing to a String can't fail.
            c if c.is_control() => drop(write!(json, "\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::text;

    fn json(literal: &str) -> syn::Result<String> {
        let pair: syn::MetaNameValue = syn::parse_str(&format!("fill = {literal}"))?;
        text(&pair.value)
    }

    #[test]
    fn literals_become_json() {
        for (literal, expected) in [
            ("\"plain\"", "\"plain\""),
            (r#""a \"b\" \\ \n é""#, r#""a \"b\" \\ \u000a é""#),
            ("0", "0"),
            ("-1", "-1"),
            ("1_000i64", "1000"),
            ("0xff", "255"),
            ("2.50", "2.50"),
            ("007.5f64", "7.5"),
            ("0.5", "0.5"),
            ("1.", "1.0"),
            ("0.", "0.0"),
            ("-1e9", "-1e9"),
            ("-0.5", "-0.5"),
            ("- 00.5", "-0.5"),
            ("0e1", "0e1"),
            ("true", "true"),
        ] {
            assert_eq!(json(literal).expect(literal), expected);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for literal in ["Some(1)", "b\"x\"", "'c'", "-true", "!1", "NOW", "1 + 1"] {
            assert!(json(literal).is_err(), "{literal}");
        }
    }
}
