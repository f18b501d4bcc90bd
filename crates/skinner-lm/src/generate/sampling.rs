//! From logits to a token.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;
use skinner_nn::matrix::{exp_moments, max};

use crate::error::LmError;

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens are drawn; 0 for all.
    pub top_k: usize,
    /// Only the most likely tokens that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least `min_p` times as likely as the most likely one; 0 for all.
    pub min_p: f32,
    /// Taken from the logit of every token that was generated before (OpenAI); 0 for none.
    pub presence_penalty: f32,
    /// Taken from the logit of a token for each time that it was generated before (OpenAI); 0 for none.
    pub frequency_penalty: f32,
    /// What the logits of tokens of the prompt and of those generated are divided by where they are positive, and
    /// multiplied by where not (Keskar et al. 2019, as `transformers` has it); 1 for none.
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
        }
    }
}

/// A token that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// The token.
    pub id: u32,
    /// Its log-probability at the temperature, among all tokens (at temperature 1 where the most likely is
    /// taken).
    pub log_prob: f32,
    /// Logarithm of the probability of all tokens that could be drawn: 0 without truncation. The
    /// log-probability among those is `log_prob - log_kept`.
    pub log_kept: f32,
    /// The entropy, in nats, of the distribution that `log_prob` is of.
    pub entropy: f32,
}

impl Drawn {
    /// The `n` most likely tokens and their log-probabilities, most likely first, out of the logits that
    /// [`Sampling::draw`] has used up for this token.
    pub(crate) fn alternatives(&self, used: &[f32], n: usize) -> Vec<(u32, f32)> {
        let log_drawn = used.get(self.id as usize).map_or(0.0, |p| p.ln());
        let most = most_likely(used, n).into_iter();
        most.map(|id| (id, used[id as usize].ln() - log_drawn + self.log_prob)).collect()
    }
}

/// The places of the `n` largest values, largest first, ties in their order.
pub(super) fn most_likely(values: &[f32], n: usize) -> Vec<u32> {
    if n == 0 {
        return Vec::new();
    }
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    let larger =
        |a: &u32, b: &u32| values[*b as usize].total_cmp(&values[*a as usize]).then(a.cmp(b));
    if n < order.len() {
        order.select_nth_unstable_by(n - 1, larger);
        order.truncate(n);
    }
    order.sort_unstable_by(larger);
    order
}

impl Sampling {
    /// The most likely token, always.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the value and what is possible.
    pub fn validate(&self) -> Result<(), LmError> {
        let check = |name: &str, value: f32, good: bool, range: &str| {
            let what = format!("{name} = {value} is out of range: must be {range}");
            if good { Ok(()) } else { Err(LmError::Sampling(what)) }
        };
        let t = self.temperature;
        check("temperature", t, t == 0.0 || (1e-3..=1e3).contains(&t), "0, or 0.001 to 1000")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1")?;
        check("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1")?;
        for (name, value) in [
            ("presence_penalty", self.presence_penalty),
            ("frequency_penalty", self.frequency_penalty),
        ] {
            check(name, value, (-2.0..=2.0).contains(&value), "-2 to 2")?;
        }
        let repetition = self.repetition_penalty;
        let good = repetition > 0.0 && repetition <= 100.0;
        check("repetition_penalty", repetition, good, "above 0, at most 100")
    }

    /// Whether what was said before changes what is drawn.
    pub fn penalises(&self) -> bool {
        self.presence_penalty != 0.0
            || self.frequency_penalty != 0.0
            || self.repetition_penalty != 1.0
    }

    /// Takes the penalties off the logits of tokens that were there before; of what is left,
    /// [`Sampling::draw`] draws.
    pub fn penalise(&self, logits: &mut [f32], prompt: &[u32], generated: &[u32]) {
        if self.repetition_penalty != 1.0 {
            let mut seen = [prompt, generated].concat();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                let logit = &mut logits[id as usize];
                let factor = self.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / factor } else { *logit * factor };
            }
        }
        if self.presence_penalty != 0.0 || self.frequency_penalty != 0.0 {
            let mut seen = generated.to_vec();
            seen.sort_unstable();
            for same in seen.chunk_by(|a, b| a == b) {
                let times = same.len() as f32;
                logits[same[0] as usize] -= self.presence_penalty + times * self.frequency_penalty;
            }
        }
    }

    /// Draws a token from `logits`, which are used up. One number of `rng` is taken, or none if the most
    /// likely token is. A logit may be -inf. None where nothing can be drawn: a logit is NaN or +inf, or
    /// none is above -inf.
    pub fn draw(&self, logits: &mut [f32], rng: &mut Rng) -> Option<Drawn> {
        // Counted without an early end, which is vector code.
        if logits.iter().filter(|&&x| x < f32::INFINITY).count() < logits.len() {
            return None;
        }
        let largest = max(logits);
        if largest == f32::NEG_INFINITY {
            return None;
        }
        if self.temperature == 0.0 {
            let best = logits.iter().position(|&x| x == largest)?;
            let (sum, moment) = exp_moments(logits, 1.0, largest);
            let (log_prob, entropy) = (-sum.ln(), entropy(sum, moment));
            return Some(Drawn { id: best as u32, log_prob, log_kept: 0.0, entropy });
        }
        let scale = 1.0 / self.temperature;
        let (sum, moment) = exp_moments(logits, scale, largest * scale);
        let entropy = entropy(sum, moment);
        // From here on `logits` holds probabilities, up to `sum`.
        let p = &*logits;
        let log_prob = |id: usize| (p[id] / sum).ln();
        let untruncated = self.top_k == 0 && self.top_p >= 1.0 && self.min_p <= 0.0;
        if untruncated {
            let id = pick(p.iter().copied(), rng)?;
            let log_prob = log_prob(id);
            return Some(Drawn { id: id as u32, log_prob, log_kept: 0.0, entropy });
        }
        let kept = self.kept(p, sum);
        let mass: f64 = kept.iter().map(|&id| f64::from(p[id as usize])).sum();
        let place = pick(kept.iter().map(|&id| p[id as usize]), rng)?;
        let id = kept[place];
        let log_kept = (mass / f64::from(sum)).ln().min(0.0) as f32;
        Some(Drawn { id, log_prob: log_prob(id as usize), log_kept, entropy })
    }

    /// The tokens that may be drawn, most likely first (ties in the order of ids), of probabilities up to a
    /// factor whose sum is `sum`.
    fn kept(&self, p: &[f32], sum: f32) -> Vec<u32> {
        // `e^0` is the largest.
        let floor = self.min_p;
        let mut order: Vec<u32> =
            (0..p.len() as u32).filter(|&id| p[id as usize] >= floor).collect();
        let by_likelihood =
            |a: &u32, b: &u32| p[*b as usize].total_cmp(&p[*a as usize]).then(a.cmp(b));
        if self.top_k > 0 && self.top_k < order.len() {
            order.select_nth_unstable_by(self.top_k - 1, by_likelihood);
            order.truncate(self.top_k);
        }
        if self.top_p >= 1.0 {
            order.sort_unstable_by(by_likelihood);
            return order;
        }
        // top-p counts what top-k left.
        let total: f64 = if self.top_k > 0 {
            order.iter().map(|&id| f64::from(p[id as usize])).sum()
        } else {
            f64::from(sum)
        };
        let wanted = f64::from(self.top_p) * total;
        // The nucleus is small as a rule, so only as much is sorted as it takes.
        let mut sorted = 64;
        loop {
            let whole = sorted >= order.len();
            if whole {
                order.sort_unstable_by(by_likelihood);
            } else {
                order.select_nth_unstable_by(sorted - 1, by_likelihood);
                order[..sorted].sort_unstable_by(by_likelihood);
            }
            let mut mass = 0.0;
            for (i, &id) in order.iter().enumerate().take(sorted) {
                mass += f64::from(p[id as usize]);
                if mass >= wanted {
                    order.truncate(i + 1);
                    return order;
                }
            }
            if whole {
                return order;
            }
            sorted *= 8;
        }
    }
}

/// The entropy of probabilities `e^y / sum`, of `sum = Σ e^y` and `moment = Σ e^y y`.
fn entropy(sum: f32, moment: f32) -> f32 {
    (sum.ln() - moment / sum).max(0.0)
}

/// An index drawn in proportion to the weights.
fn pick(weights: impl Iterator<Item = f32> + Clone, rng: &mut Rng) -> Option<usize> {
    let total: f64 = weights.clone().map(f64::from).sum();
    let mut left = rng.random() * total;
    let mut last = None;
    for (i, w) in weights.enumerate() {
        if w > 0.0 {
            last = Some(i);
            left -= f64::from(w);
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [2.0, 1.0, 0.0, -1.0];

    fn draws(sampling: &Sampling, n: usize) -> Vec<Drawn> {
        let mut rng = Rng::new(1);
        (0..n).map(|_| sampling.draw(&mut LOGITS.clone(), &mut rng).unwrap()).collect()
    }

    /// Frequencies of an untruncated draw; log-probabilities at temperatures 1 and 0.6, and what top-2
    /// leaves, as computed from the formulas in f64 (`temperature_logprobs`, `top_k2_renormalisation`).
    #[test]
    fn frequencies_and_log_probs() {
        for (temperature, expected) in [
            (1.0, [-0.440_189_7, -1.440_189_7, -2.440_189_7, -3.440_189_7]),
            (0.6, [-0.208_060_4, -1.874_727, -3.541_394, -5.208_06]),
        ] {
            let drawn = draws(&Sampling { temperature, ..Sampling::default() }, 20_000);
            for id in 0..4 {
                let p = f64::from(expected[id]).exp();
                let count = drawn.iter().filter(|d| d.id as usize == id).count() as f64;
                assert!((count / 20_000.0 - p).abs() < 0.012);
            }
            for d in drawn {
                assert!((d.log_prob - expected[d.id as usize]).abs() < 1e-5);
                assert_eq!(d.log_kept, 0.0);
                let entropy: f64 =
                    expected.iter().map(|log_p| -f64::from(*log_p).exp() * f64::from(*log_p)).sum();
                assert!(
                    (f64::from(d.entropy) - entropy).abs() < 1e-5,
                    "{} is not {entropy}",
                    d.entropy
                );
            }
        }
        for d in draws(&Sampling { top_k: 2, ..Sampling::default() }, 200) {
            assert!(d.id < 2);
            assert!((d.log_kept + 0.126_928).abs() < 1e-5, "{}", d.log_kept);
        }
    }

    #[test]
    fn truncation_keeps_what_it_says() {
        // Probabilities .644, .237, .087, .032.
        let check = |sampling: Sampling, kept: u32| {
            let highest = draws(&sampling, 2_000).iter().map(|d| d.id).max();
            assert_eq!(highest, Some(kept - 1), "{sampling:?}");
        };
        check(Sampling { top_p: 0.6, ..Sampling::default() }, 1);
        check(Sampling { top_p: 0.7, ..Sampling::default() }, 2);
        check(Sampling { top_p: 0.9, ..Sampling::default() }, 3);
        check(Sampling { min_p: 0.1, ..Sampling::default() }, 3);
        check(Sampling { min_p: 0.2, ..Sampling::default() }, 2);
        check(Sampling { top_k: 3, top_p: 0.9, ..Sampling::default() }, 2);
        check(Sampling { temperature: 0.0, ..Sampling::default() }, 1);
    }

    #[test]
    fn penalties_are_as_defined() {
        let check = |sampling: Sampling, expected: [f32; 4]| {
            assert!(sampling.penalises());
            let mut logits = LOGITS;
            sampling.penalise(&mut logits, &[0, 3], &[1, 3, 1]);
            assert_eq!(logits, expected, "{sampling:?}");
        };
        let none = Sampling::default;
        check(Sampling { presence_penalty: 0.5, ..none() }, [2.0, 0.5, 0.0, -1.5]);
        check(Sampling { frequency_penalty: -0.5, ..none() }, [2.0, 2.0, 0.0, -0.5]);
        check(Sampling { repetition_penalty: 2.0, ..none() }, [1.0, 0.5, 0.0, -2.0]);
        let all = Sampling {
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            repetition_penalty: 2.0,
            ..none()
        };
        check(all, [1.0, -0.5, 0.0, -2.75]);
        assert!(!none().penalises());
    }

    #[test]
    fn a_wide_nucleus_is_found() {
        let logits: Vec<f32> = (0..5000).map(|i| (i % 7) as f32 * 1e-3).collect();
        let sampling = Sampling { top_p: 0.5, ..Sampling::default() };
        let mut p = logits.clone();
        let (sum, _) = exp_moments(&mut p, 1.0, max(&logits));
        let kept = sampling.kept(&p, sum);
        assert!((2490..2500).contains(&kept.len()), "{}", kept.len());
        assert!(kept.windows(2).all(|w| p[w[0] as usize] >= p[w[1] as usize]));
    }

    #[test]
    fn logits_that_are_no_numbers_draw_nothing() {
        const LOW: f32 = f32::NEG_INFINITY;
        let all = [
            Sampling::greedy(),
            Sampling::default(),
            Sampling { top_k: 2, top_p: 0.9, ..Sampling::default() },
        ];
        for sampling in all {
            let draw = |logits: &[f32]| sampling.draw(&mut logits.to_vec(), &mut Rng::new(1));
            for bad in [f32::NAN, f32::INFINITY] {
                for place in 0..40 {
                    let mut logits = [0.5; 40];
                    logits[place] = bad;
                    assert_eq!(draw(&logits), None, "{bad} at {place}");
                }
            }
            assert_eq!(draw(&[LOW; 3]), None);
            assert_eq!(draw(&[]), None);
            // One that can be drawn is enough.
            assert_eq!(draw(&[LOW, 3.0, LOW]).unwrap().id, 1);
        }
    }

    #[test]
    fn bad_values_say_so() {
        let good = Sampling::default;
        let error = |s: Sampling| s.validate().unwrap_err().to_string();
        assert!(error(Sampling { temperature: -1.0, ..good() }).contains("temperature = -1"));
        assert!(error(Sampling { top_p: 0.0, ..good() }).contains("top_p = 0"));
        assert!(error(Sampling { min_p: f32::NAN, ..good() }).contains("min_p"));
        let far = Sampling { presence_penalty: 2.5, ..good() };
        assert!(error(far).contains("presence_penalty = 2.5"));
        assert!(error(Sampling { repetition_penalty: 0.0, ..good() }).contains("above 0"));
    }
}
