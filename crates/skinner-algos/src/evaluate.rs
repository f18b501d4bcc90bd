//! Evaluation: the greedy policy, whole episodes, nothing learned.

use skinner_core::{Episode, VecEnv};
use skinner_nn::ActorCriticTape;

use crate::error::AlgoError;
use crate::policy::Greedy;

/// Plays `episodes` whole episodes with the policy's best actions. Every environment plays an
/// equal share (the first ones one more), so that short episodes are not preferred. Ordered by
/// environment, then time.
///
/// # Errors
/// If the environments fail.
pub fn evaluate(
    policy: &dyn Greedy,
    envs: &mut dyn VecEnv,
    episodes: usize,
) -> Result<Vec<Episode>, AlgoError> {
    let never = || false;
    evaluate_until(policy, envs, episodes, &never).map(Option::unwrap_or_default)
}

/// Like [`evaluate`], but gives up with `None` when `stop` says so.
///
/// # Errors
/// If the environments fail.
pub fn evaluate_until(
    policy: &dyn Greedy,
    envs: &mut dyn VecEnv,
    episodes: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Vec<Episode>>, AlgoError> {
    let num_envs = envs.num_envs();
    let share = |env: usize| episodes / num_envs + usize::from(env < episodes % num_envs);
    let width = envs.observation_space().flat_width();
    let mut obs = vec![0.0; num_envs * width];
    let mut step = skinner_core::StepBatch::new(num_envs, width);
    let mut tape = ActorCriticTape::default();
    let mut played: Vec<Vec<Episode>> = vec![Vec::new(); num_envs];
    envs.reset(&mut obs)?;
    while (0..num_envs).any(|env| played[env].len() < share(env)) {
        if stop() {
            return Ok(None);
        }
        let actions = policy.greedy(&obs, &mut tape);
        envs.step(actions.as_actions(), &mut step)?;
        obs.copy_from_slice(step.obs());
        for episode in step.episodes() {
            if played[episode.env].len() < share(episode.env) {
                played[episode.env].push(*episode);
            }
        }
    }
    Ok(Some(played.into_iter().flatten().collect()))
}
