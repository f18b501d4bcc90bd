//! SAC with actions in `[-1, 1]^dim`: squashed normals, whose mean and log-std the actor gives for each state.

use skinner_core::Rng;
use skinner_core::distribution::{SquashedGaussian, mean_and_log_std, mean_and_log_std_backward};
use skinner_core::objective::actor_critic::{soft_actor_loss, soft_value};

use super::ActorLearned;
use crate::trained::{Critics, Trained, beside};

/// Actions drawn for a batch of observations.
pub(super) struct Drawn {
    mean: Vec<f32>,
    log_std: Vec<f32>,
    /// Before the squashing.
    u: Vec<f32>,
    /// As environments and critics take them `[batch, dim]`.
    pub action: Vec<f32>,
    pub log_prob: Vec<f32>,
}

/// Actions from the actor's head `[batch, 2 dim]`.
pub(super) fn draw(head: &[f32], dim: usize, rng: &mut Rng) -> Drawn {
    let (mean, log_std) = mean_and_log_std(head, dim);
    let dist = SquashedGaussian::new(&mean, &log_std, dim);
    let u = dist.sample(rng);
    let (action, log_prob) = (SquashedGaussian::squash(&u), dist.log_prob(&u));
    Drawn { mean, log_std, u, action, log_prob }
}

/// The best actions for a head: the medians.
pub(super) fn best(head: &[f32], dim: usize) -> Vec<f32> {
    SquashedGaussian::squash(&mean_and_log_std(head, dim).0)
}

/// What the observations that followed are worth, by an action drawn for each.
pub(super) fn next_value(
    actor: &mut Trained,
    critics: &mut Critics,
    next_obs: &[f32],
    (dim, alpha): (usize, f32),
    rng: &mut Rng,
) -> Vec<f32> {
    let drawn = draw(actor.forward(next_obs), dim, rng);
    let mut input = Vec::new();
    beside(next_obs, &drawn.action, dim, &mut input);
    soft_value(&critics.forward_target(&input), &drawn.log_prob, alpha)
}

/// The actor's loss on actions drawn anew, with its gradient in the head, which flows through actions and critics.
pub(super) fn actor_gradient(
    actor: &mut Trained,
    critics: &mut Critics,
    obs: &[f32],
    (dim, alpha): (usize, f32),
    rng: &mut Rng,
) -> ActorLearned {
    let head = actor.forward(obs);
    let drawn = draw(head, dim, rng);
    let n = drawn.log_prob.len();
    let mut input = Vec::new();
    beside(obs, &drawn.action, dim, &mut input);

    let q = critics.forward(&input);
    let mut d_q = vec![vec![0.0; n]; q.len()];
    let mut d_q_slices: Vec<&mut [f32]> = d_q.iter_mut().map(Vec::as_mut_slice).collect();
    let mut d_log_prob = vec![0.0; n];
    let scale = 1.0 / n as f32;
    let log_prob = &drawn.log_prob;
    let loss = soft_actor_loss(&q, log_prob, alpha, scale, &mut d_q_slices, &mut d_log_prob);

    let d_action = critics.action_gradient(&input, &d_q, dim);
    let dist = SquashedGaussian::new(&drawn.mean, &drawn.log_std, dim);
    let gradient = dist.backward_reparameterized(&drawn.u, &d_action, &d_log_prob);
    let d_head = mean_and_log_std_backward(head, &gradient, dim);
    ActorLearned { loss, log_prob: drawn.log_prob, d_head }
}
