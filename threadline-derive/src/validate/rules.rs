use proc_macro2::Span;
use syn::Ident;

use super::text::{placeholder, sql_name};
use super::{Listed, Rules};
use crate::attr::{List, Statement, What, plain};
use crate::ctxt::Ctxt;

/// The longest key that `threadline::audited::KeyColumns` is implemented for.
const MAX_KEY: usize = 8;

/// The key, if the attributes declare one, and the rules that hold.
pub(super) fn of(
    ctxt: &Ctxt,
    table: &str,
    diesel_key: Option<Vec<Ident>>,
    statements: Vec<Statement>,
) -> (Option<Vec<Ident>>, Rules) {
    let key = declared_key(ctxt, &statements).or(diesel_key);
    let mut checker = Checker {
        table,
        key: key.as_deref().unwrap_or_default(),
        read_only: statements
            .iter()
            .any(|said| matches!(said.what, What::ReadOnly)),
        rules: Rules::default(),
    };
    for Statement { what, span } in statements {
        if let Err(message) = checker.take(what, span) {
            ctxt.error(span, message);
        }
    }
    let rules = checker.rules;
    (key, rules)
}

fn declared_key(ctxt: &Ctxt, statements: &[Statement]) -> Option<Vec<Ident>> {
    let mut key: Option<Vec<Ident>> = None;
    for Statement { what, span } in statements {
        let What::PrimaryKey(columns) = what else {
            continue;
        };
        if key.is_some() {
            ctxt.error(*span, twice("primary_key"));
            continue;
        }
        if columns.len() > MAX_KEY {
            ctxt.error(
                *span,
                format!(
                    "a key has at most {MAX_KEY} columns; this one has {}",
                    columns.len()
                ),
            );
        }
        let mut once: Vec<Ident> = Vec::new();
        for column in columns.iter().take(MAX_KEY) {
            if once.contains(column) {
                ctxt.error(column.span(), listed_twice(column, "primary_key"));
            } else {
                once.push(column.clone());
            }
        }
        key = Some(once);
    }
    key
}

/// Takes one statement after the other, and refuses those that contradict what was said before.
struct Checker<'a> {
    table: &'a str,
    key: &'a [Ident],
    /// Said anywhere among the statements.
    read_only: bool,
    rules: Rules,
}

impl Checker<'_> {
    fn take(&mut self, what: What, span: Span) -> Result<(), String> {
        if self.read_only
            && let Some(word) = capture_rule(&what)
        {
            return Err(format!(
                "a `read_only` model has no capture rules: take `{word}` away, or move it to the model that owns the capture plan of table `{}`",
                self.table
            ));
        }
        let rules = &mut self.rules;
        match what {
            What::ReadOnly => once(&mut rules.read_only, "read_only"),
            What::StoreChangedFrom => once(&mut rules.store_changed_from, "store_changed_from"),
            What::RequireActor(actor) => set(&mut rules.require_actor, actor, "require_actor"),
            What::Level(level) => set(&mut rules.level, level, "level"),
            What::Truncate(truncate) => set(&mut rules.truncate, truncate, "truncate"),
            What::MaskPlaceholder(text) => {
                placeholder(&text)?;
                set(&mut rules.mask_placeholder, text, "mask_placeholder")
            }
            What::PrimaryKey(_) => Ok(()),
            What::Formerly(name) => {
                sql_name(&name)?;
                if rules.formerly.contains(&name) {
                    return Err(format!("`{}` is named twice", name.value()));
                }
                rules.formerly.push(name);
                Ok(())
            }
            What::Column(list, column) => self.list(Listed { list, column, span }),
            What::ColumnFormerly(column, name) => {
                sql_name(&name)?;
                let pair = (column, name);
                if rules.columns_formerly.contains(&pair) {
                    return Err(format!("`{}` is named twice", pair.1.value()));
                }
                rules.columns_formerly.push(pair);
                Ok(())
            }
            What::Fill(column, json) => {
                if rules.fill.iter().any(|(filled, _)| *filled == column) {
                    return Err(format!(
                        "column `{}` has a `fill` already; keep one",
                        plain(&column)
                    ));
                }
                rules.fill.push((column, json));
                Ok(())
            }
        }
    }

    fn list(&mut self, new: Listed) -> Result<(), String> {
        if new.list.redacts() && self.key.contains(&new.column) {
            return Err(redacted_key(self.table, &new));
        }
        let listed = &mut self.rules.columns;
        for old in listed.iter().filter(|old| old.column == new.column) {
            if old.list == new.list {
                return Err(listed_twice(&new.column, new.list.name()));
            }
            let lists = [old.list, new.list];
            if lists.contains(&List::OnChange) && lists.iter().any(|list| list.redacts()) {
                return Err(format!(
                    "column `{}` is redacted and in `on_change`; keep one: what is never stored has no earlier value to read",
                    plain(&new.column)
                ));
            }
            if old.list.redacts() && new.list.redacts() {
                return Err(format!(
                    "column `{}` is in both `exclude` and `mask`; keep one: `exclude` drops the column, `mask` keeps its name",
                    plain(&new.column)
                ));
            }
        }
        listed.push(new);
        Ok(())
    }
}

/// The error about a redacted key column; only rustc can tell for the key of the table's module.
pub(crate) fn redacted_key(table: &str, listed: &Listed) -> String {
    format!(
        "table `{table}`: key column `{}` can't be in `{}`: history finds rows by it; redact another column, or declare another key with `#[audited(primary_key(column, …))]`",
        plain(&listed.column),
        listed.list.name()
    )
}

/// The error about a redacted column without a value to decode; only rustc knows the column's type.
pub(crate) fn undecodable(table: &str, listed: &Listed) -> String {
    format!(
        "table `{table}`: column `{0}` is in `{1}` and neither text nor nullable, so this field has nothing to decode; say what with `#[audited({1}, fill = …)]`, or leave the field out and write `#[audited({1}({0}))]` at the struct",
        plain(&listed.column),
        listed.list.name()
    )
}

/// The word of a statement that says how the table is captured, and not only how the model reads.
fn capture_rule(what: &What) -> Option<&'static str> {
    match what {
        What::StoreChangedFrom => Some("store_changed_from"),
        What::RequireActor(_) => Some("require_actor"),
        What::Level(_) => Some("level"),
        What::Truncate(_) => Some("truncate"),
        What::MaskPlaceholder(_) => Some("mask_placeholder"),
        What::Column(list, _) => Some(list.name()),
        What::ReadOnly
        | What::PrimaryKey(_)
        | What::Formerly(_)
        | What::ColumnFormerly(..)
        | What::Fill(..) => None,
    }
}

fn once(said: &mut bool, word: &str) -> Result<(), String> {
    if *said {
        return Err(twice(word));
    }
    *said = true;
    Ok(())
}

fn set<T>(slot: &mut Option<T>, value: T, word: &str) -> Result<(), String> {
    if slot.is_some() {
        return Err(twice(word));
    }
    *slot = Some(value);
    Ok(())
}

fn twice(word: &str) -> String {
    format!("`{word}` is given twice; keep one")
}

fn listed_twice(column: &Ident, list: &str) -> String {
    format!(
        "column `{}` is in `{list}` twice; once is enough",
        plain(column)
    )
}
