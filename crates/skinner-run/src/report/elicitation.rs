//! What reinforcement adds: how many tasks are solved within k attempts, before and after it.

use std::fmt::Write;

use super::group::Group;
use crate::history::History;
use crate::plot::{LineChart, Scale, Series};

/// Metrics of this name and a slash are pass@k, by k.
pub(super) const PREFIX: &str = "eval_pass_at_k/";

/// Shares of tasks that are solved within k attempts, in order of k.
#[derive(Clone, Debug, Default, PartialEq)]
struct Curves {
    base: Vec<(f64, f64)>,
    /// Empty until the run has ended.
    trained: Vec<(f64, f64)>,
    /// Tasks.
    items: f64,
}

/// A run logs pass@k twice: before its first step with rewards and after its last.
fn curves(history: &History) -> Curves {
    let mut curves = Curves::default();
    for column in &history.columns {
        let Some(k) = column.name.strip_prefix(PREFIX).and_then(|k| k.parse().ok()) else {
            continue;
        };
        if let [(_, base), later @ ..] = &column.points[..] {
            curves.base.push((k, *base));
            curves.trained.extend(later.last().map(|(_, trained)| (k, *trained)));
        }
    }
    curves.items = history.points("eval_items_sampled").last().map_or(0.0, |point| point.1);
    curves.base.sort_by(|a, b| a.0.total_cmp(&b.0));
    curves.trained.sort_by(|a, b| a.0.total_cmp(&b.0));
    curves
}

/// The mean over runs that logged the same k.
fn mean(all: &[Curves]) -> Curves {
    let of = |part: fn(&Curves) -> &Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        let k = part(&all[0]).iter().map(|point| point.0);
        let n = all.len() as f64;
        let value = |i: usize| all.iter().filter_map(|c| part(c).get(i)).map(|p| p.1).sum::<f64>();
        k.enumerate().map(|(i, k)| (k, value(i) / n)).collect()
    };
    Curves {
        base: of(|curves| &curves.base),
        trained: of(|curves| &curves.trained),
        items: all.iter().map(|curves| curves.items).sum(),
    }
}

impl Curves {
    fn svg(&self) -> String {
        let series = |label: &str, points: &[(f64, f64)]| Series {
            label: label.to_owned(),
            points: points.to_vec(),
            band: None,
        };
        let chart = LineChart {
            title: "Tasks solved within k attempts (pass@k)",
            x_label: "attempts k",
            y_label: "share of tasks",
            series: &[
                series("before reinforcement", &self.base),
                series("after reinforcement", &self.trained),
            ],
            scale: Scale::Log2,
            legend: true,
            size: (860, 400),
            ..LineChart::default()
        };
        chart.svg()
    }

    /// What can differ by the choice of tasks alone: two standard errors of the difference of two shares.
    fn chance(&self, base: f64, trained: f64) -> f64 {
        let variance = base * (1.0 - base) + trained * (1.0 - trained);
        2.0 * (variance / self.items.max(1.0)).sqrt()
    }

    /// What the two curves say, in words.
    fn verdict(&self) -> String {
        let both: Vec<(f64, f64, f64)> =
            self.base.iter().zip(&self.trained).map(|(b, t)| (b.0, b.1, t.1)).collect();
        let [(_, first_base, first), .., (k, last_base, last)] = both[..] else {
            return "The trained model has not been evaluated yet.".to_owned();
        };
        let better =
            |&(_, base, trained): &(f64, f64, f64)| trained - base > self.chance(base, trained);
        let worse =
            |&(_, base, trained): &(f64, f64, f64)| base - trained > self.chance(base, trained);
        let mut words = format!(
            "At one attempt {first:.3} of the tasks are solved, {first_base:.3} before; within {k} attempts {last:.3}, \
             {last_base:.3} before. "
        );
        let crossing =
            both.windows(2).find(|pair| (pair[0].2 >= pair[0].1) && (pair[1].2 < pair[1].1));
        if !better(&both[0]) {
            words += "One attempt is not better than before by more than chance: reinforcement has not helped here.";
        } else if both.iter().any(worse) {
            let place = crossing.map_or_else(String::new, |pair| {
                format!(" (the curves cross between k = {} and {})", pair[0].0, pair[1].0)
            });
            let _ = write!(
                words,
                "With many attempts the model solved more before{place}: reinforcement has sharpened what is drawn \
                 first, and lost some of what could be drawn."
            );
        } else if better(&both[both.len() - 1]) {
            let _ = write!(
                words,
                "The trained model is ahead at every k shown: within {k} attempts it solves tasks that it did not solve \
                 before. Whether more attempts would have solved them, these do not say."
            );
        } else {
            let _ = write!(
                words,
                "Within {k} attempts the two do not differ by more than chance: what took several attempts takes one. \
                 Reinforcement has sharpened what the model could do."
            );
        }
        words
    }
}

/// The chart of a run, where it drew completions of its tasks.
pub(super) fn svg(history: &History) -> Option<String> {
    let curves = curves(history);
    (curves.base.len() > 1).then(|| curves.svg())
}

/// One chart of each group that has it.
pub(super) fn section(page: &mut String, groups: &[Group]) {
    let found: Vec<(&Group, Curves)> = groups
        .iter()
        .filter_map(|group| {
            let mut all: Vec<Curves> = group.runs.iter().map(|run| curves(&run.metrics)).collect();
            all.retain(|curves| curves.base.len() > 1);
            // A run that goes on has only the first curve.
            if all.iter().any(|curves| !curves.trained.is_empty()) {
                all.retain(|curves| curves.trained.len() == curves.base.len());
            }
            (!all.is_empty()).then(|| (group, mean(&all)))
        })
        .collect();
    if found.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>What reinforcement adds</h2>\n");
    for (group, curves) in &found {
        if groups.len() > 1 {
            let _ = writeln!(page, "<h3>{}</h3>", crate::plot::escape(&group.label));
        }
        let _ = writeln!(page, "<figure>{}</figure>", curves.svg());
        let _ = writeln!(page, "<p>{}</p>", curves.verdict());
    }
    page.push_str(
        "<p class=\"small\">Unbiased estimates from the same unseen tasks, drawn at the temperature of training. \
         Differences below two standard errors count as chance.</p>\n</section>\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(base: &[f64], trained: &[f64]) -> String {
        let points = |shares: &[f64]| {
            shares.iter().enumerate().map(|(i, share)| (f64::from(1 << i), *share)).collect()
        };
        Curves { base: points(base), trained: points(trained), items: 400.0 }.verdict()
    }

    #[test]
    fn verdicts() {
        let check = |base: &[f64], trained: &[f64], expected: &str| {
            let verdict = of(base, trained);
            assert!(verdict.contains(expected), "{verdict}");
        };
        check(&[0.3, 0.5, 0.7], &[0.8, 0.9, 0.95], "ahead at every k shown");
        check(&[0.3, 0.7, 0.97], &[0.9, 0.95, 0.98], "has sharpened what the model could do");
        check(&[0.3, 0.7, 0.97], &[0.6, 0.75, 0.8], "cross between k = 2 and 4");
        check(&[0.3, 0.5, 0.7], &[0.31, 0.5, 0.7], "has not helped");
        check(&[0.3, 0.5], &[], "not been evaluated yet");
        let numbers = of(&[0.3, 0.5, 0.7], &[0.8, 0.9, 0.95]);
        assert!(numbers.starts_with(
            "At one attempt 0.800 of the tasks are solved, 0.300 before; within 4 attempts 0.950, 0.700 before."
        ));
    }

    #[test]
    fn the_first_evaluation_is_the_base() {
        let log = "{\"step\":5,\"eval_pass_at_k/1\":0.25,\"eval_pass_at_k/16\":0.5,\"eval_items_sampled\":8}\n\
                   {\"step\":6,\"loss\":1}\n\
                   {\"step\":9,\"eval_pass_at_k/1\":0.75,\"eval_pass_at_k/16\":1.0,\"eval_items_sampled\":8}\n";
        let found = curves(&History::parse(log.as_bytes()));
        let expected = Curves {
            base: vec![(1.0, 0.25), (16.0, 0.5)],
            trained: vec![(1.0, 0.75), (16.0, 1.0)],
            items: 8.0,
        };
        assert_eq!(found, expected);
        let twice =
            mean(&[found.clone(), Curves { base: vec![(1.0, 0.75), (16.0, 1.0)], ..found }]);
        assert_eq!(twice.base, [(1.0, 0.5), (16.0, 0.75)]);
        assert_eq!(twice.items, 16.0);
    }
}
