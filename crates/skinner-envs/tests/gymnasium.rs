//! Episodes and tables recorded from Gymnasium 1.4.0 are reproduced; see `golden/README.md`.

use serde::Deserialize;
use serde_json::Value;
use skinner_core::mdp::Tabular;
use skinner_core::{Action, Actions, Env, Rng, Space, wrappers::TimeLimit};
use skinner_envs::{
    Acrobot, CartPole, CliffWalking, EnvConfig, FrozenLake, MountainCar, MountainCarContinuous,
    Pendulum, Taxi,
    catalog::EnvVisitor,
    frozen_lake::{MAP_4X4, MAP_8X8, Map},
};

const TOLERANCE: f64 = 1e-6;

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    serde_json::from_str(text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().map(|value| value.as_f64().unwrap()).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= TOLERANCE, "{what}: {found}, not {expected}");
    }
}

/// An observation or a number for comparison.
trait Numbers {
    fn numbers(&self) -> Vec<f64>;
}

impl Numbers for usize {
    fn numbers(&self) -> Vec<f64> {
        vec![*self as f64]
    }
}

impl<const N: usize> Numbers for [f32; N] {
    fn numbers(&self) -> Vec<f64> {
        self.iter().map(|&value| value.into()).collect()
    }
}

fn action<A: Action>(space: &Space, value: &Value) -> A {
    let values = numbers(value);
    match space {
        Space::Box { .. } => {
            let row: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            A::read(Actions::Continuous(&row, row.len()), 0)
        }
        _ => A::read(Actions::Discrete(&[values[0] as u32], 1), 0),
    }
}

#[derive(Deserialize)]
struct Trace {
    env: String,
    seed: u64,
    reset: Value,
    reset_state_f64: Option<Vec<f64>>,
    actions: Vec<Value>,
    steps: Vec<(Value, f64, bool, bool)>,
}

fn replay<E>(env: E, limit: usize, state: impl Fn(&E) -> Vec<f64>, trace: &Trace)
where
    E: Env,
    E::Obs: Numbers,
{
    let name = format!("{} seed {}", trace.env, trace.seed);
    let mut env = TimeLimit::new(env, limit);
    let mut rng = Rng::new(trace.seed);
    let obs = env.reset(&mut rng);
    assert_close(&obs.numbers(), &numbers(&trace.reset), &format!("{name}, reset"));
    if let Some(expected) = &trace.reset_state_f64 {
        assert_eq!(&state(env.inner()), expected, "{name}, state after the reset");
    }
    let space = env.action_space();
    for (t, (value, (obs, reward, terminated, truncated))) in
        trace.actions.iter().zip(&trace.steps).enumerate()
    {
        let step = env.step(&action(&space, value), &mut rng);
        let name = format!("{name}, step {t}");
        assert_close(&step.obs.numbers(), &numbers(obs), &name);
        assert_close(&[step.reward.into()], &[*reward], &name);
        assert_eq!((step.terminated, step.truncated), (*terminated, *truncated), "{name}");
    }
}

#[test]
fn recorded_traces_are_replayed() {
    let traces: Vec<Trace> = read(include_str!("golden/gymnasium_1.4_traces.json"));
    assert_eq!(traces.len(), 14);
    for trace in &traces {
        let index = |state: usize| vec![state as f64];
        match trace.env.as_str() {
            "CartPole-v1" => replay(CartPole::default(), 500, |env| env.state().to_vec(), trace),
            "Acrobot-v1" => replay(Acrobot::default(), 500, |env| env.state().to_vec(), trace),
            "MountainCar-v0" => {
                replay(MountainCar::default(), 200, |env| env.state().to_vec(), trace);
            }
            "MountainCarContinuous-v0" => {
                replay(MountainCarContinuous::default(), 999, |env| env.state().to_vec(), trace);
            }
            "Pendulum-v1" => replay(Pendulum::default(), 200, |env| env.state().to_vec(), trace),
            "FrozenLake-v1" => replay(lake(&MAP_4X4), 100, |env| index(env.state()), trace),
            "CliffWalking-v1" => {
                replay(CliffWalking::default(), usize::MAX, |env| index(env.state()), trace);
            }
            other => panic!("no environment for the trace of {other}"),
        }
    }
}

fn lake(map: &[&str]) -> FrozenLake {
    FrozenLake::new(Map::new(map).unwrap(), Some(1.0 / 3.0), [1.0, 0.0, 0.0]).unwrap()
}

#[derive(Deserialize)]
struct Episodes {
    config: EnvConfig,
    seed: u64,
    first: Value,
    steps: Vec<Vec<Value>>,
}

/// The flat row of an observation is one-hot; this undoes it.
fn decode(row: &[f32], space: &Space) -> Vec<f64> {
    let sizes = match space {
        Space::Discrete(n) => vec![*n],
        Space::MultiDiscrete(sizes) => sizes.clone(),
        Space::Box { .. } => panic!("not discrete"),
    };
    let mut row = row;
    sizes
        .iter()
        .map(|&size| {
            let (digit, rest) = row.split_at(size);
            row = rest;
            digit.iter().position(|&x| x == 1.0).unwrap() as f64
        })
        .collect()
}

impl EnvVisitor for &Episodes {
    type Output = ();

    fn visit<E: Env + 'static>(self, mut env: E) {
        use skinner_core::Observation;
        let name = format!("{:?} seed {}", self.config, self.seed);
        let (observation_space, action_space) = (env.observation_space(), env.action_space());
        let mut row = vec![0.0; observation_space.flat_width()];
        let mut decoded = |obs: &E::Obs| {
            obs.write(&observation_space, &mut row);
            decode(&row, &observation_space)
        };
        let mut rng = Rng::new(self.seed);
        assert_eq!(decoded(&env.reset(&mut rng)), numbers(&self.first), "{name}");
        for (t, row) in self.steps.iter().enumerate() {
            let step = env.step(&action(&action_space, &row[0]), &mut rng);
            assert_eq!(decoded(&step.obs), numbers(&row[1]), "{name}, step {t}");
            assert_eq!(step.reward, row[2].as_f64().unwrap() as f32, "{name}, step {t}");
            assert_eq!(Some(step.terminated), row[3].as_bool(), "{name}, step {t}");
            if step.terminated {
                let first = decoded(&env.reset(&mut rng));
                assert_eq!(first, numbers(&row[4]), "{name}, after step {t}");
            }
        }
    }
}

#[test]
fn recorded_random_episodes_are_reproduced() {
    let recorded: Vec<Episodes> = read(include_str!("golden/episodes.json"));
    assert_eq!(recorded.len(), 22);
    for episodes in &recorded {
        episodes.config.visit(episodes).unwrap();
    }
}

#[derive(Deserialize)]
struct Digest {
    config: EnvConfig,
    digest: String,
}

fn digest(table: &dyn Tabular) -> String {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for &byte in bytes {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for state in 0..table.num_states() {
        for action in 0..table.num_actions() {
            for transition in table.transitions(state, action) {
                add(&(state as u32).to_le_bytes());
                add(&(action as u32).to_le_bytes());
                add(&transition.probability.to_le_bytes());
                add(&(transition.next_state as u32).to_le_bytes());
                add(&transition.reward.to_le_bytes());
                add(&[u8::from(transition.terminated)]);
            }
        }
    }
    for probability in table.initial_distribution() {
        add(&probability.to_le_bytes());
    }
    format!("{digest:016x}")
}

fn table_of(config: &EnvConfig) -> Box<dyn Tabular> {
    match config {
        EnvConfig::FrozenLake { map, is_slippery, success_rate, reward_schedule, .. } => {
            let success_rate = is_slippery.then_some(*success_rate);
            Box::new(FrozenLake::new(map.clone(), success_rate, *reward_schedule).unwrap())
        }
        EnvConfig::FrozenLake8x8 { .. } => Box::new(lake(&MAP_8X8)),
        EnvConfig::CliffWalking { .. } => Box::new(CliffWalking::new(false)),
        EnvConfig::CliffWalkingSlippery { .. } => Box::new(CliffWalking::new(true)),
        EnvConfig::Taxi { is_rainy, rainy_probability, .. } => {
            Box::new(Taxi::new(is_rainy.then_some(*rainy_probability), None).unwrap())
        }
        other => panic!("{other:?} has no table"),
    }
}

#[test]
fn transition_tables_are_gymnasiums() {
    let digests: Vec<Digest> = read(include_str!("golden/tables.json"));
    assert_eq!(digests.len(), 9);
    for expected in &digests {
        let found = digest(table_of(&expected.config).as_ref());
        assert_eq!(found, expected.digest, "{:?}", expected.config);
    }
}
