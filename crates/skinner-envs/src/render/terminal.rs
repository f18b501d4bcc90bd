//! Scenes as text for a terminal.

use std::fmt::Write;

use skinner_core::scene::{Color, Scene};

use super::raster::raster;

/// The scene as `columns` half-block characters a line, two pixels to a character, in 24-bit ANSI
/// colours.
pub fn to_terminal(scene: &Scene, columns: usize) -> String {
    let columns = columns.clamp(1, 1000);
    let lines = (columns as f32 * scene.height / scene.width / 2.0).round().clamp(1.0, 1000.0);
    let image = raster(scene, columns as u32, 2 * lines as u32);
    let mut text = String::new();
    for line in 0..lines as usize {
        let mut last = None;
        for column in 0..columns {
            let colors = (image.pixel(column, 2 * line), image.pixel(column, 2 * line + 1));
            if last != Some(colors) {
                text.push_str(&escape(colors));
                last = Some(colors);
            }
            text.push(if colors.0 == colors.1 { ' ' } else { '▀' });
        }
        text.push_str("\x1b[0m\n");
    }
    text
}

fn escape((upper, lower): (Color, Color)) -> String {
    let mut text = String::new();
    let [red, green, blue] = lower;
    // Writing to a string cannot fail.
    let _ = write!(text, "\x1b[48;2;{red};{green};{blue}");
    if upper != lower {
        let [red, green, blue] = upper;
        let _ = write!(text, ";38;2;{red};{green};{blue}");
    }
    text.push('m');
    text
}

#[cfg(test)]
mod tests {
    use skinner_core::scene::Shape;

    use super::*;

    #[test]
    fn two_pixels_share_a_character() {
        let red = Shape::Rect { x: 0.0, y: 0.0, width: 1.0, height: 1.0, color: [255, 0, 0] };
        let scene = Scene { width: 2.0, height: 2.0, background: [0, 0, 9], shapes: vec![red] };
        let expected = "\x1b[48;2;0;0;9;38;2;255;0;0m▀\x1b[48;2;0;0;9m \x1b[0m\n";
        assert_eq!(to_terminal(&scene, 2), expected);
    }
}
