//! `FrozenLake-v1` and `FrozenLake8x8-v1`: cross a slippery lake without falling into a hole.
//!
//! A grid of tiles: `S` start, `F` frozen, `H` hole, `G` goal. The two registered maps:
//!
//! ```text
//! SFFF    SFFFFFFF
//! FHFH    FFFFFFFF
//! FFFH    FFFHFFFF
//! HFFG    FFFFFHFF
//!         FFFHFFFF
//!         FHHFFFHF
//!         FHFFHFHF
//!         FFFHFFFG
//! ```
//!
//! # Actions: `Discrete(4)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | left |
//! | 1 | down |
//! | 2 | right |
//! | 3 | up |
//!
//! On slippery ice the move goes where it was meant to go with probability `success_rate` (1/3), else
//! to either side of that direction with equal probability. A move off the map stays where it is.
//!
//! # Observations: `Discrete(rows * columns)`
//!
//! The tile's index, `row * columns + column`.
//!
//! # Rewards
//!
//! | the step ends on | reward |
//! |---|---|
//! | the goal | 1 |
//! | a hole | 0 |
//! | ice or a start | 0 |
//!
//! `reward_schedule` replaces these three.
//!
//! # Start
//!
//! The tile `S`; where a map has several, one of them uniformly.
//!
//! # Episode End
//!
//! - **Termination**: on a hole or a goal.
//! - **Truncation**: none here; registered with a limit of 100 steps (4x4) and 200 steps (8x8).
//!
//! Reward threshold 0.70 (4x4) and 0.85 (8x8). The best stationary policy on the slippery 4x4 map
//! succeeds with probability 0.740 within 100 steps.
//!
//! # Source
//!
//! Behaviour and numbers of Gymnasium 1.4.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Layout, Mark, Tabular, Transition};
use skinner_core::{Env, Rng, Space, Step, scene::Scene};

use crate::draw::{BLACK, Draw, scene};
use crate::error::{ParameterError, check_finite, check_probability};
use crate::tiles;

/// Gymnasium's small map.
pub const MAP_4X4: [&str; 4] = ["SFFF", "FHFH", "FFFH", "HFFG"];

/// Gymnasium's large map.
pub const MAP_8X8: [&str; 8] = [
    "SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG",
];

/// What a tile is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tile {
    Start,
    Frozen,
    Hole,
    Goal,
}

impl Tile {
    fn from_letter(letter: char) -> Option<Self> {
        match letter {
            'S' => Some(Self::Start),
            'F' => Some(Self::Frozen),
            'H' => Some(Self::Hole),
            'G' => Some(Self::Goal),
            _ => None,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Start => 'S',
            Self::Frozen => 'F',
            Self::Hole => 'H',
            Self::Goal => 'G',
        }
    }

    fn ends_episode(self) -> bool {
        matches!(self, Self::Hole | Self::Goal)
    }
}

/// A valid map: rectangular, with a start, and a goal within reach of each start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Map {
    columns: usize,
    tiles: Vec<Tile>,
    /// The neighbours of each tile, by direction.
    neighbors: Vec<[u32; 4]>,
    starts: Vec<usize>,
    start_probabilities: Vec<f64>,
}

impl Map {
    /// Reads a map from its rows of letters.
    ///
    /// # Errors
    /// If the map is empty, not rectangular, holds another letter than S, F, H and G, has no start, or
    /// has a start from which no goal can be reached.
    pub fn new<S: AsRef<str>>(rows: &[S]) -> Result<Self, ParameterError> {
        let columns = rows.first().map_or(0, |row| row.as_ref().chars().count());
        if columns == 0 {
            return Err(ParameterError::Empty { name: "map" });
        }
        let mut tiles = Vec::with_capacity(rows.len() * columns);
        for (row, letters) in rows.iter().enumerate() {
            for (column, tile) in letters.as_ref().chars().enumerate() {
                let unknown = ParameterError::MapUnknownTile { row, column, tile };
                tiles.push(Tile::from_letter(tile).ok_or(unknown)?);
            }
            let found = tiles.len() - row * columns;
            if found != columns {
                return Err(ParameterError::MapNotRectangular { row, expected: columns, found });
            }
        }
        let neighbors = (0..tiles.len()).map(|cell| neighbors(cell, rows.len(), columns)).collect();
        let starts: Vec<usize> = (0..tiles.len()).filter(|&i| tiles[i] == Tile::Start).collect();
        let start_probabilities = vec![1.0 / starts.len() as f64; starts.len()];
        let map = Self { columns, tiles, neighbors, starts, start_probabilities };
        map.check_goals()?;
        Ok(map)
    }

    /// The rows of letters that the map was read from.
    pub fn rows(&self) -> Vec<String> {
        let row = |tiles: &[Tile]| tiles.iter().map(|tile| tile.letter()).collect();
        self.tiles.chunks(self.columns).map(row).collect()
    }

    fn check_goals(&self) -> Result<(), ParameterError> {
        if self.starts.is_empty() {
            return Err(ParameterError::MapWithoutStart);
        }
        match self.starts.iter().find(|&&start| !self.goal_reachable(start)) {
            None => Ok(()),
            Some(&start) => Err(ParameterError::MapGoalUnreachable {
                row: start / self.columns,
                column: start % self.columns,
            }),
        }
    }

    fn goal_reachable(&self, start: usize) -> bool {
        let mut seen = vec![false; self.tiles.len()];
        let mut frontier = vec![start];
        while let Some(cell) = frontier.pop() {
            if self.tiles[cell] == Tile::Goal {
                return true;
            }
            if !std::mem::replace(&mut seen[cell], true) && self.tiles[cell] != Tile::Hole {
                frontier.extend(self.neighbors[cell].map(|next| next as usize));
            }
        }
        false
    }
}

fn neighbors(cell: usize, rows: usize, columns: usize) -> [u32; 4] {
    let (row, column) = (cell / columns, cell % columns);
    [
        row * columns + column.saturating_sub(1),
        (row + 1).min(rows - 1) * columns + column,
        row * columns + (column + 1).min(columns - 1),
        row.saturating_sub(1) * columns + column,
    ]
    .map(|neighbor| neighbor as u32)
}

impl TryFrom<Vec<String>> for Map {
    type Error = ParameterError;

    fn try_from(rows: Vec<String>) -> Result<Self, ParameterError> {
        Self::new(&rows)
    }
}

impl From<Map> for Vec<String> {
    fn from(map: Map) -> Self {
        map.rows()
    }
}

/// The frozen lake; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenLake {
    map: Arc<Map>,
    state: usize,
    /// Probability of the intended direction; `None` on ice that does not slip.
    success_rate: Option<f64>,
    reward_schedule: [f64; 3],
}

impl FrozenLake {
    /// A lake which slips unless `success_rate` is `None`; `reward_schedule` is the reward of a goal, a
    /// hole and ice.
    ///
    /// Gymnasium's defaults are `Some(1.0 / 3.0)` and `[1.0, 0.0, 0.0]`.
    ///
    /// # Errors
    /// If `success_rate` is no probability or a reward is not finite.
    pub fn new(
        map: Map,
        success_rate: Option<f64>,
        reward_schedule: [f64; 3],
    ) -> Result<Self, ParameterError> {
        if let Some(rate) = success_rate {
            check_probability("success_rate", rate)?;
        }
        for reward in reward_schedule {
            check_finite("reward_schedule", reward)?;
        }
        let state = map.starts[0];
        Ok(Self { map: Arc::new(map), state, success_rate, reward_schedule })
    }

    /// The map in use.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The index of the tile the agent stands on.
    pub fn state(&self) -> usize {
        self.state
    }

    /// The probabilities to go to the left of `action`, along it and to its right.
    fn drift(&self) -> [f64; 3] {
        let success = self.success_rate.unwrap_or(1.0);
        let side = (1.0 - success) / 2.0;
        [side, success, side]
    }

    fn reward(&self, tile: Tile) -> f64 {
        match tile {
            Tile::Goal => self.reward_schedule[0],
            Tile::Hole => self.reward_schedule[1],
            Tile::Start | Tile::Frozen => self.reward_schedule[2],
        }
    }
}

impl Env for FrozenLake {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(self.map.tiles.len())
    }

    fn action_space(&self) -> Space {
        Space::Discrete(4)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> usize {
        self.state = self.map.starts[rng.categorical(&self.map.start_probabilities)];
        self.state
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        debug_assert!(*action < 4, "action {action} of 4");
        // Ice that does not slip draws a number as well: the generator stays in step with Gymnasium's.
        let turn = if self.success_rate.is_some() {
            rng.categorical(&self.drift())
        } else {
            rng.random();
            1
        };
        if self.map.tiles[self.state].ends_episode() {
            return Step { obs: self.state, reward: 0.0, terminated: true, truncated: false };
        }
        self.state = self.map.neighbors[self.state][(action + turn + 3) % 4] as usize;
        let tile = self.map.tiles[self.state];
        let (reward, terminated) = (self.reward(tile) as f32, tile.ends_episode());
        Step { obs: self.state, reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let columns = self.map.columns;
        let rows = self.map.tiles.len() / columns;
        let (width, height) = (columns as f32 * tiles::CELL, rows as f32 * tiles::CELL);
        let mut picture = scene(width, height, tiles::ICE);
        for (cell, &tile) in self.map.tiles.iter().enumerate() {
            let corner = tiles::corner(cell, columns);
            tiles::ice(&mut picture, corner, cell);
            match tile {
                Tile::Start => tiles::letter(&mut picture, corner, "S"),
                Tile::Hole => tiles::hole(&mut picture, corner),
                Tile::Goal => tiles::flag(&mut picture, corner, tiles::ICE_SHADOW),
                Tile::Frozen => {}
            }
        }
        tiles::grid_lines(&mut picture, [columns, rows], [176, 205, 226]);
        let corner = tiles::corner(self.state, columns);
        if self.map.tiles[self.state] == Tile::Hole {
            let [x, y] = [corner[0] + 32.0, corner[1] + 32.0];
            for side in [-1.0, 1.0] {
                picture.line(&[[x - 9.0, y - 9.0 * side], [x + 9.0, y + 9.0 * side]], 5.0, BLACK);
            }
        } else {
            tiles::elf(&mut picture, corner, tiles::ICE_SHADOW);
        }
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

impl Tabular for FrozenLake {
    fn num_states(&self) -> usize {
        self.map.tiles.len()
    }

    fn num_actions(&self) -> usize {
        4
    }

    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        if self.map.tiles[state].ends_episode() {
            return vec![Transition::certain(state, 0.0, true)];
        }
        let outcome = |turn: usize, probability: f64| {
            let next_state = self.map.neighbors[state][(action + turn + 3) % 4] as usize;
            let tile = self.map.tiles[next_state];
            let (reward, terminated) = (self.reward(tile), tile.ends_episode());
            Transition { probability, next_state, reward, terminated }
        };
        if self.success_rate.is_none() {
            return vec![outcome(1, 1.0)];
        }
        self.drift().into_iter().enumerate().map(|(turn, p)| outcome(turn, p)).collect()
    }

    fn initial_distribution(&self) -> Vec<f64> {
        let mut distribution = vec![0.0; self.map.tiles.len()];
        for (&start, &probability) in self.map.starts.iter().zip(&self.map.start_probabilities) {
            distribution[start] = probability;
        }
        distribution
    }

    fn layout(&self) -> Option<Layout> {
        let marks = [Mark::Left, Mark::Down, Mark::Right, Mark::Up];
        let fixed = |cell: usize| {
            let tile = self.map.tiles[cell];
            tile.ends_episode().then(|| tile.letter())
        };
        Some(Layout::grid(self.map.tiles.len(), self.map.columns, &marks, fixed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[&str], expected: &str) {
        assert_eq!(Map::new(rows).unwrap_err().to_string(), expected);
    }

    #[test]
    fn invalid_maps_say_what_is_wrong() {
        check(&[], "`map` must have at least one element");
        check(&["", ""], "`map` must have at least one element");
        check(&["SF", "FFG"], "map row 1 has 3 tiles where row 0 has 2");
        check(
            &["SF", "XG"],
            "map row 1, column 0: unknown tile 'X' (S start, F frozen, H hole, G goal)",
        );
        check(&["FF", "FG"], "the map has no start: one tile must be S");
        check(&["SH", "HG"], "no goal G can be reached from the start in row 0, column 0");
        check(&["SFF"], "no goal G can be reached from the start in row 0, column 0");
    }

    #[test]
    fn invalid_numbers_are_refused() {
        let map = || Map::new(&MAP_4X4).unwrap();
        assert!(FrozenLake::new(map(), Some(1.5), [1.0, 0.0, 0.0]).is_err());
        assert!(FrozenLake::new(map(), None, [1.0, f64::NAN, 0.0]).is_err());
    }

    #[test]
    fn several_starts_are_equally_likely() {
        let map = Map::new(&["SFS", "FGF"]).unwrap();
        let lake = FrozenLake::new(map, None, [1.0, 0.0, 0.0]).unwrap();
        assert_eq!(lake.initial_distribution(), [0.5, 0.0, 0.5, 0.0, 0.0, 0.0]);
    }
}
