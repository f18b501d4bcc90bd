//! Line charts as SVG.

use std::ops::Range;

use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, IntoFont, RGBColor, TextStyle, WHITE};

/// One curve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// `(x, y)` in order of x; a point that is not finite breaks the line. A series without points keeps
    /// its colour and has no line in the legend.
    pub points: Vec<(f64, f64)>,
    /// `(x, low, high)` in order of x.
    pub band: Option<Vec<(f64, f64, f64)>>,
}

/// How an x axis is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By powers of two; each point gets a mark.
    Log2,
}

/// A chart of curves over one x axis.
#[derive(Clone, Debug, Default)]
pub struct LineChart<'a> {
    /// Above the chart; may be empty.
    pub title: &'a str,
    /// Below the x axis; may be empty.
    pub x_label: &'a str,
    /// Beside the y axis; may be empty.
    pub y_label: &'a str,
    /// The curves.
    pub series: &'a [Series],
    /// A curve with a y axis of its own, at the right: what stands beside that axis, and the curve.
    pub right: Option<(&'a str, &'a Series)>,
    /// How the x axis is divided.
    pub scale: Scale,
    /// Whether more than one curve gets a legend.
    pub legend: bool,
    /// Width and height in pixels.
    pub size: (u32, u32),
}

/// A chart of 860 by 400 pixels; see [`LineChart`] for another size.
pub fn line_chart(title: &str, x_label: &str, y_label: &str, series: &[Series]) -> String {
    let size = (860, 400);
    LineChart { title, x_label, y_label, series, legend: true, size, ..LineChart::default() }.svg()
}

/// The backend draws on whole coordinates: four to a pixel make smooth curves.
const SCALE: u32 = 4;
/// The backend writes a font size smaller than it is asked for.
const FONT_FACTOR: f64 = 1.24;
const LABEL_SIZE: f64 = 13.0;
const TITLE_SIZE: f64 = 15.0;
/// Width of a letter of the legend, generously.
const LETTER_WIDTH: f64 = 7.4;
const LEGEND_LINE: f64 = 20.0;
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const AXIS: RGBColor = RGBColor(0x88, 0x88, 0x88);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Okabe and Ito's colours, without yellow and black, which fade on a light and on a dark page.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x80, 0x80, 0x80),
];
/// More points than this say nothing more in a chart of this size.
const MAX_POINTS: usize = 800;
/// What is larger in size is a number that overflowed, and would flatten all others.
const MAX_VALUE: f64 = 1e30;

type Failure =
    DrawingAreaErrorKind<<SVGBackend<'static> as plotters::backend::DrawingBackend>::ErrorType>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

impl LineChart<'_> {
    /// The chart as an SVG element: legible at its own size, on white.
    pub fn svg(&self) -> String {
        if self.scale == Scale::Log2 && !self.series.is_empty() {
            let placed: Vec<Series> = self.series.iter().map(Series::by_powers_of_two).collect();
            return LineChart { series: &placed, ..self.clone() }.drawn();
        }
        self.drawn()
    }

    /// The chart, where x is what is drawn.
    fn drawn(&self) -> String {
        let mut drawn = String::new();
        let (width, height) = (self.size.0.max(160), self.size.1.max(120));
        {
            let area = SVGBackend::with_string(&mut drawn, (width * SCALE, height * SCALE))
                .into_drawing_area();
            // Drawing into a string cannot fail; a failure would leave a chart without its curves.
            let _ = self.draw(&area).and_then(|()| area.present());
        }
        let body = drawn.split_once('>').map_or("", |(_, body)| body);
        format!(
            "<svg class=\"chart\" role=\"img\" aria-label=\"{}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\">{body}",
            escape(self.title),
            width * SCALE,
            height * SCALE,
        )
    }

    fn draw(&self, area: &Area) -> Result<(), Failure> {
        area.fill(&WHITE)?;
        let mut area = area.clone();
        if !self.title.is_empty() {
            let (top, below) = area.split_vertically(scaled(TITLE_SIZE + 13.0));
            let style = text_style(TITLE_SIZE).pos(Pos::new(HPos::Center, VPos::Center));
            let (width, height) = top.dim_in_pixel();
            top.draw(&Text::new(self.title, (width as i32 / 2, height as i32 / 2), style))?;
            area = below;
        }
        let area = self.draw_legend(area)?;
        match self.ranges() {
            Some((x, y)) => self.draw_curves(&area, x, y),
            None => draw_empty(&area),
        }
    }

    /// Draws the legend at the top and returns what is left.
    fn draw_legend<'a>(&self, area: Area<'a>) -> Result<Area<'a>, Failure> {
        let all = self.series.iter().chain(self.right.map(|(_, series)| series));
        let labels: Vec<(usize, &str)> = all
            .enumerate()
            .filter(|(_, series)| series.points.iter().any(is_plottable))
            .map(|(index, series)| (index, series.label.as_str()))
            .collect();
        if !self.legend || labels.len() < 2 {
            return Ok(area);
        }
        let width = f64::from(area.dim_in_pixel().0) / f64::from(SCALE);
        let (places, rows) = legend_places(&labels, width);
        let (top, below) = area.split_vertically(scaled(rows as f64 * LEGEND_LINE + 4.0));
        let style = text_style(LABEL_SIZE).pos(Pos::new(HPos::Left, VPos::Center));
        for (&(index, label), (x, y)) in labels.iter().zip(places) {
            let line = [(scaled(x), scaled(y)), (scaled(x + 20.0), scaled(y))];
            top.draw(&PathElement::new(line, color(index).stroke_width(3 * SCALE)))?;
            top.draw(&Text::new(label, (scaled(x + 26.0), scaled(y)), style.clone()))?;
        }
        Ok(below)
    }

    /// What the axes span; none without a point.
    fn ranges(&self) -> Option<(Range<f64>, Range<f64>)> {
        let points = || self.series.iter().flat_map(|series| series.points.iter().copied());
        let bands = || self.series.iter().flat_map(|series| series.band.iter().flatten().copied());
        let x = points().filter(is_plottable).map(|(x, _)| x);
        let y = points()
            .chain(bands().flat_map(|(x, low, high)| [(x, low), (x, high)]))
            .filter(is_plottable)
            .map(|(_, y)| y);
        let right = self.right.iter().flat_map(|(_, series)| &series.points);
        let x = x.chain(right.copied().filter(is_plottable).map(|(x, _)| x));
        Some((from_zero(span(x)?), with_margin(span(y)?)))
    }

    /// What is written at a place of the x axis.
    fn x_text(&self, place: f64) -> String {
        si(match self.scale {
            Scale::Linear => place,
            Scale::Log2 => place.exp2(),
        })
    }

    /// What the axis at the right spans, where there is one.
    fn right_range(&self) -> Option<Range<f64>> {
        let points = self.right?.1.points.iter().copied();
        Some(with_margin(span(points.filter(is_plottable).map(|(_, y)| y))?))
    }

    fn draw_curves(&self, area: &Area, x: Range<f64>, y: Range<f64>) -> Result<(), Failure> {
        let (width, height) = area.dim_in_pixel();
        let x = match self.scale {
            Scale::Linear => Axis::new(x, width / SCALE / 80),
            Scale::Log2 => Axis::whole(x),
        };
        let y = Axis::new(y, height / SCALE / 45);
        let right = self.right_range().map(|range| Axis::new(range, height / SCALE / 45));
        let described = |label: &str| if label.is_empty() { 0.0 } else { LABEL_SIZE + 8.0 };
        let mut chart = ChartBuilder::on(area)
            .margin(scaled(6.0))
            .margin_right(scaled(if right.is_some() { 6.0 } else { 24.0 }))
            .x_label_area_size(scaled(22.0 + described(self.x_label)))
            .y_label_area_size(scaled(y.text_width() + 12.0 + described(self.y_label)))
            .right_y_label_area_size(match (&right, self.right) {
                (Some(axis), Some((label, _))) => {
                    scaled(axis.text_width() + 12.0 + described(label))
                }
                _ => 0,
            })
            .build_cartesian_2d(x.clone(), y.clone())?
            .set_secondary_coord(x, right.unwrap_or(y));
        chart
            .configure_mesh()
            .max_light_lines(0)
            .bold_line_style(GRID.stroke_width(SCALE))
            .axis_style(AXIS.stroke_width(SCALE))
            .label_style(text_style(LABEL_SIZE))
            .axis_desc_style(text_style(LABEL_SIZE))
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .x_label_formatter(&|&tick| self.x_text(tick))
            .y_label_formatter(&|&tick| si(tick))
            .draw()?;
        for (index, series) in self.series.iter().enumerate() {
            if let Some(outline) = series.band.as_deref().and_then(outline) {
                chart.draw_series([Polygon::new(outline, color(index).mix(0.2))])?;
            }
        }
        for (index, series) in self.series.iter().enumerate() {
            for line in lines(&series.points) {
                if let [point] = line[..] {
                    chart.draw_series([Circle::new(point, 3 * SCALE, color(index).filled())])?;
                } else {
                    let style = color(index).stroke_width(2 * SCALE);
                    let marks = line.clone();
                    chart.draw_series([PathElement::new(line, style)])?;
                    if self.scale == Scale::Log2 {
                        let mark = |place| Circle::new(place, 3 * SCALE, color(index).filled());
                        chart.draw_series(marks.into_iter().map(mark))?;
                    }
                }
            }
        }
        let Some((label, series)) = self.right else { return Ok(()) };
        chart
            .configure_secondary_axes()
            .axis_style(AXIS.stroke_width(SCALE))
            .label_style(text_style(LABEL_SIZE))
            .axis_desc_style(text_style(LABEL_SIZE))
            .y_desc(label)
            .y_label_formatter(&|&tick: &f64| si(tick))
            .draw()?;
        let style = color(self.series.len()).stroke_width(2 * SCALE);
        for line in lines(&series.points) {
            chart.draw_secondary_series([PathElement::new(line, style)])?;
        }
        Ok(())
    }
}

impl Series {
    /// Each point at the logarithm of its x.
    fn by_powers_of_two(&self) -> Self {
        let points = self.points.iter().map(|&(x, y)| (x.log2(), y)).collect();
        let band = |band: &Vec<(f64, f64, f64)>| {
            band.iter().map(|&(x, low, high)| (x.log2(), low, high)).collect()
        };
        Self { label: self.label.clone(), points, band: self.band.as_ref().map(band) }
    }
}

/// A linear axis with ticks at round numbers.
#[derive(Clone)]
struct Axis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(range: Range<f64>, ticks_about: u32) -> Self {
        let ticks = ticks(&range, ticks_about.max(2) as usize);
        Self { range, ticks }
    }

    /// With a tick at each whole number.
    fn whole(range: Range<f64>) -> Self {
        let ticks = (range.start.ceil() as i32..=range.end.floor() as i32).map(f64::from);
        Self { ticks: ticks.collect(), range }
    }

    /// Pixels of its longest number.
    fn text_width(&self) -> f64 {
        let letters = self.ticks.iter().map(|&tick| si(tick).chars().count()).max();
        letters.unwrap_or(0) as f64 * 8.0
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }
}

fn draw_empty(area: &Area) -> Result<(), Failure> {
    let (width, height) = area.dim_in_pixel();
    let style = text_style(LABEL_SIZE).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw(&Text::new("nothing logged yet", (width as i32 / 2, height as i32 / 2), style))
}

fn scaled(pixels: f64) -> i32 {
    (pixels * f64::from(SCALE)) as i32
}

fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// The colour of the curve with this index, for style sheets.
pub fn css_color(index: usize) -> String {
    let RGBColor(red, green, blue) = color(index);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn text_style(size: f64) -> TextStyle<'static> {
    let size = size * f64::from(SCALE) * FONT_FACTOR;
    TextStyle::from((FontFamily::SansSerif, size).into_font()).color(&TEXT)
}

/// Left end and height of each entry, and the number of rows.
fn legend_places(labels: &[(usize, &str)], width: f64) -> (Vec<(f64, f64)>, usize) {
    let left = 60.0;
    let (mut x, mut row) = (left, 0);
    let mut places = Vec::with_capacity(labels.len());
    for (_, label) in labels {
        let entry = 26.0 + label.chars().count() as f64 * LETTER_WIDTH + 22.0;
        if x > left && x + entry > width {
            (x, row) = (left, row + 1);
        }
        places.push((x, (row as f64 + 0.5) * LEGEND_LINE));
        x += entry;
    }
    (places, row + 1)
}

fn is_plottable(&(x, y): &(f64, f64)) -> bool {
    x.abs() < MAX_VALUE && y.abs() < MAX_VALUE
}

/// The least range that holds all values, widened where they are all but equal.
fn span(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return None;
    }
    let size = low.abs().max(high.abs());
    if high - low > size * 1e-6 {
        return Some(low..high);
    }
    let half = if size > 0.0 { size * 0.1 } else { 1.0 };
    Some(low - half..high + half)
}

fn with_margin(range: Range<f64>) -> Range<f64> {
    let margin = (range.end - range.start) * 0.05;
    range.start - margin..range.end + margin
}

/// A range that begins not far from zero begins there.
fn from_zero(range: Range<f64>) -> Range<f64> {
    if range.start > 0.0 && range.start < range.end * 0.3 { 0.0..range.end } else { range }
}

/// Round numbers within a range: steps of 1, 2, 2.5 or 5 times a power of ten, about `count` of them.
fn ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
    let rough = (range.end - range.start) / count as f64;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let close = |step: &f64| *step >= rough * 0.8;
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(close);
    let step = step.unwrap_or(rough);
    let first = (range.start / step).ceil();
    (0..=2 * count)
        .map(|i| (first + i as f64) * step)
        .take_while(|tick| *tick <= range.end)
        .collect()
}

/// A number of an axis: `100k`, `2.5M`, `0.05`, `3e-5`.
fn si(number: f64) -> String {
    let size = number.abs();
    let trimmed = |value: f64, decimals: usize| {
        let text = format!("{value:.decimals$}");
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        if text == "-0" { "0".to_owned() } else { text.to_owned() }
    };
    match size {
        _ if size < 1e-12 => "0".to_owned(),
        _ if size < 1e-3 => {
            let exponent = size.log10().floor() as i32;
            let mantissa = trimmed(number / 10f64.powi(exponent), 3);
            format!("{mantissa}e{exponent}")
        }
        _ if size < 1e3 => trimmed(number, 5),
        _ if size < 1e6 => format!("{}k", trimmed(number / 1e3, 5)),
        _ if size < 1e9 => format!("{}M", trimmed(number / 1e6, 5)),
        _ if size < 1e12 => format!("{}G", trimmed(number / 1e9, 5)),
        _ => format!("{number:e}"),
    }
}

/// The unbroken lines of a curve.
fn lines(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    points
        .split(|point| !is_plottable(point))
        .filter(|line| !line.is_empty())
        .map(|line| thin(line, MAX_POINTS))
        .collect()
}

/// At most `limit` points that look the same: the lowest and the highest of each stretch.
fn thin(points: &[(f64, f64)], limit: usize) -> Vec<(f64, f64)> {
    if points.len() <= limit {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(limit / 2);
    let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
    points
        .chunks(stretch)
        .flat_map(|chunk| {
            let mut ends = [chunk.iter().min_by(by_y), chunk.iter().max_by(by_y)];
            if ends[0].map(|point| point.0) > ends[1].map(|point| point.0) {
                ends.swap(0, 1);
            }
            ends
        })
        .flatten()
        .copied()
        .collect()
}

/// The closed outline of a band; none when it has no width in x.
fn outline(band: &[(f64, f64, f64)]) -> Option<Vec<(f64, f64)>> {
    let band: Vec<_> = band
        .iter()
        .filter(|&&(x, low, high)| is_plottable(&(x, low)) && is_plottable(&(x, high)))
        .collect();
    if band.len() < 2 {
        return None;
    }
    let low = band.iter().map(|&&(x, low, _)| (x, low));
    let high = band.iter().rev().map(|&&(x, _, high)| (x, high));
    Some(low.chain(high).collect())
}

/// Text inside an element or an attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(label: &str, points: &[(f64, f64)]) -> Series {
        Series { label: label.to_owned(), points: points.to_vec(), band: None }
    }

    #[test]
    fn axis_numbers() {
        let check = |number: f64, expect: &str| assert_eq!(si(number), expect);
        check(0.0, "0");
        check(-0.0, "0");
        check(0.1 + 0.2, "0.3");
        check(100_000.0, "100k");
        check(2_500_000.0, "2.5M");
        check(-1500.0, "-1.5k");
        check(2.5e-4, "2.5e-4");
        check(0.05, "0.05");
        check(500.0, "500");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(&(0.0..500.0), 5), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(&(-25.0..525.0), 5), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(&(0.0..1.05), 5), [0.0, 0.2, 0.4, 3.0 * 0.2, 0.8, 1.0]);
    }

    #[test]
    fn a_legend_only_for_several_curves() {
        let one = series("first", &[(0.0, 1.0), (1.0, 2.0)]);
        let two = series("second", &[(0.0, 2.0), (1.0, 3.0)]);
        assert!(!line_chart("t", "x", "y", std::slice::from_ref(&one)).contains("first"));
        let both = line_chart("t", "x", "y", &[one, two]);
        assert!(both.contains("first") && both.contains("second"));
    }

    #[test]
    fn powers_of_two_stand_at_even_distances() {
        let one = series("first", &[(1.0, 0.25), (4.0, 0.5), (16.0, 1.0)]);
        let chart = LineChart {
            series: std::slice::from_ref(&one),
            scale: Scale::Log2,
            size: (400, 300),
            ..LineChart::default()
        };
        assert_eq!(one.by_powers_of_two().points, [(0.0, 0.25), (2.0, 0.5), (4.0, 1.0)]);
        let svg = chart.svg();
        for label in ["\n1\n", "\n2\n", "\n4\n", "\n8\n", "\n16\n"] {
            assert!(svg.contains(label), "{label:?}: {svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 3);
    }

    #[test]
    fn an_axis_at_the_right_has_its_own_numbers() {
        let left = series("accuracy", &[(0.0, 0.0), (10.0, 1.0)]);
        let right = series("length", &[(0.0, 200.0), (10.0, 400.0)]);
        let chart = LineChart {
            series: std::slice::from_ref(&left),
            right: Some(("tokens", &right)),
            legend: true,
            size: (600, 300),
            ..LineChart::default()
        };
        let svg = chart.svg();
        for label in ["accuracy", "length", "tokens", "\n0.4\n", "\n300\n"] {
            assert_eq!(svg.matches(label).count(), 1, "{label:?}: {svg}");
        }
    }

    #[test]
    fn text_is_escaped() {
        let svg = line_chart("<b>&\"", "", "", &[]);
        assert!(!svg.contains("<b>") && svg.contains("&lt;b&gt;&amp;&quot;"));
    }

    #[test]
    fn thinning_keeps_the_extremes() {
        let points: Vec<_> = (0..10_000).map(|i| (f64::from(i), f64::from(i % 97))).collect();
        let thinned = thin(&points, MAX_POINTS);
        assert!(thinned.len() <= MAX_POINTS);
        assert!(thinned.iter().any(|p| p.1 == 96.0) && thinned.iter().any(|p| p.1 == 0.0));
        assert!(thinned.is_sorted_by_key(|p| p.0));
    }

    proptest::proptest! {
        #[test]
        fn any_numbers_make_a_chart(
            points in proptest::collection::vec((proptest::num::f64::ANY, proptest::num::f64::ANY), 0..30),
            width in 0u32..1000,
        ) {
            let band = points.iter().map(|&(x, y)| (x, y, y + 1.0)).collect();
            let series = [Series { label: "a".to_owned(), points, band: Some(band) }];
            for (scale, right) in [(Scale::Linear, None), (Scale::Log2, None), (Scale::Linear, Some(("z", &series[0])))] {
                let chart = LineChart { title: "t", x_label: "x", y_label: "y", series: &series, right, scale, legend: true, size: (width, 200) };
                proptest::prop_assert!(chart.svg().ends_with("</svg>\n"));
            }
        }
    }
}
