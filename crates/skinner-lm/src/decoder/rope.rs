//! The rotary position embedding (Su et al. 2021), in the layout that pairs a head's first half with its second.

use crate::config::{ModelConfig, RopeScaling};

/// The angles' frequencies.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    frequencies: Vec<f32>,
}

impl Rope {
    pub fn new(config: &ModelConfig) -> Self {
        let dim = config.head_dim;
        let base = config.rope_theta;
        let plain = |i: usize| base.powf(-((2 * i) as f64 / dim as f64));
        let scaled = |i: usize| match config.rope_scaling {
            None => plain(i),
            Some(RopeScaling::Linear { factor }) => plain(i) / factor,
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            }) => {
                let (frequency, original) = (plain(i), original as f64);
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                // Turns within the original context, from `low` (all divided) to `high` (none).
                let kept = ((original / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        };
        Self { frequencies: (0..dim / 2).map(|i| scaled(i) as f32).collect() }
    }

    /// Cosines, then sines, of a position.
    pub fn angles(&self, position: usize) -> Vec<f32> {
        let angle = |frequency: &f32| position as f32 * frequency;
        let cos = self.frequencies.iter().map(|f| angle(f).cos());
        cos.chain(self.frequencies.iter().map(|f| angle(f).sin())).collect()
    }
}

/// Turns every head of `heads` (whole heads of `dim`) by `angles`.
pub(crate) fn rotate(heads: &mut [f32], dim: usize, angles: &[f32]) {
    turn(heads, dim, angles, 1.0);
}

/// The inverse of [`rotate`]: what gradients need.
pub(crate) fn rotate_back(heads: &mut [f32], dim: usize, angles: &[f32]) {
    turn(heads, dim, angles, -1.0);
}

fn turn(heads: &mut [f32], dim: usize, angles: &[f32], sign: f32) {
    let (cos, sin) = angles.split_at(dim / 2);
    for head in heads.chunks_exact_mut(dim) {
        let (first, second) = head.split_at_mut(dim / 2);
        for (((a, b), c), s) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let s = sign * s;
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_by_hand_and_back() {
        let (s, c) = 1.0f32.sin_cos();
        let mut head = [1.0, 0.0, 2.0, 3.0];
        // Pair (1, 2) turns by one radian, pair (0, 3) stays.
        rotate(&mut head, 4, &[c, 1.0, s, 0.0]);
        let expected = [c - 2.0 * s, 0.0, 2.0 * c + s, 3.0];
        assert!(head.iter().zip(expected).all(|(x, e)| (x - e).abs() < 1e-6));
        rotate_back(&mut head, 4, &[c, 1.0, s, 0.0]);
        assert!(head.iter().zip([1.0, 0.0, 2.0, 3.0]).all(|(x, e)| (x - e).abs() < 1e-6));
    }
}
