//! The words of `#[audited(…)]`.

use syn::{Path, spanned::Spanned};

use super::List;

/// A word at the struct.
#[derive(Clone, Copy)]
pub(super) enum StructWord {
    StoreChangedFrom,
    MaskPlaceholder,
    RequireActor,
    Level,
    Truncate,
    PrimaryKey,
    ReadOnly,
    Of(ColumnWord),
}

/// A word about columns: at the struct it names them, at a field it means the field's.
#[derive(Clone, Copy)]
pub(super) enum ColumnWord {
    List(List),
    Formerly,
    Fill,
}

/// The words that one place knows.
pub(super) struct Words<W: 'static> {
    place: &'static str,
    words: &'static [(&'static str, W)],
    /// What to do about a word that only the other place knows.
    elsewhere: fn(&str) -> Option<String>,
}

pub(super) static AT_STRUCT: Words<StructWord> = Words {
    place: "struct",
    words: &[
        ("store_changed_from", StructWord::StoreChangedFrom),
        (
            "except_columns",
            StructWord::Of(ColumnWord::List(List::ExceptColumns)),
        ),
        ("exclude", StructWord::Of(ColumnWord::List(List::Exclude))),
        ("mask", StructWord::Of(ColumnWord::List(List::Mask))),
        ("mask_placeholder", StructWord::MaskPlaceholder),
        (
            "ignore_only",
            StructWord::Of(ColumnWord::List(List::IgnoreOnly)),
        ),
        (
            "on_change",
            StructWord::Of(ColumnWord::List(List::OnChange)),
        ),
        ("require_actor", StructWord::RequireActor),
        ("level", StructWord::Level),
        ("truncate", StructWord::Truncate),
        ("primary_key", StructWord::PrimaryKey),
        ("formerly", StructWord::Of(ColumnWord::Formerly)),
        ("read_only", StructWord::ReadOnly),
        ("fill", StructWord::Of(ColumnWord::Fill)),
    ],
    elsewhere: |word| {
        let word = AT_FIELD.get(word)?;
        Some(format!("write `{}`", word.at_struct()))
    },
};

pub(super) static AT_FIELD: Words<ColumnWord> = Words {
    place: "field",
    words: &[
        ("exclude", ColumnWord::List(List::Exclude)),
        ("mask", ColumnWord::List(List::Mask)),
        ("except", ColumnWord::List(List::ExceptColumns)),
        ("ignore_only", ColumnWord::List(List::IgnoreOnly)),
        ("on_change", ColumnWord::List(List::OnChange)),
        ("formerly", ColumnWord::Formerly),
        ("fill", ColumnWord::Fill),
    ],
    elsewhere: |word| {
        Some(match AT_STRUCT.get(word)? {
            StructWord::Of(word) => format!("write `{}`", word.at_field()),
            _ => "it belongs at the struct".to_owned(),
        })
    },
};

impl ColumnWord {
    pub(super) fn at_struct(self) -> String {
        match self {
            Self::List(list) => format!("{}(column)", list.name()),
            Self::Formerly => r#"formerly(column = "old_column")"#.to_owned(),
            Self::Fill => "fill(column = literal)".to_owned(),
        }
    }

    pub(super) fn at_field(self) -> &'static str {
        match self {
            Self::List(List::ExceptColumns) => "except",
            Self::List(list) => list.name(),
            Self::Formerly => r#"formerly = "old_column""#,
            Self::Fill => "fill = literal",
        }
    }
}

/// Below this likeness, a suggestion would be a guess.
const NEAR: f64 = 0.8;

impl<W: Copy> Words<W> {
    fn get(&self, word: &str) -> Option<W> {
        let found = self.words.iter().find(|(name, _)| *name == word);
        found.map(|(_, word)| *word)
    }

    pub(super) fn find(&self, path: &Path) -> syn::Result<W> {
        let word = path
            .get_ident()
            .map_or_else(|| "…::…".to_owned(), super::plain);
        self.get(&word).ok_or_else(|| {
            let hint = match ((self.elsewhere)(&word), self.nearest(&word)) {
                (Some(hint), _) => format!("; {hint}"),
                (None, Some(near)) => format!("; did you mean `{near}`?"),
                (None, None) => String::new(),
            };
            let place = self.place;
            syn::Error::new(
                path.span(),
                format!(
                    "unknown attribute `{word}` at a {place}{hint}\n{}",
                    self.known()
                ),
            )
        })
    }

    fn nearest(&self, word: &str) -> Option<&'static str> {
        self.words
            .iter()
            .map(|(name, _)| (strsim::jaro_winkler(word, name), *name))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, name)| name)
    }

    /// A clause that lists the words.
    pub(super) fn known(&self) -> String {
        let names: Vec<_> = self
            .words
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        format!("a {} takes {}", self.place, names.join(", "))
    }
}
