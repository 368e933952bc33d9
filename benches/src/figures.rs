//! From samples to figures. Samples of the same round belong together: they are compared before they are summed up, so
//! that a machine that gets slower and faster again does not change a ratio.

use std::fmt;

/// A ratio to reach: the one that is expected, and the one that we are after.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    expected: f64,
    after: f64,
}

impl Target {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the tables of targets have gaps, and are read beside them"
    )]
    pub(crate) const fn new(expected: f64, after: f64) -> Option<Target> {
        Some(Target { expected, after })
    }
}

/// The middle of some samples, and how far the middle half of them reaches: a round that was disturbed says nothing.
pub(crate) struct Spread {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    /// Of no samples, everything is not a number.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Spread {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let at = |place: usize| samples.get(place).copied().unwrap_or(f64::NAN);
        let middle = samples.len() / 2;
        Spread {
            median: if samples.len().is_multiple_of(2) {
                f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
            } else {
                at(middle)
            },
            low: at(samples.len() / 4),
            high: at(samples.len().wrapping_sub(1 + samples.len() / 4)),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} … {:.2}", self.low, self.high)
    }
}

/// What one variant takes over the plain one, round by round.
pub(crate) fn overhead(samples: &[f64], plain: &[f64]) -> Vec<f64> {
    samples.iter().zip(plain).map(|(s, p)| s - p).collect()
}

/// How the samples of one thing compare with those of another, round by round.
pub(crate) fn ratio(samples: &[f64], baseline: &[f64]) -> Spread {
    Spread::of(samples.iter().zip(baseline).map(|(s, b)| s / b))
}

/// The cells of a figure in a table of targets: expected, after, reached, the range of its middle half.
pub(crate) fn reached(target: Option<Target>, reached: &Spread) -> [String; 4] {
    let (expected, after) = match target {
        Some(target) => (
            format!("≤ {:.2}", target.expected),
            format!("{:.2}", target.after),
        ),
        None => (String::new(), String::new()),
    };
    [
        expected,
        after,
        format!("**{:.2}**", reached.median),
        reached.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_samples_has_a_median_between_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([9.0, 1.0, 2.0]).median, 2.0);
    }

    #[test]
    fn a_disturbed_round_is_outside_the_range() {
        let spread = Spread::of([2.0, 90.0, 1.0, -7.0, 3.0]);
        assert_eq!(spread.to_string(), "1.00 … 3.00");
    }

    #[test]
    fn ratios_are_made_within_a_round() {
        let ours = overhead(&[3.0, 30.0], &[1.0, 10.0]);
        assert_eq!(ratio(&ours, &[4.0, 40.0]).to_string(), "0.50 … 0.50");
    }
}
