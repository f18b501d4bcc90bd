//! Advantages of completions: how much better each is than the others of its prompt, or of the batch.
//!
//! A group is the rewards of one prompt's completions.

use serde::{Deserialize, Serialize};

use crate::real::Real;

/// What differences from a group's mean are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The group's standard deviation (Shao et al. 2024, section 4.1.2).
    #[default]
    Group,
    /// The batch's standard deviation.
    Batch,
    /// Nothing (Liu et al. 2025, section 3.2).
    None,
}

/// How a standard deviation is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deviation<F> {
    /// Whether the sum of squares is divided by one less than the count.
    pub sample: bool,
    /// What is added to it.
    pub epsilon: F,
}

fn mean<F: Real>(x: &[F]) -> F {
    x.iter().copied().sum::<F>() / F::of(x.len().max(1) as f64)
}

/// The standard deviation; 0 of fewer than two numbers.
pub fn deviation<F: Real>(x: &[F], sample: bool) -> F {
    if x.len() < 2 {
        return F::ZERO;
    }
    let mean = mean(x);
    let squares: F = x.iter().map(|&x| (x - mean) * (x - mean)).sum();
    (squares / F::of((x.len() - usize::from(sample)) as f64)).sqrt()
}

/// `r_i - mean(r)`, and divided by the group's deviation plus epsilon if that is given.
pub fn group_relative<F: Real>(rewards: &[F], scale: Option<Deviation<F>>) -> Vec<F> {
    let mean = mean(rewards);
    let divisor = scale.map_or(F::ONE, |by| deviation(rewards, by.sample) + by.epsilon);
    rewards.iter().map(|&reward| (reward - mean) / divisor).collect()
}

/// `r_i` minus the mean of the others (Kool et al. 2019; Ahmadian et al. 2024, eq. 7); 0 of one alone.
pub fn leave_one_out<F: Real>(rewards: &[F]) -> Vec<F> {
    let n = rewards.len();
    if n < 2 {
        return vec![F::ZERO; n];
    }
    let sum: F = rewards.iter().copied().sum();
    let others = F::of((n - 1) as f64);
    rewards.iter().map(|&reward| reward - (sum - reward) / others).collect()
}

/// Of each token `t` of a completion its reward less the divergence from there on, `r - β Σ_{i ≥ t} k_i` (Hu 2025, without
/// a discount); `kl` is `[tokens]`.
pub fn returns_to_go<F: Real>(reward: F, kl: &[F], beta: F) -> Vec<F> {
    let mut sum = F::ZERO;
    let mut returns: Vec<F> = kl
        .iter()
        .rev()
        .map(|&k| {
            sum += k;
            reward - beta * sum
        })
        .collect();
    returns.reverse();
    returns
}

/// All rewards of a batch to mean 0 and deviation 1 (Hu 2025, eq. 9).
pub fn batch_normalised<F: Real>(rewards: &[F], by: Deviation<F>) -> Vec<F> {
    group_relative(rewards, Some(by))
}

/// Whether all rewards of a group are the same, so that nothing can be learned from it.
pub fn has_no_variance<F: Real>(rewards: &[F]) -> bool {
    rewards.iter().all(|&reward| reward == rewards[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-9), "{got:?}");
    }

    /// Source: the formulas with TRL's and verl's conventions, in double precision.
    #[test]
    fn worked_numbers() {
        let (trl, verl) =
            (Deviation { sample: true, epsilon: 1e-4 }, Deviation { sample: true, epsilon: 1e-6 });
        let population = Deviation { sample: false, epsilon: 1e-4 };
        let rewards = [0.5, 0.25, 1.0, 0.0];
        let expected = [
            0.146_350_733_256_377_35,
            -0.439_052_199_769_132_07,
            1.317_156_599_307_396_1,
            -1.024_455_132_794_641_4,
        ];
        close(&group_relative(&rewards, Some(trl)), &expected);
        let expected = [-0.707_101_781_221_902_7, 0.707_101_781_221_902_5];
        close(&group_relative(&[0.1, 0.3], Some(verl)), &expected);
        let high = 0.999_800_039_992_001_6;
        close(
            &group_relative(&[1.0, 0.0, 0.0, 1.0], Some(population)),
            &[high, -high, -high, high],
        );
        close(&group_relative(&rewards, None), &[0.0625, -0.1875, 0.5625, -0.4375]);
        let third = 1.0 / 12.0;
        close(&leave_one_out(&rewards), &[third, -0.25, 0.75, -7.0 * third]);
        assert_eq!(group_relative(&[1.0; 4], Some(trl)), [0.0; 4]);
        assert_eq!(leave_one_out(&[3.0]), [0.0]);
        // A right answer of two tokens and a wrong one of one token, beta = 0.5; then normalised over the three tokens.
        let returns = [returns_to_go(1.0, &[0.1, 0.2], 0.5), returns_to_go(0.0, &[0.4], 0.5)];
        close(&returns.concat(), &[0.85, 0.9, -0.2]);
        let expected = [0.536_633_985_705_760, 0.617_129_083_561_624, -1.153_763_069_267_384];
        close(&batch_normalised(&returns.concat(), verl), &expected);
        assert!(has_no_variance(&[1.0; 3]) && !has_no_variance(&rewards));
    }
}
