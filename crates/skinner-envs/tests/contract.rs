//! What every environment of the catalog owes to trainers, planners, checkpoints and viewers.

use proptest::prelude::*;
use skinner_core::{
    Action, Actions, Env, Observation, Rng, SeedSequence, Space, check_env, vec_env::StepBatch,
};
use skinner_envs::{
    EnvConfig,
    catalog::{ENVIRONMENTS, EnvVisitor},
    make,
};

fn random_action<A: Action>(space: &Space, rng: &mut Rng) -> A {
    let mut row = vec![0.0; space.width()];
    space.sample(rng, &mut row);
    let indices: Vec<u32> = row.iter().map(|&x| x as u32).collect();
    match space {
        Space::Box { .. } => A::read(Actions::Continuous(&row, row.len()), 0),
        _ => A::read(Actions::Discrete(&indices, indices.len()), 0),
    }
}

struct Check;

impl EnvVisitor for Check {
    type Output = Result<(), skinner_core::check::CheckError>;

    fn visit<E: Env + 'static>(self, env: E) -> Self::Output {
        check_env(&env)
    }
}

#[test]
fn the_whole_catalog_keeps_the_contract() {
    for info in ENVIRONMENTS {
        let result = EnvConfig::from_id(info.id).unwrap().visit(Check).unwrap();
        assert_eq!(result, Ok(()), "{}", info.id);
    }
}

/// Plays at random, and at `branch` steps goes on with a copy and a saved and loaded environment too.
struct Play {
    seed: u64,
    steps: usize,
    branch: usize,
}

impl EnvVisitor for Play {
    type Output = ();

    fn visit<E: Env + 'static>(self, mut env: E) {
        let (observations, actions) = (env.observation_space(), env.action_space());
        let (mut rng, mut action_rng) = (Rng::new(self.seed), Rng::new(!self.seed));
        let mut branches: Vec<(E, Rng)> = Vec::new();
        assert!(env.reset(&mut rng).is_in(&observations));
        for t in 0..self.steps {
            if t == self.branch {
                let saved = postcard::to_stdvec(&(&env, &rng)).unwrap();
                branches.push(postcard::from_bytes(&saved).unwrap());
                branches.push((env.clone(), rng.clone()));
            }
            let action = random_action(&actions, &mut action_rng);
            let step = env.step(&action, &mut rng);
            assert!(step.obs.is_in(&observations), "{:?} in {observations}", step.obs);
            assert!(step.reward.is_finite());
            for (other, other_rng) in &mut branches {
                assert_eq!(other.step(&action, other_rng), step);
            }
            if step.done() {
                let obs = env.reset(&mut rng);
                assert!(obs.is_in(&observations));
                for (other, other_rng) in &mut branches {
                    assert_eq!(other.reset(other_rng), obs);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn play_is_sound_and_continues_identically(
        index in 0..ENVIRONMENTS.len(),
        seed: u64,
        branch in 0..300_usize,
    ) {
        let config = EnvConfig::from_id(ENVIRONMENTS[index].id).unwrap();
        config.visit(Play { seed, steps: 600, branch }).unwrap();
    }
}

#[cfg(feature = "render")]
fn scenes(id: &str, steps: usize) -> Vec<skinner_core::scene::Scene> {
    let config = EnvConfig::from_id(id).unwrap();
    let mut envs = make(&config, 1, &SeedSequence::new(5), 1).unwrap();
    let mut out = StepBatch::new(1, envs.observation_space().flat_width());
    let space = envs.action_space().clone();
    let mut rng = Rng::new(6);
    envs.start_recording();
    envs.reset(&mut vec![0.0; envs.observation_space().flat_width()]).unwrap();
    for _ in 0..steps {
        let mut row = vec![0.0; space.width()];
        space.sample(&mut rng, &mut row);
        let indices: Vec<u32> = row.iter().map(|&x| x as u32).collect();
        let actions = match space {
            Space::Box { .. } => Actions::Continuous(&row, row.len()),
            _ => Actions::Discrete(&indices, indices.len()),
        };
        envs.step(actions, &mut out).unwrap();
    }
    envs.take_scenes()
}

#[cfg(feature = "render")]
#[test]
fn every_environment_has_a_picture_for_all_three_outputs() {
    use skinner_envs::render::{rasterize, to_svg, to_terminal, write_gif};

    for info in ENVIRONMENTS {
        let scenes = scenes(info.id, 8);
        assert!(scenes.len() > 8, "{}", info.id);
        let first = &scenes[0];
        assert!((250.0..=800.0).contains(&first.width), "{}", info.id);
        let image = rasterize(first, 1.0);
        let pixels = image.rgb.chunks_exact(3);
        let drawn = pixels.filter(|pixel| *pixel != first.background).count();
        assert!(drawn * 1000 > image.width * image.height, "{} draws next to nothing", info.id);

        let svg = to_svg(first);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", info.id);
        assert_eq!(svg.matches('\n').count(), first.shapes.len() + 3);

        let mut gif = Vec::new();
        write_gif(&scenes, 30.0, &mut gif).unwrap();
        assert!(gif.starts_with(b"GIF89a"));
        assert!(gif.len() < 120_000, "{}: {} bytes", info.id, gif.len());

        let text = to_terminal(first, 60);
        assert!(text.lines().all(|line| line.ends_with("\x1b[0m")));
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let config = EnvConfig::from_id("CartPole-v1").unwrap();
        let mut envs = make(&config, 7, &SeedSequence::new(3), threads).unwrap();
        let mut out = StepBatch::new(7, 4);
        envs.reset(&mut [0.0; 28]).unwrap();
        let mut rng = Rng::new(4);
        let mut seen = Vec::new();
        for _ in 0..200 {
            let actions: Vec<u32> = (0..7).map(|_| rng.below(2) as u32).collect();
            envs.step(Actions::Discrete(&actions, 1), &mut out).unwrap();
            seen.extend_from_slice(out.obs());
        }
        seen
    };
    assert_eq!(run(1), run(2));
}
