//! What becomes of a [`Scene`](skinner_core::scene::Scene): vector graphics, an animation, or text.

#[cfg(feature = "render")]
mod gif;
#[cfg(feature = "render")]
mod raster;
mod svg;
#[cfg(feature = "render")]
mod terminal;

#[cfg(feature = "render")]
pub use self::gif::{GifError, write_gif};
#[cfg(feature = "render")]
pub use raster::{Image, rasterize};
pub use svg::to_svg;
#[cfg(feature = "render")]
pub use terminal::to_terminal;
