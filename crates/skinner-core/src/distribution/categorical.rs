use crate::{Rng, real::Real};

/// One or several independent categorical distributions a row, from unnormalised logits.
///
/// A head row is `[n_0 + n_1 + …]`, an action row one index for each component; log-probabilities and
/// entropies are sums over components.
#[derive(Clone, Debug)]
pub struct Categorical<'a, F> {
    nvec: &'a [usize],
    width: usize,
    /// Normalised: `[batch, width]`.
    log_probs: Vec<F>,
    probs: Vec<F>,
}

impl<'a, F: Real> Categorical<'a, F> {
    /// The distributions with `logits` `[batch, Σ nvec]`; `nvec` has one size a component.
    ///
    /// # Panics
    /// If a size is zero or the logits are not a whole number of rows.
    pub fn new(logits: &[F], nvec: &'a [usize]) -> Self {
        let width: usize = nvec.iter().sum();
        assert!(nvec.iter().all(|&n| n > 0), "every component has at least one value");
        assert!(width > 0 && logits.len().is_multiple_of(width), "logits are [batch, {width}]");
        let mut log_probs = logits.to_vec();
        let mut probs = vec![F::ZERO; logits.len()];
        let mut start = 0;
        while start < logits.len() {
            for &n in nvec {
                let row = start..start + n;
                log_softmax(&mut log_probs[row.clone()], &mut probs[row]);
                start += n;
            }
        }
        Self { nvec, width, log_probs, probs }
    }

    fn batch(&self) -> usize {
        self.log_probs.len() / self.width
    }

    /// Number of components of an action.
    pub fn components(&self) -> usize {
        self.nvec.len()
    }

    /// Probabilities `[batch, Σ nvec]`.
    pub fn probs(&self) -> &[F] {
        &self.probs
    }

    /// Log-probability of `actions` `[batch, components]`: one number a row.
    pub fn log_prob(&self, actions: &[u32]) -> Vec<F> {
        let components = self.nvec.len();
        assert_eq!(actions.len(), self.batch() * components, "actions are [batch, {components}]");
        let rows = self.log_probs.chunks_exact(self.width).zip(actions.chunks_exact(components));
        rows.map(|(log_probs, actions)| {
            let mut offset = 0;
            let mut sum = F::ZERO;
            for (&action, &n) in actions.iter().zip(self.nvec) {
                sum += log_probs[offset + action as usize];
                offset += n;
            }
            sum
        })
        .collect()
    }

    /// Entropy in nats: one number a row.
    pub fn entropy(&self) -> Vec<F> {
        let rows = self.log_probs.chunks_exact(self.width).zip(self.probs.chunks_exact(self.width));
        rows.map(|(log_probs, probs)| negative_entropy(log_probs, probs)).map(|x| -x).collect()
    }

    /// A draw for every row: `[batch, components]`.
    pub fn sample(&self, rng: &mut Rng) -> Vec<u32> {
        self.each_component(|probs| {
            let mut rest = F::of(rng.random());
            let last = probs.len() - 1;
            for (i, &p) in probs[..last].iter().enumerate() {
                if rest < p {
                    return i as u32;
                }
                rest -= p;
            }
            last as u32
        })
    }

    /// The most probable action of every row (the first of equals): `[batch, components]`.
    pub fn mode(&self) -> Vec<u32> {
        self.each_component(|probs| {
            let mut best = 0;
            for (i, &p) in probs.iter().enumerate() {
                if p > probs[best] {
                    best = i;
                }
            }
            best as u32
        })
    }

    fn each_component(&self, mut choose: impl FnMut(&[F]) -> u32) -> Vec<u32> {
        let mut actions = Vec::with_capacity(self.batch() * self.nvec.len());
        for row in self.probs.chunks_exact(self.width) {
            let mut offset = 0;
            for &n in self.nvec {
                actions.push(choose(&row[offset..offset + n]));
                offset += n;
            }
        }
        actions
    }

    /// Gradient in the logits `[batch, Σ nvec]`, from those in log-probabilities and entropies:
    /// `∂ log p_a/∂z_j = [a = j] - p_j` and `∂H/∂z_j = -p_j (log p_j + H)`.
    pub fn backward(&self, actions: &[u32], d_log_prob: &[F], d_entropy: &[F]) -> Vec<F> {
        assert!(d_log_prob.len() == self.batch() && d_entropy.len() == self.batch());
        let mut d_logits = vec![F::ZERO; self.probs.len()];
        for row in 0..self.batch() {
            let mut start = row * self.width;
            for (component, &n) in self.nvec.iter().enumerate() {
                let log_probs = &self.log_probs[start..start + n];
                let probs = &self.probs[start..start + n];
                let d = &mut d_logits[start..start + n];
                let negative_entropy = negative_entropy(log_probs, probs);
                for j in 0..n {
                    let d_h = probs[j] * (negative_entropy - finite(log_probs[j]));
                    d[j] = d_entropy[row] * d_h - d_log_prob[row] * probs[j];
                }
                d[actions[row * self.nvec.len() + component] as usize] += d_log_prob[row];
                start += n;
            }
        }
        d_logits
    }
}

/// A log-probability that is multiplied by its probability: -∞ counts as 0 there.
fn finite<F: Real>(log_prob: F) -> F {
    if log_prob == F::NEG_INFINITY { F::ZERO } else { log_prob }
}

fn negative_entropy<F: Real>(log_probs: &[F], probs: &[F]) -> F {
    log_probs.iter().zip(probs).map(|(&l, &p)| p * finite(l)).sum()
}

/// Turns one row of logits into log-probabilities, and writes the probabilities.
pub fn log_softmax<F: Real>(logits: &mut [F], probs: &mut [F]) {
    let max = logits.iter().copied().fold(F::NEG_INFINITY, F::max);
    let mut sum = F::ZERO;
    for (z, p) in logits.iter_mut().zip(probs.iter_mut()) {
        *z -= max;
        *p = z.exp();
        sum += *p;
    }
    let log_sum = sum.ln();
    let scale = F::ONE / sum;
    for (z, p) in logits.iter_mut().zip(probs) {
        *z -= log_sum;
        *p *= scale;
    }
}

/// Turns a gradient in one row of log-probabilities into that in its logits: `d_j - p_j Σ_k d_k`.
pub fn log_softmax_backward<F: Real>(probs: &[F], d_log_probs: &mut [F]) {
    let sum: F = d_log_probs.iter().copied().sum();
    d_log_probs.iter_mut().zip(probs).for_each(|(d, &p)| *d -= p * sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finite_difference::check_gradient;

    const NVEC: [usize; 2] = [2, 3];
    const LOGITS: [f64; 10] = [0.3, -0.2, 1.0, 0.0, -1.0, 2.0, 0.1, 0.4, 0.5, 0.6];
    const ACTIONS: [u32; 4] = [1, 0, 0, 2];

    #[test]
    fn worked_numbers() {
        let two = Categorical::new(&[0.0, 3.0f64.ln()], &[2]);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        close(two.log_prob(&[1])[0], 0.75f64.ln());
        close(two.entropy()[0], -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln()));
        assert_eq!(two.mode(), [1]);
    }

    #[test]
    fn gradients_by_difference() {
        let (weight, bonus) = ([0.7, -1.3], [0.4, 0.9]);
        check_gradient(&LOGITS, |logits, d| {
            let dist = Categorical::new(logits, &NVEC);
            let (log_prob, entropy) = (dist.log_prob(&ACTIONS), dist.entropy());
            d.copy_from_slice(&dist.backward(&ACTIONS, &weight, &bonus));
            (0..2).map(|i| weight[i] * log_prob[i] + bonus[i] * entropy[i]).sum()
        });
    }

    #[test]
    fn log_softmax_by_difference() {
        let weight = [0.7, -1.3, 0.2];
        check_gradient(&LOGITS[..3], |logits, d| {
            let (mut log_probs, mut probs) = (logits.to_vec(), [0.0; 3]);
            log_softmax(&mut log_probs, &mut probs);
            d.copy_from_slice(&weight);
            log_softmax_backward(&probs, d);
            log_probs.iter().zip(weight).map(|(l, w)| l * w).sum()
        });
    }

    #[test]
    fn samples_follow_the_probabilities() {
        let dist = Categorical::new(&LOGITS[..5], &NVEC);
        let mut rng = Rng::new(3);
        let mut counts = [0.0; 5];
        for _ in 0..20_000 {
            let action = dist.sample(&mut rng);
            counts[action[0] as usize] += 1.0 / 20_000.0;
            counts[2 + action[1] as usize] += 1.0 / 20_000.0;
        }
        for (count, p) in counts.iter().zip(dist.probs()) {
            assert!((count - p).abs() < 4.0 * (p * (1.0 - p) / 20_000.0).sqrt());
        }
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let dist = Categorical::new(&[1e30f32, -1e30, 0.0], &[3]);
        assert_eq!(dist.mode(), [0]);
        assert_eq!(dist.entropy()[0], 0.0);
        let d = dist.backward(&[0], &[1.0], &[1.0]);
        assert!(d.iter().all(|x| x.is_finite()));
        let masked = Categorical::new(&[f32::NEG_INFINITY, 0.0], &[2]);
        assert_eq!(masked.entropy()[0], 0.0);
        assert!(masked.backward(&[1], &[1.0], &[1.0]).iter().all(|x| x.is_finite()));
    }
}
