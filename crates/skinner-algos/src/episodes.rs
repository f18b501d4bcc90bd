//! What every algorithm says about the episodes of its training.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use skinner_core::{Episode, Metrics};

/// Episodes over which `episode_return` is averaged.
const RECENT: usize = 100;

/// Counts and recent returns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Episodes {
    pub count: u64,
    recent: VecDeque<Episode>,
    /// Lowest and highest episode return so far.
    range: Option<(f64, f64)>,
}

impl Episodes {
    pub fn add(&mut self, episode: Episode) {
        self.count += 1;
        let value = episode.episode_return;
        let (low, high) = self.range.unwrap_or((value, value));
        self.range = Some((low.min(value), high.max(value)));
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(episode);
    }

    pub fn metrics(&self, metrics: &mut Metrics) {
        if !self.recent.is_empty() {
            let n = self.recent.len() as f64;
            let mean = |f: fn(&Episode) -> f64| self.recent.iter().map(f).sum::<f64>() / n;
            metrics.set("episode_return", mean(|e| e.episode_return));
            metrics.set("episode_length", mean(|e| f64::from(e.length)));
        }
        metrics.set("episodes", self.count as f64);
    }

    /// What looks like a mistake rather than a hard task: one sentence each.
    pub fn warnings(&self, env_steps: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (Some((low, high)), true) = (self.range, self.count >= RECENT as u64)
            && low == high
        {
            warnings.push(format!(
                "all {} episodes returned exactly {low}: there was nothing to learn from",
                self.count
            ));
        }
        if self.count == 0 && env_steps > 0 {
            warnings.push(format!(
                "no episode ended within {env_steps} steps; a time limit on the environment (max_episode_steps) may be missing"
            ));
        }
        warnings
    }
}
