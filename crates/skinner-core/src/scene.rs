//! A picture of an environment as plain shapes; how it becomes SVG, GIF or text is not known here.

/// Red, green, blue.
pub type Color = [u8; 3];

/// A picture: shapes drawn in order onto a background. The origin is top left, y grows downwards,
/// units are pixels of a `width` × `height` canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Canvas width in pixels.
    pub width: f32,
    /// Canvas height in pixels.
    pub height: f32,
    /// Colour of the empty canvas.
    pub background: Color,
    /// Drawn first to last.
    pub shapes: Vec<Shape>,
}

/// One thing to draw.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// An axis-aligned filled rectangle with its top-left corner at `(x, y)`.
    Rect {
        /// Left edge.
        x: f32,
        /// Top edge.
        y: f32,
        /// Extent to the right.
        width: f32,
        /// Extent downwards.
        height: f32,
        /// Fill.
        color: Color,
    },
    /// A filled circle.
    Circle {
        /// Centre, horizontally.
        x: f32,
        /// Centre, vertically.
        y: f32,
        /// Radius.
        radius: f32,
        /// Fill.
        color: Color,
    },
    /// A connected line through all points, with round caps.
    Line {
        /// Corners in order.
        points: Vec<[f32; 2]>,
        /// Stroke width.
        width: f32,
        /// Stroke.
        color: Color,
    },
    /// A filled polygon.
    Polygon {
        /// Corners in order.
        points: Vec<[f32; 2]>,
        /// Fill.
        color: Color,
    },
    /// Text centred on `(x, y)`.
    Text {
        /// Centre, horizontally.
        x: f32,
        /// Centre, vertically.
        y: f32,
        /// Height of a line.
        size: f32,
        /// What is written (ASCII).
        text: String,
        /// Ink.
        color: Color,
    },
}
