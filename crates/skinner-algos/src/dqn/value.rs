//! How a network's numbers are read as values: as means, or as distributions of returns.

use std::borrow::Cow;

use skinner_core::distribution::{log_softmax, log_softmax_backward};
use skinner_core::objective::q_learning::{
    atoms, categorical_projection, cross_entropy, huber_loss, quantile_huber_loss, td_target,
};

use super::config::{Config, Returns};

/// What the numbers of one action are.
pub(super) enum Values {
    /// The expected return.
    Mean {
        /// Where the loss of an error turns linear.
        delta: f32,
    },
    /// Logits of the probabilities of these returns.
    Categorical(Vec<f32>),
    /// So many quantiles of the return, and κ of their loss.
    Quantiles(usize, f32),
}

/// What a batch's loss is computed from.
pub(super) struct Batch<'a> {
    /// The network's output for the observations `[batch, num_actions · num_atoms]`.
    pub output: &'a [f32],
    /// Actions taken.
    pub action: &'a [f32],
    /// The target network's output for the observations that followed.
    pub next: &'a [f32],
    /// The actions that those are valued by.
    pub next_action: &'a [usize],
    pub reward: &'a [f32],
    pub discount: &'a [f32],
    /// A weight for each row, or none.
    pub weight: &'a [f32],
}

/// What is learned from a batch.
pub(super) struct Learned {
    pub loss: f32,
    /// Mean value of the actions taken.
    pub q_value: f32,
    /// The loss's gradient in the network's output.
    pub d_output: Vec<f32>,
    /// How far each row was from what it should be: the error, or the loss of its distribution.
    pub surprise: Vec<f32>,
}

impl Values {
    pub fn new(config: &Config) -> Self {
        match config.returns {
            Returns::Mean => Self::Mean { delta: config.huber_delta as f32 },
            Returns::Categorical => {
                Self::Categorical(atoms(config.v_min as f32, config.v_max as f32, config.num_atoms))
            }
            Returns::Quantiles => Self::Quantiles(config.num_atoms, config.huber_delta as f32),
        }
    }

    /// Numbers for each action.
    pub fn num_atoms(&self) -> usize {
        match self {
            Self::Mean { .. } => 1,
            Self::Categorical(atoms) => atoms.len(),
            Self::Quantiles(num, _) => *num,
        }
    }

    /// Expected returns `[batch, num_actions]` from the network's output.
    pub fn means<'a>(&self, output: &'a [f32]) -> Cow<'a, [f32]> {
        match self {
            Self::Mean { .. } => output.into(),
            Self::Categorical(atoms) => {
                let mut probs = vec![0.0; atoms.len()];
                let mean = |logits: &[f32]| {
                    log_softmax(&mut logits.to_vec(), &mut probs);
                    probs.iter().zip(atoms).map(|(p, z)| p * z).sum()
                };
                output.chunks_exact(atoms.len()).map(mean).collect()
            }
            Self::Quantiles(num, _) => {
                let mean = |row: &[f32]| row.iter().sum::<f32>() / *num as f32;
                output.chunks_exact(*num).map(mean).collect()
            }
        }
    }

    /// The mean loss over a batch and its gradient.
    pub fn loss(&self, batch: &Batch<'_>) -> Learned {
        let n = batch.reward.len();
        let (num_atoms, scale) = (self.num_atoms(), 1.0 / n as f32);
        let num_actions = batch.output.len() / n / num_atoms;
        // Where the numbers of the action taken are.
        let taken = |row: usize| {
            let start = (row * num_actions + batch.action[row] as usize) * num_atoms;
            start..start + num_atoms
        };
        let chosen: Vec<f32> =
            (0..n).flat_map(|row| batch.output[taken(row)].iter().copied()).collect();
        let q_value = self.means(&chosen).iter().sum::<f32>() * scale;
        let mut d_chosen = vec![0.0; chosen.len()];
        let mut surprise = vec![0.0; n];
        let (weight, d) = (batch.weight, &mut d_chosen[..]);
        let loss = match self {
            Self::Mean { delta } => {
                let target = td_target(batch.reward, batch.discount, batch.next, batch.next_action);
                for ((s, q), y) in surprise.iter_mut().zip(&chosen).zip(&target) {
                    *s = q - y;
                }
                huber_loss(&chosen, &target, weight, *delta, scale, d)
            }
            Self::Categorical(atoms) => {
                let (mut log_probs, mut probs) = (chosen, vec![0.0; n * num_atoms]);
                for (row, probs) in
                    log_probs.chunks_exact_mut(num_atoms).zip(probs.chunks_exact_mut(num_atoms))
                {
                    log_softmax(row, probs);
                }
                let target = self.categorical_target(batch, atoms);
                let loss = cross_entropy(&log_probs, &target, weight, scale, d, &mut surprise);
                for (d, probs) in d.chunks_exact_mut(num_atoms).zip(probs.chunks_exact(num_atoms)) {
                    log_softmax_backward(probs, d);
                }
                loss
            }
            Self::Quantiles(num, kappa) => {
                let next = self.next_numbers(batch);
                let target: Vec<f32> = (0..n * num)
                    .map(|i| batch.reward[i / num] + batch.discount[i / num] * next[i])
                    .collect();
                quantile_huber_loss(&chosen, &target, weight, *kappa, scale, d, &mut surprise)
            }
        };
        let mut d_output = vec![0.0; batch.output.len()];
        for row in 0..n {
            d_output[taken(row)].copy_from_slice(&d_chosen[row * num_atoms..(row + 1) * num_atoms]);
        }
        Learned { loss, q_value, d_output, surprise }
    }

    /// The numbers of the next actions `[batch, num_atoms]`.
    fn next_numbers(&self, batch: &Batch<'_>) -> Vec<f32> {
        let (n, num_atoms) = (batch.reward.len(), self.num_atoms());
        let num_actions = batch.next.len() / n / num_atoms;
        let rows = batch.next_action.iter().enumerate();
        rows.flat_map(|(row, action)| {
            let start = (row * num_actions + action) * num_atoms;
            batch.next[start..start + num_atoms].iter().copied()
        })
        .collect()
    }

    fn categorical_target(&self, batch: &Batch<'_>, atoms: &[f32]) -> Vec<f32> {
        let mut logits = self.next_numbers(batch);
        let mut probs = vec![0.0; logits.len()];
        let rows = logits.chunks_exact_mut(atoms.len()).zip(probs.chunks_exact_mut(atoms.len()));
        rows.for_each(|(logits, probs)| log_softmax(logits, probs));
        categorical_projection(batch.reward, batch.discount, &probs, atoms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows, two actions. The loss reads the actions taken and the next actions given, nothing else.
    #[test]
    fn the_right_numbers_are_compared() {
        let (reward, discount, action) = ([1.0, 2.0], [0.5, 0.0], [1.0, 0.0]);
        let next_action = [0, 1];
        let values = Values::Mean { delta: 1.0 };
        let learned = values.loss(&Batch {
            output: &[9.0, 3.0, 2.5, 9.0],
            action: &action,
            next: &[4.0, 99.0, 99.0, 99.0],
            next_action: &next_action,
            reward: &reward,
            discount: &discount,
            weight: &[],
        });
        // Targets 1 + ½ · 4 = 3 and 2: errors 0 and ½.
        assert_eq!(learned.surprise, [0.0, 0.5]);
        assert_eq!((learned.loss, learned.q_value), (0.0625, 2.75));
        assert_eq!(learned.d_output, [0.0, 0.0, 0.25, 0.0]);

        let values = Values::Quantiles(2, 1.0);
        let learned = values.loss(&Batch {
            output: &[9.0, 9.0, 3.0, 3.0, 2.0, 2.0, 9.0, 9.0],
            action: &action,
            next: &[4.0, 4.0, 99.0, 99.0, 99.0, 99.0, 99.0, 99.0],
            next_action: &next_action,
            reward: &reward,
            discount: &discount,
            weight: &[],
        });
        assert_eq!((learned.loss, learned.surprise), (0.0, vec![0.0, 0.0]));
        assert_eq!(learned.q_value, 2.5);

        // Atoms 1 and 3: the targets are all at 3, and an even mix that the prediction has already.
        let values = Values::Categorical(vec![1.0, 3.0]);
        let learned = values.loss(&Batch {
            output: &[9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0],
            action: &action,
            next: &[-99.0, 99.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            next_action: &next_action,
            reward: &[1.5, 2.0],
            discount: &discount,
            weight: &[],
        });
        let ln_2 = std::f32::consts::LN_2;
        assert!(learned.surprise.iter().all(|s| (s - ln_2).abs() < 1e-6), "{:?}", learned.surprise);
        assert!((learned.q_value - 2.0).abs() < 1e-6);
        assert_eq!(learned.d_output, [0.0, 0.0, 0.25, -0.25, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn means_by_hand() {
        let ln_3 = 3.0f32.ln();
        let categorical = Values::Categorical(vec![0.0, 4.0]);
        let logits = [0.0, ln_3, 0.0, 0.0];
        let means = categorical.means(&logits);
        assert!((means[0] - 3.0).abs() < 1e-6 && (means[1] - 2.0).abs() < 1e-6, "{means:?}");
        assert_eq!(*Values::Quantiles(2, 1.0).means(&[1.0, 2.0, -1.0, 5.0]), [1.5, 2.0]);
    }
}
