//! Every environment by its id: what it is called, which options it has, how it is made.

use serde::{Deserialize, Serialize, de::value::MapDeserializer};
use skinner_core::mdp::{Layout, Mdp, MdpTable};
use skinner_core::{Env, EnvBatch, EnvError, SeedSequence, VecEnv, wrappers::TimeLimit};

use crate::{
    Acrobot, Bandit, Blackjack, CartPole, Chain, CliffWalking, Constant, FrozenLake, Identity,
    IdentityBox, MountainCar, MountainCarContinuous, ParameterError, Pendulum, Table, Taxi,
    acrobot::Dynamics,
    error::check_positive,
    frozen_lake::{MAP_4X4, MAP_8X8, Map},
    table::recycling_robot,
};
#[cfg(feature = "physics")]
use crate::{BipedalWalker, LunarLander, LunarLanderContinuous, lunar_lander::Options};

/// Which environment, with which options. In a recipe this is a table with the key `id`; what is left
/// out takes Gymnasium's registered value, and an option that the environment does not have is an
/// error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", deny_unknown_fields)]
#[expect(missing_docs, reason = "the options are specified in the modules of the environments")]
pub enum EnvConfig {
    /// See [`crate::acrobot`].
    #[serde(rename = "Acrobot-v1")]
    Acrobot {
        #[serde(default = "steps::<500>")]
        max_episode_steps: usize,
        #[serde(default)]
        dynamics: Dynamics,
    },
    /// See [`crate::bandit`].
    #[serde(rename = "BernoulliBandit-v0")]
    BernoulliBandit {
        #[serde(default = "bernoulli_means")]
        means: Vec<f64>,
    },
    /// See [`crate::bipedal_walker`].
    #[cfg(feature = "physics")]
    #[serde(rename = "BipedalWalker-v3")]
    BipedalWalker {
        #[serde(default = "steps::<1600>")]
        max_episode_steps: usize,
    },
    /// See [`crate::blackjack`].
    #[serde(rename = "Blackjack-v1")]
    Blackjack {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_episode_steps: Option<usize>,
        #[serde(default)]
        natural: bool,
        #[serde(default = "yes")]
        sab: bool,
    },
    /// See [`crate::cartpole`].
    #[serde(rename = "CartPole-v1")]
    CartPole {
        #[serde(default = "steps::<500>")]
        max_episode_steps: usize,
        #[serde(default)]
        sutton_barto_reward: bool,
    },
    /// See [`crate::chain`].
    #[serde(rename = "Chain-v0")]
    Chain {
        #[serde(default = "steps::<100>")]
        max_episode_steps: usize,
    },
    /// See [`crate::cliff_walking`].
    #[serde(rename = "CliffWalking-v1")]
    CliffWalking {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_episode_steps: Option<usize>,
        #[serde(default)]
        is_slippery: bool,
    },
    /// See [`crate::cliff_walking`].
    #[serde(rename = "CliffWalkingSlippery-v1")]
    CliffWalkingSlippery {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_episode_steps: Option<usize>,
    },
    /// See [`crate::constant`].
    #[serde(rename = "Constant-v0")]
    Constant {
        #[serde(default = "steps::<100>")]
        max_episode_steps: usize,
    },
    /// See [`crate::frozen_lake`].
    #[serde(rename = "FrozenLake-v1")]
    FrozenLake {
        #[serde(default = "steps::<100>")]
        max_episode_steps: usize,
        #[serde(default = "map_4x4")]
        map: Map,
        #[serde(default = "yes")]
        is_slippery: bool,
        #[serde(default = "one_third")]
        success_rate: f64,
        #[serde(default = "lake_rewards")]
        reward_schedule: [f64; 3],
    },
    /// See [`crate::frozen_lake`].
    #[serde(rename = "FrozenLake8x8-v1")]
    FrozenLake8x8 {
        #[serde(default = "steps::<200>")]
        max_episode_steps: usize,
        #[serde(default = "yes")]
        is_slippery: bool,
        #[serde(default = "one_third")]
        success_rate: f64,
        #[serde(default = "lake_rewards")]
        reward_schedule: [f64; 3],
    },
    /// See [`crate::bandit`].
    #[serde(rename = "GaussianBandit-v0")]
    GaussianBandit {
        #[serde(default = "gaussian_means")]
        means: Vec<f64>,
        #[serde(default = "one")]
        std: f64,
    },
    /// See [`crate::identity`].
    #[serde(rename = "Identity-v0")]
    Identity {
        #[serde(default = "steps::<4>")]
        size: usize,
        #[serde(default = "steps::<100>")]
        episode_length: usize,
    },
    /// See [`crate::identity`].
    #[serde(rename = "IdentityBox-v0")]
    IdentityBox {
        #[serde(default = "steps::<100>")]
        episode_length: usize,
    },
    /// See [`crate::lunar_lander`].
    #[cfg(feature = "physics")]
    #[serde(rename = "LunarLander-v3")]
    LunarLander {
        #[serde(default = "steps::<1000>")]
        max_episode_steps: usize,
        #[serde(default = "moon_gravity")]
        gravity: f64,
        #[serde(default)]
        enable_wind: bool,
        #[serde(default = "wind_power")]
        wind_power: f64,
        #[serde(default = "turbulence_power")]
        turbulence_power: f64,
    },
    /// See [`crate::lunar_lander_continuous`].
    #[cfg(feature = "physics")]
    #[serde(rename = "LunarLanderContinuous-v3")]
    LunarLanderContinuous {
        #[serde(default = "steps::<1000>")]
        max_episode_steps: usize,
        #[serde(default = "moon_gravity")]
        gravity: f64,
        #[serde(default)]
        enable_wind: bool,
        #[serde(default = "wind_power")]
        wind_power: f64,
        #[serde(default = "turbulence_power")]
        turbulence_power: f64,
    },
    /// See [`crate::mountain_car`].
    #[serde(rename = "MountainCar-v0")]
    MountainCar {
        #[serde(default = "steps::<200>")]
        max_episode_steps: usize,
        #[serde(default)]
        goal_velocity: f64,
    },
    /// See [`crate::mountain_car_continuous`].
    #[serde(rename = "MountainCarContinuous-v0")]
    MountainCarContinuous {
        #[serde(default = "steps::<999>")]
        max_episode_steps: usize,
        #[serde(default)]
        goal_velocity: f64,
    },
    /// See [`crate::pendulum`].
    #[serde(rename = "Pendulum-v1")]
    Pendulum {
        #[serde(default = "steps::<200>")]
        max_episode_steps: usize,
        #[serde(default = "ten")]
        g: f64,
    },
    /// See [`crate::table`].
    #[serde(rename = "Table-v0")]
    Table {
        #[serde(default = "steps::<100>")]
        max_episode_steps: usize,
        #[serde(default = "recycling_robot")]
        table: MdpTable,
    },
    /// See [`crate::taxi`].
    #[serde(rename = "Taxi-v4")]
    Taxi {
        #[serde(default = "steps::<200>")]
        max_episode_steps: usize,
        #[serde(default)]
        is_rainy: bool,
        #[serde(default = "rainy")]
        rainy_probability: f64,
        #[serde(default)]
        fickle_passenger: bool,
        #[serde(default = "fickle")]
        fickle_probability: f64,
    },
}

fn steps<const N: usize>() -> usize {
    N
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}

fn ten() -> f64 {
    10.0
}

fn one_third() -> f64 {
    1.0 / 3.0
}

fn rainy() -> f64 {
    0.8
}

fn fickle() -> f64 {
    0.3
}

#[cfg(feature = "physics")]
fn moon_gravity() -> f64 {
    Options::default().gravity
}

#[cfg(feature = "physics")]
fn wind_power() -> f64 {
    Options::default().wind_power
}

#[cfg(feature = "physics")]
fn turbulence_power() -> f64 {
    Options::default().turbulence_power
}

fn lake_rewards() -> [f64; 3] {
    [1.0, 0.0, 0.0]
}

fn bernoulli_means() -> Vec<f64> {
    vec![0.1, 0.3, 0.5, 0.7, 0.9]
}

fn gaussian_means() -> Vec<f64> {
    vec![-1.0, -0.5, 0.0, 0.5, 1.0]
}

fn map_4x4() -> Map {
    Map::new(&MAP_4X4).expect("the registered map is valid")
}

/// What a list of environments says about each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EnvInfo {
    /// The id, as in [`EnvConfig::from_id`].
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The mean return at which the environment counts as solved.
    pub reward_threshold: Option<f64>,
}

const fn info(id: &'static str, reward_threshold: Option<f64>, summary: &'static str) -> EnvInfo {
    EnvInfo { id, summary, reward_threshold }
}

/// How many environments there are with the features that are built.
const COUNT: usize = if cfg!(feature = "physics") { 21 } else { 18 };

/// Every environment, by id.
pub const ENVIRONMENTS: [EnvInfo; COUNT] = [
    info("Acrobot-v1", Some(-100.0), "swing the free end of two links above the bar"),
    info("BernoulliBandit-v0", None, "arms that pay 1 with fixed probabilities"),
    #[cfg(feature = "physics")]
    info("BipedalWalker-v3", Some(300.0), "walk over an uneven field on two legs"),
    info("Blackjack-v1", None, "come closer to 21 than the dealer"),
    info("CartPole-v1", Some(475.0), "balance a pole on a cart"),
    info("Chain-v0", None, "two states in which patience pays; exact values known"),
    info("CliffWalking-v1", None, "walk along a cliff without falling"),
    info("CliffWalkingSlippery-v1", None, "walk along a cliff on slippery ground"),
    info("Constant-v0", None, "reward 1 for ever: a test of time limits"),
    info("FrozenLake-v1", Some(0.70), "cross a slippery lake, 4 by 4 or any map"),
    info("FrozenLake8x8-v1", Some(0.85), "cross a slippery lake, 8 by 8"),
    info("GaussianBandit-v0", None, "arms that pay normal numbers"),
    info("Identity-v0", None, "name the number you see"),
    info("IdentityBox-v0", None, "give back the real number you see"),
    #[cfg(feature = "physics")]
    info("LunarLander-v3", Some(200.0), "land a craft between two flags"),
    #[cfg(feature = "physics")]
    info("LunarLanderContinuous-v3", Some(200.0), "the same with throttles"),
    info("MountainCar-v0", Some(-110.0), "swing a weak car out of a valley"),
    info("MountainCarContinuous-v0", Some(90.0), "the same with a throttle and costly fuel"),
    info("Pendulum-v1", None, "swing a rod up and hold it there"),
    info("Table-v0", None, "any finite process, written down as a table"),
    info("Taxi-v4", Some(8.0), "fetch a passenger and set them down"),
];

/// Why an environment could not be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CatalogError {
    /// No environment has this id.
    #[error("unknown environment `{id}`; did you mean `{nearest}`?")]
    UnknownId {
        /// The id asked for.
        id: String,
        /// The known id that is most like it.
        nearest: &'static str,
    },
    /// An option has an invalid value.
    #[error("environment `{id}`: {problem}")]
    Parameter {
        /// The environment.
        id: &'static str,
        /// What is wrong.
        problem: ParameterError,
    },
    /// The batch could not be made.
    #[error("environment `{id}`: {problem}")]
    Batch {
        /// The environment.
        id: &'static str,
        /// What is wrong.
        problem: EnvError,
    },
}

impl EnvConfig {
    /// The environment of this id with its registered options.
    ///
    /// # Errors
    /// [`CatalogError::UnknownId`], with the nearest known id.
    pub fn from_id(id: &str) -> Result<Self, CatalogError> {
        let only_id = MapDeserializer::<_, serde::de::value::Error>::new([("id", id)].into_iter());
        Self::deserialize(only_id)
            .map_err(|_| CatalogError::UnknownId { id: id.to_owned(), nearest: nearest_id(id) })
    }

    /// The id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Acrobot { .. } => "Acrobot-v1",
            Self::BernoulliBandit { .. } => "BernoulliBandit-v0",
            #[cfg(feature = "physics")]
            Self::BipedalWalker { .. } => "BipedalWalker-v3",
            Self::Blackjack { .. } => "Blackjack-v1",
            Self::CartPole { .. } => "CartPole-v1",
            Self::Chain { .. } => "Chain-v0",
            Self::CliffWalking { .. } => "CliffWalking-v1",
            Self::CliffWalkingSlippery { .. } => "CliffWalkingSlippery-v1",
            Self::Constant { .. } => "Constant-v0",
            Self::FrozenLake { .. } => "FrozenLake-v1",
            Self::FrozenLake8x8 { .. } => "FrozenLake8x8-v1",
            Self::GaussianBandit { .. } => "GaussianBandit-v0",
            Self::Identity { .. } => "Identity-v0",
            Self::IdentityBox { .. } => "IdentityBox-v0",
            #[cfg(feature = "physics")]
            Self::LunarLander { .. } => "LunarLander-v3",
            #[cfg(feature = "physics")]
            Self::LunarLanderContinuous { .. } => "LunarLanderContinuous-v3",
            Self::MountainCar { .. } => "MountainCar-v0",
            Self::MountainCarContinuous { .. } => "MountainCarContinuous-v0",
            Self::Pendulum { .. } => "Pendulum-v1",
            Self::Table { .. } => "Table-v0",
            Self::Taxi { .. } => "Taxi-v4",
        }
    }

    /// What the list of environments says about this one.
    pub fn info(&self) -> EnvInfo {
        let id = self.id();
        ENVIRONMENTS.into_iter().find(|info| info.id == id).unwrap_or(info(id, None, ""))
    }

    /// Whether every episode ends, whatever the agent does.
    pub fn always_ends(&self) -> bool {
        let wanders = matches!(self, Self::CliffWalking { .. } | Self::CliffWalkingSlippery { .. });
        !wanders || self.max_episode_steps().is_some()
    }

    /// Pictures a second at which an episode looks natural (Gymnasium's `render_fps` where it has one).
    pub fn frames_per_second(&self) -> f32 {
        match self {
            Self::CartPole { .. } => 50.0,
            #[cfg(feature = "physics")]
            Self::BipedalWalker { .. }
            | Self::LunarLander { .. }
            | Self::LunarLanderContinuous { .. } => 50.0,
            Self::Acrobot { .. } => 15.0,
            Self::MountainCar { .. }
            | Self::MountainCarContinuous { .. }
            | Self::Pendulum { .. } => 30.0,
            _ => 4.0,
        }
    }

    /// The time limit, where there is one.
    pub fn max_episode_steps(&self) -> Option<usize> {
        match *self {
            Self::Acrobot { max_episode_steps, .. }
            | Self::CartPole { max_episode_steps, .. }
            | Self::Chain { max_episode_steps }
            | Self::Constant { max_episode_steps }
            | Self::FrozenLake { max_episode_steps, .. }
            | Self::FrozenLake8x8 { max_episode_steps, .. }
            | Self::MountainCar { max_episode_steps, .. }
            | Self::MountainCarContinuous { max_episode_steps, .. }
            | Self::Pendulum { max_episode_steps, .. }
            | Self::Table { max_episode_steps, .. }
            | Self::Taxi { max_episode_steps, .. } => Some(max_episode_steps),
            #[cfg(feature = "physics")]
            Self::BipedalWalker { max_episode_steps }
            | Self::LunarLander { max_episode_steps, .. }
            | Self::LunarLanderContinuous { max_episode_steps, .. } => Some(max_episode_steps),
            Self::Blackjack { max_episode_steps, .. }
            | Self::CliffWalking { max_episode_steps, .. }
            | Self::CliffWalkingSlippery { max_episode_steps } => max_episode_steps,
            Self::BernoulliBandit { .. }
            | Self::GaussianBandit { .. }
            | Self::Identity { .. }
            | Self::IdentityBox { .. } => None,
        }
    }
}

/// The known id that is most like `id`, capitals aside.
fn nearest_id(id: &str) -> &'static str {
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &id.to_lowercase());
    let best = |best: &'static str, info: &EnvInfo| {
        if likeness(info.id) > likeness(best) { info.id } else { best }
    };
    ENVIRONMENTS.iter().fold(ENVIRONMENTS[0].id, best)
}

/// Something to do with an environment of whatever type.
pub trait EnvVisitor {
    /// What comes of it.
    type Output;

    /// Called once, with the environment inside its time limit where it has one.
    fn visit<E: Env + 'static>(self, env: E) -> Self::Output;
}

impl EnvConfig {
    /// Builds the environment and hands it to `visitor`: for callers that need its own type, such as
    /// planners, which copy it. Trainers take [`make`].
    ///
    /// # Errors
    /// [`CatalogError::Parameter`] if an option has an invalid value.
    pub fn visit<V: EnvVisitor>(&self, visitor: V) -> Result<V::Output, CatalogError> {
        self.build(visitor).map_err(|problem| CatalogError::Parameter { id: self.id(), problem })
    }

    /// The environment's model as a table with its layout, where it has one.
    ///
    /// # Errors
    /// [`CatalogError::Parameter`] if an option has an invalid value.
    pub fn model(&self) -> Result<Option<Model>, CatalogError> {
        self.visit(ModelOf)?
            .transpose()
            .map_err(|problem| CatalogError::Parameter { id: self.id(), problem: problem.into() })
    }

    fn build<V: EnvVisitor>(&self, visitor: V) -> Result<V::Output, ParameterError> {
        let limited = Limited { visitor, max_steps: self.max_episode_steps() };
        match self {
            Self::Acrobot { dynamics, .. } => limited.visit(Acrobot::new(*dynamics)),
            Self::BernoulliBandit { means } => limited.visit(Bandit::bernoulli(means)?),
            #[cfg(feature = "physics")]
            Self::BipedalWalker { .. } => limited.visit(BipedalWalker::default()),
            Self::Blackjack { natural, sab, .. } => limited.visit(Blackjack::new(*natural, *sab)),
            Self::CartPole { sutton_barto_reward, .. } => {
                limited.visit(CartPole::new(*sutton_barto_reward))
            }
            Self::Chain { .. } => limited.visit(Chain::new()),
            Self::CliffWalking { is_slippery, .. } => {
                limited.visit(CliffWalking::new(*is_slippery))
            }
            Self::CliffWalkingSlippery { .. } => limited.visit(CliffWalking::new(true)),
            Self::Constant { .. } => limited.visit(Constant::new()),
            Self::FrozenLake { map, is_slippery, success_rate, reward_schedule, .. } => {
                let success_rate = is_slippery.then_some(*success_rate);
                limited.visit(FrozenLake::new(map.clone(), success_rate, *reward_schedule)?)
            }
            Self::FrozenLake8x8 { is_slippery, success_rate, reward_schedule, .. } => {
                let success_rate = is_slippery.then_some(*success_rate);
                limited.visit(FrozenLake::new(Map::new(&MAP_8X8)?, success_rate, *reward_schedule)?)
            }
            Self::GaussianBandit { means, std } => limited.visit(Bandit::gaussian(means, *std)?),
            Self::Identity { size, episode_length } => {
                limited.visit(Identity::new(*size, *episode_length)?)
            }
            Self::IdentityBox { episode_length } => {
                limited.visit(IdentityBox::new(*episode_length)?)
            }
            #[cfg(feature = "physics")]
            &Self::LunarLander { gravity, enable_wind, wind_power, turbulence_power, .. } => {
                let options = Options { gravity, enable_wind, wind_power, turbulence_power };
                limited.visit(LunarLander::new(options)?)
            }
            #[cfg(feature = "physics")]
            &Self::LunarLanderContinuous {
                gravity,
                enable_wind,
                wind_power,
                turbulence_power,
                ..
            } => {
                let options = Options { gravity, enable_wind, wind_power, turbulence_power };
                limited.visit(LunarLanderContinuous::new(options)?)
            }
            Self::MountainCar { goal_velocity, .. } => {
                limited.visit(MountainCar::new(*goal_velocity)?)
            }
            Self::MountainCarContinuous { goal_velocity, .. } => {
                limited.visit(MountainCarContinuous::new(*goal_velocity)?)
            }
            Self::Pendulum { g, .. } => limited.visit(Pendulum::new(*g)?),
            Self::Table { table, .. } => limited.visit(Table::new(table)?),
            Self::Taxi {
                is_rainy,
                rainy_probability,
                fickle_passenger,
                fickle_probability,
                ..
            } => limited.visit(Taxi::new(
                is_rainy.then_some(*rainy_probability),
                fickle_passenger.then_some(*fickle_probability),
            )?),
        }
    }
}

/// A visitor that is shown the environment inside its time limit.
struct Limited<V> {
    visitor: V,
    max_steps: Option<usize>,
}

impl<V: EnvVisitor> Limited<V> {
    fn visit<E: Env + 'static>(self, env: E) -> Result<V::Output, ParameterError> {
        Ok(match self.max_steps {
            None => self.visitor.visit(env),
            Some(max_steps) => {
                check_positive("max_episode_steps", max_steps)?;
                self.visitor.visit(TimeLimit::new(env, max_steps))
            }
        })
    }
}

/// What is known of an environment whose whole model is a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The dynamics, without the time limit.
    pub mdp: Mdp,
    /// How observations are laid out, where they have a place.
    pub layout: Option<Layout>,
}

struct ModelOf;

impl EnvVisitor for ModelOf {
    type Output = Option<Result<Model, skinner_core::MdpError>>;

    fn visit<E: Env + 'static>(self, env: E) -> Self::Output {
        let model = |table: &dyn skinner_core::mdp::Tabular| {
            Ok(Model { mdp: table.to_mdp()?, layout: table.layout() })
        };
        env.tabular().map(model)
    }
}

struct Batch<'a> {
    num_envs: usize,
    seed: &'a SeedSequence,
    threads: usize,
}

impl EnvVisitor for Batch<'_> {
    type Output = Result<Box<dyn VecEnv>, EnvError>;

    fn visit<E: Env + 'static>(self, env: E) -> Self::Output {
        Ok(Box::new(EnvBatch::new(env, self.num_envs, self.seed, self.threads)?))
    }
}

/// `num_envs` copies of the environment, each with its own stream of random numbers below `seed`,
/// stepped by `threads` threads; what happens does not depend on how many.
///
/// # Errors
/// If an option has an invalid value, or `num_envs` or `threads` is zero.
pub fn make(
    config: &EnvConfig,
    num_envs: usize,
    seed: &SeedSequence,
    threads: usize,
) -> Result<Box<dyn VecEnv>, CatalogError> {
    let batch = config.visit(Batch { num_envs, seed, threads })?;
    batch.map_err(|problem| CatalogError::Batch { id: config.id(), problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_environment_can_be_made() {
        for listed in ENVIRONMENTS {
            let config = EnvConfig::from_id(listed.id).unwrap();
            assert_eq!((config.id(), config.info()), (listed.id, listed));
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<EnvConfig>(&json).unwrap(), config, "{json}");
            let envs = make(&config, 3, &SeedSequence::new(1), 1).unwrap();
            assert_eq!(envs.num_envs(), 3);
        }
    }

    #[test]
    fn an_unknown_id_names_the_nearest() {
        let check = |id: &str, nearest: &str| {
            let expected = format!("unknown environment `{id}`; did you mean `{nearest}`?");
            assert_eq!(EnvConfig::from_id(id).unwrap_err().to_string(), expected);
        };
        check("CartPole", "CartPole-v1");
        check("cartpole-v1", "CartPole-v1");
        check("Taxi-v3", "Taxi-v4");
        check("FrozenLake8x8", "FrozenLake8x8-v1");
        check("MountainCarContinous-v0", "MountainCarContinuous-v0");
    }

    fn check_error(json: &str, expected: &str) {
        let error = match serde_json::from_str::<EnvConfig>(json) {
            Ok(config) => make(&config, 1, &SeedSequence::new(0), 1).err().unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn options_are_checked() {
        check_error(
            r#"{"id": "CartPole-v1", "max_episode_steps": 0}"#,
            "environment `CartPole-v1`: `max_episode_steps` must be at least 1, not 0",
        );
        check_error(r#"{"id": "CartPole-v1", "gravity": 3}"#, "unknown field `gravity`");
        check_error(r#"{"id": "FrozenLake-v1", "map": ["SF", "FH"]}"#, "no goal G can be reached");
        check_error(
            r#"{"id": "BernoulliBandit-v0", "means": [2]}"#,
            "`means` must be a probability from 0 to 1, not 2",
        );
    }

    #[test]
    fn options_reach_the_environment() {
        let config: EnvConfig =
            serde_json::from_str(r#"{"id": "Blackjack-v1", "max_episode_steps": 3}"#).unwrap();
        assert_eq!(config.max_episode_steps(), Some(3));
        assert_eq!(EnvConfig::from_id("Blackjack-v1").unwrap().max_episode_steps(), None);
    }
}
