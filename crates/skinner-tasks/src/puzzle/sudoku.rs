//! Sudokus of four rows, four columns and four blocks.

use super::{Verdict, broken};
use crate::{Failed, Task, columns};

const SIDE: usize = 4;
const CELLS: usize = SIDE * SIDE;

/// Digits 1 to 4 row by row; 0 is an empty cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grid(pub [u8; CELLS]);

impl Grid {
    /// Reads rows such as `1__4/__2_/_3__/4__1`.
    pub fn parse(text: &str) -> Option<Self> {
        let rows: Vec<&str> = text.trim().split(['/', '\n']).map(str::trim).collect();
        if rows.len() != SIDE || rows.iter().any(|row| row.len() != SIDE) {
            return None;
        }
        let mut cells = [0; CELLS];
        for (cell, byte) in cells.iter_mut().zip(rows.concat().bytes()) {
            *cell = match byte {
                b'_' | b'.' | b'0' => 0,
                b'1'..=b'4' => byte - b'0',
                _ => return None,
            };
        }
        Some(Self(cells))
    }

    /// The rows with a separator between them.
    pub fn rows(&self, separator: &str) -> String {
        let cell = |digit: &u8| if *digit == 0 { '_' } else { char::from(b'0' + digit) };
        let rows: Vec<String> =
            self.0.chunks(SIDE).map(|row| row.iter().map(cell).collect()).collect();
        rows.join(separator)
    }

    /// Whether no row, column or block has a digit twice.
    pub fn is_consistent(&self) -> bool {
        let clash = |i: usize, j: usize| self.0[i] != 0 && self.0[i] == self.0[j] && meet(i, j);
        (0..CELLS).all(|i| (i + 1..CELLS).all(|j| !clash(i, j)))
    }
}

/// Whether two cells share a row, a column or a block.
fn meet(i: usize, j: usize) -> bool {
    let (row, column) = (i / SIDE, i % SIDE);
    let (other_row, other_column) = (j / SIDE, j % SIDE);
    row == other_row
        || column == other_column
        || (row / 2 == other_row / 2 && column / 2 == other_column / 2)
}

/// The completed grids that agree with the clues, at most so many. Digits are tried in the order given.
pub fn solutions(clues: &Grid, at_most: usize, order: [u8; SIDE]) -> Vec<Grid> {
    let mut found = Vec::new();
    if clues.is_consistent() {
        fill(&mut clues.clone(), at_most, order, &mut found);
    }
    found
}

fn fill(grid: &mut Grid, at_most: usize, order: [u8; SIDE], found: &mut Vec<Grid>) {
    if found.len() >= at_most {
        return;
    }
    let Some(empty) = grid.0.iter().position(|digit| *digit == 0) else {
        found.push(*grid);
        return;
    };
    for digit in order {
        if (0..CELLS).all(|other| grid.0[other] != digit || !meet(empty, other)) {
            grid.0[empty] = digit;
            fill(grid, at_most, order, found);
        }
    }
    grid.0[empty] = 0;
}

pub(super) fn verdict(task: &Task, given: &str) -> Result<Verdict, Failed> {
    let clues = Grid::parse(columns::text(task, "clues")?).ok_or_else(|| {
        broken("clues", "four rows of four digits 1 to 4 or `_`, with `/` between")
    })?;
    Ok(check(&clues, given))
}

/// Whether the last four rows of a text complete the clues, and why.
///
/// A row is four digits 1 to 4, also with spaces, commas, bars or brackets between them.
///
/// # Errors
/// What is wrong with it.
pub fn check(clues: &Grid, given: &str) -> Result<String, String> {
    let Some(grid) = last_grid(given) else {
        return Err("there are no four rows of four digits 1 to 4 at the end".to_owned());
    };
    let differs = |cell: &usize| clues.0[*cell] != 0 && clues.0[*cell] != grid.0[*cell];
    if let Some(cell) = (0..CELLS).find(differs) {
        return Err(format!("row {}, column {} is not the clue", cell / SIDE + 1, cell % SIDE + 1));
    }
    if !grid.is_consistent() {
        return Err("a row, a column or a block has a digit twice".to_owned());
    }
    Ok("the grid is complete".to_owned())
}

/// The last four lines that are not empty, if each is a row.
fn last_grid(text: &str) -> Option<Grid> {
    let lines: Vec<&str> =
        text.split(['/', '\n', ';']).map(str::trim).filter(|line| !line.is_empty()).collect();
    let rows = &lines[lines.len().checked_sub(SIDE)?..];
    let digits: Vec<Vec<u8>> = rows.iter().map(|row| digits(row)).collect::<Option<_>>()?;
    Some(Grid(digits.concat().try_into().ok()?))
}

fn digits(row: &str) -> Option<Vec<u8>> {
    let between = |c: &char| !matches!(c, ' ' | ',' | '|' | '[' | ']');
    let digit = |c: char| matches!(c, '1'..='4').then(|| c as u8 - b'0');
    let digits: Vec<u8> = row.chars().filter(between).map(digit).collect::<Option<_>>()?;
    (digits.len() == SIDE).then_some(digits)
}
