//! Schedules: how a hyper-parameter changes while training goes on.

use serde::{Deserialize, Serialize};

use crate::parameter::{ParameterError, require};

/// How a hyper-parameter falls from its initial value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// Straight to zero at the end of training.
    Linear,
    /// Half a cosine to zero at the end of training.
    Cosine,
}

impl Schedule {
    /// What the initial value is multiplied by when a fraction `progress` (0 to 1) of training is
    /// over.
    pub fn factor(self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
    }
}

/// How a learning rate changes over updates: a warm-up, then a [`Schedule`].
///
/// With `w` warm-up updates of `total`, update `step` (from 0) has the factor `step / w` while
/// `step < w`, then that of the schedule at `(step - w) / (total - w)`: the convention of
/// `get_linear_schedule_with_warmup` and `get_cosine_schedule_with_warmup` of the library
/// transformers. So the first of several warm-up updates changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearningRate {
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Updates of the warm-up.
    pub warmup_steps: u64,
    /// Updates of the warm-up as a fraction of all, rounded up; where `warmup_steps` is 0.
    pub warmup_ratio: f64,
    /// The factor at the end of a linear or cosine schedule.
    pub min_ratio: f64,
}

impl LearningRate {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first parameter that is out of range or without effect.
    pub fn validate(&self) -> Result<(), ParameterError> {
        let unit = |x: f64| (0.0..=1.0).contains(&x);
        let between = "must be between 0 and 1";
        require(unit(self.warmup_ratio), "warmup_ratio", self.warmup_ratio, between)?;
        require(unit(self.min_ratio), "min_ratio", self.min_ratio, between)?;
        let one = self.warmup_steps == 0 || self.warmup_ratio == 0.0;
        let both = "give either warmup_ratio or warmup_steps";
        require(one, "warmup_ratio", self.warmup_ratio, both)?;
        let falls = self.min_ratio == 0.0 || self.schedule != Schedule::Constant;
        require(falls, "min_ratio", self.min_ratio, "a constant schedule has no such parameter")
    }

    /// Updates of the warm-up when there are `total` in all.
    pub fn warmup(&self, total: u64) -> u64 {
        if self.warmup_steps > 0 {
            self.warmup_steps
        } else {
            (self.warmup_ratio * total as f64).ceil() as u64
        }
    }

    /// What the learning rate is multiplied by in update `step` (from 0) of `total`.
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        let warmup = self.warmup(total);
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let falling = total.saturating_sub(warmup).max(1);
        let factor = self.schedule.factor((step - warmup) as f64 / falling as f64);
        self.min_ratio + (1.0 - self.min_ratio) * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_by_hand() {
        let check = |schedule: Schedule, expected: [f64; 3]| {
            for (progress, expected) in [0.0, 0.25, 1.0].into_iter().zip(expected) {
                assert!((schedule.factor(progress) - expected).abs() < 1e-12);
            }
        };
        check(Schedule::Constant, [1.0, 1.0, 1.0]);
        check(Schedule::Linear, [1.0, 0.75, 0.0]);
        check(Schedule::Cosine, [1.0, 0.853_553_390_593_273_8, 0.0]);
    }
    fn check(rate: LearningRate, total: u64, expected: &[(u64, f64)]) {
        for &(step, expected) in expected {
            let factor = rate.factor(step, total);
            assert!((factor - expected).abs() < 1e-12, "{rate:?}, step {step}: {factor}");
        }
    }

    /// Worked from `get_linear_schedule_with_warmup(warmup 4, total 12)`.
    #[test]
    fn linear_with_warmup() {
        let rate =
            LearningRate { schedule: Schedule::Linear, warmup_steps: 4, ..Default::default() };
        let expected = [
            (0, 0.0),
            (1, 0.25),
            (3, 0.75),
            (4, 1.0),
            (5, 0.875),
            (11, 0.125),
            (12, 0.0),
            (20, 0.0),
        ];
        check(rate, 12, &expected);
        check(LearningRate { min_ratio: 0.2, ..rate }, 12, &[(1, 0.25), (8, 0.6), (12, 0.2)]);
        // A third of 11 is rounded up to 4.
        let ratio = LearningRate { warmup_steps: 0, warmup_ratio: 1.0 / 3.0, ..rate };
        check(ratio, 11, &[(3, 0.75), (4, 1.0)]);
    }

    /// Worked from `get_cosine_schedule_with_warmup(warmup 2, total 10)`: ½ (1 + cos(π (s - 2) /
    /// 8)).
    #[test]
    fn cosine_with_warmup() {
        let rate =
            LearningRate { schedule: Schedule::Cosine, warmup_steps: 2, ..Default::default() };
        let quarter = 0.853_553_390_593_273_8;
        let expected = [(0, 0.0), (1, 0.5), (2, 1.0), (4, quarter), (6, 0.5), (10, 0.0), (99, 0.0)];
        check(rate, 10, &expected);
        check(LearningRate { min_ratio: 0.1, ..rate }, 10, &[(1, 0.5), (6, 0.55), (10, 0.1)]);
    }

    #[test]
    fn constant_with_and_without_warmup() {
        check(LearningRate::default(), 10, &[(0, 1.0), (9, 1.0), (10, 1.0)]);
        let rate = LearningRate { warmup_steps: 2, ..Default::default() };
        check(rate, 10, &[(0, 0.0), (1, 0.5), (2, 1.0), (9, 1.0)]);
        // A warm-up longer than the run is not finished; degenerate totals do no harm.
        check(rate, 1, &[(0, 0.0)]);
        check(LearningRate { schedule: Schedule::Linear, ..rate }, 0, &[(2, 1.0), (3, 0.0)]);
    }

    #[test]
    fn parameters_are_checked() {
        let ok = LearningRate { schedule: Schedule::Cosine, min_ratio: 0.1, ..Default::default() };
        assert!(ok.validate().is_ok());
        let wrong = [
            LearningRate { warmup_ratio: 1.5, ..ok },
            LearningRate { warmup_ratio: f64::NAN, ..ok },
            LearningRate { min_ratio: -0.1, ..ok },
            LearningRate { warmup_ratio: 0.1, warmup_steps: 3, ..ok },
            LearningRate { schedule: Schedule::Constant, ..ok },
        ];
        assert!(wrong.iter().all(|rate| rate.validate().is_err()));
    }
}
