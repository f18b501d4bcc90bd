//! The tabular family: exact values where they are known, optima that must be found, exact resumption.

use skinner_algos::exploration::{ExplorationConfig, ExplorationKind};
use skinner_algos::tabular::{Config, Method, TableLearner, Trace};
use skinner_algos::{AlgoError, STREAM_ENVS, evaluate};
use skinner_core::{Actions, Mdp, Metrics, SeedSequence, StepBatch, VecEnv, statistics};
use skinner_envs::catalog::{self, EnvConfig};

fn env(json: &str) -> EnvConfig {
    if json.starts_with('{') {
        serde_json::from_str(json).unwrap()
    } else {
        EnvConfig::from_id(json).unwrap()
    }
}

fn start(config: &Config, env: &EnvConfig, seed: u64) -> (TableLearner, Box<dyn VecEnv>) {
    let root = SeedSequence::new(seed);
    let mut envs = catalog::make(env, 1, &root.child(STREAM_ENVS), 1).unwrap();
    (TableLearner::new(config.clone(), envs.as_mut(), &root).unwrap(), envs)
}

fn train(config: &Config, env: &EnvConfig, seed: u64) -> TableLearner {
    let (mut agent, mut envs) = start(config, env, seed);
    while !agent.finished() {
        agent.iteration(envs.as_mut()).unwrap();
    }
    agent
}

/// Every action equally often.
fn at_random() -> ExplorationConfig {
    ExplorationConfig { epsilon: 1.0, epsilon_end: 1.0, ..ExplorationConfig::default() }
}

fn mdp(env: &EnvConfig) -> Mdp {
    env.model().unwrap().unwrap().mdp
}

/// The exact mean return of the greedy policy under the time limit.
fn exact_return(agent: &TableLearner, env: &EnvConfig) -> f64 {
    let mdp = mdp(env);
    let policy = mdp.policy_on_states(agent.greedy().actions());
    let values = match env.max_episode_steps() {
        Some(limit) => mdp.evaluate_within(&policy, 1.0, limit),
        None => mdp.evaluate(&policy, 1.0, 1e-12).unwrap(),
    };
    mdp.at_start(&values)
}

fn family() -> Vec<Config> {
    let of = |method| Config { method, ..Config::default() };
    vec![
        of(Method::QLearning),
        of(Method::DoubleQLearning),
        of(Method::Sarsa),
        of(Method::ExpectedSarsa),
        of(Method::MonteCarlo),
        Config { n_steps: 4, ..of(Method::QLearning) },
        Config { n_steps: 4, ..of(Method::Sarsa) },
        Config { n_steps: 4, ..of(Method::ExpectedSarsa) },
        Config { lambda: 0.8, ..of(Method::QLearning) },
        Config { lambda: 0.8, ..of(Method::Sarsa) },
        Config { lambda: 0.8, trace: Trace::Accumulating, ..of(Method::Sarsa) },
    ]
}

fn close(found: &[f64], expected: &[f64], within: f64, what: &Config) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= within, "{found:?}, not {expected:?}: {what:?}");
    }
}

/// In the deterministic chain a step size of 1 makes values exact: Q* = (0.5, γ; 1, γ²).
#[test]
fn the_chain_is_learned_exactly() {
    let exact = [
        Config { n_steps: 1, ..Config::default() },
        Config { n_steps: 3, ..Config::default() },
        Config { method: Method::DoubleQLearning, ..Config::default() },
    ];
    for config in exact {
        let config = Config {
            total_steps: 20_000,
            gamma: 0.9,
            learning_rate: 1.0,
            exploration: at_random(),
            ..config
        };
        let agent = train(&config, &env("Chain-v0"), 1);
        close(&agent.q_values(), &[0.5, 0.9, 1.0, 0.81], 1e-12, &config);
        assert_eq!(agent.greedy().actions(), [1, 0]);
    }
}

/// The uniform policy is worth (1 + γ) / (4 − γ²) and (4 + γ) / (2 (4 − γ²)) in the two states of the chain;
/// all methods that learn their own policy's values must find it.
#[test]
fn the_random_policy_is_valued_rightly() {
    let gamma: f64 = 0.9;
    let v = [(1.0 + gamma) / (4.0 - gamma * gamma), (4.0 + gamma) / (2.0 * (4.0 - gamma * gamma))];
    let expected = [0.5, gamma * v[1], 1.0, gamma * v[0]];
    let own =
        |config: &Config| !matches!(config.method, Method::QLearning | Method::DoubleQLearning);
    for config in family().into_iter().filter(own) {
        let config = Config {
            total_steps: 300_000,
            gamma,
            learning_rate: 1.0,
            learning_rate_decay: 0.8,
            exploration: at_random(),
            ..config
        };
        let agent = train(&config, &env("Chain-v0"), 2);
        close(&agent.q_values(), &expected, 0.02, &config);
    }
}

/// Off-policy: whatever is tried, Q-learning finds Q*.
#[test]
fn the_lake_is_valued_rightly_by_q_learning() {
    let lake = env("FrozenLake-v1");
    let optimal = mdp(&lake).value_iteration(0.9, 1e-12).unwrap();
    let base = Config {
        total_steps: 1_500_000,
        gamma: 0.9,
        learning_rate: 1.0,
        learning_rate_decay: 0.7,
        exploration: at_random(),
        ..Config::default()
    };
    for config in
        [base.clone(), Config { n_steps: 3, ..base.clone() }, Config { lambda: 0.5, ..base }]
    {
        let agent = train(&config, &lake, 3);
        // States that end the episode are never acted in.
        let q = agent.q_values();
        for state in [0, 1, 2, 3, 4, 6, 8, 9, 10, 13, 14] {
            let row = state * 4..state * 4 + 4;
            close(&q[row.clone()], &optimal.q_values[row], 0.03, &config);
        }
    }
}

/// The infinite-horizon test: reward 1 every step and gamma 0.98 are worth 50, whatever the limit.
#[test]
fn a_time_limit_is_not_an_end() {
    for config in family() {
        for limit in [7, 100] {
            let env = EnvConfig::Constant { max_episode_steps: limit };
            let config = Config { total_steps: 200_000, gamma: 0.98, ..config.clone() };
            let agent = train(&config, &env, 4);
            close(&agent.q_values(), &[50.0, 50.0], 1.0, &config);
        }
    }
}

#[test]
fn the_whole_family_finds_the_optimum_of_the_chain_and_of_the_cliff() {
    let cliff = env(r#"{"id": "CliffWalking-v1", "max_episode_steps": 500}"#);
    for config in family() {
        let exploration = ExplorationConfig { epsilon_end: 0.0, ..ExplorationConfig::default() };
        let config = Config { exploration, ..config };
        let chain = Config { total_steps: 30_000, ..config.clone() };
        assert_eq!(exact_return(&train(&chain, &env("Chain-v0"), 5), &env("Chain-v0")), 1.0);
        let walk = Config { total_steps: 400_000, gamma: 1.0, learning_rate: 0.2, ..config };
        let reached = exact_return(&train(&walk, &cliff, 5), &cliff);
        // While they explore, on-policy methods prefer the safe way; without exploration nothing corrects
        // that any more.
        let off_policy = matches!(walk.method, Method::QLearning | Method::DoubleQLearning);
        let least = if off_policy { -13.0 } else { -25.0 };
        assert!(reached >= least, "{reached} with {walk:?}");
    }
}

/// Example 6.6 of the book: while exploring, SARSA learns the safe way and Q-learning the edge.
#[test]
fn sarsa_keeps_away_from_the_edge() {
    let cliff = env(r#"{"id": "CliffWalking-v1", "max_episode_steps": 1000}"#);
    let exploration =
        ExplorationConfig { epsilon: 0.1, epsilon_end: 0.1, ..ExplorationConfig::default() };
    let reached = |method| {
        let config = Config {
            method,
            total_steps: 400_000,
            gamma: 1.0,
            learning_rate: 0.5,
            learning_rate_decay: 0.3,
            exploration: exploration.clone(),
            ..Config::default()
        };
        exact_return(&train(&config, &cliff, 6), &cliff)
    };
    assert_eq!(reached(Method::QLearning), -13.0);
    assert!((-17.0..=-15.0).contains(&reached(Method::ExpectedSarsa)));
}

#[test]
fn every_exploration_finds_the_best_arm() {
    use ExplorationKind::{Boltzmann, EpsilonGreedy, Thompson, Ucb};
    for kind in [EpsilonGreedy, Boltzmann, Ucb, Thompson] {
        for id in ["BernoulliBandit-v0", "GaussianBandit-v0"] {
            let exploration = ExplorationConfig { kind, ..ExplorationConfig::default() };
            let config = Config {
                total_steps: 20_000,
                gamma: 0.0,
                learning_rate: 1.0,
                learning_rate_decay: 1.0,
                exploration,
                ..Config::default()
            };
            let agent = train(&config, &env(id), 7);
            assert_eq!(agent.greedy().actions(), [4], "{kind:?} on {id}: {:?}", agent.q_values());
        }
    }
}

/// Optimism alone explores: with no ε at all every arm is tried (Sutton & Barto 2018, section 2.6).
#[test]
fn an_optimistic_start_explores() {
    let exploration =
        ExplorationConfig { epsilon: 0.0, epsilon_end: 0.0, ..ExplorationConfig::default() };
    let config = Config {
        total_steps: 2_000,
        initial_value: 5.0,
        gamma: 0.0,
        exploration,
        ..Config::default()
    };
    assert_eq!(train(&config, &env("BernoulliBandit-v0"), 8).greedy().actions(), [4]);
}

/// The agent's steps are those that a batch takes with the same actions.
#[test]
fn driving_is_stepping() {
    for id in ["FrozenLake-v1", "Taxi-v4", "Blackjack-v1", "Table-v0", "CliffWalkingSlippery-v1"] {
        let seed = SeedSequence::new(9);
        let make = || catalog::make(&env(id), 1, &seed, 1).unwrap();
        let (mut driven, mut stepped) = (make(), make());
        let space = driven.observation_space().clone();
        let actions = driven.action_space().cardinality().unwrap();
        let width = space.flat_width();
        let (mut flat, mut out) = (vec![0.0; width], StepBatch::new(1, width));
        driven.reset(&mut flat).unwrap();
        stepped.reset(&mut flat).unwrap();
        let mut seen = Vec::new();
        driven
            .drive(0, 500, &mut |moved| {
                seen.push(*moved);
                seen.len() % actions
            })
            .unwrap();
        for (t, moved) in seen.iter().enumerate() {
            let action = [(t % actions) as u32];
            stepped.step(Actions::Discrete(&action, 1), &mut out).unwrap();
            assert_eq!((moved.reward, moved.terminated), (out.reward()[0], out.terminated()[0]));
            assert_eq!(moved.truncated, out.truncated()[0]);
            let last = out.final_obs(0).unwrap_or(out.obs());
            assert_eq!(moved.obs, space.index_of_row(last), "{id}");
            let ended = out.episodes().first().map(|&e| (space.index_of_row(out.obs()), e));
            assert_eq!(moved.ended, ended);
        }
        assert_eq!(driven.save().unwrap(), stepped.save().unwrap());
    }
}

#[test]
fn a_resumed_run_goes_on_identically() {
    for config in family() {
        let config = Config { total_steps: 12_500, ..config };
        let lake = env("FrozenLake-v1");
        let finish = |agent: &mut TableLearner, envs: &mut dyn VecEnv| -> Vec<Metrics> {
            let mut all = Vec::new();
            while !agent.finished() {
                all.push(agent.iteration(envs).unwrap());
            }
            all
        };
        let (mut agent, mut envs) = start(&config, &lake, 10);
        for _ in 0..5 {
            agent.iteration(envs.as_mut()).unwrap();
        }
        let (state, env_state) = (agent.save().unwrap(), envs.save().unwrap());
        let expected = finish(&mut agent, envs.as_mut());
        let (mut again, mut envs) = start(&config, &lake, 10);
        again.load(&state).unwrap();
        envs.load(&env_state).unwrap();
        assert_eq!(finish(&mut again, envs.as_mut()), expected);
        assert_eq!(again.save().unwrap(), agent.save().unwrap());
        assert_eq!(again.env_steps(), 12_500);
    }
}

/// The exact return is what play gives.
#[test]
fn evaluation_agrees_with_the_exact_return() {
    let lake = env("FrozenLake-v1");
    let agent = train(&Config { total_steps: 100_000, ..Config::default() }, &lake, 11);
    let mut envs = catalog::make(&lake, 20, &SeedSequence::new(12), 1).unwrap();
    let played = evaluate(&agent.greedy(), envs.as_mut(), 20_000).unwrap();
    let returns: Vec<f64> = played.iter().map(|episode| episode.episode_return).collect();
    let (mean, exact) = (statistics::mean(&returns), exact_return(&agent, &lake));
    assert!((mean - exact).abs() < 0.012, "{mean}, not {exact}");
}

#[test]
fn what_has_no_table_is_refused() {
    let refuse = |config: Config, env: &EnvConfig| -> AlgoError {
        let seed = SeedSequence::new(1);
        let mut envs = catalog::make(env, 1, &seed, 1).unwrap();
        TableLearner::new(config, envs.as_mut(), &seed).err().unwrap()
    };
    let says = |error: AlgoError, part: &str| {
        assert!(error.to_string().contains(part), "{error}");
    };
    says(refuse(Config::default(), &env("CartPole-v1")), "observations that can be counted");
    let with = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        refuse(config, &env("Chain-v0"))
    };
    says(with(|c| c.exploration.kind = ExplorationKind::Thompson), "for bandits");
    says(with(|c| c.learning_rate = 1.5), "at most 1");
    says(with(|c| (c.lambda, c.n_steps) = (0.5, 2)), "either lambda or n_steps");
    says(with(|c| (c.method, c.lambda) = (Method::ExpectedSarsa, 0.5)), "lambda: only");
    says(with(|c| (c.method, c.n_steps) = (Method::MonteCarlo, 2)), "n_steps: only");
    says(with(|c| c.exploration.epsilon = -0.1), "exploration.epsilon = -0.1");
    says(with(|c| c.learning_rate_decay = 2.0), "learning_rate_decay = 2");
}
