//! Environments: one agent, one world, one step at a time.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Rng, Space, mdp::Tabular, scene::Scene};

/// What an environment answers to one action.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<O> {
    /// What the agent sees after the action.
    pub obs: O,
    /// The reward of this step.
    pub reward: f32,
    /// The task itself ended here: no reward can follow, so nothing is bootstrapped.
    pub terminated: bool,
    /// The episode was cut off from outside (a time limit): the value of `obs` still counts.
    pub truncated: bool,
}

impl<O> Step<O> {
    /// Whether the episode is over, for either reason.
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// A Markov decision process that is plain data: planners copy it, checkpoints save it.
///
/// Random numbers come only from the generator handed in, so an episode is a function of the state,
/// the actions and that generator.
pub trait Env: Clone + Send + Serialize + DeserializeOwned {
    /// What the agent sees.
    type Obs: Observation;
    /// What the agent does.
    type Action: Action;

    /// The space of [`Self::Obs`].
    fn observation_space(&self) -> Space;

    /// The space of [`Self::Action`].
    fn action_space(&self) -> Space;

    /// Starts a new episode.
    fn reset(&mut self, rng: &mut Rng) -> Self::Obs;

    /// Takes one action. After a step that is [`done`](Step::done) the next call must be `reset`.
    fn step(&mut self, action: &Self::Action, rng: &mut Rng) -> Step<Self::Obs>;

    /// A picture of the present state, where the environment has one.
    fn render(&self) -> Option<Scene> {
        None
    }

    /// The whole model as a table, where the environment has one.
    fn tabular(&self) -> Option<&dyn Tabular> {
        None
    }
}

/// A value that can be written as a row of numbers for a network.
pub trait Observation: Clone + PartialEq + std::fmt::Debug {
    /// Writes the value into `row`, whose length is `space.flat_width()`; discrete values one-hot.
    fn write(&self, space: &Space, row: &mut [f32]);

    /// Whether the value lies in `space` and has its shape.
    fn is_in(&self, space: &Space) -> bool;

    /// Its number among the [`Space::cardinality`] values of a discrete space.
    ///
    /// # Panics
    /// If the space is not discrete.
    fn index(&self, space: &Space) -> usize {
        panic!("the values of {space} have no numbers")
    }
}

/// A value that can be read from the flat arrays a policy writes.
pub trait Action: Sized + Clone + std::fmt::Debug {
    /// Reads the action of environment `index`.
    fn read(actions: Actions<'_>, index: usize) -> Self;

    /// Whether the value lies in `space` and has its shape.
    fn is_in(&self, space: &Space) -> bool;
}

/// The actions of a batch of environments, row by row.
#[derive(Clone, Copy, Debug)]
pub enum Actions<'a> {
    /// `[num_envs, components]` indices; one component for a `Discrete` space.
    Discrete(&'a [u32], usize),
    /// `[num_envs, components]` numbers for a `Box` space.
    Continuous(&'a [f32], usize),
}

impl<'a> Actions<'a> {
    #[inline]
    fn discrete_row(self, index: usize) -> &'a [u32] {
        match self {
            Self::Discrete(values, width) => &values[index * width..(index + 1) * width],
            Self::Continuous(..) => panic!("continuous actions given to a discrete action space"),
        }
    }

    #[inline]
    fn continuous_row(self, index: usize) -> &'a [f32] {
        match self {
            Self::Continuous(values, width) => &values[index * width..(index + 1) * width],
            Self::Discrete(..) => panic!("discrete actions given to a continuous action space"),
        }
    }
}

impl Action for usize {
    #[inline]
    fn read(actions: Actions<'_>, index: usize) -> Self {
        actions.discrete_row(index)[0] as usize
    }

    fn is_in(&self, space: &Space) -> bool {
        matches!(space, Space::Discrete(n) if self < n)
    }
}

impl Action for Vec<usize> {
    fn read(actions: Actions<'_>, index: usize) -> Self {
        actions.discrete_row(index).iter().map(|&a| a as usize).collect()
    }

    fn is_in(&self, space: &Space) -> bool {
        multi_discrete_holds(self, space)
    }
}

impl<const N: usize> Action for [f32; N] {
    #[inline]
    fn read(actions: Actions<'_>, index: usize) -> Self {
        let row = actions.continuous_row(index);
        std::array::from_fn(|i| row[i])
    }

    fn is_in(&self, space: &Space) -> bool {
        box_holds(self, space)
    }
}

impl Action for Vec<f32> {
    fn read(actions: Actions<'_>, index: usize) -> Self {
        actions.continuous_row(index).to_vec()
    }

    fn is_in(&self, space: &Space) -> bool {
        box_holds(self, space)
    }
}

impl Observation for usize {
    fn write(&self, _space: &Space, row: &mut [f32]) {
        row.fill(0.0);
        row[*self] = 1.0;
    }

    fn is_in(&self, space: &Space) -> bool {
        matches!(space, Space::Discrete(n) if self < n)
    }

    #[inline]
    fn index(&self, _space: &Space) -> usize {
        *self
    }
}

impl<const N: usize> Observation for [usize; N] {
    fn write(&self, space: &Space, row: &mut [f32]) {
        let Space::MultiDiscrete(nvec) = space else {
            panic!("several discrete observations need a MultiDiscrete space, not {space}")
        };
        row.fill(0.0);
        let mut offset = 0;
        for (value, n) in self.iter().zip(nvec) {
            row[offset + value] = 1.0;
            offset += n;
        }
    }

    fn is_in(&self, space: &Space) -> bool {
        multi_discrete_holds(self, space)
    }

    #[inline]
    fn index(&self, space: &Space) -> usize {
        let Space::MultiDiscrete(nvec) = space else {
            panic!("several discrete observations need a MultiDiscrete space, not {space}")
        };
        self.iter().zip(nvec).fold(0, |index, (value, n)| index * n + value)
    }
}

impl<const N: usize> Observation for [f32; N] {
    #[inline]
    fn write(&self, _space: &Space, row: &mut [f32]) {
        row.copy_from_slice(self);
    }

    fn is_in(&self, space: &Space) -> bool {
        box_holds(self, space)
    }
}

impl Observation for Vec<f32> {
    #[inline]
    fn write(&self, _space: &Space, row: &mut [f32]) {
        row.copy_from_slice(self);
    }

    fn is_in(&self, space: &Space) -> bool {
        box_holds(self, space)
    }
}

fn multi_discrete_holds(values: &[usize], space: &Space) -> bool {
    matches!(space, Space::MultiDiscrete(nvec)
        if nvec.len() == values.len() && values.iter().zip(nvec).all(|(v, n)| v < n))
}

fn box_holds(values: &[f32], space: &Space) -> bool {
    matches!(space, Space::Box { low, high }
        if low.len() == values.len()
            && values.iter().zip(low).zip(high).all(|((v, l), h)| l <= v && v <= h))
}
