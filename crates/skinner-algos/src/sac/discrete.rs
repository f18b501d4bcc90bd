//! SAC with discrete actions (Christodoulou 2019, *Soft Actor-Critic for Discrete Action Settings*): the actor gives
//! logits and the critics a value for each action, so that means over actions are taken exactly.

use skinner_core::distribution::{log_softmax, log_softmax_backward};
use skinner_core::objective::actor_critic::{expected_soft_actor_loss, expected_soft_value};

use super::ActorLearned;
use crate::trained::{Critics, Trained};

/// Log-probabilities and probabilities of logits, both `[batch, num_actions]`.
pub(super) fn normalised(logits: &[f32], num_actions: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut log_probs, mut probs) = (logits.to_vec(), vec![0.0; logits.len()]);
    let rows = log_probs.chunks_exact_mut(num_actions).zip(probs.chunks_exact_mut(num_actions));
    rows.for_each(|(log_probs, probs)| log_softmax(log_probs, probs));
    (log_probs, probs)
}

/// What the observations that followed are worth, by the mean over actions.
pub(super) fn next_value(
    actor: &mut Trained,
    critics: &mut Critics,
    next_obs: &[f32],
    (num_actions, alpha): (usize, f32),
) -> Vec<f32> {
    let (log_probs, _) = normalised(actor.forward(next_obs), num_actions);
    expected_soft_value(&critics.forward_target(next_obs), &log_probs, num_actions, alpha)
}

/// The actor's loss with its gradient in the logits. A row's `log_prob` is its mean: minus the entropy.
pub(super) fn actor_gradient(
    actor: &mut Trained,
    critics: &mut Critics,
    obs: &[f32],
    (num_actions, alpha): (usize, f32),
) -> ActorLearned {
    let (log_probs, probs) = normalised(actor.forward(obs), num_actions);
    let scale = num_actions as f32 / log_probs.len() as f32;
    let mut d_head = vec![0.0; log_probs.len()];
    let q = critics.forward(obs);
    let loss = expected_soft_actor_loss(&q, &log_probs, alpha, scale, &mut d_head);
    let rows = d_head.chunks_exact_mut(num_actions).zip(probs.chunks_exact(num_actions));
    rows.for_each(|(d, probs)| log_softmax_backward(probs, d));
    let rows = log_probs.chunks_exact(num_actions).zip(probs.chunks_exact(num_actions));
    let mean = |(log_probs, probs): (&[f32], &[f32])| {
        log_probs.iter().zip(probs).map(|(log_prob, prob)| prob * log_prob).sum()
    };
    ActorLearned { loss, log_prob: rows.map(mean).collect(), d_head }
}
