//! Lists of names on the command line.

/// A name of one or more parts with dots between them.
#[derive(Debug)]
pub(super) struct Name {
    /// As it was typed, for messages.
    pub(super) text: String,
    pub(super) parts: Vec<String>,
}

impl Name {
    fn empty() -> Self {
        Self {
            text: String::new(),
            parts: vec![String::new()],
        }
    }

    fn push(&mut self, c: char) {
        if let Some(part) = self.parts.last_mut() {
            part.push(c);
        }
    }
}

/// Splits at commas, and names at dots; neither counts between double quotes, where `""` stands for one.
pub(super) fn split(list: &str) -> Vec<Name> {
    let (mut names, mut name, mut quoted) = (Vec::new(), Name::empty(), false);
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        if !quoted && c == ',' {
            names.push(std::mem::replace(&mut name, Name::empty()));
            continue;
        }
        if !quoted && c == ' ' {
            continue;
        }
        name.text.push(c);
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.text.push('"');
                name.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => name.parts.push(String::new()),
            c => name.push(c),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn commas_dots_and_spaces_count_outside_quotes_only() {
        let parts = |list| {
            split(list)
                .into_iter()
                .map(|name| name.parts)
                .collect::<Vec<_>>()
        };
        assert_eq!(parts("a, b.c"), [vec!["a"], vec!["b", "c"]]);
        assert_eq!(parts(r#""a.b, ""c""".d"#), [vec![r#"a.b, "c""#, "d"]]);
        assert_eq!(parts("a,"), [vec!["a"], vec![""]]);
    }
}
