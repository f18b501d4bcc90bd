//! One curve with its band from the curves of several seeds.

use skinner_core::Rng;
use skinner_core::statistics::{bootstrap_interval, iqm};

use super::group::Group;
use crate::plot::Series;

/// Places at which the curves of several seeds are compared.
const GRID: usize = 200;
const RESAMPLES: usize = 500;

/// The metric `name` of a group: a line as it was logged for one seed; for several the interquartile
/// mean with its 95 % bootstrap interval, both interpolated onto a common grid.
pub(super) fn series(group: &Group, name: &str) -> Series {
    let logged: Vec<&[(f64, f64)]> =
        group.runs.iter().map(|run| run.metrics.points(name)).filter(|p| !p.is_empty()).collect();
    let label = group.label.clone();
    match logged[..] {
        [] => Series { label, ..Series::default() },
        [one] => Series { label, points: one.to_vec(), band: None },
        _ => {
            let (points, band) = aggregate(&logged);
            Series { label, points, band: Some(band) }
        }
    }
}

/// What stands around the curve of a single run: another metric's name, and the band at a point and that
/// metric's value there.
#[derive(Clone, Copy)]
pub(super) enum Band {
    /// Nothing.
    None,
    /// One deviation to both sides.
    Deviation(&'static str),
    /// From one metric to another.
    Interval(&'static str, &'static str),
}

/// As [`series`], with a band around the line of a single run.
pub(super) fn series_with_band(group: &Group, name: &str, band: Band) -> Series {
    let mut series = series(group, name);
    let [run] = group.runs[..] else { return series };
    let at = |name: &str, x: f64| {
        run.metrics.points(name).iter().find(|point| point.0 == x).map(|point| point.1)
    };
    let ends = |x: f64, y: f64| match band {
        Band::None => None,
        Band::Deviation(std) => at(std, x).map(|std| (x, y - std, y + std)),
        Band::Interval(low, high) => Some((x, at(low, x)?, at(high, x)?)),
    };
    let band: Vec<_> = series.points.iter().filter_map(|&(x, y)| ends(x, y)).collect();
    series.band = Some(band).filter(|band| !band.is_empty());
    series
}

type Aggregate = (Vec<(f64, f64)>, Vec<(f64, f64, f64)>);

/// At each place the runs count that were logged both before and after it.
fn aggregate(curves: &[&[(f64, f64)]]) -> Aggregate {
    let ends = |curve: &&[(f64, f64)]| Some((curve.first()?.0, curve.last()?.0));
    let start = curves.iter().filter_map(ends).map(|(first, _)| first).fold(0.0, f64::max);
    let end = curves.iter().filter_map(ends).map(|(_, last)| last).fold(start, f64::max);
    let mut rng = Rng::new(0);
    let (mut points, mut band) = (Vec::new(), Vec::new());
    for i in 0..=GRID {
        let x = start + (end - start) * i as f64 / GRID as f64;
        let values: Vec<f64> = curves.iter().filter_map(|curve| interpolate(curve, x)).collect();
        if values.is_empty() {
            continue;
        }
        let (low, high) = interval(&values, RESAMPLES, &mut rng);
        points.push((x, iqm(&values)));
        band.push((x, low, high));
    }
    (points, band)
}

/// The 95 % bootstrap interval of the interquartile mean of runs of one task.
pub(super) fn interval(values: &[f64], resamples: usize, rng: &mut Rng) -> (f64, f64) {
    bootstrap_interval(&[values], iqm, 0.95, resamples, rng)
}

/// The curve's value at `x` on the straight line between its neighbours; none outside of it.
fn interpolate(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let after = curve.partition_point(|point| point.0 < x);
    let &(right, high) = curve.get(after)?;
    if right == x {
        return Some(high);
    }
    let &(left, low) = curve.get(after.checked_sub(1)?)?;
    Some(low + (high - low) * (x - left) / (right - left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_points() {
        let curve = [(10.0, 1.0), (20.0, 3.0)];
        let check = |x: f64, expect: Option<f64>| assert_eq!(interpolate(&curve, x), expect);
        check(5.0, None);
        check(10.0, Some(1.0));
        check(15.0, Some(2.0));
        check(20.0, Some(3.0));
        check(25.0, None);
    }

    #[test]
    fn seeds_that_log_at_different_steps() {
        let even: Vec<(f64, f64)> =
            (0..50).map(|i| (f64::from(i) * 2.0, f64::from(i) * 2.0)).collect();
        let odd: Vec<(f64, f64)> =
            (0..30).map(|i| (f64::from(i) * 3.0 + 1.0, f64::from(i) * 3.0 + 1.0)).collect();
        let (points, band) = aggregate(&[&even, &odd]);
        assert_eq!(points[0].0, 1.0);
        assert_eq!(points[GRID].0, 98.0);
        assert!(points.iter().all(|&(x, y)| (x - y).abs() < 1e-9));
        assert!(
            band.iter().all(|&(x, low, high)| (low - x).abs() < 1e-9 && (high - x).abs() < 1e-9)
        );
    }

    #[test]
    fn a_curve_of_one_point() {
        let (points, _) = aggregate(&[&[(5.0, 1.0)], &[(5.0, 3.0)]]);
        assert!(points.iter().all(|&point| point == (5.0, 2.0)));
    }
}
