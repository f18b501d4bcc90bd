//! Learning tests: each algorithm reaches a known optimum in seconds, with a fixed seed.

use skinner_algos::{
    AlgoError, Algorithm, AlgorithmConfig, Exploration, NetworkConfig, PolicyConfig, STREAM_ENVS,
    STREAM_EVAL, a2c, dqn, evaluate, exploration::ExplorationConfig, ppo, reinforce, sac, td3,
};
use skinner_core::wrappers::{ClipAction, RescaleAction};
use skinner_core::{
    Actions, EnvError, Metrics, SeedSequence, Space, Step, StepBatch, VecEnv, statistics,
};
use skinner_envs::catalog::{self, EnvConfig};

fn envs(id: &str, n: usize, seed: &SeedSequence) -> Box<dyn VecEnv> {
    catalog::make(&EnvConfig::from_id(id).unwrap(), n, seed, 1).unwrap()
}

type Wrap = fn(Box<dyn VecEnv>) -> Box<dyn VecEnv>;

/// Trains and returns the mean return of the final greedy policy.
fn train(config: &AlgorithmConfig, id: &str, wrap: Wrap, seed: u64) -> f64 {
    let root = SeedSequence::new(seed);
    let mut training = wrap(envs(id, config.num_envs(), &root.child(STREAM_ENVS)));
    let mut algorithm = Algorithm::new(config, training.as_mut(), &root).unwrap();
    while !algorithm.finished() {
        algorithm.iteration(training.as_mut()).unwrap();
    }
    assert_eq!(algorithm.warnings(), Vec::<String>::new());
    let mut evaluation = wrap(envs(id, 10, &root.child(STREAM_EVAL)));
    let played = evaluate(&*algorithm.greedy(), evaluation.as_mut(), 50).unwrap();
    let returns: Vec<f64> = played.iter().map(|episode| episode.episode_return).collect();
    statistics::mean(&returns)
}

fn plain(envs: Box<dyn VecEnv>) -> Box<dyn VecEnv> {
    envs
}

fn clipped(envs: Box<dyn VecEnv>) -> Box<dyn VecEnv> {
    Box::new(ClipAction::new(envs).unwrap())
}

fn rescaled(envs: Box<dyn VecEnv>) -> Box<dyn VecEnv> {
    Box::new(RescaleAction::new(envs).unwrap())
}

fn ppo_config(total_steps: u64) -> ppo::Config {
    ppo::Config {
        total_steps,
        num_envs: 4,
        num_steps: 64,
        learning_rate: 3e-3,
        ..ppo::Config::default()
    }
}

fn dqn_config(total_steps: u64) -> dqn::Config {
    dqn::Config {
        total_steps,
        num_envs: 2,
        learning_rate: 1e-3,
        buffer_size: 10_000,
        learning_starts: 500,
        batch_size: 32,
        train_frequency: 2,
        target_network_frequency: 200,
        network: NetworkConfig { hidden_sizes: vec![32, 32], ..NetworkConfig::default() },
        ..dqn::Config::default()
    }
}

/// Everything at once.
fn rainbow_config(total_steps: u64) -> dqn::Config {
    dqn::Config {
        double: true,
        dueling: true,
        n_steps: 3,
        prioritized: true,
        returns: dqn::Returns::Categorical,
        num_atoms: 21,
        v_min: -10.0,
        v_max: 110.0,
        noisy: true,
        exploration: ExplorationConfig {
            epsilon: 0.0,
            epsilon_end: 0.0,
            ..ExplorationConfig::default()
        },
        ..dqn_config(total_steps)
    }
}

fn every_algorithm(total_steps: u64) -> Vec<AlgorithmConfig> {
    let plain_reinforce = reinforce::Config {
        total_steps,
        num_envs: 2,
        num_episodes: 2,
        baseline: reinforce::Baseline::None,
        learning_rate: 1e-2,
        ..reinforce::Config::default()
    };
    let baseline = reinforce::Baseline::Value;
    vec![
        AlgorithmConfig::Ppo(ppo_config(total_steps)),
        AlgorithmConfig::A2c(a2c::Config {
            total_steps,
            learning_rate: 3e-3,
            ..a2c::Config::default()
        }),
        AlgorithmConfig::Reinforce(reinforce::Config { baseline, ..plain_reinforce.clone() }),
        AlgorithmConfig::Reinforce(plain_reinforce),
        AlgorithmConfig::Dqn(dqn_config(total_steps)),
        AlgorithmConfig::Dqn(rainbow_config(total_steps)),
        AlgorithmConfig::Sac(sac_config(total_steps)),
    ]
}

fn sac_config(total_steps: u64) -> sac::Config {
    sac::Config {
        total_steps,
        num_envs: 2,
        learning_rate: 1e-3,
        buffer_size: 10_000,
        learning_starts: 500,
        batch_size: 32,
        train_frequency: 2,
        tau: 0.02,
        target_entropy: Some(0.1),
        network: NetworkConfig { hidden_sizes: vec![32, 32], ..NetworkConfig::default() },
        ..sac::Config::default()
    }
}

fn td3_config(total_steps: u64) -> td3::Config {
    td3::Config {
        total_steps,
        num_envs: 2,
        learning_rate: 1e-3,
        buffer_size: 10_000,
        learning_starts: 500,
        batch_size: 32,
        train_frequency: 2,
        tau: 0.02,
        network: NetworkConfig { hidden_sizes: vec![32, 32], ..NetworkConfig::default() },
        ..td3::Config::default()
    }
}

fn ddpg_config(total_steps: u64) -> td3::Config {
    let td3::Config { method, num_critics, policy_frequency, policy_noise, .. } =
        td3::Config::ddpg();
    let base = td3_config(total_steps);
    td3::Config { method, num_critics, policy_frequency, policy_noise, ..base }
}

/// Off-policy algorithms with continuous actions, and each switch that others leave alone.
fn every_continuous(total_steps: u64) -> Vec<AlgorithmConfig> {
    let (sac, td3) = (sac_config(total_steps), td3_config(total_steps));
    let sac = sac::Config { target_entropy: None, ..sac };
    let orthogonal = NetworkConfig { orthogonal_init: true, ..sac.network.clone() };
    let switched = sac::Config {
        autotune: false,
        alpha: 0.01,
        gamma: 0.5,
        n_steps: 3,
        policy_frequency: 2,
        num_critics: 3,
        critic_learning_rate: 2e-3,
        max_grad_norm: 5.0,
        network: orthogonal.clone(),
        ..sac.clone()
    };
    let several = td3::Config {
        gamma: 0.5,
        n_steps: 3,
        gradient_steps: 2,
        policy_frequency: 1,
        network: orthogonal,
        ..td3.clone()
    };
    vec![
        AlgorithmConfig::Sac(sac),
        AlgorithmConfig::Sac(switched),
        AlgorithmConfig::Td3(td3),
        AlgorithmConfig::Td3(several),
        AlgorithmConfig::Td3(ddpg_config(total_steps)),
    ]
}

/// One hundred steps an episode; random actions give about -67.
#[test]
fn continuous_identity_is_learned_off_policy() {
    for config in every_continuous(15_000) {
        let described = format!("{config:?}");
        let reached = train(&config, "IdentityBox-v0", rescaled, 3);
        assert!(reached > -2.0, "{reached} with {described}");
    }
}

#[test]
fn identity_is_learned_by_all() {
    let best = {
        let EnvConfig::Identity { episode_length, .. } = EnvConfig::from_id("Identity-v0").unwrap()
        else {
            unreachable!()
        };
        episode_length as f64
    };
    for config in every_algorithm(30_000) {
        let reached = train(&config, "Identity-v0", plain, 1);
        assert!(reached > 0.99 * best, "{:?} reached {reached} of {best}", config.name());
    }
}

/// Switches that other tests leave at their defaults.
#[test]
fn identity_is_learned_with_every_switch() {
    let base = ppo_config(30_000);
    let shared = PolicyConfig { shared_trunk: true, ..PolicyConfig::default() };
    let variants = [
        ppo::Config { clip_vloss: true, ..base.clone() },
        ppo::Config { norm_adv: false, ..base.clone() },
        ppo::Config { target_kl: 0.02, ..base.clone() },
        // The value's gradient must not drown the policy's in what they share.
        ppo::Config { policy: shared, gamma: 0.5, vf_coef: 0.1, ..base.clone() },
        ppo::Config {
            policy: PolicyConfig {
                orthogonal_init: false,
                activation: skinner_nn::Activation::Relu,
                ..PolicyConfig::default()
            },
            ..base
        },
    ];
    for config in variants {
        let described = format!("{config:?}");
        let reached = train(&AlgorithmConfig::Ppo(config), "Identity-v0", plain, 1);
        assert!(reached > 99.0, "{reached} with {described}");
    }
}

/// Each switch of DQN alone.
#[test]
fn identity_is_learned_with_every_switch_of_dqn() {
    let base = dqn_config(15_000);
    let still =
        ExplorationConfig { epsilon: 0.0, epsilon_end: 0.0, ..ExplorationConfig::default() };
    let boltzmann = ExplorationConfig {
        kind: skinner_algos::exploration::ExplorationKind::Boltzmann,
        ..ExplorationConfig::default()
    };
    let quantiles = dqn::Config { returns: dqn::Returns::Quantiles, num_atoms: 11, ..base.clone() };
    let categorical = dqn::Config {
        returns: dqn::Returns::Categorical,
        num_atoms: 21,
        v_min: -10.0,
        v_max: 110.0,
        ..base.clone()
    };
    let online = NetworkConfig { orthogonal_init: true, ..base.network.clone() };
    let variants = [
        dqn::Config { double: true, ..base.clone() },
        dqn::Config { dueling: true, ..base.clone() },
        dqn::Config { prioritized: true, ..base.clone() },
        dqn::Config { n_steps: 5, ..base.clone() },
        dqn::Config { noisy: true, exploration: still, ..base.clone() },
        dqn::Config { exploration: boltzmann, ..base.clone() },
        dqn::Config { target_network: false, gamma: 0.5, ..base.clone() },
        dqn::Config { tau: 0.05, target_network_frequency: 4, ..base.clone() },
        dqn::Config { huber_delta: f64::INFINITY, network: online, ..base },
        dqn::Config { dueling: true, double: true, ..quantiles.clone() },
        quantiles,
        categorical,
    ];
    for config in variants {
        let described = format!("{config:?}");
        let reached = train(&AlgorithmConfig::Dqn(config), "Identity-v0", plain, 1);
        assert!(reached > 99.0, "{reached} with {described}");
    }
}

/// One minibatch an epoch: once `approx_kl` is beyond 1.5 times the target, no further update is made.
#[test]
fn target_kl_stops_the_epochs() {
    let kl = |target_kl| {
        let config = ppo::Config {
            num_minibatches: 1,
            update_epochs: 50,
            learning_rate: 1e-2,
            // Nothing but the target bounds the change.
            clip_coef: 1e6,
            target_kl,
            ..ppo_config(4_000)
        };
        let seed = SeedSequence::new(1);
        let mut training = envs("CartPole-v1", config.num_envs, &seed);
        let mut ppo = ppo::Ppo::new(config, training.as_mut(), &seed).unwrap();
        ppo.iteration(training.as_mut()).unwrap().get("approx_kl").unwrap()
    };
    let (free, bounded) = (kl(0.0), kl(0.01));
    assert!(bounded < 0.02 && free > 2.0 * bounded, "{bounded} against {free}");
}

#[test]
fn the_better_arm_is_found_by_all() {
    for config in every_algorithm(20_000) {
        let EnvConfig::GaussianBandit { means, .. } =
            EnvConfig::from_id("GaussianBandit-v0").unwrap()
        else {
            unreachable!()
        };
        let best = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let reached = train(&config, "GaussianBandit-v0", plain, 2);
        // Fifty draws of deviation one.
        assert!((reached - best).abs() < 0.5, "{:?} reached {reached} of {best}", config.name());
    }
}

#[test]
fn continuous_identity_is_learned_with_every_exploration() {
    let random = -1.0 / 3.0 * 2.0;
    for exploration in
        [Exploration::Gaussian, Exploration::SquashedGaussian, Exploration::StateDependent]
    {
        let policy = PolicyConfig { exploration, log_std_init: -0.7, ..PolicyConfig::default() };
        let config = ppo::Config { policy, ent_coef: 0.0, gamma: 0.0, ..ppo_config(60_000) };
        let wrap = if exploration == Exploration::SquashedGaussian { rescaled } else { clipped };
        let EnvConfig::IdentityBox { episode_length, .. } =
            EnvConfig::from_id("IdentityBox-v0").unwrap()
        else {
            unreachable!()
        };
        let per_step =
            train(&AlgorithmConfig::Ppo(config), "IdentityBox-v0", wrap, 3) / episode_length as f64;
        assert!(per_step > -0.01, "{exploration:?} reached {per_step}, random is about {random}");
    }
}

#[test]
fn continuous_identity_is_learned_by_the_others() {
    let policy = PolicyConfig { log_std_init: -0.7, ..PolicyConfig::default() };
    let a2c = a2c::Config {
        total_steps: 200_000,
        gamma: 0.0,
        learning_rate: 1e-3,
        learning_rate_schedule: skinner_core::Schedule::Linear,
        norm_adv: true,
        policy: policy.clone(),
        ..a2c::Config::default()
    };
    let reinforce = reinforce::Config {
        total_steps: 200_000,
        num_episodes: 2,
        gamma: 0.0,
        learning_rate: 1e-2,
        policy,
        ..reinforce::Config::default()
    };
    for config in [AlgorithmConfig::A2c(a2c), AlgorithmConfig::Reinforce(reinforce)] {
        // One hundred steps an episode; random actions give about -67.
        let reached = train(&config, "IdentityBox-v0", clipped, 3);
        assert!(reached > -2.0, "{:?} reached {reached}", config.name());
    }
}

#[test]
fn patience_is_learned_in_the_two_state_chain() {
    let reached = train(&AlgorithmConfig::Ppo(ppo_config(40_000)), "Chain-v0", plain, 4);
    let optimum = chain_optimum();
    assert!(reached > 0.97 * optimum, "reached {reached} of {optimum}");
}

/// The best mean return in 100 steps of the chain, by dynamic programming on its transition table.
fn chain_optimum() -> f64 {
    use skinner_core::mdp::Tabular as _;
    let chain = skinner_envs::chain::Chain::new();
    let mut value = vec![0.0; chain.num_states()];
    for _ in 0..100 {
        value = (0..chain.num_states())
            .map(|state| {
                let action_value = |action| -> f64 {
                    let outcomes = chain.transitions(state, action);
                    let worth = |t: &skinner_core::mdp::Transition| {
                        t.reward + if t.terminated { 0.0 } else { value[t.next_state] }
                    };
                    outcomes.iter().map(|t| t.probability * worth(t)).sum()
                };
                (0..chain.num_actions()).map(action_value).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
    }
    chain.initial_distribution().iter().zip(&value).map(|(p, v)| p * v).sum()
}

#[test]
fn cartpole_is_solved_by_ppo() {
    let config = ppo::Config {
        total_steps: 60_000,
        num_envs: 8,
        num_steps: 32,
        num_minibatches: 1,
        update_epochs: 20,
        gamma: 0.98,
        gae_lambda: 0.8,
        ent_coef: 0.0,
        learning_rate: 1e-3,
        ..ppo::Config::default()
    };
    let reached = train(&AlgorithmConfig::Ppo(config), "CartPole-v1", plain, 0);
    assert!(reached >= 475.0, "reached {reached}");
}

/// Environments whose truncations are reported as terminations: what most trainers do by mistake.
struct MergedEnds(Box<dyn VecEnv>, StepBatch);

impl VecEnv for MergedEnds {
    fn num_envs(&self) -> usize {
        self.0.num_envs()
    }
    fn observation_space(&self) -> &Space {
        self.0.observation_space()
    }
    fn action_space(&self) -> &Space {
        self.0.action_space()
    }
    fn reset(&mut self, obs: &mut [f32]) -> Result<(), EnvError> {
        self.0.reset(obs)
    }
    fn step(&mut self, actions: Actions<'_>, out: &mut StepBatch) -> Result<(), EnvError> {
        self.0.step(actions, &mut self.1)?;
        let width = self.observation_space().flat_width();
        out.begin();
        for i in 0..self.num_envs() {
            let next = &self.1.obs()[i * width..(i + 1) * width];
            let episode = self.1.episodes().iter().find(|e| e.env == i);
            let step = Step {
                obs: self.1.final_obs(i).unwrap_or(next),
                reward: self.1.reward()[i],
                terminated: self.1.truncated()[i],
                truncated: false,
            };
            out.put(i, &step, episode.map(|&e| (next, e)));
        }
        Ok(())
    }
    fn save(&self) -> Result<Vec<u8>, EnvError> {
        self.0.save()
    }
    fn load(&mut self, state: &[u8]) -> Result<(), EnvError> {
        self.0.load(state)
    }
}

/// The infinite-horizon test: reward 1 every step and gamma 0.98 are worth 50, whatever the limit.
#[test]
fn a_time_limit_is_not_an_end() {
    let value_after_training = |limit: usize, merged: bool, config: &AlgorithmConfig| -> f32 {
        let seed = SeedSequence::new(1);
        let env = EnvConfig::Constant { max_episode_steps: limit };
        let mut envs = catalog::make(&env, config.num_envs(), &seed, 1).unwrap();
        if merged {
            let out = StepBatch::new(config.num_envs(), 1);
            envs = Box::new(MergedEnds(envs, out));
        }
        let mut algorithm = Algorithm::new(config, envs.as_mut(), &seed).unwrap();
        while !algorithm.finished() {
            algorithm.iteration(envs.as_mut()).unwrap();
        }
        match &mut algorithm {
            Algorithm::Dqn(dqn) => dqn.q_values(&[1.0])[0],
            Algorithm::Sac(sac) => sac.q_values(&[1.0], &[])[0],
            other => {
                let policy = &other.learner().unwrap().policy;
                policy.values(&[1.0], &mut skinner_nn::ActorCriticTape::default())[0]
            }
        }
    };
    let ppo = ppo::Config { total_steps: 200_000, gamma: 0.98, ..ppo_config(0) };
    let a2c = a2c::Config {
        total_steps: 200_000,
        gamma: 0.98,
        learning_rate: 3e-3,
        learning_rate_schedule: skinner_core::Schedule::Linear,
        ..a2c::Config::default()
    };
    let dqn = dqn::Config {
        gamma: 0.98,
        target_network_frequency: 20,
        // The mean of its targets; a bounded error would lead to something nearer to their median.
        huber_delta: f64::INFINITY,
        learning_rate_schedule: skinner_core::Schedule::Linear,
        ..dqn_config(30_000)
    };
    let three_steps = dqn::Config { n_steps: 3, prioritized: true, double: true, ..dqn.clone() };
    let quantiles = dqn::Config {
        returns: dqn::Returns::Quantiles,
        num_atoms: 5,
        huber_delta: 1.0,
        ..dqn.clone()
    };
    let sac = sac::Config {
        gamma: 0.98,
        // Nothing but the reward.
        autotune: false,
        alpha: 0.0,
        num_critics: 1,
        tau: 0.05,
        ..sac_config(30_000)
    };
    // What merged ends lead to is less than this: quantiles do not give up what is likely.
    let configs = [
        (AlgorithmConfig::Ppo(ppo), 20.0),
        (AlgorithmConfig::A2c(a2c), 20.0),
        (AlgorithmConfig::Dqn(dqn), 20.0),
        (AlgorithmConfig::Dqn(three_steps), 20.0),
        (AlgorithmConfig::Dqn(quantiles), 40.0),
        (AlgorithmConfig::Sac(sac), 20.0),
    ];
    for (config, merged) in configs {
        for limit in [7, 100] {
            let value = value_after_training(limit, false, &config);
            assert!((value - 50.0).abs() < 1.0, "{:?}, limit {limit}: {value}", config.name());
        }
        let value = value_after_training(7, true, &config);
        assert!(value < merged, "{:?}, merged: {value}", config.name());
    }
}

/// All that was learned, as a checkpoint holds it.
fn params(algorithm: &Algorithm) -> Vec<f32> {
    algorithm.arrays().into_iter().flat_map(|(_, _, data)| data.into_owned()).collect()
}

#[test]
fn a_resumed_run_goes_on_identically() {
    for config in every_algorithm(8_000) {
        goes_on_identically(&config, "CartPole-v1", plain);
    }
    for config in every_continuous(4_000) {
        goes_on_identically(&config, "Pendulum-v1", rescaled);
    }
}

fn goes_on_identically(config: &AlgorithmConfig, id: &str, wrap: Wrap) {
    let seed = SeedSequence::new(9);
    let fresh = || {
        let mut training = wrap(envs(id, config.num_envs(), &seed.child(STREAM_ENVS)));
        let algorithm = Algorithm::new(config, training.as_mut(), &seed).unwrap();
        (algorithm, training)
    };
    let finish = |algorithm: &mut Algorithm, training: &mut dyn VecEnv| -> Vec<Metrics> {
        let mut all = Vec::new();
        while !algorithm.finished() {
            all.push(algorithm.iteration(training).unwrap());
        }
        all
    };
    let (mut algorithm, mut training) = fresh();
    // Off-policy algorithms have made a few hundred updates then.
    let on_policy = algorithm.learner().is_some();
    for _ in 0..if on_policy { 5 } else { 400 } {
        algorithm.iteration(training.as_mut()).unwrap();
    }
    let (before, state) = (params(&algorithm), algorithm.save().unwrap());
    let env_state = training.save().unwrap();
    let expected = finish(&mut algorithm, training.as_mut());
    let (mut again, mut training) = fresh();
    again.load(before, &state).unwrap();
    training.load(&env_state).unwrap();
    assert_eq!(finish(&mut again, training.as_mut()), expected);
    assert_eq!(params(&again), params(&algorithm));
    assert_eq!(again.save().unwrap(), algorithm.save().unwrap());
}

#[test]
fn nothing_to_learn_is_said() {
    let config = AlgorithmConfig::Ppo(ppo_config(20_000));
    let seed = SeedSequence::new(1);
    let mut training = envs("Constant-v0", config.num_envs(), &seed);
    let mut algorithm = Algorithm::new(&config, training.as_mut(), &seed).unwrap();
    while !algorithm.finished() {
        algorithm.iteration(training.as_mut()).unwrap();
    }
    let warnings = algorithm.warnings();
    assert!(warnings.iter().any(|w| w.contains("returned exactly 100")), "{warnings:?}");
}

#[test]
fn unchanged_weights_are_said() {
    let config = ppo::Config { learning_rate: 1e-300, ..ppo_config(2_000) };
    let seed = SeedSequence::new(1);
    let mut training = envs("CartPole-v1", config.num_envs, &seed);
    let mut ppo = ppo::Ppo::new(config, training.as_mut(), &seed).unwrap();
    ppo.iteration(training.as_mut()).unwrap();
    let warnings = ppo.learner.warnings();
    assert!(warnings.iter().any(|w| w.contains("exactly the initial ones")), "{warnings:?}");
}

#[test]
fn unchanged_weights_are_said_off_policy() {
    for config in [AlgorithmConfig::Sac(sac_config(2_000)), AlgorithmConfig::Td3(td3_config(2_000))]
    {
        let (id, config) = match config {
            AlgorithmConfig::Sac(config) => (
                "CartPole-v1",
                AlgorithmConfig::Sac(sac::Config { learning_rate: 1e-300, ..config }),
            ),
            AlgorithmConfig::Td3(config) => (
                "Pendulum-v1",
                AlgorithmConfig::Td3(td3::Config { learning_rate: 1e-300, ..config }),
            ),
            _ => unreachable!(),
        };
        let warnings = warnings_after(&config, id);
        assert!(warnings.iter().any(|w| w.contains("exactly the initial ones")), "{warnings:?}");
    }
    // Constant rewards, and an agent that never came to learn.
    let warnings = warnings_after(&AlgorithmConfig::Sac(sac_config(20_000)), "Constant-v0");
    assert!(warnings.iter().any(|w| w.contains("returned exactly 100")), "{warnings:?}");
    let late = td3::Config { learning_starts: 1_999, train_frequency: 3, ..td3_config(2_000) };
    let warnings = warnings_after(&AlgorithmConfig::Td3(late), "Pendulum-v1");
    assert!(warnings.iter().any(|w| w.contains("no update was made")), "{warnings:?}");
}

/// What is said at the end of training.
fn warnings_after(config: &AlgorithmConfig, id: &str) -> Vec<String> {
    let seed = SeedSequence::new(1);
    let mut training = envs(id, config.num_envs(), &seed);
    if config.acts_in_unit_box() && matches!(training.action_space(), Space::Box { .. }) {
        training = rescaled(training);
    }
    let mut algorithm = Algorithm::new(config, training.as_mut(), &seed).unwrap();
    while !algorithm.finished() {
        algorithm.iteration(training.as_mut()).unwrap();
    }
    algorithm.warnings()
}

#[test]
fn divergence_off_policy_is_an_error() {
    let learning_rate = 1e30;
    let sac = sac::Config { learning_rate, ..sac_config(4_000) };
    let td3 = td3::Config { learning_rate, ..td3_config(4_000) };
    for config in [AlgorithmConfig::Sac(sac), AlgorithmConfig::Td3(td3)] {
        let seed = SeedSequence::new(1);
        let mut training = rescaled(envs("Pendulum-v1", config.num_envs(), &seed));
        let mut algorithm = Algorithm::new(&config, training.as_mut(), &seed).unwrap();
        let error = loop {
            match algorithm.iteration(training.as_mut()) {
                Ok(_) => assert!(!algorithm.finished(), "it should have diverged"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AlgoError::Diverged { .. }), "{error}");
    }
}

#[test]
fn action_spaces_that_do_not_fit_are_said() {
    let seed = SeedSequence::new(1);
    let error = |config: AlgorithmConfig, id: &str| {
        let mut training = envs(id, config.num_envs(), &seed);
        Algorithm::new(&config, training.as_mut(), &seed).err().unwrap().to_string()
    };
    let sac = error(AlgorithmConfig::Sac(sac_config(2_000)), "Pendulum-v1");
    assert!(sac.starts_with("sac acts in [-1, 1]") && sac.contains("RescaleAction"), "{sac}");
    let td3 = error(AlgorithmConfig::Td3(td3_config(2_000)), "CartPole-v1");
    assert!(td3.starts_with("td3 needs continuous actions") && td3.contains("dqn"), "{td3}");
    let ddpg = error(AlgorithmConfig::Td3(ddpg_config(2_000)), "CartPole-v1");
    assert!(ddpg.starts_with("ddpg needs"), "{ddpg}");
}

#[test]
fn divergence_is_an_error_and_not_a_policy_of_nans() {
    let config = ppo::Config { learning_rate: 1e30, max_grad_norm: 0.0, ..ppo_config(20_000) };
    let seed = SeedSequence::new(1);
    let mut training = envs("CartPole-v1", config.num_envs, &seed);
    let mut algorithm =
        Algorithm::new(&AlgorithmConfig::Ppo(config), training.as_mut(), &seed).unwrap();
    let error = loop {
        match algorithm.iteration(training.as_mut()) {
            Ok(_) => assert!(!algorithm.finished(), "it should have diverged"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AlgoError::Diverged { .. }), "{error}");
}

#[test]
fn impossible_hyper_parameters_are_named() {
    let check = |config: ppo::Config, says: &str| {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    check(ppo::Config { gamma: 1.5, ..ppo_config(1000) }, "gamma = 1.5");
    check(ppo::Config { gamma: f64::NAN, ..ppo_config(1000) }, "gamma = NaN");
    check(ppo::Config { num_envs: 0, ..ppo_config(1000) }, "num_envs = 0");
    check(ppo::Config { num_minibatches: 7, ..ppo_config(1000) }, "does not divide");
    check(ppo::Config { learning_rate: f64::INFINITY, ..ppo_config(1000) }, "learning_rate");
    check(ppo_config(10), "total_steps = 10");
    let check = |config: AlgorithmConfig, says: &str| {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    let sac = sac_config(1_000);
    let td3 = td3_config(1_000);
    check(AlgorithmConfig::Sac(sac::Config { alpha: 0.0, ..sac.clone() }), "alpha = 0");
    check(AlgorithmConfig::Sac(sac::Config { tau: 0.0, ..sac.clone() }), "tau = 0");
    check(AlgorithmConfig::Sac(sac::Config { num_critics: 0, ..sac.clone() }), "num_critics = 0");
    let target_entropy = Some(f64::NAN);
    check(AlgorithmConfig::Sac(sac::Config { target_entropy, ..sac }), "target_entropy = NaN");
    check(AlgorithmConfig::Td3(td3::Config { noise_clip: -1.0, ..td3.clone() }), "noise_clip = -1");
    let learning_starts = 1_000;
    check(AlgorithmConfig::Td3(td3::Config { learning_starts, ..td3 }), "learning_starts = 1000");
}
