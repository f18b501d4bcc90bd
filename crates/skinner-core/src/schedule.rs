//! Schedules: how a hyper-parameter changes while training goes on.

use serde::{Deserialize, Serialize};

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
    /// What the initial value is multiplied by when a fraction `progress` (0 to 1) of training is over.
    pub fn factor(self, progress: f64) -> f64 {
        let progress = progress.clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - progress,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        }
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
}
