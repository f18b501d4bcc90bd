//! Mazes of square cells, and shortest paths through them.

use std::collections::VecDeque;

use super::{Verdict, broken};
use crate::{Failed, Task, columns};

/// Steps: a letter, and how row and column change.
const MOVES: [(char, isize, isize); 4] = [('U', -1, 0), ('D', 1, 0), ('L', 0, -1), ('R', 0, 1)];

/// A rectangle of cells with walls, a start and a goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    width: usize,
    /// Whether each cell is a wall, row by row.
    walls: Vec<bool>,
    start: usize,
    goal: usize,
}

impl Grid {
    /// A maze; `None` where the cells make no rectangle, or start or goal are no free cells.
    pub fn new(width: usize, walls: Vec<bool>, start: usize, goal: usize) -> Option<Self> {
        let rectangle = width > 0 && walls.len().is_multiple_of(width);
        let free = |cell: usize| walls.get(cell) == Some(&false);
        (rectangle && free(start) && free(goal) && start != goal).then_some(Self {
            width,
            walls,
            start,
            goal,
        })
    }

    /// Reads rows such as `S.#/..#/#.G`: start, goal, free cells and walls.
    pub fn parse(text: &str) -> Option<Self> {
        let rows: Vec<&str> = text.trim().split(['/', '\n']).map(str::trim).collect();
        let width = rows.first()?.len();
        if rows.iter().any(|row| row.len() != width) {
            return None;
        }
        let cells: Vec<u8> = rows.concat().into_bytes();
        if cells.iter().any(|cell| !b"SG.#".contains(cell)) {
            return None;
        }
        let only = |wanted: u8| {
            let mut found = (0..cells.len()).filter(|at| cells[*at] == wanted);
            found.next().filter(|_| found.next().is_none())
        };
        let walls = cells.iter().map(|cell| *cell == b'#').collect();
        Self::new(width, walls, only(b'S')?, only(b'G')?)
    }

    /// The rows with a separator between them.
    pub fn rows(&self, separator: &str) -> String {
        let cell = |at: usize| match at {
            at if at == self.start => 'S',
            at if at == self.goal => 'G',
            at if self.walls[at] => '#',
            _ => '.',
        };
        let cells: Vec<char> = (0..self.walls.len()).map(cell).collect();
        let rows: Vec<String> = cells.chunks(self.width).map(|row| row.iter().collect()).collect();
        rows.join(separator)
    }

    /// The cell after a step, if that is a free one.
    fn after(&self, cell: usize, letter: char) -> Option<usize> {
        let (_, down, right) = MOVES.into_iter().find(|(name, ..)| *name == letter)?;
        let row = (cell / self.width).checked_add_signed(down)?;
        let column = (cell % self.width).checked_add_signed(right)?;
        let next = row * self.width + column;
        (column < self.width && self.walls.get(next) == Some(&false)).then_some(next)
    }
}

/// A shortest path from start to goal, or `None` where there is no path.
pub fn shortest_path(maze: &Grid) -> Option<String> {
    let mut came_from: Vec<Option<(usize, char)>> = vec![None; maze.walls.len()];
    let mut queue = VecDeque::from([maze.start]);
    while let Some(cell) = queue.pop_front() {
        for (letter, ..) in MOVES {
            if let Some(next) = maze.after(cell, letter)
                && next != maze.start
                && came_from[next].is_none()
            {
                came_from[next] = Some((cell, letter));
                queue.push_back(next);
            }
        }
    }
    let mut path = Vec::new();
    let mut cell = maze.goal;
    while cell != maze.start {
        let (before, letter) = came_from[cell]?;
        path.push(letter);
        cell = before;
    }
    Some(path.iter().rev().collect())
}

pub(super) fn verdict(task: &Task, given: &str) -> Result<Verdict, Failed> {
    let must = "rows of equal length of `.` and `#`, one `S` and one `G`, with `/` between";
    let maze = Grid::parse(columns::text(task, "maze")?).ok_or_else(|| broken("maze", must))?;
    let shortest = shortest_path(&maze).ok_or_else(|| broken("maze", "a goal within reach"))?;
    Ok(check(&maze, given, shortest.len()))
}

/// Whether a path leads to the goal in so many steps, and why. Steps are letters U, D, L and R, or words.
///
/// # Errors
/// What is wrong with it.
pub fn check(maze: &Grid, path: &str, length: usize) -> Result<String, String> {
    let moves = moves(path)?;
    let mut cell = maze.start;
    for (i, letter) in moves.iter().enumerate() {
        let next = maze.after(cell, *letter);
        cell = next.ok_or_else(|| format!("step {} ({letter}) meets a wall", i + 1))?;
    }
    if cell != maze.goal {
        return Err("the path does not end at the goal".to_owned());
    }
    match moves.len() {
        taken if taken == length => Ok(format!("the goal is reached in {length} steps")),
        taken => Err(format!("the path has {taken} steps, the shortest {length}")),
    }
}

fn moves(path: &str) -> Result<Vec<char>, String> {
    let mut moves = Vec::new();
    let between = |c: char| c.is_whitespace() || matches!(c, ',' | '-' | '>' | '→' | '.' | '"');
    for word in path.split(between).filter(|word| !word.is_empty()) {
        let upper = word.to_uppercase();
        match upper.as_str() {
            "UP" => moves.push('U'),
            "DOWN" => moves.push('D'),
            "LEFT" => moves.push('L'),
            "RIGHT" => moves.push('R'),
            letters if letters.chars().all(|c| "UDLR".contains(c)) => moves.extend(letters.chars()),
            _ => return Err(format!("`{}` is no step", crate::text::short(word))),
        }
    }
    Ok(moves)
}
