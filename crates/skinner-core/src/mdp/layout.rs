//! How the observations of a table are laid out for a reader.

/// Grids of equal size, side by side, and a mark for each action.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The grids.
    pub panels: Vec<Panel>,
    /// Cells in one row of a grid.
    pub columns: usize,
    /// One mark for each action.
    pub marks: Vec<Mark>,
}

/// One grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What stands above it; may be empty.
    pub title: String,
    /// Row by row.
    pub cells: Vec<Cell>,
}

/// One cell of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// An observation.
    At(usize),
    /// A place without a choice, such as a goal, with its letter.
    Fixed(char),
}

/// How an action is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// An arrow to the left.
    Left,
    /// An arrow downwards.
    Down,
    /// An arrow to the right.
    Right,
    /// An arrow upwards.
    Up,
    /// A letter.
    Letter(char),
}

impl Mark {
    /// The mark as a character.
    pub fn as_char(self) -> char {
        match self {
            Self::Left => '←',
            Self::Down => '↓',
            Self::Right => '→',
            Self::Up => '↑',
            Self::Letter(letter) => letter,
        }
    }

    /// Where an arrow points, x to the right and y downwards.
    pub fn direction(self) -> Option<[f32; 2]> {
        match self {
            Self::Left => Some([-1.0, 0.0]),
            Self::Down => Some([0.0, 1.0]),
            Self::Right => Some([1.0, 0.0]),
            Self::Up => Some([0.0, -1.0]),
            Self::Letter(_) => None,
        }
    }
}

impl Layout {
    /// One grid without a title whose cells are observations, but for those that `fixed` names.
    pub fn grid(
        cells: usize,
        columns: usize,
        marks: &[Mark],
        fixed: impl Fn(usize) -> Option<char>,
    ) -> Self {
        let cells =
            (0..cells).map(|cell| fixed(cell).map_or(Cell::At(cell), Cell::Fixed)).collect();
        let panel = Panel { title: String::new(), cells };
        Self { panels: vec![panel], columns, marks: marks.to_vec() }
    }
}
