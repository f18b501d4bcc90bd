//! `skinner bench`: what this machine does in a second.
use std::hint::black_box;
use std::time::Instant;

use serde_json::{Map, Value, json};
use skinner_algos::{Algorithm, AlgorithmConfig, Policy, PolicyConfig, ppo};
use skinner_core::{Actions, Rng, SeedSequence, Space, StepBatch, VecEnv};
use skinner_envs::catalog::{self, EnvConfig};
use skinner_nn::ActorCriticTape;

use crate::out;

pub(crate) fn bench(seconds: f64, as_json: bool) -> anyhow::Result<()> {
    let mut results = Map::new();
    let mut put = |name: &str, value: f64, unit: &str| -> anyhow::Result<()> {
        if !as_json {
            out(&format!("{name:44} {value:>16.3} {unit}"))?;
        }
        results.insert(name.to_owned(), json!(value));
        Ok(())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for id in
        ["CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "FrozenLake-v1", "Taxi-v4"]
    {
        put(&format!("env_steps_per_second/{id}"), env_steps(id, 1024, 1, seconds)?, "steps/s")?;
    }
    for threads in [1, cores] {
        let rate = env_steps("CartPole-v1", 1024, threads, seconds)?;
        put(&format!("env_steps_per_second/CartPole-v1/threads-{threads}"), rate, "steps/s")?;
    }
    put("policy_inference_batch_1", inference(seconds)? * 1e6, "µs")?;
    put("ppo_minibatch_update_256x4-64-64", minibatch(seconds)? * 1e6, "µs")?;
    for num_envs in [1, 4, 16, 64, 256, 1024, 4096] {
        let rate = ppo_steps(num_envs, seconds)?;
        put(&format!("ppo_steps_per_second/num_envs-{num_envs}"), rate, "steps/s")?;
    }
    if as_json { out(&Value::Object(results).to_string()) } else { Ok(()) }
}

/// Calls `f` for about `seconds`; the median of five rates.
fn rate(seconds: f64, mut f: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<f64> {
    f()?;
    let mut rates = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed().as_secs_f64() < seconds / 5.0 {
            count += f()?;
        }
        rates.push(count as f64 / began.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[2])
}

/// Steps a second under uniformly random actions.
fn env_steps(id: &str, num_envs: usize, threads: usize, seconds: f64) -> anyhow::Result<f64> {
    let mut envs =
        catalog::make(&EnvConfig::from_id(id)?, num_envs, &SeedSequence::new(1), threads)?;
    let mut step = StepBatch::new(num_envs, envs.observation_space().flat_width());
    let mut obs = vec![0.0; num_envs * envs.observation_space().flat_width()];
    envs.reset(&mut obs)?;
    let space = envs.action_space().clone();
    let mut rng = Rng::new(2);
    let (mut discrete, mut continuous) =
        (vec![0u32; num_envs], vec![0.0f32; num_envs * space.width()]);
    rate(seconds, || {
        let actions = if let Space::Discrete(n) = space {
            discrete.iter_mut().for_each(|a| *a = rng.below(n) as u32);
            Actions::Discrete(&discrete, 1)
        } else {
            continuous.chunks_mut(space.width()).for_each(|row| space.sample(&mut rng, row));
            Actions::Continuous(&continuous, space.width())
        };
        envs.step(actions, &mut step)?;
        Ok(num_envs as u64)
    })
}

/// Seconds for the head of a 4-64-64-2 policy on one observation.
fn inference(seconds: f64) -> anyhow::Result<f64> {
    let (obs_space, action_space) = (Space::uniform_box(-1.0, 1.0, 4), Space::Discrete(2));
    let policy =
        Policy::new(&PolicyConfig::default(), &obs_space, &action_space, true, &mut Rng::new(1))?;
    let mut tape = ActorCriticTape::default();
    let obs = [0.1, -0.2, 0.3, 0.0];
    let per_second = rate(seconds, || {
        for _ in 0..100 {
            black_box(policy.network().head(&policy.params, black_box(&obs), &mut tape));
        }
        Ok(100)
    })?;
    Ok(1.0 / per_second)
}

fn cartpole_ppo(config: ppo::Config) -> anyhow::Result<(Algorithm, Box<dyn VecEnv>)> {
    let env = EnvConfig::from_id("CartPole-v1")?;
    let seed = SeedSequence::new(1);
    let mut envs = catalog::make(&env, config.num_envs, &seed.child(2), 1)?;
    let algorithm = Algorithm::new(&AlgorithmConfig::Ppo(config), envs.as_mut(), &seed)?;
    Ok((algorithm, envs))
}

/// Seconds of one gradient step of PPO on 256 rows: the difference between iterations with many epochs and
/// with one, so that collecting the rollout does not count.
fn minibatch(seconds: f64) -> anyhow::Result<f64> {
    let config = |update_epochs| ppo::Config {
        total_steps: u64::MAX,
        num_envs: 8,
        num_steps: 32,
        num_minibatches: 1,
        update_epochs,
        ..ppo::Config::default()
    };
    let mut iteration_seconds = [0.0; 2];
    for (time, epochs) in iteration_seconds.iter_mut().zip([1, 41]) {
        let (mut algorithm, mut envs) = cartpole_ppo(config(epochs))?;
        *time = 1.0
            / rate(seconds, || algorithm.iteration(envs.as_mut()).map(|_| 1).map_err(Into::into))?;
    }
    Ok((iteration_seconds[1] - iteration_seconds[0]) / 40.0)
}

/// Steps a second of whole PPO on `CartPole` with 4 epochs of 4 minibatches and 128 steps a rollout.
fn ppo_steps(num_envs: usize, seconds: f64) -> anyhow::Result<f64> {
    let (mut algorithm, mut envs) =
        cartpole_ppo(ppo::Config { total_steps: u64::MAX, num_envs, ..ppo::Config::default() })?;
    rate(seconds, || {
        algorithm.iteration(envs.as_mut())?;
        Ok(num_envs as u64 * 128)
    })
}
