//! Pictures on the 64-pixel tiles of the grid worlds.

use skinner_core::scene::{Color, Scene};

use crate::draw::{Draw, WHITE};

pub(crate) const CELL: f32 = 64.0;
pub(crate) const ICE: Color = [218, 237, 248];
pub(crate) const ICE_SHADOW: Color = [168, 194, 212];
const SHINE: Color = [240, 249, 254];
const LETTER: Color = [96, 128, 156];

/// The upper left corner of a cell.
pub(crate) fn corner(cell: usize, columns: usize) -> [f32; 2] {
    [(cell % columns) as f32 * CELL, (cell / columns) as f32 * CELL]
}

/// Thin lines between the tiles.
pub(crate) fn grid_lines(picture: &mut Scene, [columns, rows]: [usize; 2], color: Color) {
    let (width, height) = (columns as f32 * CELL, rows as f32 * CELL);
    for column in 1..columns {
        picture.rect(column as f32 * CELL - 0.5, 0.0, 1.0, height, color);
    }
    for row in 1..rows {
        picture.rect(0.0, row as f32 * CELL - 0.5, width, 1.0, color);
    }
}

/// Reflections, placed differently from tile to tile.
pub(crate) fn ice(picture: &mut Scene, [x, y]: [f32; 2], cell: usize) {
    let shift = (cell * 7 % 5) as f32 * 4.0;
    picture.line(&[[x + 10.0 + shift, y + 22.0], [x + 20.0 + shift, y + 12.0]], 3.0, SHINE);
    picture.line(&[[x + 14.0 + shift, y + 28.0], [x + 18.0 + shift, y + 24.0]], 3.0, SHINE);
    picture.line(&[[x + 46.0 - shift, y + 52.0], [x + 54.0 - shift, y + 44.0]], 3.0, SHINE);
}

/// A hole of dark water with a broken rim.
pub(crate) fn hole(picture: &mut Scene, [x, y]: [f32; 2]) {
    picture.ellipse(x + 32.0, y + 32.0, 27.0, 24.0, [150, 190, 216]);
    picture.ellipse(x + 32.0, y + 34.0, 23.0, 20.0, [38, 92, 140]);
    picture.ellipse(x + 32.0, y + 38.0, 19.0, 14.0, [26, 70, 114]);
}

/// A letter in the tile's middle.
pub(crate) fn letter(picture: &mut Scene, [x, y]: [f32; 2], letter: &str) {
    picture.text(x + 32.0, y + 32.0, 32.0, letter, LETTER);
}

/// The flag of a goal.
pub(crate) fn flag(picture: &mut Scene, [x, y]: [f32; 2], shadow: Color) {
    picture.ellipse(x + 26.0, y + 54.0, 12.0, 4.0, shadow);
    picture.line(&[[x + 26.0, y + 53.0], [x + 26.0, y + 11.0]], 4.0, [92, 74, 60]);
    let cloth = [[x + 28.0, y + 10.0], [x + 52.0, y + 19.0], [x + 28.0, y + 29.0]];
    picture.polygon(&cloth, [214, 62, 62]);
}

/// The elf who walks the lake.
pub(crate) fn elf(picture: &mut Scene, [x, y]: [f32; 2], shadow: Color) {
    let (skin, green, dark) = ([246, 208, 172], [46, 139, 72], [34, 104, 54]);
    picture.ellipse(x + 32.0, y + 57.0, 14.0, 4.0, shadow);
    picture.line(&[[x + 28.0, y + 50.0], [x + 27.0, y + 56.0]], 5.0, [92, 62, 42]);
    picture.line(&[[x + 36.0, y + 50.0], [x + 37.0, y + 56.0]], 5.0, [92, 62, 42]);
    let coat =
        [[x + 27.0, y + 33.0], [x + 37.0, y + 33.0], [x + 43.0, y + 51.0], [x + 21.0, y + 51.0]];
    picture.polygon(&coat, green);
    picture.rect(x + 23.0, y + 43.0, 18.0, 3.0, [92, 62, 42]);
    picture.line(&[[x + 25.0, y + 37.0], [x + 18.0, y + 44.0]], 4.5, green);
    picture.line(&[[x + 39.0, y + 37.0], [x + 46.0, y + 44.0]], 4.5, green);
    for (side, tip) in [(-1.0, 17.0), (1.0, 47.0)] {
        let root = x + 32.0 + 9.0 * side;
        picture.polygon(&[[root, y + 23.0], [x + tip, y + 21.0], [root, y + 29.0]], skin);
    }
    picture.circle(x + 32.0, y + 26.0, 10.5, skin);
    let hat = [[x + 20.5, y + 21.5], [x + 36.0, y + 3.0], [x + 43.5, y + 21.5]];
    picture.polygon(&hat, green);
    picture.line(&[[x + 21.5, y + 21.0], [x + 42.5, y + 21.0]], 4.0, dark);
    picture.circle(x + 36.0, y + 4.5, 3.5, WHITE);
    for eye in [28.0, 36.0] {
        picture.circle(x + eye, y + 27.0, 1.6, [40, 40, 48]);
    }
}
