//! `skinner bench`: what this machine does in a second.

use std::hint::black_box;
use std::time::Instant;

use clap::ValueEnum;
use serde_json::{Map, Value, json};
use skinner_algos::{Algorithm, AlgorithmConfig, Policy, PolicyConfig, TableLearner, ppo, tabular};
use skinner_core::{Actions, Rng, SeedSequence, Space, StepBatch, VecEnv};
use skinner_envs::catalog::{self, EnvConfig};
use skinner_nn::ActorCriticTape;

use crate::out;

/// Floating-point operations in the matrix products of one update of a 4-64-64 actor (2 actions) and critic on
/// 256 rows: forward, weight gradients, and input gradients above the first layer.
const MINIBATCH_FLOP: usize = {
    let (first, hidden, last) = (4 * 64, 64 * 64, 64 * 2 + 64);
    2 * 256 * (2 * (2 * first + 2 * hidden + last) + 2 * hidden + last)
};

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Environment steps on one thread
    Envs,
    /// Steps of the lander on one thread
    Lander,
    /// Environment steps on one thread and on all
    Threads,
    /// Policy inference and gradient steps
    Updates,
    /// Whole PPO for 1 to 4,096 environments
    Ppo,
    /// Updates of a table by Q-learning on one thread
    Tabular,
    /// A language model's training, decoding and prefill; measured only when asked for
    #[cfg(feature = "lm")]
    Lm,
}

pub(crate) fn bench(
    only: Option<Part>,
    seconds: f64,
    as_json: bool,
    #[cfg(feature = "lm")] lm: &crate::bench_lm::LmArgs,
) -> anyhow::Result<()> {
    let mut results = Map::new();
    let mut put = |name: &str, value: f64, unit: &str| -> anyhow::Result<()> {
        if !as_json {
            out(&format!("{name:44} {value:>16.3} {unit}"))?;
        }
        results.insert(name.to_owned(), json!(value));
        Ok(())
    };
    let wanted = |part: Part| only.is_none_or(|only| only == part);
    if wanted(Part::Envs) {
        for id in [
            "CartPole-v1",
            "Acrobot-v1",
            "MountainCar-v0",
            "Pendulum-v1",
            "FrozenLake-v1",
            "Taxi-v4",
        ] {
            put(
                &format!("env_steps_per_second/{id}"),
                env_steps(id, 1024, 1, seconds)?,
                "steps/s",
            )?;
        }
    }
    if wanted(Part::Lander) {
        for id in ["LunarLander-v3", "LunarLanderContinuous-v3"] {
            let rate = env_steps(id, 64, 1, seconds)?;
            put(&format!("env_steps_per_second/{id}"), rate, "steps/s")?;
        }
    }
    if wanted(Part::Threads) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for threads in [1, cores.max(2)] {
            let rate = env_steps("CartPole-v1", 1024, threads, seconds)?;
            put(&format!("env_steps_per_second/CartPole-v1/threads-{threads}"), rate, "steps/s")?;
        }
    }
    if wanted(Part::Updates) {
        put("multiply_add_peak_gflops", skinner_nn::multiply_add_peak() / 1e9, "GFLOP/s")?;
        put("policy_inference_batch_1", inference(seconds)? * 1e6, "µs")?;
        put("ppo_minibatch_update_256x4-64-64", minibatch(seconds)? * 1e6, "µs")?;
        put("ppo_minibatch_update_flop", MINIBATCH_FLOP as f64, "operations in matrix products")?;
    }
    if wanted(Part::Ppo) {
        for num_envs in [1, 4, 16, 64, 256, 1024, 4096] {
            let rate = ppo_steps(num_envs, seconds)?;
            put(&format!("ppo_steps_per_second/num_envs-{num_envs}"), rate, "steps/s")?;
        }
    }
    if wanted(Part::Tabular) {
        for id in ["FrozenLake-v1", "Taxi-v4"] {
            for decay in [0.0, 0.7] {
                let name = format!("q_learning_updates_per_second/{id}/decay-{decay}");
                put(&name, q_learning_updates(id, decay, seconds)?, "updates/s")?;
            }
        }
    }
    #[cfg(feature = "lm")]
    if only == Some(Part::Lm) {
        crate::bench_lm::bench(lm, &mut put)?;
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

/// Steps a second under uniformly random actions, drawn beforehand.
fn env_steps(id: &str, num_envs: usize, threads: usize, seconds: f64) -> anyhow::Result<f64> {
    const DRAWN: usize = 16;
    let seed = SeedSequence::new(1);
    let mut envs = catalog::make(&EnvConfig::from_id(id)?, num_envs, &seed, threads)?;
    let width = envs.observation_space().flat_width();
    let mut step = StepBatch::new(num_envs, width);
    envs.reset(&mut vec![0.0; num_envs * width])?;
    let space = envs.action_space().clone();
    let mut continuous = vec![0.0; DRAWN * num_envs * space.width()];
    let mut rng = Rng::new(2);
    continuous.chunks_mut(space.width()).for_each(|row| space.sample(&mut rng, row));
    let discrete: Vec<u32> = continuous.iter().map(|&x| x as u32).collect();
    let is_box = matches!(space, Space::Box { .. });
    let (mut t, width) = (0, space.width());
    rate(seconds, || {
        t = (t + 1) % DRAWN;
        let rows = t * num_envs * width..(t + 1) * num_envs * width;
        let actions = if is_box {
            Actions::Continuous(&continuous[rows], width)
        } else {
            Actions::Discrete(&discrete[rows], width)
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

/// Steps a second of Q-learning with ε-greedy exploration, each of which is an update.
fn q_learning_updates(id: &str, decay: f64, seconds: f64) -> anyhow::Result<f64> {
    let seed = SeedSequence::new(1);
    let mut envs = catalog::make(&EnvConfig::from_id(id)?, 1, &seed, 1)?;
    let config = tabular::Config {
        total_steps: u64::MAX,
        learning_rate_decay: decay,
        ..tabular::Config::default()
    };
    let mut agent = TableLearner::new(config, envs.as_mut(), &seed)?;
    rate(seconds, || {
        let before = agent.env_steps();
        agent.iteration(envs.as_mut())?;
        Ok(agent.env_steps() - before)
    })
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
