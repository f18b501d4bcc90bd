//! A user's own environment, from its rules to a saved policy that is used again.
//!
//! `cargo run --release --example own_environment`

use serde::{Deserialize, Serialize};
use skinner_algos::{Policy, ppo};
use skinner_core::wrappers::TimeLimit;
use skinner_core::{Env, EnvBatch, Rng, SeedSequence, Space, Step, check_env};

/// Park a trolley at zero: the action pushes left, not at all, or right; the reward falls with the distance.
#[derive(Clone, Serialize, Deserialize)]
struct Trolley {
    position: f64,
    velocity: f64,
}

impl Trolley {
    fn obs(&self) -> [f32; 2] {
        [self.position as f32, self.velocity as f32]
    }
}

impl Env for Trolley {
    type Obs = [f32; 2];
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::uniform_box(-10.0, 10.0, 2)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(3)
    }

    fn reset(&mut self, rng: &mut Rng) -> [f32; 2] {
        (self.position, self.velocity) = (rng.uniform(-2.0, 2.0), 0.0);
        self.obs()
    }

    fn step(&mut self, action: &usize, _rng: &mut Rng) -> Step<[f32; 2]> {
        self.velocity = (self.velocity + 0.05 * (*action as f64 - 1.0)).clamp(-0.5, 0.5);
        self.position += self.velocity;
        // Leaving the track ends the task; running out of time (the wrapper below) does not.
        let terminated = self.position.abs() > 4.0;
        let reward = if terminated { -50.0 } else { -self.position.abs() as f32 };
        Step { obs: self.obs(), reward, terminated, truncated: false }
    }
}

#[expect(clippy::print_stdout, reason = "an example speaks to its reader")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let trolley = TimeLimit::new(Trolley { position: 0.0, velocity: 0.0 }, 100);
    check_env(&trolley)?;

    let seed = SeedSequence::new(1);
    let mut envs = EnvBatch::new(trolley.clone(), 8, &seed.child(0), 1)?;
    let config =
        ppo::Config { total_steps: 300_000, learning_rate: 1e-3, ..ppo::Config::default() };
    let mut ppo = ppo::Ppo::new(config, &mut envs, &seed.child(1))?;
    let mut iteration = 0;
    ppo.train(&mut envs, |_, metrics| {
        if iteration % 20 == 0 {
            println!("return {:8.2}", metrics.get("episode_return").unwrap_or(f64::NAN));
        }
        iteration += 1;
    })?;

    let file = std::env::temp_dir().join("trolley.policy");
    std::fs::write(&file, ppo.learner.policy_for_use(&envs).to_bytes()?)?;
    let policy = Policy::from_bytes(&std::fs::read(&file)?)?;

    let (mut trolley, mut rng) = (trolley, Rng::new(7));
    let mut obs = trolley.reset(&mut rng);
    let mut total = 0.0;
    loop {
        let step = trolley.step(&policy.choose(&obs).discrete_action(), &mut rng);
        total += step.reward;
        obs = step.obs;
        if step.done() {
            break;
        }
    }
    println!("the saved policy parks at {:.2} with return {total:.2}", obs[0]);
    Ok(())
}
