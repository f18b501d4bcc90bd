//! Short names for the shapes that the pictures are made of.

use std::f32::consts::PI;

use skinner_core::scene::{Color, Scene, Shape};

pub(crate) const WHITE: Color = [255, 255, 255];
pub(crate) const BLACK: Color = [20, 20, 24];
pub(crate) const GREY: Color = [128, 130, 136];

pub(crate) fn scene(width: f32, height: f32, background: Color) -> Scene {
    Scene { width, height, background, shapes: Vec::new() }
}

/// The pictures' verbs: each adds one shape on top.
pub(crate) trait Draw {
    fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, color: Color);
    fn circle(&mut self, x: f32, y: f32, radius: f32, color: Color);
    fn line(&mut self, points: &[[f32; 2]], width: f32, color: Color);
    fn polygon(&mut self, points: &[[f32; 2]], color: Color);
    fn text(&mut self, x: f32, y: f32, size: f32, text: &str, color: Color);

    /// A circular arc, `from` and `to` in radians, clockwise on the screen from the right.
    fn arc(
        &mut self,
        [x, y]: [f32; 2],
        radius: f32,
        [from, to]: [f32; 2],
        width: f32,
        color: Color,
    ) {
        let steps = ((to - from).abs() / PI * 48.0).ceil().max(1.0);
        let points: Vec<_> = (0..=steps as usize)
            .map(|i| polar([x, y], radius, from + (to - from) * i as f32 / steps))
            .collect();
        self.line(&points, width, color);
    }

    /// An ellipse with horizontal and vertical half-axes.
    fn ellipse(&mut self, x: f32, y: f32, radius_x: f32, radius_y: f32, color: Color) {
        let points: Vec<_> = (0..36)
            .map(|i| (i as f32 * PI / 18.0).sin_cos())
            .map(|(sin, cos)| [x + radius_x * cos, y + radius_y * sin])
            .collect();
        self.polygon(&points, color);
    }

    /// A rectangle with rounded corners.
    fn rounded_rect(&mut self, [x, y]: [f32; 2], [w, h]: [f32; 2], radius: f32, color: Color) {
        let corners = [
            ([x + w - radius, y + h - radius], 0.0),
            ([x + radius, y + h - radius], 0.5 * PI),
            ([x + radius, y + radius], PI),
            ([x + w - radius, y + radius], 1.5 * PI),
        ];
        let points: Vec<_> = corners
            .into_iter()
            .flat_map(|(center, start)| {
                (0..=6).map(move |i| polar(center, radius, start + i as f32 * PI / 12.0))
            })
            .collect();
        self.polygon(&points, color);
    }
}

impl Draw for Scene {
    fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, color: Color) {
        self.shapes.push(Shape::Rect { x, y, width, height, color });
    }

    fn circle(&mut self, x: f32, y: f32, radius: f32, color: Color) {
        self.shapes.push(Shape::Circle { x, y, radius, color });
    }

    fn line(&mut self, points: &[[f32; 2]], width: f32, color: Color) {
        self.shapes.push(Shape::Line { points: points.to_vec(), width, color });
    }

    fn polygon(&mut self, points: &[[f32; 2]], color: Color) {
        self.shapes.push(Shape::Polygon { points: points.to_vec(), color });
    }

    fn text(&mut self, x: f32, y: f32, size: f32, text: &str, color: Color) {
        self.shapes.push(Shape::Text { x, y, size, text: text.to_owned(), color });
    }
}

/// The point at `radius` and `angle` (radians, clockwise on the screen from the right).
pub(crate) fn polar([x, y]: [f32; 2], radius: f32, angle: f32) -> [f32; 2] {
    let (sin, cos) = angle.sin_cos();
    [x + radius * cos, y + radius * sin]
}

/// Points given around `origin`, turned by `angle` (radians, clockwise on the screen) and moved.
pub(crate) fn placed<const N: usize>(
    points: [[f32; 2]; N],
    origin: [f32; 2],
    angle: f32,
) -> [[f32; 2]; N] {
    let (sin, cos) = angle.sin_cos();
    points.map(|[x, y]| [origin[0] + x * cos - y * sin, origin[1] + x * sin + y * cos])
}

/// The corners of a box with its left, right, top and bottom edges.
pub(crate) fn corners([left, right]: [f32; 2], [top, bottom]: [f32; 2]) -> [[f32; 2]; 4] {
    [[left, top], [right, top], [right, bottom], [left, bottom]]
}
