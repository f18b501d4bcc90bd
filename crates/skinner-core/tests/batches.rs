//! Batches of environments and the wrappers around them.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use skinner_core::running::RunningMoments;
use skinner_core::wrappers::{
    ClipAction, FrameStack, Normalize, NormalizeConfig, RescaleAction, TimeLimit,
};
use skinner_core::{
    Actions, Env, EnvBatch, EnvError, Rng, SeedSequence, Space, Step, StepBatch, VecEnv, check_env,
};

/// A walk on the integers from a random start; ends at ±`edge`. The action is a number in `[-2, 2]`, the
/// observation `[position, steps]`, the reward the action itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Walk {
    position: f32,
    steps: f32,
    edge: f32,
    poison_after: f32,
}

fn walk(edge: f32) -> Walk {
    Walk { position: 0.0, steps: 0.0, edge, poison_after: f32::MAX }
}

impl Env for Walk {
    type Obs = [f32; 2];
    type Action = [f32; 1];

    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-100.0, 0.0], high: vec![100.0, 1e6] }
    }

    fn action_space(&self) -> Space {
        Space::uniform_box(-2.0, 2.0, 1)
    }

    fn reset(&mut self, rng: &mut Rng) -> [f32; 2] {
        (self.position, self.steps) = (rng.below(3) as f32 - 1.0, 0.0);
        [self.position, 0.0]
    }

    fn step(&mut self, action: &[f32; 1], rng: &mut Rng) -> Step<[f32; 2]> {
        self.position += action[0] + rng.below(2) as f32 - 0.5;
        self.steps += 1.0;
        let reward = if self.steps > self.poison_after { f32::NAN } else { action[0] };
        let terminated = self.position.abs() >= self.edge;
        Step { obs: [self.position, self.steps], reward, terminated, truncated: false }
    }
}

fn batch(env: &TimeLimit<Walk>, num_envs: usize, threads: usize) -> EnvBatch<TimeLimit<Walk>> {
    EnvBatch::new(env.clone(), num_envs, &SeedSequence::new(5), threads).unwrap()
}

/// Everything that a run of random actions shows, row by row.
fn transcript(envs: &mut dyn VecEnv, steps: usize, actions: &mut Rng) -> Vec<String> {
    let n = envs.num_envs();
    let width = envs.observation_space().flat_width();
    let mut out = StepBatch::new(n, width);
    (0..steps)
        .map(|_| {
            let row: Vec<f32> = (0..n).map(|_| actions.uniform(-2.0, 2.0) as f32).collect();
            envs.step(Actions::Continuous(&row, 1), &mut out).unwrap();
            let finals: Vec<_> = (0..n).map(|i| out.final_obs(i).map(<[f32]>::to_vec)).collect();
            let ends = (out.terminated().to_vec(), out.truncated().to_vec());
            format!("{:?} {:?} {ends:?} {finals:?} {:?}", out.obs(), out.reward(), out.episodes())
        })
        .collect()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let env = TimeLimit::new(walk(6.0), 9);
    let run = |threads| {
        let mut envs = batch(&env, 7, threads);
        envs.reset(&mut [0.0; 14]).unwrap();
        transcript(&mut envs, 60, &mut Rng::new(1))
    };
    let one = run(1);
    for threads in [2, 3, 7, 20] {
        assert_eq!(run(threads), one);
    }
}

#[test]
fn a_saved_batch_goes_on_identically_whatever_wraps_it() {
    let env = TimeLimit::new(walk(6.0), 9);
    let config = NormalizeConfig { obs: true, reward: true, gamma: 0.9 };
    let wrapped = |threads| -> Box<dyn VecEnv> {
        let clipped = Box::new(ClipAction::new(Box::new(batch(&env, 5, threads))).unwrap());
        let stacked = Box::new(FrameStack::new(clipped, 3).unwrap());
        Box::new(Normalize::new(stacked, config))
    };
    let mut envs = wrapped(1);
    envs.reset(&mut [0.0; 30]).unwrap();
    let mut actions = Rng::new(1);
    transcript(envs.as_mut(), 25, &mut actions);
    let state = envs.save().unwrap();
    let expected = transcript(envs.as_mut(), 25, &mut actions.clone());
    for threads in [1, 2] {
        let mut again = wrapped(threads);
        again.load(&state).unwrap();
        assert_eq!(transcript(again.as_mut(), 25, &mut actions.clone()), expected);
    }
    let garbage = wrapped(1).load(&state[..state.len() / 2]);
    assert!(matches!(garbage, Err(EnvError::State(_))));
}

#[test]
fn an_episodes_end_is_kept_apart_from_the_next_start() {
    let mut envs = batch(&TimeLimit::new(walk(1e9), 4), 1, 1);
    envs.reset(&mut [0.0; 2]).unwrap();
    let mut out = StepBatch::new(1, 2);
    for t in 1..=12 {
        envs.step(Actions::Continuous(&[0.0], 1), &mut out).unwrap();
        let ends = t % 4 == 0;
        assert_eq!((out.terminated()[0], out.truncated()[0]), (false, ends));
        assert_eq!(out.final_obs(0).map(|obs| obs[1]), ends.then_some(4.0));
        assert_eq!(out.obs()[1], (t % 4) as f32);
        assert_eq!(out.episodes().len(), usize::from(ends));
    }
}

#[test]
fn a_reward_that_is_not_a_number_is_an_error_that_names_it() {
    for threads in [1, 2] {
        let poisoned = TimeLimit::new(Walk { poison_after: 2.0, ..walk(1e9) }, 100);
        let mut envs = batch(&poisoned, 4, threads);
        envs.reset(&mut [0.0; 8]).unwrap();
        let mut out = StepBatch::new(4, 2);
        let mut step = || envs.step(Actions::Continuous(&[0.0; 4], 1), &mut out);
        assert!(step().is_ok() && step().is_ok());
        let error = step().unwrap_err();
        assert!(matches!(error, EnvError::Reward { env: 0, step: 3, .. }), "{error}");
    }
}

#[test]
fn zero_environments_or_threads_are_refused() {
    let new = |n, threads| EnvBatch::new(walk(1.0), n, &SeedSequence::new(0), threads).err();
    assert_eq!(new(0, 1), Some(EnvError::Zero { what: "num_envs" }));
    assert_eq!(new(1, 0), Some(EnvError::Zero { what: "threads" }));
}

#[test]
fn actions_are_clipped_and_rescaled() {
    let env = TimeLimit::new(walk(1e9), 1000);
    let reward = |envs: &mut dyn VecEnv, action: f32| {
        envs.reset(&mut [0.0; 2]).unwrap();
        let mut out = StepBatch::new(1, 2);
        envs.step(Actions::Continuous(&[action], 1), &mut out).unwrap();
        out.reward()[0]
    };
    let mut clipped = ClipAction::new(Box::new(batch(&env, 1, 1))).unwrap();
    assert_eq!([5.0, -9.0, 1.5].map(|a| reward(&mut clipped, a)), [2.0, -2.0, 1.5]);
    let mut rescaled = RescaleAction::new(Box::new(batch(&env, 1, 1))).unwrap();
    assert_eq!([1.0, -0.5, 7.0].map(|a| reward(&mut rescaled, a)), [2.0, -1.0, 2.0]);
}

#[test]
fn a_stack_shows_the_last_frames_and_starts_afresh() {
    let env = TimeLimit::new(walk(1e9), 3);
    let mut envs = FrameStack::new(Box::new(batch(&env, 1, 1)), 2).unwrap();
    let mut obs = [0.0; 4];
    envs.reset(&mut obs).unwrap();
    assert_eq!((obs[0], obs[1]), (obs[2], obs[3]));
    let mut out = StepBatch::new(1, 4);
    let clocks = |row: &[f32]| (row[1], row[3]);
    for expected in [(0.0, 1.0), (1.0, 2.0), (0.0, 0.0), (0.0, 1.0)] {
        envs.step(Actions::Continuous(&[0.1], 1), &mut out).unwrap();
        assert_eq!(clocks(out.obs()), expected);
        if let Some(ending) = out.final_obs(0) {
            assert_eq!(clocks(ending), (2.0, 3.0));
        }
    }
}

#[test]
fn frozen_statistics_do_not_move_and_rewards_are_the_environments_own() {
    let env = TimeLimit::new(walk(1e9), 50);
    let mut moments = RunningMoments::new(2);
    moments.update(&[0.0, 0.0, 4.0, 10.0]);
    let mut envs = Normalize::frozen(Box::new(batch(&env, 1, 1)), moments.clone()).unwrap();
    let mut plain = batch(&env, 1, 1);
    let (mut obs, mut raw) = ([0.0; 2], [0.0; 2]);
    envs.reset(&mut obs).unwrap();
    plain.reset(&mut raw).unwrap();
    let (mut out, mut plain_out) = (StepBatch::new(1, 2), StepBatch::new(1, 2));
    for _ in 0..60 {
        envs.step(Actions::Continuous(&[0.5], 1), &mut out).unwrap();
        plain.step(Actions::Continuous(&[0.5], 1), &mut plain_out).unwrap();
        let mut expected = plain_out.obs().to_vec();
        moments.normalize(&mut expected);
        assert_eq!((out.obs(), out.reward()), (&expected[..], plain_out.reward()));
    }
    assert_eq!(envs.obs_statistics(), Some(&moments));
    let wrong = Normalize::frozen(Box::new(batch(&env, 1, 1)), RunningMoments::new(3));
    assert!(matches!(wrong.err(), Some(EnvError::State(_))));
}

#[test]
fn normalised_rewards_have_about_unit_scale_and_episodes_count_raw_ones() {
    let env = TimeLimit::new(walk(1e9), 10);
    let config = NormalizeConfig { obs: false, reward: true, gamma: 0.5 };
    let mut envs = Normalize::new(Box::new(batch(&env, 8, 1)), config);
    envs.reset(&mut [0.0; 16]).unwrap();
    let mut out = StepBatch::new(8, 2);
    let mut rng = Rng::new(3);
    for _ in 0..500 {
        let actions: Vec<f32> = (0..8).map(|_| rng.normal() as f32).collect();
        envs.step(Actions::Continuous(&actions, 1), &mut out).unwrap();
        let ratio = out.reward()[0] / actions[0];
        assert!(ratio > 0.0);
        if let Some(episode) = out.episodes().first() {
            assert_eq!(episode.length, 10);
        }
    }
    // Discounted returns of unit normals at gamma 0.5 have deviation √(4/3).
    let mut again = StepBatch::new(8, 2);
    envs.step(Actions::Continuous(&[1.0; 8], 1), &mut again).unwrap();
    assert!((again.reward()[0] - 0.75f32.sqrt()).abs() < 0.1, "{}", again.reward()[0]);
}

proptest! {
    /// No row is made by a reset: each row's observation follows from the row before it in the same
    /// episode, and each ended episode is reported with its own length.
    #[test]
    fn rows_are_transitions(limit in 1usize..12, edge in 2.0f32..8.0, seed in 0u64..1000) {
        let env = TimeLimit::new(walk(edge), limit);
        let mut envs = EnvBatch::new(env, 3, &SeedSequence::new(seed), 1).unwrap();
        let mut obs = vec![0.0; 6];
        envs.reset(&mut obs).unwrap();
        let mut out = StepBatch::new(3, 2);
        let mut rng = Rng::new(seed);
        for _ in 0..80 {
            let actions: Vec<f32> = (0..3).map(|_| rng.uniform(-2.0, 2.0) as f32).collect();
            envs.step(Actions::Continuous(&actions, 1), &mut out).unwrap();
            for i in 0..3 {
                let next = out.final_obs(i).unwrap_or(&out.obs()[2 * i..2 * i + 2]);
                prop_assert_eq!(next[1], obs[2 * i + 1] + 1.0);
                prop_assert!((next[0] - obs[2 * i] - actions[i]).abs() < 0.51);
                if out.final_obs(i).is_some() {
                    prop_assert_eq!(out.obs()[2 * i + 1], 0.0);
                    let episode = out.episodes().iter().find(|e| e.env == i).unwrap();
                    prop_assert_eq!(episode.length as f32, next[1]);
                }
            }
            obs.copy_from_slice(out.obs());
        }
    }
}

#[test]
fn the_check_accepts_a_sound_environment() {
    check_env(&walk(6.0)).unwrap();
    check_env(&TimeLimit::new(walk(6.0), 10)).unwrap();
}

/// An environment that breaks one promise.
#[derive(Debug, Serialize, Deserialize)]
struct Broken {
    breaks: Breaks,
    #[serde(skip)]
    hidden: f32,
    seen: f32,
    steps: f32,
}

impl Clone for Broken {
    fn clone(&self) -> Self {
        let seen = if self.breaks == Breaks::Clone { 0.0 } else { self.seen };
        Self { seen, ..*self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Breaks {
    Bounds,
    Reward,
    HiddenState,
    Reset,
    Clone,
    ActionSpace,
}

impl Env for Broken {
    type Obs = [f32; 1];
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::uniform_box(0.0, 1e6, 1)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(if self.breaks == Breaks::ActionSpace { 0 } else { 2 })
    }

    fn reset(&mut self, _rng: &mut Rng) -> [f32; 1] {
        (self.hidden, self.steps) = (0.0, 0.0);
        if self.breaks != Breaks::Reset {
            self.seen = 0.0;
        }
        [0.0]
    }

    fn step(&mut self, _action: &usize, _rng: &mut Rng) -> Step<[f32; 1]> {
        self.hidden += 1.0;
        self.seen += 1.0;
        self.steps += 1.0;
        let obs = match self.breaks {
            Breaks::Bounds => [-1.0],
            Breaks::Reset | Breaks::Clone => [self.seen],
            Breaks::HiddenState => [self.hidden],
            _ => [0.0],
        };
        let reward = if self.breaks == Breaks::Reward { f32::INFINITY } else { 0.0 };
        Step { obs, reward, terminated: self.steps == 120.0, truncated: false }
    }
}

#[test]
fn the_check_names_what_is_broken() {
    for (breaks, says) in [
        (Breaks::Bounds, "not in Box"),
        (Breaks::Reward, "reward inf"),
        (Breaks::HiddenState, "serialised"),
        (Breaks::Reset, "no earlier episode"),
        (Breaks::Clone, "a clone of it"),
        (Breaks::ActionSpace, "action space"),
    ] {
        let error = check_env(&Broken { breaks, hidden: 0.0, seen: 0.0, steps: 0.0 })
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{breaks:?}: {error}");
    }
}
