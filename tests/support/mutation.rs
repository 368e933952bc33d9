//! Mutation control: the product's SQL, broken on purpose, so that its tests can show that they notice.
//!
//! A process whose environment says `THREADLINE_MUTATION=<name>` installs that mutation wherever the tests install
//! capture. The list is in `mutations.txt`; the test `mutations` of the integration tests goes through it.

use std::env;
use std::sync::OnceLock;

/// The variable that asks for a mutation by its name.
pub const VARIABLE: &str = "THREADLINE_MUTATION";

/// One way to break the SQL, and the test that has to fail then.
#[derive(Debug)]
pub struct Mutation {
    /// What is broken.
    pub name: &'static str,
    /// The test, by its full name.
    pub killed_by: &'static str,
    from: &'static str,
    to: &'static str,
}

/// Every mutation of `mutations.txt`: blocks of `# name`, `= test`, lines that begin with `-` and lines that begin with `+`.
#[must_use]
pub fn all() -> Vec<Mutation> {
    let blocks = include_str!("mutations.txt").split("\n\n");
    blocks
        .filter(|block| block.starts_with('#'))
        .map(read)
        .collect()
}

fn read(block: &'static str) -> Mutation {
    let marked = |mark: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(mark));
        lines.collect::<Vec<_>>().join("\n")
    };
    let leak = |text: String| -> &'static str { text.leak() };
    Mutation {
        name: leak(marked("# ")),
        killed_by: leak(marked("= ")),
        from: leak(marked("-")),
        to: leak(marked("+")),
    }
}

impl Mutation {
    /// The SQL, broken; `None` if it doesn't hold what is to be broken exactly once.
    #[must_use]
    pub fn apply(&self, sql: &str) -> Option<String> {
        (sql.matches(self.from).count() == 1).then(|| sql.replace(self.from, self.to))
    }
}

/// SQL as this process is to install it.
#[must_use]
pub fn installed(sql: String) -> String {
    static ASKED: OnceLock<Option<Mutation>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let name = env::var(VARIABLE).ok()?;
        let found = all().into_iter().find(|mutation| mutation.name == name);
        Some(found.unwrap_or_else(|| panic!("no mutation is called {name}")))
    });
    match asked {
        Some(mutation) => mutation.apply(&sql).unwrap_or(sql),
        None => sql,
    }
}
