//! How long runs took until an evaluation on the way reached a return.

use std::fmt::Write;

use skinner_core::Rng;

use super::RunReport;
use super::group::Group;
use super::html::Table;
const RESAMPLES: usize = 2000;

/// A median over runs with its 95 % bootstrap interval; infinite where too few runs got there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// How long the runs of one recipe took.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// What tells the recipe from the others.
    pub label: String,
    /// Runs that got there.
    pub reached: usize,
    /// All runs.
    pub runs: usize,
    /// Steps until they did.
    pub steps: Spread,
    /// Seconds of training until they did.
    pub seconds: Spread,
    /// Steps in relation to those of the first recipe; none for the first.
    pub steps_ratio: Option<Spread>,
    /// Seconds in relation to those of the first recipe; none for the first.
    pub seconds_ratio: Option<Spread>,
}

/// For each recipe, when `eval_return_mean` first was `threshold` or more in an evaluation on the way.
pub(super) fn reach(groups: &[Group], threshold: f64) -> Vec<Reach> {
    let times: Vec<(Vec<f64>, Vec<f64>)> = groups
        .iter()
        .map(|group| group.runs.iter().map(|run| first(run, threshold)).unzip())
        .collect();
    let reach = |(i, (steps, seconds)): (usize, &(Vec<f64>, Vec<f64>))| Reach {
        label: groups[i].label.clone(),
        reached: steps.iter().filter(|steps| steps.is_finite()).count(),
        runs: steps.len(),
        steps: spread(steps),
        seconds: spread(seconds),
        steps_ratio: (i > 0).then(|| ratio(steps, &times[0].0)),
        seconds_ratio: (i > 0).then(|| ratio(seconds, &times[0].1)),
    };
    times.iter().enumerate().map(reach).collect()
}

/// Steps and seconds of training until the threshold; infinite where it was not reached.
fn first(run: &RunReport, threshold: f64) -> (f64, f64) {
    let mut evaluations = run.metrics.points("eval_return_mean").iter();
    let Some(&(step, _)) = evaluations.find(|(_, value)| *value >= threshold) else {
        return (f64::INFINITY, f64::INFINITY);
    };
    let timing = run.timing.points("train_seconds");
    let seconds = timing.iter().find(|(at, _)| *at >= step).map_or(f64::INFINITY, |point| point.1);
    (step, seconds)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    // The mean of two infinities is one too; so is that of a number and an infinity.
    if n.is_multiple_of(2) { 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]) } else { sorted[n / 2] }
}

/// The interval of a statistic over bootstrap resamples.
fn interval(median: f64, mut resampled: impl FnMut(&mut Rng) -> f64) -> Spread {
    let mut rng = Rng::new(0);
    let mut values: Vec<f64> =
        (0..RESAMPLES).map(|_| resampled(&mut rng)).filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    let at = |q: f64| values.get((q * values.len() as f64) as usize).copied().unwrap_or(f64::NAN);
    Spread { median, low: at(0.025), high: at(0.975) }
}

fn resample(values: &[f64], rng: &mut Rng) -> f64 {
    let drawn: Vec<f64> = values.iter().map(|_| values[rng.below(values.len())]).collect();
    median(&drawn)
}

fn spread(values: &[f64]) -> Spread {
    interval(median(values), |rng| resample(values, rng))
}

fn ratio(values: &[f64], first: &[f64]) -> Spread {
    interval(median(values) / median(first), |rng| resample(values, rng) / resample(first, rng))
}

impl Spread {
    /// For reading, with so many digits after the point.
    pub fn show(&self, digits: usize) -> String {
        let one = |value: f64| {
            if value.is_finite() { format!("{value:.digits$}") } else { "never".to_owned() }
        };
        format!("{} ({} to {})", one(self.median), one(self.low), one(self.high))
    }
}

impl Reach {
    /// For reading: label, how many got there, steps, seconds, and both in relation to the first.
    pub fn cells(&self) -> [String; 6] {
        let relative = |ratio: &Option<Spread>| ratio.as_ref().map_or("1".into(), |r| r.show(1));
        [
            self.label.clone(),
            format!("{} of {}", self.reached, self.runs),
            self.steps.show(0),
            self.seconds.show(2),
            relative(&self.steps_ratio),
            relative(&self.seconds_ratio),
        ]
    }
}

pub(super) fn section(page: &mut String, all: &[Reach], threshold: f64) {
    let _ = writeln!(page, "<section>\n<h2>Until a return of {threshold}</h2>");
    let heads = ["recipe", "runs", "steps", "seconds", "× the first's steps", "× its seconds"];
    let mut table = Table::new(heads);
    for reach in all {
        table.row(reach.cells());
    }
    page.push_str(&table.finish());
    page.push_str(
        "<p class=\"small\">Of the periodic evaluations the first that reached it; medians over runs with \
         95 % bootstrap intervals (2000 resamples). Seconds are of training, without evaluations.</p>\n</section>\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_with_runs_that_never_got_there() {
        let never = f64::INFINITY;
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, never]), 3.0);
        assert_eq!(median(&[1.0, never]), never);
        assert_eq!(median(&[never, never]), never);
        let all = spread(&[never; 3]);
        assert_eq!((all.median, all.show(1)), (never, "never (never to never)".to_owned()));
    }

    #[test]
    fn intervals_hold_the_median_and_ratios_are_of_medians() {
        let slow: Vec<f64> = (0..20).map(|i| 100.0 + f64::from(i)).collect();
        let fast: Vec<f64> = (0..20).map(|i| 10.0 + 0.1 * f64::from(i)).collect();
        let steps = spread(&slow);
        assert_eq!(steps.median, 109.5);
        assert!(104.0 < steps.low && steps.low < 109.5 && 109.5 < steps.high && steps.high < 115.0);
        let times = ratio(&slow, &fast);
        assert!((times.median - 10.0).abs() < 1e-12);
        assert!(times.low > 9.0 && times.high < 11.0 && times.low < times.high, "{times:?}");
    }
}
