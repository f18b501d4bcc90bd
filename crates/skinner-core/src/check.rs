//! A check of any environment against what the rest of the system relies on.

use crate::{Action as _, Actions, Env, Observation as _, Rng, Space};

/// What is wrong with an environment.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the environment breaks its contract: {problem}")]
pub struct CheckError {
    problem: String,
}

const STEPS: usize = 2_000;

/// Plays 2,000 random steps and checks what trainers, planners and checkpoints rely on: observations lie
/// in their space, rewards are finite, no random number comes from elsewhere (the same generator gives
/// the same episode), a copy and a saved and loaded environment go on identically, and spaces are sound.
///
/// # Errors
/// The first breach, in words.
pub fn check_env<E: Env>(env: &E) -> Result<(), CheckError> {
    check_spaces(&env.observation_space(), &env.action_space())?;
    let mut played = env.clone();
    let (mut cloned, mut loaded, mut fresh) = (env.clone(), env.clone(), env.clone());
    let mut rng = Rng::new(20_260_101);
    let mut actions = Rng::new(1);
    let mut needs_reset = true;
    for t in 0..STEPS {
        if needs_reset {
            // An environment that has not been played must start the same episode.
            fresh = env.clone();
            let before = rng.clone();
            let obs = played.reset(&mut rng);
            check_obs(&played, &obs, "reset")?;
            for other in [&mut cloned, &mut loaded, &mut fresh] {
                if other.reset(&mut before.clone()) != obs {
                    return breach(
                        "two resets from the same generator differ; draw random numbers only from the one given, and clear all state".into(),
                    );
                }
            }
        }
        if t % 97 == 50 {
            cloned = played.clone();
            loaded = save_and_load(&played)?;
        }
        let action = random_action::<E>(&played.action_space(), &mut actions)?;
        let before = rng.clone();
        let step = played.step(&action, &mut rng);
        check_obs(&played, &step.obs, "step")?;
        if !step.reward.is_finite() {
            return breach(format!("step {t} returned reward {}", step.reward));
        }
        let others = [
            ("a clone of it", &mut cloned),
            ("a saved and loaded copy", &mut loaded),
            ("one that has played no earlier episode", &mut fresh),
        ];
        for (which, other) in others {
            if other.step(&action, &mut before.clone()) != step {
                return breach(format!(
                    "at step {t} {which} answers differently to {action:?}; all state must be in cloned and serialised fields, and reset must clear it"
                ));
            }
        }
        needs_reset = step.done();
    }
    Ok(())
}

fn breach<T>(problem: String) -> Result<T, CheckError> {
    Err(CheckError { problem })
}

fn check_obs<E: Env>(env: &E, obs: &E::Obs, by: &str) -> Result<(), CheckError> {
    let space = env.observation_space();
    if obs.is_in(&space) {
        Ok(())
    } else {
        breach(format!("{by} returned {obs:?}, which is not in {space}"))
    }
}

fn check_spaces(observation: &Space, action: &Space) -> Result<(), CheckError> {
    for (name, space) in [("observation", observation), ("action", action)] {
        let sound = match space {
            Space::Discrete(n) => *n > 0,
            Space::MultiDiscrete(nvec) => !nvec.is_empty() && nvec.iter().all(|&n| n > 0),
            Space::Box { low, high } => {
                !low.is_empty()
                    && low.len() == high.len()
                    && low.iter().zip(high).all(|(l, h)| l <= h)
            }
        };
        if !sound {
            return breach(format!("the {name} space {space:?} is empty or its bounds do not fit"));
        }
    }
    Ok(())
}

fn random_action<E: Env>(space: &Space, rng: &mut Rng) -> Result<E::Action, CheckError> {
    let mut row = vec![0.0; space.width()];
    space.sample(rng, &mut row);
    let indices: Vec<u32> = row.iter().map(|&x| x as u32).collect();
    let action = match space {
        Space::Box { .. } => E::Action::read(Actions::Continuous(&row, row.len()), 0),
        _ => E::Action::read(Actions::Discrete(&indices, indices.len()), 0),
    };
    if action.is_in(space) {
        Ok(action)
    } else {
        breach(format!(
            "the action type reads {action:?}, which is not in the action space {space}"
        ))
    }
}

fn save_and_load<E: Env>(env: &E) -> Result<E, CheckError> {
    let bytes = postcard::to_stdvec(env);
    let bytes = bytes.or_else(|e| breach(format!("it cannot be serialised: {e}")))?;
    postcard::from_bytes(&bytes).or_else(|e| breach(format!("it cannot be deserialised: {e}")))
}
