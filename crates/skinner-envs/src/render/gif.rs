//! Scenes as an animated GIF.
//!
//! All frames share one palette, and each holds only the rectangle that has changed, with unchanged
//! pixels transparent: files stay small.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use gif::{DisposalMethod, Encoder, Frame, Repeat};
use skinner_core::scene::{Color, Scene, Shape};

use super::raster::{Image, raster};

/// Colours in the palette; one more index is left for "unchanged".
const MAX_COLORS: usize = 255;
/// Frames looked at to choose the palette.
const PALETTE_FRAMES: usize = 48;

/// Why an animation could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GifError {
    /// There was no frame.
    #[error("an animation needs at least one frame")]
    NoFrames,
    /// The rate is not a positive number.
    #[error("fps must be positive, not {0}")]
    InvalidFps(f32),
    /// The first frame is too large for a GIF, or has no extent.
    #[error("a frame of {width} x {height} does not fit a GIF (1 to 8192 pixels each way)")]
    InvalidSize {
        /// Width of the first frame.
        width: f32,
        /// Height of the first frame.
        height: f32,
    },
    /// The writer failed.
    #[error("the GIF could not be written")]
    Encoding(#[from] gif::EncodingError),
}

/// Writes the frames, which all take the first one's size, as an animation that repeats for ever.
///
/// GIF counts time in hundredths of a second and players slow down below two of them, so that 50 is
/// the highest rate that is shown as asked.
///
/// # Errors
/// If there is no frame, the size or the rate is invalid, or the writer fails.
pub fn write_gif<W: Write>(frames: &[Scene], fps: f32, writer: W) -> Result<(), GifError> {
    let first = frames.first().ok_or(GifError::NoFrames)?;
    if !(fps.is_finite() && fps > 0.0) {
        return Err(GifError::InvalidFps(fps));
    }
    let (width, height) = (first.width.round(), first.height.round());
    if !((1.0..=8192.0).contains(&width) && (1.0..=8192.0).contains(&height)) {
        return Err(GifError::InvalidSize { width: first.width, height: first.height });
    }
    let size = [width as u16, height as u16];
    let mut palette = Palette::of(frames, size);
    let mut encoder = Encoder::new(writer, size[0], size[1], &palette.bytes())?;
    encoder.set_repeat(Repeat::Infinite)?;
    let mut shown: Option<Vec<u8>> = None;
    for (i, scene) in frames.iter().enumerate() {
        let pixels = palette.indices(&image(scene, size));
        let mut frame = difference(shown.as_deref(), &pixels, size[0].into(), palette.unchanged());
        frame.delay = delay(i, fps);
        encoder.write_frame(&frame)?;
        shown = Some(pixels);
    }
    Ok(())
}

fn image(scene: &Scene, [width, height]: [u16; 2]) -> Image {
    raster(scene, width.into(), height.into())
}

/// Hundredths of a second to the next frame, such that their sum keeps up with the clock.
fn delay(frame: usize, fps: f32) -> u16 {
    let at = |frame: usize| (frame as f64 * 100.0 / f64::from(fps)).round();
    (at(frame + 1) - at(frame)).clamp(2.0, 65535.0) as u16
}

/// The part of `pixels` that differs from what is shown.
fn difference(shown: Option<&[u8]>, pixels: &[u8], width: usize, unchanged: u8) -> Frame<'static> {
    let frame = |left: usize, top: usize, width: usize, buffer: Vec<u8>| Frame {
        left: left as u16,
        top: top as u16,
        width: width as u16,
        height: (buffer.len() / width) as u16,
        transparent: Some(unchanged),
        dispose: DisposalMethod::Keep,
        buffer: Cow::Owned(buffer),
        ..Frame::default()
    };
    let Some(shown) = shown else { return frame(0, 0, width, pixels.to_vec()) };
    let changed = |&i: &usize| shown[i] != pixels[i];
    let Some(first) = (0..pixels.len()).find(changed) else {
        return frame(0, 0, 1, vec![unchanged]);
    };
    let last = (0..pixels.len()).rfind(changed).unwrap_or(first);
    let (top, bottom) = (first / width, last / width);
    let rows = || (top..=bottom).map(|row| row * width..(row + 1) * width);
    let left = rows().filter_map(|mut row| row.position(|i| changed(&i))).min().unwrap_or(0);
    let right = rows().filter_map(|mut row| row.rposition(|i| changed(&i))).max().unwrap_or(left);
    let buffer = rows()
        .flat_map(|row| row.start + left..=row.start + right)
        .map(|i| if shown[i] == pixels[i] { unchanged } else { pixels[i] })
        .collect();
    frame(left, top, right - left + 1, buffer)
}

/// The colours of an animation, and the nearest of them to any other.
struct Palette {
    colors: Vec<Color>,
    nearest: BTreeMap<Color, u8>,
}

impl Palette {
    /// Every colour that a shape names, then the most frequent ones of the smooth edges.
    fn of(frames: &[Scene], size: [u16; 2]) -> Self {
        let step = frames.len().div_ceil(PALETTE_FRAMES);
        let mut named = BTreeSet::new();
        let mut counts = BTreeMap::new();
        for scene in frames.iter().step_by(step) {
            named.insert(scene.background);
            named.extend(scene.shapes.iter().map(shape_color));
            count_colors(&image(scene, size), &mut counts);
        }
        let mut edges: Vec<(Color, u32)> =
            counts.into_iter().filter(|(color, _)| !named.contains(color)).collect();
        edges.sort_by_key(|&(color, count)| (std::cmp::Reverse(count), color));
        let mut colors: Vec<Color> = named.into_iter().take(MAX_COLORS).collect();
        // Close neighbours of a colour already chosen are of little use, unless there is room.
        for tolerance in [16 * 16 * 3, 8 * 8 * 3, 0] {
            for &(color, _) in &edges {
                if colors.len() == MAX_COLORS {
                    break;
                }
                if colors.iter().all(|&chosen| distance(chosen, color) > tolerance) {
                    colors.push(color);
                }
            }
        }
        Self { colors, nearest: BTreeMap::new() }
    }

    fn bytes(&self) -> Vec<u8> {
        // One colour more, which stands for "unchanged" and is never seen.
        self.colors.iter().flatten().copied().chain([0, 0, 0]).collect()
    }

    fn unchanged(&self) -> u8 {
        self.colors.len() as u8
    }

    fn indices(&mut self, image: &Image) -> Vec<u8> {
        let mut last = ([0, 0, 0], self.nearest([0, 0, 0]));
        let pixels = image.rgb.chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2]]);
        pixels
            .map(|color| {
                if color != last.0 {
                    last = (color, self.nearest(color));
                }
                last.1
            })
            .collect()
    }

    fn nearest(&mut self, color: Color) -> u8 {
        let colors = &self.colors;
        *self.nearest.entry(color).or_insert_with(|| {
            let closest = (0..colors.len()).min_by_key(|&i| distance(colors[i], color));
            closest.unwrap_or(0) as u8
        })
    }
}

fn shape_color(shape: &Shape) -> Color {
    match shape {
        Shape::Rect { color, .. }
        | Shape::Circle { color, .. }
        | Shape::Line { color, .. }
        | Shape::Polygon { color, .. }
        | Shape::Text { color, .. } => *color,
    }
}

/// Adds the image's pixels by colour, run by run.
fn count_colors(image: &Image, counts: &mut BTreeMap<Color, u32>) {
    for run in image.rgb.as_chunks::<3>().0.chunk_by(|a, b| a == b) {
        *counts.entry(run[0]).or_insert(0) += run.len() as u32;
    }
}

fn distance(a: Color, b: Color) -> i32 {
    (0..3).map(|i| i32::from(a[i]) - i32::from(b[i])).map(|d| d * d).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: f32) -> Scene {
        let shapes = vec![Shape::Circle { x, y: 10.0, radius: 5.0, color: [200, 30, 30] }];
        Scene { width: 60.0, height: 20.0, background: [255, 255, 255], shapes }
    }

    /// Plays an animation back to what each frame shows.
    fn play(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u16>) {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        let width = usize::from(decoder.width());
        let mut canvas = vec![0; width * usize::from(decoder.height()) * 4];
        let (mut frames, mut delays) = (Vec::new(), Vec::new());
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            let (left, top) = (usize::from(frame.left), usize::from(frame.top));
            for (i, rgba) in frame.buffer.chunks_exact(4).enumerate() {
                let (x, y) = (i % usize::from(frame.width), i / usize::from(frame.width));
                if rgba[3] > 0 {
                    let at = ((top + y) * width + left + x) * 4;
                    canvas[at..at + 4].copy_from_slice(rgba);
                }
            }
            frames.push(canvas.clone());
            delays.push(frame.delay);
        }
        (frames, delays)
    }

    #[test]
    fn frames_play_back_as_drawn() {
        let scenes: Vec<Scene> = [10.0, 20.0, 20.0, 50.0].map(dot).to_vec();
        let mut bytes = Vec::new();
        write_gif(&scenes, 30.0, &mut bytes).unwrap();
        let (frames, delays) = play(&bytes);
        assert_eq!(delays, [3, 4, 3, 3]);
        assert_eq!(frames.len(), scenes.len());
        for (frame, scene) in frames.iter().zip(&scenes) {
            let image = image(scene, [60, 20]);
            for (rgba, rgb) in frame.chunks_exact(4).zip(image.rgb.chunks_exact(3)) {
                assert_eq!(&rgba[..3], rgb);
            }
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let refused = |frames: &[Scene], fps| write_gif(frames, fps, Vec::new()).unwrap_err();
        assert!(matches!(refused(&[], 30.0), GifError::NoFrames));
        assert!(matches!(refused(&[dot(1.0)], 0.0), GifError::InvalidFps(_)));
        let huge = Scene { width: 1e6, ..dot(1.0) };
        assert!(matches!(refused(&[huge], 30.0), GifError::InvalidSize { .. }));
    }
}
