//! Scenes as SVG.

use std::fmt::Write;

use skinner_core::scene::{Color, Scene, Shape};

/// The scene as a stand-alone SVG document.
pub fn to_svg(scene: &Scene) -> String {
    let (width, height) = (number(scene.width), number(scene.height));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n",
        hex(scene.background)
    );
    for shape in &scene.shapes {
        svg.push_str(&element(shape));
        svg.push('\n');
    }
    svg.push_str("</svg>\n");
    svg
}

fn element(shape: &Shape) -> String {
    match shape {
        Shape::Rect { x, y, width, height, color } => format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>",
            number(*x),
            number(*y),
            number(*width),
            number(*height),
            hex(*color)
        ),
        Shape::Circle { x, y, radius, color } => format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"/>",
            number(*x),
            number(*y),
            number(*radius),
            hex(*color)
        ),
        Shape::Line { points, width, color } => format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" \
             stroke-linecap=\"round\" stroke-linejoin=\"round\"/>",
            list(points),
            hex(*color),
            number(*width)
        ),
        Shape::Polygon { points, color } => {
            format!("<polygon points=\"{}\" fill=\"{}\"/>", list(points), hex(*color))
        }
        Shape::Text { x, y, size, text, color } => format!(
            "<text x=\"{}\" y=\"{}\" font-family=\"monospace\" font-weight=\"bold\" \
             font-size=\"{}\" text-anchor=\"middle\" dominant-baseline=\"central\" \
             xml:space=\"preserve\" fill=\"{}\">{}</text>",
            number(*x),
            number(*y),
            number(*size),
            hex(*color),
            escaped(text)
        ),
    }
}

/// At most two decimals, none where they are zero.
fn number(value: f32) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn hex([red, green, blue]: Color) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn list(points: &[[f32; 2]]) -> String {
    let mut text = String::new();
    for [x, y] in points {
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{},{}", number(*x), number(*y));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &Shape, expected: &str) {
        assert_eq!(element(shape), expected);
    }

    #[test]
    fn shapes_become_elements() {
        let color = [255, 0, 128];
        check(
            &Shape::Rect { x: 1.0, y: 2.5, width: 3.25, height: -0.0, color },
            "<rect x=\"1\" y=\"2.5\" width=\"3.25\" height=\"0\" fill=\"#ff0080\"/>",
        );
        check(
            &Shape::Polygon { points: vec![[0.0, 0.0], [10.0, 0.333]], color },
            "<polygon points=\"0,0 10,0.33\" fill=\"#ff0080\"/>",
        );
        let text = "a<b&c".to_owned();
        assert!(
            element(&Shape::Text { x: 0.0, y: 0.0, size: 9.0, text, color })
                .ends_with(">a&lt;b&amp;c</text>")
        );
    }
}
