//! `CliffWalking-v1` and `CliffWalkingSlippery-v1`: the shortest way runs along the edge of a cliff.
//!
//! A grid of 4 rows and 12 columns; `S` start, `G` goal, `C` cliff:
//!
//! ```text
//! ............
//! ............
//! ............
//! SCCCCCCCCCCG
//! ```
//!
//! # Actions: `Discrete(4)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | up |
//! | 1 | right |
//! | 2 | down |
//! | 3 | left |
//!
//! A move off the grid stays where it is. Where it is slippery, the move goes in the intended
//! direction or to either side of it, each with probability 1/3.
//!
//! # Observations: `Discrete(48)`
//!
//! The cell's index, `row * 12 + column`. Cells of the cliff are never observed.
//!
//! # Rewards
//!
//! -1 for each step; -100 for one that falls off the cliff, after which the agent is back at the
//! start and the episode goes on.
//!
//! # Start
//!
//! Cell 36, in the lower left.
//!
//! # Episode End
//!
//! - **Termination**: on cell 47, in the lower right.
//! - **Truncation**: none; registered without a time limit.
//!
//! No reward threshold. The best return without slipping is -13.
//!
//! # Source
//!
//! Sutton and Barto, *Reinforcement Learning*, 2nd edition, example 6.6; behaviour and numbers of
//! Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Layout, Mark, Tabular, Transition};
use skinner_core::{
    Env, Rng, Space, Step,
    scene::{Color, Scene},
};

use crate::draw::{Draw, scene};
use crate::tiles;

const ROWS: usize = 4;
const COLUMNS: usize = 12;
const CELLS: usize = ROWS * COLUMNS;
const START: usize = 36;
const GOAL: usize = 47;
const GRASS: Color = [206, 224, 170];
const SHADOW: Color = [170, 192, 132];
const MOVES: [[u8; 4]; CELLS] = moves();

/// The cliff walk; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CliffWalking {
    state: usize,
    is_slippery: bool,
}

impl CliffWalking {
    /// The cliff walk, on firm or slippery ground.
    pub fn new(is_slippery: bool) -> Self {
        Self { state: START, is_slippery }
    }

    /// The cell the agent stands on.
    pub fn state(&self) -> usize {
        self.state
    }
}

impl Default for CliffWalking {
    fn default() -> Self {
        Self::new(false)
    }
}

const fn is_cliff(cell: usize) -> bool {
    START < cell && cell < GOAL
}

/// The cell in each direction, before a fall.
const fn moves() -> [[u8; 4]; CELLS] {
    let mut table = [[0; 4]; CELLS];
    let mut cell = 0;
    while cell < CELLS {
        let (row, column) = (cell / COLUMNS, cell % COLUMNS);
        let up = if row > 0 { cell - COLUMNS } else { cell };
        let right = if column + 1 < COLUMNS { cell + 1 } else { cell };
        let down = if row + 1 < ROWS { cell + COLUMNS } else { cell };
        let left = if column > 0 { cell - 1 } else { cell };
        table[cell] = [up as u8, right as u8, down as u8, left as u8];
        cell += 1;
    }
    table
}

/// Next state, reward, and whether the episode ends.
#[inline]
fn walk(cell: usize, direction: usize) -> (usize, f32, bool) {
    let next = MOVES[cell][direction] as usize;
    if is_cliff(next) { (START, -100.0, false) } else { (next, -1.0, next == GOAL) }
}

impl Env for CliffWalking {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(CELLS)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(4)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> usize {
        // Gymnasium draws the only start from a distribution: the number is used up here too.
        rng.random();
        self.state = START;
        self.state
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        debug_assert!(*action < 4, "action {action} of 4");
        let turn = if self.is_slippery {
            rng.categorical(&[1.0 / 3.0; 3])
        } else {
            rng.random();
            1
        };
        let (next, reward, terminated) = walk(self.state, (action + turn + 3) % 4);
        self.state = next;
        Step { obs: next, reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let (width, height) = (COLUMNS as f32 * tiles::CELL, ROWS as f32 * tiles::CELL);
        let mut picture = scene(width, height, GRASS);
        for cell in 0..CELLS {
            let [x, y] = tiles::corner(cell, COLUMNS);
            if is_cliff(cell) {
                cliff(&mut picture, [x, y]);
            } else {
                let shift = (cell * 7 % 5) as f32 * 6.0;
                for tuft in [[x + 14.0 + shift, y + 20.0], [x + 44.0 - shift, y + 46.0]] {
                    let [left, base] = tuft;
                    let blades = [[left - 4.0, base - 5.0], tuft, [left + 4.0, base - 6.0]];
                    picture.line(&blades, 2.0, [174, 200, 130]);
                }
            }
        }
        tiles::grid_lines(&mut picture, [COLUMNS, ROWS - 1], [186, 208, 146]);
        tiles::letter(&mut picture, tiles::corner(START, COLUMNS), "S");
        tiles::flag(&mut picture, tiles::corner(GOAL, COLUMNS), SHADOW);
        tiles::elf(&mut picture, tiles::corner(self.state, COLUMNS), SHADOW);
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        Some(self)
    }
}

fn cliff(picture: &mut Scene, [x, y]: [f32; 2]) {
    picture.rect(x, y, 64.0, 64.0, [70, 56, 50]);
    picture.rect(x, y, 64.0, 8.0, [146, 112, 82]);
    let edge = [
        [x, y + 7.0],
        [x + 10.0, y + 17.0],
        [x + 22.0, y + 10.0],
        [x + 36.0, y + 20.0],
        [x + 50.0, y + 11.0],
        [x + 64.0, y + 7.0],
    ];
    picture.polygon(&edge, [146, 112, 82]);
    picture.line(&[[x + 12.0, y + 34.0], [x + 20.0, y + 46.0]], 2.5, [94, 76, 66]);
    picture.line(&[[x + 42.0, y + 30.0], [x + 36.0, y + 52.0]], 2.5, [94, 76, 66]);
}

impl Tabular for CliffWalking {
    fn num_states(&self) -> usize {
        CELLS
    }

    fn num_actions(&self) -> usize {
        4
    }

    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        let (turns, probability) = if self.is_slippery { (0..3, 1.0 / 3.0) } else { (1..2, 1.0) };
        turns
            .map(|turn| {
                let (next_state, reward, terminated) = walk(state, (action + turn + 3) % 4);
                Transition { probability, next_state, reward: reward.into(), terminated }
            })
            .collect()
    }

    fn initial_distribution(&self) -> Vec<f64> {
        let mut distribution = vec![0.0; CELLS];
        distribution[START] = 1.0;
        distribution
    }

    fn layout(&self) -> Option<Layout> {
        let marks = [Mark::Up, Mark::Right, Mark::Down, Mark::Left];
        let fixed = |cell| match cell {
            GOAL => Some('G'),
            cell => is_cliff(cell).then_some('C'),
        };
        Some(Layout::grid(CELLS, COLUMNS, &marks, fixed))
    }
}
