//! A sudoku of four rows with exactly one solution.

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes};
use crate::puzzle::sudoku::{Grid, solutions};
use crate::{VerifierConfig, puzzle};

/// Grids with so many empty cells. A grid that differs in the names of its digits alone is the same; one that is turned
/// or mirrored is another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sudoku {
    /// How many cells are empty. With twelve there are 1072 tasks.
    pub blanks: Sizes,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for Sudoku {
    fn default() -> Self {
        Self { blanks: Sizes::new(4, 8), prompt_style: PromptStyle::default() }
    }
}

fn completed(rng: &mut Rng) -> Grid {
    let mut empty = Grid([0; 16]);
    // A first row and column drawn, and one of the grids that agree with them.
    let mut order = [1, 2, 3, 4];
    rng.shuffle(&mut order);
    empty.0[..4].copy_from_slice(&order);
    let all = solutions(&empty, usize::MAX, [1, 2, 3, 4]);
    all[rng.below(all.len())]
}

/// Empties cells in a random order, each only if one solution is left. It may end with fewer than wanted.
fn emptied(full: Grid, blanks: usize, rng: &mut Rng) -> (Grid, usize) {
    let mut cells: Vec<usize> = (0..full.0.len()).collect();
    rng.shuffle(&mut cells);
    let (mut grid, mut count) = (full, 0);
    for cell in cells {
        if count == blanks {
            break;
        }
        let digit = std::mem::take(&mut grid.0[cell]);
        if solutions(&grid, 2, [1, 2, 3, 4]).len() == 1 {
            count += 1;
        } else {
            grid.0[cell] = digit;
        }
    }
    (grid, count)
}

/// Digits named in the order in which they occur first.
fn key(clues: &Grid) -> String {
    let mut names: Vec<u8> = vec![0];
    let renamed = clues.0.map(|digit| {
        if digit != 0 && !names.contains(&digit) {
            names.push(digit);
        }
        names.iter().position(|name| *name == digit).unwrap_or_default() as u8
    });
    Grid(renamed).rows("/")
}

impl Make for Sudoku {
    fn validate(&self) -> Result<(), GenerateError> {
        self.blanks.check("blanks", 1, 12, "1 to 12")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        const TRIES: usize = 1000;
        let blanks = self.blanks.draw(rng);
        let (mut full, mut clues) = (completed(rng), Grid([0; 16]));
        let mut most = 0;
        for _ in 0..TRIES {
            let candidate = completed(rng);
            let (grid, count) = emptied(candidate, blanks, rng);
            if count > most {
                (full, clues, most) = (candidate, grid, count);
            }
            if count == blanks {
                break;
            }
        }
        let question = format!(
            "Fill in the empty cells (_) so that each row, each column and each 2 by 2 block has \
             the digits 1 to 4.\n{}\n",
            clues.rows("\n")
        );
        let form = "the four completed rows";
        let prompt = self.prompt_style.prompt(&format!("{}=", clues.rows("/")), &question, form);
        let separator = if self.prompt_style == PromptStyle::Plain { "/" } else { "\n" };
        Made::new(prompt, &full.rows(separator), key(&clues)).with("clues", clues.rows("/"))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.blanks
    }

    fn verifier(&self) -> VerifierConfig {
        VerifierConfig::Sudoku(puzzle::Config::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_digits_do_not_matter_to_the_key() {
        let key = |rows: &str| key(&Grid::parse(rows).unwrap());
        assert_eq!(key("3_4_/____/_1__/___2"), "1_2_/____/_3__/___4");
        assert_eq!(key("4_1_/____/_2__/___3"), "1_2_/____/_3__/___4");
        assert_ne!(key("4_1_/____/_1__/___3"), "1_2_/____/_3__/___4");
    }

    #[test]
    fn twelve_blanks_have_so_many_tasks() {
        let top = Grid([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let full = solutions(&top, 100, [1, 2, 3, 4]);
        assert_eq!(full.len(), 12);
        let mut keys = std::collections::BTreeSet::new();
        for kept in (0..1_u32 << 16).filter(|kept| kept.count_ones() == 4) {
            for grid in &full {
                let mut clues = *grid;
                (0..16).filter(|cell| kept >> cell & 1 == 0).for_each(|cell| clues.0[cell] = 0);
                if solutions(&clues, 2, [1, 2, 3, 4]).len() == 1 {
                    keys.insert(key(&clues));
                }
            }
        }
        assert_eq!(keys.len(), 1072);
    }

    #[test]
    fn every_completed_grid_can_be_drawn() {
        let mut rng = Rng::new(0);
        let drawn: std::collections::BTreeSet<Grid> =
            (0..5000).map(|_| completed(&mut rng)).collect();
        assert_eq!(drawn.len(), 288);
    }
}
