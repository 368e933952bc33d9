//! What callgrind writes: instructions by function, and by who called whom.

use std::collections::HashMap;

/// Instructions of one run, or of the difference of two.
#[derive(Default)]
pub(crate) struct Profile {
    own: HashMap<String, f64>,
    calls: HashMap<(String, String), f64>,
}

impl Profile {
    /// Reads what `--callgrind-out-file` names.
    pub(crate) fn parse(text: &str) -> Profile {
        let mut profile = Profile::default();
        // Names are written out once and then referred to by their number.
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut caller, mut callee, mut in_call) = ("", "", false);
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = resolve(&mut names, name);
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = resolve(&mut names, name);
            } else if line.starts_with("calls=") {
                in_call = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                let cost = line.split(' ').nth(1).and_then(|c| c.parse::<f64>().ok());
                let cost = cost.unwrap_or_default();
                if in_call {
                    *profile
                        .calls
                        .entry((caller.into(), callee.into()))
                        .or_default() += cost;
                } else {
                    *profile.own.entry(caller.into()).or_default() += cost;
                }
                in_call = false;
            }
        }
        profile
    }

    /// What all of it took.
    pub(crate) fn total(&self) -> f64 {
        self.own.values().sum()
    }

    /// What a function took with all that it called. It calls itself through nothing else.
    pub(crate) fn inclusive(&self, function: &str) -> f64 {
        let calls = self.calls.iter();
        calls
            .filter(|((_, callee), _)| callee == function)
            .map(|(_, cost)| cost)
            .sum()
    }

    /// What a function took without what it called by another name.
    pub(crate) fn around(&self, function: &str, called: &str) -> f64 {
        let own: f64 = self
            .own
            .iter()
            .filter(|(name, _)| plain(name) == function)
            .map(|(_, cost)| cost)
            .sum();
        let calls = self.calls.iter();
        own + calls
            .filter(|((caller, callee), _)| plain(caller) == function && plain(callee) != called)
            .map(|(_, cost)| cost)
            .sum::<f64>()
    }
}

/// A function's name without the depth of its recursion.
fn plain(name: &str) -> &str {
    name.split('\'').next().unwrap_or(name)
}

fn resolve<'a>(names: &mut HashMap<&'a str, &'a str>, name: &'a str) -> &'a str {
    match name.split_once(") ") {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names
            .get(name.trim_end_matches(')'))
            .copied()
            .unwrap_or(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_of_calls_are_not_a_functions_own() {
        let text = "fn=(1) outer\n12 5\ncfn=(2) inner\ncalls=3 40\n13 30\n14 1\nfn=(2)\n40 30\nfn=(1)\n+2 4\n";
        let profile = Profile::parse(text);
        assert_eq!(profile.total(), 40.0);
        assert_eq!(profile.inclusive("inner"), 30.0);
        assert_eq!(profile.around("outer", "inner"), 10.0);
    }
}
