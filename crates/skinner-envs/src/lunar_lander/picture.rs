//! What a landing looks like.

use skinner_core::scene::{Color, Scene};

use super::craft::{
    Craft, HEIGHT, HULL, LEG, PAD, PAD_HEIGHT, SCALE, SIDE_AWAY, SIDE_HEIGHT, WIDTH,
};
use crate::draw::{Draw, corners, placed, scene};

const SKY: Color = [18, 20, 38];
const MOON: Color = [196, 198, 204];
const HULL_COLOR: Color = [128, 102, 230];
const LEG_COLOR: Color = [170, 156, 236];
const STRUT: Color = [104, 92, 160];
const FLAG: Color = [232, 200, 40];
const POLE: Color = [240, 240, 240];
const FLAME: Color = [255, 140, 40];
const FLAME_CORE: Color = [255, 226, 130];

/// A point of the world (m, y upwards) in the picture (pixels, y downwards).
fn pixel([x, y]: [f64; 2]) -> [f32; 2] {
    [(x * SCALE) as f32, ((HEIGHT - y) * SCALE) as f32]
}

impl Craft {
    /// The craft above its ground, with flames where engines fire.
    pub fn picture(&self) -> Scene {
        let mut picture = scene((WIDTH * SCALE) as f32, (HEIGHT * SCALE) as f32, SKY);
        let mut ground: Vec<[f32; 2]> = self.ground().map(pixel).collect();
        ground.extend([pixel([WIDTH, 0.0]), pixel([0.0, 0.0])]);
        picture.polygon(&ground, MOON);
        for x in PAD {
            draw_flag(&mut picture, pixel([x, PAD_HEIGHT]));
        }
        self.draw_flames(&mut picture);
        let [hull, legs @ ..] = self.poses();
        for leg in legs {
            picture.line(&[pixel(hull.0), pixel(leg.0)], 2.0, STRUT);
            let [x, y] = LEG;
            draw_body(&mut picture, corners([-x, x], [-y, y]), leg, LEG_COLOR);
        }
        draw_body(&mut picture, HULL.map(|[x, y]| [x, -y]), hull, HULL_COLOR);
        picture
    }

    fn draw_flames(&self, picture: &mut Scene) {
        let (hull, throttle) = (self.poses()[0], self.throttle());
        let (main, side) = (throttle.main as f32, throttle.side as f32);
        if main > 0.0 {
            let flame = |long: f32| [[-7.0, 9.0], [7.0, 9.0], [0.0, 12.0 + long * main]];
            draw_body(picture, flame(34.0), hull, FLAME);
            draw_body(picture, flame(18.0).map(|[x, y]| [x * 0.6, y]), hull, FLAME_CORE);
        }
        if side != 0.0 {
            let (out, height) = (side.signum(), -SIDE_HEIGHT as f32);
            let tip = out * (SIDE_AWAY as f32 + 8.0 + 16.0 * side.abs());
            let root = out * SIDE_AWAY as f32;
            let flame = [[root, height - 4.0], [root, height + 4.0], [tip, height]];
            draw_body(picture, flame, hull, FLAME);
        }
    }
}

/// Corners in pixels around a body's origin, y downwards, where the body is.
fn draw_body<const N: usize>(
    picture: &mut Scene,
    corners: [[f32; 2]; N],
    (position, angle): ([f64; 2], f64),
    color: Color,
) {
    picture.polygon(&placed(corners, pixel(position), -angle as f32), color);
}

fn draw_flag(picture: &mut Scene, [x, y]: [f32; 2]) {
    picture.line(&[[x, y], [x, y - 50.0]], 1.5, POLE);
    picture.polygon(&[[x, y - 50.0], [x, y - 40.0], [x + 25.0, y - 45.0]], FLAG);
}
