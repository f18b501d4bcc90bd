//! Exploration: how an agent with a table of action values chooses what to try.
//!
//! An optimistic start (Sutton & Barto 2018, section 2.6) needs nothing here: it is a high
//! [`initial_value`](crate::tabular::Config::initial_value) and an ε of zero.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use crate::error::{AlgoError, not_negative, positive, require};

/// How actions are chosen in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExplorationKind {
    /// The best action, but with probability ε any (Sutton & Barto 2018, section 2.2).
    #[default]
    EpsilonGreedy,
    /// In proportion to exp(Q / temperature) (Sutton & Barto 2018, eq. 13.2).
    Boltzmann,
    /// The best upper bound Q + c √(ln N(s) / N(s, a)) (Auer et al. 2002; Sutton & Barto 2018, eq. 2.10).
    Ucb,
    /// The best of draws from a normal posterior of each arm's mean (Agrawal & Goyal 2013): bandits only.
    Thompson,
}

/// How a parameter falls from its first to its last value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// In a straight line.
    #[default]
    Linear,
    /// By an equal factor in equal times; the last value must be above 0.
    Exponential,
}

/// Parameters of exploration. Each kind reads its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplorationConfig {
    /// `epsilon_greedy`, `boltzmann`, `ucb` or `thompson`.
    pub kind: ExplorationKind,
    /// ε at first.
    pub epsilon: f64,
    /// ε at last.
    pub epsilon_end: f64,
    /// Temperature at first.
    pub temperature: f64,
    /// Temperature at last.
    pub temperature_end: f64,
    /// How ε or the temperature falls.
    pub decay: Decay,
    /// The part of training over which it falls.
    pub decay_fraction: f64,
    /// c of the upper bound.
    pub ucb_coef: f64,
    /// Standard deviation of one reward, for the posterior.
    pub thompson_std: f64,
}

impl Default for ExplorationConfig {
    fn default() -> Self {
        Self {
            kind: ExplorationKind::EpsilonGreedy,
            epsilon: 1.0,
            epsilon_end: 0.05,
            temperature: 1.0,
            temperature_end: 0.05,
            decay: Decay::Linear,
            decay_fraction: 0.5,
            ucb_coef: 1.0,
            thompson_std: 1.0,
        }
    }
}

impl ExplorationConfig {
    /// Checks every parameter.
    ///
    /// # Errors
    /// The first that makes no sense, with what would.
    pub fn validate(&self) -> Result<(), AlgoError> {
        let unit = "must be between 0 and 1";
        let keys = [
            ("exploration.epsilon", self.epsilon),
            ("exploration.epsilon_end", self.epsilon_end),
            ("exploration.decay_fraction", self.decay_fraction),
        ];
        for (key, value) in keys {
            require((0.0..=1.0).contains(&value), key, value, unit)?;
        }
        positive("exploration.temperature", self.temperature)?;
        positive("exploration.temperature_end", self.temperature_end)?;
        not_negative("exploration.ucb_coef", self.ucb_coef)?;
        positive("exploration.thompson_std", self.thompson_std)?;
        let falls_to_zero = self.decay == Decay::Exponential
            && self.kind == ExplorationKind::EpsilonGreedy
            && (self.epsilon == 0.0 || self.epsilon_end == 0.0);
        let what = "must be above 0 where the decay is exponential";
        require(!falls_to_zero, "exploration.epsilon_end", self.epsilon_end, what)
    }

    /// What explores when a fraction `progress` (0 to 1) of training is over.
    pub fn at(&self, progress: f64) -> Exploration {
        match self.kind {
            ExplorationKind::EpsilonGreedy => {
                Exploration::EpsilonGreedy(self.fall(self.epsilon, self.epsilon_end, progress))
            }
            ExplorationKind::Boltzmann => {
                Exploration::Boltzmann(self.fall(self.temperature, self.temperature_end, progress))
            }
            ExplorationKind::Ucb => Exploration::Ucb(self.ucb_coef),
            ExplorationKind::Thompson => Exploration::Thompson(self.thompson_std),
        }
    }

    fn fall(&self, start: f64, end: f64, progress: f64) -> f64 {
        let part =
            if progress >= self.decay_fraction { 1.0 } else { progress / self.decay_fraction };
        match self.decay {
            Decay::Linear => start * (1.0 - part) + end * part,
            Decay::Exponential => start * (end / start).powf(part),
        }
    }
}

/// A way to choose at some moment of training, with its present parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exploration {
    /// With ε.
    EpsilonGreedy(f64),
    /// With the temperature.
    Boltzmann(f64),
    /// With c.
    Ucb(f64),
    /// With the standard deviation of one reward.
    Thompson(f64),
}

impl Exploration {
    /// Name and value of the parameter, as they are logged.
    pub fn parameter(self) -> (&'static str, f64) {
        match self {
            Self::EpsilonGreedy(epsilon) => ("epsilon", epsilon),
            Self::Boltzmann(temperature) => ("temperature", temperature),
            Self::Ucb(c) => ("ucb_coef", c),
            Self::Thompson(std) => ("thompson_std", std),
        }
    }

    /// An action for a state with these action values and counts of visits. Equal values are chosen among
    /// at random. `scratch` is as long as `q`.
    #[inline]
    pub fn choose(self, q: &[f64], counts: &[u32], scratch: &mut [f64], rng: &mut Rng) -> usize {
        match self {
            Self::EpsilonGreedy(epsilon) => {
                if epsilon > 0.0 && rng.random() < epsilon {
                    rng.below(q.len())
                } else {
                    best_at_random(q, rng)
                }
            }
            Self::Boltzmann(temperature) => {
                softmax(q, temperature, scratch);
                rng.categorical(scratch)
            }
            Self::Ucb(c) => {
                upper_bounds(q, counts, c, scratch);
                best_at_random(scratch, rng)
            }
            Self::Thompson(std) => {
                for ((draw, &value), &count) in scratch.iter_mut().zip(q).zip(counts) {
                    // A prior of one reward of 0, so that arms without a pull have a posterior too.
                    let (count, with_prior) = (f64::from(count), f64::from(count) + 1.0);
                    *draw = value * count / with_prior + std / with_prior.sqrt() * rng.normal();
                }
                best_at_random(scratch, rng)
            }
        }
    }

    /// The probabilities by which [`choose`](Self::choose) does, for expectations over actions.
    ///
    /// # Panics
    /// With Thompson sampling, whose probabilities have no closed form.
    pub fn probabilities(self, q: &[f64], counts: &[u32], out: &mut [f64]) {
        match self {
            Self::EpsilonGreedy(epsilon) => {
                best_evenly(q, out);
                let any = epsilon / q.len() as f64;
                out.iter_mut().for_each(|p| *p = any + (1.0 - epsilon) * *p);
            }
            Self::Boltzmann(temperature) => softmax(q, temperature, out),
            Self::Ucb(c) => {
                upper_bounds(q, counts, c, out);
                let (best, ties) = best_and_ties(out);
                out.iter_mut().for_each(|p| *p = if *p == best { 1.0 / ties as f64 } else { 0.0 });
            }
            Self::Thompson(_) => panic!("Thompson sampling has no probabilities in closed form"),
        }
    }
}

/// The greatest value, and how often it is there.
#[inline]
fn best_and_ties(values: &[f64]) -> (f64, usize) {
    let (mut best, mut ties) = (f64::NEG_INFINITY, 0);
    for &value in values {
        if value > best {
            (best, ties) = (value, 1);
        } else if value == best {
            ties += 1;
        }
    }
    (best, ties)
}

#[inline]
fn best_at_random(values: &[f64], rng: &mut Rng) -> usize {
    let (best, ties) = best_and_ties(values);
    let skipped = if ties > 1 { rng.below(ties) } else { 0 };
    let mut equal = values.iter().enumerate().filter(|(_, value)| **value == best);
    equal.nth(skipped).map_or(0, |(action, _)| action)
}

fn best_evenly(q: &[f64], out: &mut [f64]) {
    let (best, ties) = best_and_ties(q);
    for (p, &value) in out.iter_mut().zip(q) {
        *p = if value == best { 1.0 / ties as f64 } else { 0.0 };
    }
}

fn softmax(q: &[f64], temperature: f64, out: &mut [f64]) {
    let (best, _) = best_and_ties(q);
    let mut sum = 0.0;
    for (p, &value) in out.iter_mut().zip(q) {
        *p = ((value - best) / temperature).exp();
        sum += *p;
    }
    out.iter_mut().for_each(|p| *p /= sum);
}

/// Actions that were never tried come first.
fn upper_bounds(q: &[f64], counts: &[u32], c: f64, out: &mut [f64]) {
    let log_total = counts.iter().map(|&count| f64::from(count)).sum::<f64>().max(1.0).ln();
    for ((bound, &value), &count) in out.iter_mut().zip(q).zip(counts) {
        *bound = if count == 0 {
            f64::INFINITY
        } else {
            value + c * (log_total / f64::from(count)).sqrt()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(exploration: Exploration, q: &[f64], counts: &[u32]) -> Vec<f64> {
        let (mut rng, mut scratch) = (Rng::new(3), vec![0.0; q.len()]);
        let mut shares = vec![0.0; q.len()];
        for _ in 0..200_000 {
            shares[exploration.choose(q, counts, &mut scratch, &mut rng)] += 1.0 / 200_000.0;
        }
        shares
    }

    fn check(exploration: Exploration, q: &[f64], counts: &[u32], expected: &[f64]) {
        let mut probabilities = vec![0.0; q.len()];
        exploration.probabilities(q, counts, &mut probabilities);
        let drawn = shares(exploration, q, counts);
        for ((p, share), expected) in probabilities.iter().zip(drawn).zip(expected) {
            assert!((p - expected).abs() < 1e-12, "{exploration:?}: {p}, not {expected}");
            assert!((share - expected).abs() < 0.005, "{exploration:?}: drew {share}");
        }
    }

    #[test]
    fn probabilities_by_hand_are_those_drawn() {
        check(Exploration::EpsilonGreedy(0.3), &[1.0, 2.0, 0.0], &[1; 3], &[0.1, 0.8, 0.1]);
        check(Exploration::EpsilonGreedy(0.0), &[2.0, 2.0, 0.0], &[1; 3], &[0.5, 0.5, 0.0]);
        let (e, sum) = (1_f64.exp(), 1.0 + 1_f64.exp());
        check(Exploration::Boltzmann(0.5), &[0.5, 0.0], &[1; 2], &[e / sum, 1.0 / sum]);
        // ln 8 = 2.08: bounds 1 + √(2.08 / 7) = 1.55 and √2.08 = 1.44.
        check(Exploration::Ucb(1.0), &[1.0, 0.0], &[7, 1], &[1.0, 0.0]);
        check(Exploration::Ucb(1.2), &[1.0, 0.0], &[7, 1], &[0.0, 1.0]);
        check(Exploration::Ucb(1.0), &[9.0, 0.0, 0.0], &[7, 0, 0], &[0.0, 0.5, 0.5]);
    }

    /// Posteriors N(1, 1/2) and N(0, 1/2) after a mean of 2 and of 0 in one pull: the difference is normal
    /// with mean 1 and variance 1, so the first is drawn with probability Φ(1).
    #[test]
    fn thompson_draws_from_the_posterior() {
        let drawn = shares(Exploration::Thompson(1.0), &[2.0, 0.0], &[1, 1]);
        assert!((drawn[0] - 0.8413).abs() < 0.005, "{drawn:?}");
    }

    #[test]
    fn parameters_fall() {
        let config = ExplorationConfig { decay_fraction: 0.4, ..ExplorationConfig::default() };
        let epsilon = |config: &ExplorationConfig, at| config.at(at).parameter().1;
        assert!((epsilon(&config, 0.2) - 0.525).abs() < 1e-12);
        assert_eq!((epsilon(&config, 0.4), epsilon(&config, 1.0)), (0.05, 0.05));
        let config = ExplorationConfig { decay: Decay::Exponential, epsilon_end: 0.01, ..config };
        assert!((epsilon(&config, 0.2) - 0.1).abs() < 1e-12);
        assert!(ExplorationConfig { epsilon_end: 0.0, ..config }.validate().is_err());
    }
}
