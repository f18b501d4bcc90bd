//! Policies and values of a table on a map: as a picture, and as plain text.

use skinner_core::mdp::{Cell, Layout, Mark};
use skinner_core::scene::{Color, Scene};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};

const GAP: f32 = 24.0;
const TITLE: f32 = 26.0;
/// Blocks wider than this stand one below the other.
const WIDE: f32 = 640.0;
const FIXED: Color = [150, 156, 166];
/// From the lowest value to the highest: light to dark, legible without colours too.
const SCALE: [Color; 3] = [[250, 246, 225], [96, 178, 188], [24, 62, 122]];

/// One table to draw: `[num_observations]` values and actions.
#[derive(Clone, Copy, Debug)]
pub struct Drawn<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// What each observation is worth.
    pub values: &'a [f64],
    /// The action taken there.
    pub policy: &'a [usize],
}

/// Sizes of the picture.
struct Sizes {
    cell: f32,
    panels_per_row: usize,
    panel: [f32; 2],
    block: [f32; 2],
    stacked: bool,
}

impl Sizes {
    fn new(layout: &Layout) -> Self {
        let cell: f32 = if layout.panels.len() > 4 { 34.0 } else { 56.0 };
        let rows = layout.panels.iter().map(|panel| panel.cells.len().div_ceil(layout.columns));
        let title = if layout.panels.len() > 1 { TITLE } else { 0.0 };
        let panel = [layout.columns as f32 * cell, rows.max().unwrap_or(0) as f32 * cell + title];
        let panels_per_row = (layout.panels.len() as f32).sqrt().ceil().max(1.0) as usize;
        let down = layout.panels.len().div_ceil(panels_per_row);
        let extent = |count: usize, size: f32| count as f32 * (size + GAP) - GAP;
        let block = [extent(panels_per_row, panel[0]), extent(down, panel[1]) + TITLE];
        Self { cell, panels_per_row, panel, block, stacked: block[0] > WIDE }
    }
}

/// A picture of tables beside each other, with one scale of colours.
pub fn picture(layout: &Layout, tables: &[Drawn<'_>]) -> Scene {
    let sizes = Sizes::new(layout);
    let count = tables.len() as f32;
    let [width, height] = sizes.block;
    let (across, down) = if sizes.stacked { (1.0, count) } else { (count, 1.0) };
    let canvas = [across * (width + GAP) + GAP, down * (height + GAP) + GAP];
    let mut picture = scene(canvas[0], canvas[1], WHITE);
    let range = range(layout, tables);
    for (index, table) in tables.iter().enumerate() {
        let index = index as f32;
        let step = if sizes.stacked { [0.0, height + GAP] } else { [width + GAP, 0.0] };
        let corner = [GAP + index * step[0], GAP + index * step[1]];
        block(&mut picture, layout, &sizes, table, range, corner);
    }
    picture
}

/// Lowest and highest value of the cells shown.
fn range(layout: &Layout, tables: &[Drawn<'_>]) -> [f64; 2] {
    let cells = layout.panels.iter().flat_map(|panel| &panel.cells);
    let shown = cells.filter_map(|cell| match *cell {
        Cell::At(observation) => Some(observation),
        Cell::Fixed(_) => None,
    });
    let values = shown.flat_map(|at| tables.iter().map(move |table| table.values[at]));
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)])
}

fn block(
    picture: &mut Scene,
    layout: &Layout,
    sizes: &Sizes,
    table: &Drawn<'_>,
    range: [f64; 2],
    [x, y]: [f32; 2],
) {
    picture.text(x + sizes.block[0] / 2.0, y + TITLE / 2.0 - 4.0, 18.0, table.title, BLACK);
    for (index, panel) in layout.panels.iter().enumerate() {
        let (column, row) = (index % sizes.panels_per_row, index / sizes.panels_per_row);
        let left = x + column as f32 * (sizes.panel[0] + GAP);
        let mut top = y + TITLE + row as f32 * (sizes.panel[1] + GAP);
        if layout.panels.len() > 1 {
            picture.text(left + sizes.panel[0] / 2.0, top + TITLE / 2.0, 14.0, &panel.title, GREY);
            top += TITLE;
        }
        for (place, cell) in panel.cells.iter().enumerate() {
            let (column, row) = (place % layout.columns, place / layout.columns);
            let corner = [left + column as f32 * sizes.cell, top + row as f32 * sizes.cell];
            match *cell {
                Cell::Fixed(letter) => fixed(picture, corner, sizes.cell, letter),
                Cell::At(at) => {
                    let mark = layout.marks[table.policy[at]];
                    choice(picture, corner, sizes.cell, table.values[at], range, mark);
                }
            }
        }
    }
}

fn fixed(picture: &mut Scene, [x, y]: [f32; 2], cell: f32, letter: char) {
    picture.rect(x + 0.5, y + 0.5, cell - 1.0, cell - 1.0, FIXED);
    picture.text(x + cell / 2.0, y + cell / 2.0, 0.4 * cell, &letter.to_string(), WHITE);
}

fn choice(
    picture: &mut Scene,
    [x, y]: [f32; 2],
    cell: f32,
    value: f64,
    [low, high]: [f64; 2],
    mark: Mark,
) {
    let share = if high > low { ((value - low) / (high - low)) as f32 } else { 0.0 };
    let ink = if share > 0.55 { WHITE } else { BLACK };
    picture.rect(x + 0.5, y + 0.5, cell - 1.0, cell - 1.0, shade(share));
    let numbers = cell > 40.0;
    let center = [x + cell / 2.0, y + cell * if numbers { 0.4 } else { 0.5 }];
    if let Some(direction) = mark.direction() {
        arrow(picture, center, direction, 0.24 * cell, ink);
    } else {
        picture.text(center[0], center[1], 0.36 * cell, &mark.as_char().to_string(), ink);
    }
    if numbers {
        picture.text(center[0], y + 0.82 * cell, 0.2 * cell, &short(value), ink);
    }
}

fn arrow(picture: &mut Scene, [x, y]: [f32; 2], [dx, dy]: [f32; 2], half: f32, ink: Color) {
    let at = |along: f32, aside: f32| {
        [x + half * (along * dx - aside * dy), y + half * (along * dy + aside * dx)]
    };
    picture.line(&[at(-1.0, 0.0), at(0.3, 0.0)], 0.22 * half, ink);
    picture.polygon(&[at(1.0, 0.0), at(0.1, 0.6), at(0.1, -0.6)], ink);
}

fn shade(share: f32) -> Color {
    let place = share.clamp(0.0, 1.0) * 2.0;
    let (from, to) = if place < 1.0 { (SCALE[0], SCALE[1]) } else { (SCALE[1], SCALE[2]) };
    let part = if place < 1.0 { place } else { place - 1.0 };
    let mix = |i: usize| f32::from(from[i]) + part * (f32::from(to[i]) - f32::from(from[i]));
    std::array::from_fn(|i| mix(i).round() as u8)
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The same as plain text: the tables' maps side by side, a character for each cell.
pub fn text(layout: &Layout, tables: &[Drawn<'_>]) -> String {
    let mut out = String::new();
    let width = 2 * layout.columns - 1;
    for panel in &layout.panels {
        let heads = tables.iter().map(|table| match panel.title.as_str() {
            "" => table.title.to_owned(),
            title => format!("{}, {title}", table.title),
        });
        let heads: Vec<String> = heads.collect();
        let width = heads.iter().map(|head| head.chars().count()).max().unwrap_or(0).max(width);
        let line = |cells: Vec<String>| {
            let padded: Vec<String> =
                cells.into_iter().map(|cell| format!("{cell:width$}")).collect();
            format!("{}\n", padded.join("   ").trim_end())
        };
        out += &line(heads);
        for row in panel.cells.chunks(layout.columns) {
            out += &line(tables.iter().map(|table| row_of_text(layout, table, row)).collect());
        }
    }
    out
}

fn row_of_text(layout: &Layout, table: &Drawn<'_>, row: &[Cell]) -> String {
    let mark = |cell: &Cell| match *cell {
        Cell::Fixed(letter) => letter,
        Cell::At(at) => layout.marks[table.policy[at]].as_char(),
    };
    let marks: Vec<String> = row.iter().map(|cell| mark(cell).to_string()).collect();
    marks.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EnvConfig;

    fn drawn(id: &str, check: impl FnOnce(&Layout, &Drawn<'_>)) {
        let model = EnvConfig::from_id(id).unwrap().model().unwrap().unwrap();
        let solution = model.mdp.value_iteration(0.99, 1e-10).unwrap();
        let layout = model.layout.unwrap();
        check(
            &layout,
            &Drawn { title: "optimal", values: &solution.values, policy: &solution.policy },
        );
    }

    /// The optimal policy of the small lake, as it is printed in many places.
    #[test]
    fn the_lake_in_characters() {
        drawn("FrozenLake-v1", |layout, table| {
            assert_eq!(text(layout, &[*table]), "optimal\n← ↑ ↑ ↑\n← H ← H\n↑ ↓ ← H\nH → ↓ G\n");
            let both = text(layout, &[*table, *table]);
            assert!(both.starts_with("optimal   optimal\n← ↑ ↑ ↑   ← ↑ ↑ ↑\n"), "{both}");
        });
    }

    #[test]
    fn every_layout_can_be_drawn() {
        for id in ["FrozenLake8x8-v1", "CliffWalking-v1", "Taxi-v4", "Blackjack-v1", "Chain-v0"] {
            drawn(id, |layout, table| {
                let picture = picture(layout, &[*table, *table]);
                assert!(picture.width < 1400.0 && picture.height < 2000.0, "{id}");
                let cells: usize = layout.panels.iter().map(|panel| panel.cells.len()).sum();
                assert!(picture.shapes.len() > 2 * cells, "{id}");
            });
        }
    }
}
