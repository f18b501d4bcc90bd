//! A shortest path through a maze.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check};
use crate::puzzle::maze::{Grid, shortest_path};
use crate::{VerifierConfig, puzzle};

/// Square mazes with so many cells on each side; the shortest path has at least as many steps. A maze that is turned or
/// mirrored is the same, and so is one whose start and goal are swapped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Maze {
    /// Cells on each side.
    pub side: Sizes,
    /// The share of cells that are walls, about.
    pub walls: f64,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Maze {
    fn default() -> Self {
        Self { side: Sizes::new(3, 6), walls: 0.3, prompt_style: PromptStyle::default() }
    }
}

impl Maze {
    /// A maze and a path that is long enough, if this draw gave one.
    fn attempt(&self, side: usize, rng: &mut Rng) -> Option<(Grid, String)> {
        let cells = side * side;
        let (start, goal) = (rng.below(cells), rng.below(cells));
        let mut walls: Vec<bool> = (0..cells).map(|_| rng.random() < self.walls).collect();
        walls[start] = false;
        walls[goal] = false;
        let maze = Grid::new(side, walls, start, goal)?;
        let path = shortest_path(&maze).filter(|path| path.len() >= side)?;
        Some((maze, path))
    }

    fn open(side: usize) -> Option<(Grid, String)> {
        let maze = Grid::new(side, vec![false; side * side], 0, side * side - 1)?;
        let path = shortest_path(&maze)?;
        Some((maze, path))
    }
}

/// The smallest text of the eight positions of the square, with start and goal either way.
fn key(maze: &Grid) -> String {
    let rows: Vec<Vec<char>> = maze.rows("/").split('/').map(|row| row.chars().collect()).collect();
    let last = rows.len() - 1;
    let position = |turn: usize| {
        let at = |row: usize, column: usize| {
            let (row, column) = if turn & 1 == 0 { (row, column) } else { (column, row) };
            let row = if turn & 2 == 0 { row } else { last - row };
            let column = if turn & 4 == 0 { column } else { last - column };
            match rows[row][column] {
                'S' if turn & 8 != 0 => 'G',
                'G' if turn & 8 != 0 => 'S',
                cell => cell,
            }
        };
        let line = |row: usize| (0..=last).map(|column| at(row, column)).collect::<String>();
        (0..=last).map(line).collect::<Vec<_>>().join("/")
    };
    (0..16).map(position).min().unwrap_or_default()
}

impl Make for Maze {
    fn validate(&self) -> Result<(), GenerateError> {
        self.side.check("side", 2, 16, "2 to 16")?;
        check((0.0..=0.5).contains(&self.walls), "walls", &self.walls, "0 to 0.5")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        const TRIES: usize = 1000;
        let side = self.side.draw(rng);
        let found = (0..TRIES).find_map(|_| self.attempt(side, rng)).or_else(|| Self::open(side));
        let (maze, path) = found.expect("an open maze has a path");
        let question = format!(
            "Find a shortest path from S to G in this maze. # is a wall; steps are up, down, left \
             and right.\n{}\n",
            maze.rows("\n")
        );
        let form = "the steps as letters U, D, L and R";
        let prompt = self.prompt_style.prompt(&format!("{}=", maze.rows("/")), &question, form);
        Made::new(prompt, &path, key(&maze)).with("maze", maze.rows("/"))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.side
    }

    fn verifier(&self) -> VerifierConfig {
        VerifierConfig::Maze(puzzle::Config::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maze_that_is_turned_mirrored_or_swapped_has_the_same_key() {
        let key = |rows: &str| key(&Grid::parse(rows).unwrap());
        let maze = key("S.#/..#/#.G");
        for same in ["#.S/#../G.#", "G.#/#../#.S", "#.G/..#/S.#", "G.#/..#/#.S"] {
            assert_eq!(key(same), maze, "{same}");
        }
        assert_ne!(key("S.#/..#/..G"), maze);
        assert_ne!(key("S.G/..#/#.."), maze);
    }
}
