//! Scenes as pixels.

use font8x8::legacy::BASIC_LEGACY;
use skinner_core::scene::{Color, Scene, Shape};
use tiny_skia::{
    FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform,
};

/// The largest edge of an image in pixels.
const MAX_EDGE: f32 = 8192.0;

/// A picture of red, green and blue bytes, row by row from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Image {
    /// The colour of one pixel.
    pub fn pixel(&self, x: usize, y: usize) -> Color {
        let start = (y * self.width + x) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }
}

/// Draws the scene with `scale` pixels for one of its units, smooth at the edges.
pub fn rasterize(scene: &Scene, scale: f32) -> Image {
    let edge = |length: f32| (length * scale).round().clamp(1.0, MAX_EDGE) as u32;
    raster(scene, edge(scene.width), edge(scene.height))
}

/// Draws the scene to fill `width` × `height` pixels.
pub(crate) fn raster(scene: &Scene, width: u32, height: u32) -> Image {
    let Some(mut pixmap) = Pixmap::new(width, height) else {
        return Image { width: 0, height: 0, rgb: Vec::new() };
    };
    let fit = Transform::from_scale(width as f32 / scene.width, height as f32 / scene.height);
    let [red, green, blue] = scene.background;
    pixmap.fill(tiny_skia::Color::from_rgba8(red, green, blue, 255));
    for shape in &scene.shapes {
        draw(&mut pixmap, fit, shape);
    }
    let rgb = pixmap.data().chunks_exact(4).flat_map(|rgba| [rgba[0], rgba[1], rgba[2]]).collect();
    Image { width: width as usize, height: height as usize, rgb }
}

/// Shapes without extent, or with coordinates that are not finite, draw nothing.
fn draw(pixmap: &mut Pixmap, fit: Transform, shape: &Shape) {
    match shape {
        Shape::Rect { x, y, width, height, color } => {
            if let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) {
                pixmap.fill_rect(rect, &paint(*color), fit, None);
            }
        }
        Shape::Circle { x, y, radius, color } => {
            fill(pixmap, fit, PathBuilder::from_circle(*x, *y, *radius), *color);
        }
        Shape::Line { points, width, color } => {
            let stroke = Stroke {
                width: *width,
                line_cap: LineCap::Round,
                line_join: LineJoin::Round,
                ..Stroke::default()
            };
            if let Some(path) = path(points, false) {
                pixmap.stroke_path(&path, &paint(*color), &stroke, fit, None);
            }
        }
        Shape::Polygon { points, color } => fill(pixmap, fit, path(points, true), *color),
        Shape::Text { x, y, size, text, color } => {
            fill(pixmap, fit, letters(text, [*x, *y], *size), *color);
        }
    }
}

fn paint(color: Color) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(color[0], color[1], color[2], 255);
    paint
}

fn fill(pixmap: &mut Pixmap, fit: Transform, path: Option<Path>, color: Color) {
    if let Some(path) = path {
        pixmap.fill_path(&path, &paint(color), FillRule::Winding, fit, None);
    }
}

fn path(points: &[[f32; 2]], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let (&[x, y], rest) = points.split_first()?;
    builder.move_to(x, y);
    for &[x, y] in rest {
        builder.line_to(x, y);
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

/// Glyphs of 8 × 8 squares, `size` high and wide.
fn letters(text: &str, [x, y]: [f32; 2], size: f32) -> Option<Path> {
    let unit = size / 8.0;
    let mut builder = PathBuilder::new();
    let mut left = x - size * text.chars().count() as f32 / 2.0;
    let top = y - size / 2.0;
    for letter in text.chars() {
        let glyph = BASIC_LEGACY.get(letter as usize).unwrap_or(&BASIC_LEGACY[b'?' as usize]);
        for (row, bits) in glyph.iter().enumerate() {
            for [from, to] in runs(*bits) {
                let corner = [left + from as f32 * unit, top + row as f32 * unit];
                let width = (to - from) as f32 * unit;
                // Rows overlap a little, so that no seam shows between them.
                if let Some(rect) = Rect::from_xywh(corner[0], corner[1], width, unit * 1.02) {
                    builder.push_rect(rect);
                }
            }
        }
        left += size;
    }
    builder.finish()
}

/// The runs of set bits, lowest first.
fn runs(bits: u8) -> Vec<[u32; 2]> {
    let mut runs = Vec::new();
    let mut bit = 0;
    while bit < 8 {
        let start = bit + (bits >> bit).trailing_zeros().min(8 - bit);
        if start == 8 {
            break;
        }
        bit = start + (bits >> start).trailing_ones();
        runs.push([start, bit]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found() {
        assert_eq!(runs(0), Vec::<[u32; 2]>::new());
        assert_eq!(runs(0xff), [[0, 8]]);
        assert_eq!(runs(0b1100_1101), [[0, 1], [2, 4], [6, 8]]);
    }

    #[test]
    fn shapes_are_drawn_in_order_and_to_scale() {
        let rect = |x, color| Shape::Rect { x, y: 0.0, width: 2.0, height: 2.0, color };
        let shapes = vec![rect(0.0, [255, 0, 0]), rect(1.0, [0, 0, 255])];
        let scene = Scene { width: 4.0, height: 2.0, background: [9, 9, 9], shapes };
        let image = rasterize(&scene, 3.0);
        assert_eq!((image.width, image.height), (12, 6));
        assert_eq!(image.pixel(1, 1), [255, 0, 0]);
        assert_eq!(image.pixel(4, 4), [0, 0, 255]);
        assert_eq!(image.pixel(11, 0), [9, 9, 9]);
    }

    #[test]
    fn shapes_out_of_this_world_draw_nothing() {
        let color = [0, 0, 0];
        let shapes = vec![
            Shape::Circle { x: f32::NAN, y: 0.0, radius: 1.0, color },
            Shape::Line { points: vec![], width: 1.0, color },
            Shape::Polygon { points: vec![[f32::INFINITY, 0.0], [1.0, 1.0]], color },
            Shape::Rect { x: 0.0, y: 0.0, width: -1.0, height: 1.0, color },
        ];
        let scene = Scene { width: 2.0, height: 2.0, background: [7, 7, 7], shapes };
        assert_eq!(rasterize(&scene, 1.0).rgb, [7; 12]);
    }
}
