//! Environments of rigid bodies: flights beside Gymnasium's, and the same bytes again.
#![cfg(feature = "physics")]

use skinner_core::{Env, Rng};
use skinner_envs::lunar_lander::{LunarLander, Options};
use skinner_envs::{BipedalWalker, LunarLanderContinuous};

fn lander() -> LunarLander {
    LunarLander::new(Options::default()).unwrap()
}

/// The observation after `steps` of one action.
fn fly(seed: u64, action: usize, steps: usize) -> [f32; 8] {
    let (mut env, mut rng) = (lander(), Rng::new(seed));
    env.reset(&mut rng);
    (0..steps).fold([0.0; 8], |_, _| env.step(&action, &mut rng).obs)
}

/// What Gymnasium 1.4.0 with Box2D 2.3.10 observes after `reset(seed=seed)` and 50 times this action.
#[test]
fn flights_follow_box2d() {
    let check = |seed, action, expected: [f32; 8]| {
        let found = fly(seed, action, 50);
        let off = found.iter().zip(expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(off < 0.025, "{found:?}, not {expected:?}");
    };
    check(2, 0, [-0.0549, 0.8248, -0.1088, -1.1779, 0.062, 0.0243, 0.0, 0.0]);
    check(3, 0, [-0.0565, 0.723, -0.1121, -1.2667, 0.0639, 0.025, 0.0, 0.0]);
    check(2, 1, [-0.1496, 0.7863, -0.337, -1.3551, 2.7129, 2.2131, 0.0, 0.0]);
    check(3, 1, [-0.1523, 0.6846, -0.3401, -1.4419, 2.7138, 2.216, 0.0, 0.0]);
    check(2, 2, [-0.0813, 2.1853, -0.3211, 1.135, 0.1007, 0.0107, 0.0, 0.0]);
    check(3, 2, [-0.0858, 2.0923, -0.3374, 1.1186, 0.0966, -0.0014, 0.0, 0.0]);
}

/// Plays an episode on end and gives all that was observed as bytes; at step `branch` the environment is
/// saved and goes on as what was loaded.
fn bytes<E: Env>(
    mut env: E,
    branch: Option<usize>,
    action: impl Fn(usize) -> E::Action,
) -> Vec<u8> {
    let mut rng = Rng::new(9);
    let mut seen = vec![postcard::to_stdvec(&format!("{:?}", env.reset(&mut rng))).unwrap()];
    for t in 0..1000 {
        if branch == Some(t) {
            let saved = postcard::to_stdvec(&env).unwrap();
            env = postcard::from_bytes(&saved).unwrap();
        }
        let step = env.step(&action(t), &mut rng);
        seen.push(postcard::to_stdvec(&format!("{step:?}")).unwrap());
        if step.terminated {
            break;
        }
    }
    seen.concat()
}

fn check_same<E: Env>(env: &E, action: impl Fn(usize) -> E::Action) {
    let played = bytes(env.clone(), None, &action);
    assert_eq!(bytes(env.clone(), None, &action), played);
    for branch in [0, 1, 40, 75, 95, 120] {
        assert!(bytes(env.clone(), Some(branch), &action) == played, "saved at step {branch}");
    }
}

/// In flight, at the first touch, and on the ground.
#[test]
fn saved_and_loaded_goes_on_with_the_same_bytes() {
    check_same(&lander(), |t| if t % 7 < 3 { 2 } else { 0 });
    check_same(&LunarLanderContinuous::new(Options::default()).unwrap(), |t| {
        [if t % 2 == 0 { 0.1 } else { -1.0 }, 0.0]
    });
    check_same(&BipedalWalker::default(), |t| {
        let wave = (t as f32 * 0.2).sin();
        [wave, -wave, 0.5 * wave, wave]
    });
}

/// A trajectory that is written down: a change of engine or solver shows here.
#[test]
fn a_flight_is_what_it_was() {
    let (mut env, mut rng) = (lander(), Rng::new(4));
    env.reset(&mut rng);
    let mut last = env.step(&0, &mut rng);
    let mut steps = 1;
    while !last.terminated {
        last = env.step(&if steps % 5 < 2 { 2 } else { 0 }, &mut rng);
        steps += 1;
    }
    assert_eq!((steps, last.reward), (168, -100.0));
    let expected: [f32; 8] = [
        -0.648_313_9,
        0.171_391_38,
        -0.786_423_5,
        0.008_183_26,
        -0.292_674_75,
        -1.140_681_5,
        1.0,
        0.0,
    ];
    for (found, expected) in last.obs.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-5, "{:?}, not {expected:?}", last.obs);
    }
}
