//! Mean returns of fixed policies against those measured with Gymnasium 1.4.0.

use skinner_core::mdp::{Mdp, Tabular};
use skinner_core::{Env, Rng, wrappers::TimeLimit};
use skinner_envs::{
    Acrobot, Blackjack, CartPole, CliffWalking, FrozenLake, MountainCar, MountainCarContinuous,
    Pendulum, Taxi,
    frozen_lake::{MAP_4X4, Map},
};

/// Mean return and its standard error over `episodes`.
fn mean_return<E: Env>(
    mut env: E,
    episodes: usize,
    mut policy: impl FnMut(&E::Obs, &mut Rng) -> E::Action,
) -> (f64, f64) {
    let (mut rng, mut policy_rng) = (Rng::new(11), Rng::new(12));
    let (mut sum, mut sum_of_squares) = (0.0, 0.0);
    for _ in 0..episodes {
        let mut obs = env.reset(&mut rng);
        let mut episode_return = 0.0;
        loop {
            let step = env.step(&policy(&obs, &mut policy_rng), &mut rng);
            episode_return += f64::from(step.reward);
            if step.done() {
                break;
            }
            obs = step.obs;
        }
        sum += episode_return;
        sum_of_squares += episode_return * episode_return;
    }
    let mean = sum / episodes as f64;
    (mean, ((sum_of_squares / episodes as f64 - mean * mean) / episodes as f64).sqrt())
}

/// The means of Gymnasium's own policies beside those that it has, with another engine.
#[cfg(feature = "physics")]
mod physics {
    use skinner_core::{Env, Rng, wrappers::TimeLimit};
    use skinner_envs::lunar_lander::{LunarLander, Options};
    use skinner_envs::{BipedalWalker, LunarLanderContinuous};

    /// Mean return and mean length over `episodes`.
    fn means<E: Env>(
        env: E,
        episodes: usize,
        mut policy: impl FnMut(&E::Obs, &mut Rng) -> E::Action,
    ) -> [f64; 2] {
        let mut steps = 0;
        let (mean, _) = super::mean_return(env, episodes, |obs, rng| {
            steps += 1;
            policy(obs, rng)
        });
        [mean, steps as f64 / episodes as f64]
    }

    fn check(found: [f64; 2], expected: [f64; 2], allowed: [f64; 2]) {
        for i in 0..2 {
            assert!((found[i] - expected[i]).abs() <= allowed[i], "{found:?}, not {expected:?}");
        }
    }

    /// How much Gymnasium's heuristic wants to turn and to rise.
    fn wishes(&[x, y, vx, vy, angle, spin, left, right]: &[f32; 8]) -> [f32; 2] {
        if left + right > 0.0 {
            return [0.0, -0.5 * vy];
        }
        let target_angle = (0.5 * x + vx).clamp(-0.4, 0.4);
        let turn = 0.5 * (target_angle - angle) - spin;
        [turn, 0.5 * (0.55 * x.abs() - y) - 0.5 * vy]
    }

    fn engines(obs: &[f32; 8]) -> usize {
        let [turn, rise] = wishes(obs);
        match (rise > turn.abs() && rise > 0.05, turn) {
            (true, _) => 2,
            (_, turn) if turn < -0.05 => 3,
            (_, turn) if turn > 0.05 => 1,
            _ => 0,
        }
    }

    fn throttles(obs: &[f32; 8]) -> [f32; 2] {
        let [turn, rise] = wishes(obs);
        [(20.0 * rise - 1.0).clamp(-1.0, 1.0), (-20.0 * turn).clamp(-1.0, 1.0)]
    }

    fn lander() -> TimeLimit<LunarLander> {
        TimeLimit::new(LunarLander::new(Options::default()).unwrap(), 1000)
    }

    fn throttled_lander() -> TimeLimit<LunarLanderContinuous> {
        TimeLimit::new(LunarLanderContinuous::new(Options::default()).unwrap(), 1000)
    }

    /// Heuristic 242.1 ± 5.8 in 254.9 steps and random -187.8 ± 6.7 in 91.4 with Gymnasium 1.4.0.
    #[test]
    fn lunar_lander() {
        let heuristic = means(lander(), 1_000, |obs, _| engines(obs));
        check(heuristic, [242.1, 254.9], [15.0, 25.0]);
        let random = means(lander(), 2_000, |_, rng| rng.below(4));
        check(random, [-187.8, 91.4], [20.0, 10.0]);
        let rising = means(lander(), 1_000, |_, _| 2);
        check(rising, [-888.6, 124.7], [100.0, 10.0]);
    }

    /// Heuristic 282.8 ± 1.2 in 204.8 steps and random -211.3 ± 5.1 in 107.0 with Gymnasium 1.4.0.
    #[test]
    fn lunar_lander_continuous() {
        let heuristic = means(throttled_lander(), 500, |obs, _| throttles(obs));
        check(heuristic, [282.8, 204.8], [6.0, 20.0]);
        let random = means(throttled_lander(), 2_000, |_, rng| {
            [(); 2].map(|()| rng.uniform(-1.0, 1.0) as f32)
        });
        check(random, [-211.3, 107.0], [20.0, 10.0]);
    }

    /// Gymnasium's heuristic for the walker: which leg it moves, what it does with it, and the knee's angle of
    /// the leg that it stands on.
    struct Walk {
        moving: usize,
        phase: Phase,
        knee: f32,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Phase {
        StandOnOneLeg,
        PutOtherDown,
        PushOff,
    }

    impl Walk {
        const SPEED: f32 = 0.29;
        const STRAIGHT: f32 = 0.1;

        fn new() -> Self {
            Self { moving: 0, phase: Phase::StandOnOneLeg, knee: Self::STRAIGHT }
        }

        fn act(&mut self, obs: &[f32; 24]) -> [f32; 4] {
            let (moving, standing) = (self.moving, 1 - self.moving);
            let leg = |leg: usize| &obs[4 + 5 * leg..9 + 5 * leg];
            let (mut hips, mut knees) = ([None; 2], [None; 2]);
            if self.phase == Phase::StandOnOneLeg {
                (hips[moving], knees[moving]) = (Some(1.1), Some(-0.6));
                let bend = if obs[2] > Self::SPEED { 0.06 } else { 0.03 };
                self.knee = (self.knee + bend).min(Self::STRAIGHT);
                knees[standing] = Some(self.knee);
                if leg(standing)[0] < 0.1 {
                    self.phase = Phase::PutOtherDown;
                }
            }
            if self.phase == Phase::PutOtherDown {
                (hips[moving], knees[moving]) = (Some(0.1), Some(Self::STRAIGHT));
                knees[standing] = Some(self.knee);
                if leg(moving)[4] > 0.0 {
                    self.phase = Phase::PushOff;
                    self.knee = leg(moving)[2].min(Self::STRAIGHT);
                }
            }
            if self.phase == Phase::PushOff {
                (knees[moving], knees[standing]) = (Some(self.knee), Some(1.0));
                if leg(standing)[2] > 0.88 || obs[2] > 1.2 * Self::SPEED {
                    self.phase = Phase::StandOnOneLeg;
                    self.moving = standing;
                }
            }
            let upright = 0.9 * obs[0] + 1.5 * obs[1];
            let motor = |i: usize| {
                let (leg, hip) = (leg(i / 2), i.is_multiple_of(2));
                let (target, gain, at) =
                    if hip { (hips[i / 2], 0.9, 0) } else { (knees[i / 2], 4.0, 2) };
                let wish =
                    target.map_or(0.0, |angle| gain * (angle - leg[at]) - 0.25 * leg[at + 1]);
                let steady = if hip { upright } else { -15.0 * obs[3] };
                (0.5 * (wish + steady)).clamp(-1.0, 1.0)
            };
            std::array::from_fn(motor)
        }
    }

    /// With Gymnasium 1.4.0 the heuristic has 120.6 ± 13.4 and falls in 72 of 100 episodes; a random policy has
    /// -99.1 ± 1.0, and none -91.95 ± 0.01 in 117.4 steps. Here the heuristic falls less often.
    #[test]
    fn bipedal_walker() {
        let still = means(BipedalWalker::default(), 20, |_, _| [0.0; 4]);
        check(still, [-91.95, 117.4], [2.0, 20.0]);
        let walker = TimeLimit::new(BipedalWalker::default(), 1600);
        let random = super::mean_return(walker.clone(), 100, |_, rng| {
            [(); 4].map(|()| rng.uniform(-1.0, 1.0) as f32)
        });
        assert!((-125.0..-85.0).contains(&random.0), "{random:?}");
        let mut returns = Vec::new();
        for seed in 0..20 {
            let (mut env, mut rng, mut walk) = (walker.clone(), Rng::new(seed), Walk::new());
            let (mut action, mut sum) = ([0.0; 4], 0.0);
            env.reset(&mut rng);
            loop {
                let step = env.step(&action, &mut rng);
                sum += step.reward;
                if step.done() {
                    break;
                }
                action = walk.act(&step.obs);
            }
            returns.push(sum);
        }
        let walked = returns.iter().filter(|&&sum| sum > 250.0).count();
        assert!(walked >= 14, "{returns:?}");
    }
}

/// Both means have an error; their difference must lie within three of its standard errors.
fn check((mean, error): (f64, f64), expected: f64, expected_error: f64) {
    let allowed = 3.0 * error.hypot(expected_error);
    assert!((mean - expected).abs() <= allowed, "{mean} ± {error}, not {expected}");
}

#[test]
fn cartpole() {
    let random =
        mean_return(TimeLimit::new(CartPole::default(), 500), 50_000, |_, rng| rng.below(2));
    check(random, 22.03, 0.16);
    let falling = mean_return(TimeLimit::new(CartPole::default(), 500), 5_000, |obs, _| {
        usize::from(obs[2] + obs[3] > 0.0)
    });
    check(falling, 482.99, 1.59);
}

#[test]
fn acrobot() {
    let random = mean_return(TimeLimit::new(Acrobot::default(), 500), 1_000, |_, rng| rng.below(3));
    check(random, -498.7, 1.3);
}

#[test]
fn mountain_car() {
    let push = mean_return(TimeLimit::new(MountainCar::default(), 200), 10_000, |obs, _| {
        if obs[1] < 0.0 { 0 } else { 2 }
    });
    check(push, -119.642, 0.116);
}

#[test]
fn mountain_car_continuous() {
    let env = TimeLimit::new(MountainCarContinuous::default(), 999);
    let push = mean_return(env, 10_000, |obs, _| [if obs[1] < 0.0 { -1.0 } else { 1.0 }]);
    check(push, 89.360, 0.006);
}

#[test]
fn pendulum() {
    let random = mean_return(TimeLimit::new(Pendulum::default(), 200), 5_000, |_, rng| {
        [rng.uniform(-2.0, 2.0) as f32]
    });
    check(random, -1225.6, 13.1);
}

fn lake() -> FrozenLake {
    FrozenLake::new(Map::new(&MAP_4X4).unwrap(), Some(1.0 / 3.0), [1.0, 0.0, 0.0]).unwrap()
}

#[test]
fn frozen_lake() {
    let random = mean_return(TimeLimit::new(lake(), 100), 100_000, |_, rng| rng.below(4));
    check(random, 0.014, 0.0005);
}

#[test]
fn optimal_policies() {
    let optimum = |table: &dyn Tabular, gamma| {
        let solution = Mdp::new(table).unwrap().value_iteration(gamma, 1e-12).unwrap();
        (solution.policy, solution.values)
    };
    let (policy, values) = optimum(&lake(), 0.99);
    assert!((values[0] - 0.542_026).abs() < 1e-6, "V*(s0) = {}", values[0]);
    let skilled = mean_return(TimeLimit::new(lake(), 100), 50_000, |&obs, _| policy[obs]);
    check(skilled, 0.740_165, 0.0);

    let taxi = Taxi::default();
    let (policy, _) = optimum(&taxi, 0.99);
    let driven = mean_return(TimeLimit::new(taxi, 200), 20_000, |&obs, _| policy[obs]);
    check(driven, 7.93, 0.005);

    let (policy, values) = optimum(&CliffWalking::default(), 1.0);
    assert_eq!(values[36], -13.0);
    let (mean, _) = mean_return(CliffWalking::default(), 2, |&obs, _| policy[obs]);
    assert_eq!(mean, -13.0);
}

/// Thorp's basic strategy with nothing but hitting and sticking.
#[test]
fn blackjack() {
    let basic = mean_return(Blackjack::default(), 400_000, |&[sum, dealer, usable_ace], _| {
        let stick_from = match (usable_ace, dealer) {
            (1, 9 | 10) => 19,
            (1, _) => 18,
            (_, 4..=6) => 12,
            (_, 2 | 3) => 13,
            _ => 17,
        };
        usize::from(sum < stick_from)
    });
    check(basic, -0.043, 0.001);
}
