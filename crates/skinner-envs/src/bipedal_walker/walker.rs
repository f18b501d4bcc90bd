//! The walker and its field: one step of physics, and what it is worth.

use rapier2d::prelude::{SharedShape, Vector};
use serde::{Deserialize, Serialize};
use skinner_core::{
    Rng, Step,
    scene::{Color, Scene},
};

use crate::draw::{Draw, corners, placed, scene};
use crate::math::sin_cos;
use crate::physics::{Body, Hinge, Matter, Touch, World};

/// Pixels of a metre: lengths below are given in Gymnasium's pixels.
const SCALE: f64 = 30.0;
const FPS: f64 = 50.0;
const WIDTH: f64 = 600.0 / SCALE;
const HEIGHT: f64 = 400.0 / SCALE;
/// Width of a piece of ground, in m, and how many corners there are.
const PIECE: f64 = 14.0 / SCALE;
const CORNERS: usize = 200;
/// The level part at the start, and the last part that need not be walked, in pieces.
const START: usize = 20;
const END: usize = 10;
const GROUND_HEIGHT: f64 = HEIGHT / 4.0;
const GROUND_FRICTION: f32 = 2.5;

const HULL: [[f32; 2]; 5] = [[-30.0, 9.0], [6.0, 9.0], [34.0, 1.0], [34.0, -8.0], [-30.0, -8.0]];
const HIP_BELOW: f32 = 8.0;
const LEG_LENGTH: f32 = 34.0;
/// Widths of the upper and the lower part of a leg.
const LEG_WIDTHS: [f32; 2] = [8.0, 6.4];
/// For hip and knee: the limits of the angle (rad), the posture at first, the motor's speed (rad/s).
const LIMITS: [[f32; 2]; 2] = [[-0.8, 1.1], [-1.6, -0.1]];
const POSTURE: [f32; 2] = [0.385, -0.885];
const SPEEDS: [f64; 2] = [4.0, 6.0];
const TORQUE: f64 = 80.0;
/// How far the first push goes, in N.
const INITIAL_FORCE: f64 = 5.0;
/// Where the hull begins above the ground: with the feet just on it.
const HULL_ABOVE: f64 = 72.0 / SCALE;
const RAY_LENGTH: f64 = 160.0 / SCALE;
const RAYS: usize = 10;

const SOLVER_ITERATIONS: usize = 30;

/// One leg: its upper and its lower part.
#[derive(Clone, Serialize, Deserialize)]
struct Leg {
    parts: [Body; 2],
    foot: Touch,
}

/// The walker on its field.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Walker {
    world: World,
    hull: Body,
    hull_touch: Touch,
    legs: [Leg; 2],
    /// Height of each corner of the ground.
    ground: Vec<f64>,
    /// Angle of the hull, beyond ±π where it has turned around.
    angle: f64,
    fallen: bool,
    /// What the state was worth at the last step.
    shaping: Option<f64>,
}

impl Walker {
    pub fn on_level_ground() -> Self {
        Self::on(vec![GROUND_HEIGHT; CORNERS], 0.0)
    }

    pub fn on_random_ground(rng: &mut Rng) -> Self {
        let ground = draw_ground(rng);
        skip_clouds(rng);
        Self::on(ground, rng.uniform(-INITIAL_FORCE, INITIAL_FORCE))
    }

    /// A walker at rest, pushed sideways by a force (N) for one step.
    fn on(ground: Vec<f64>, push: f64) -> Self {
        let mut world = World::new(-10.0, (1.0 / FPS) as f32, SOLVER_ITERATIONS);
        for (i, pair) in ground.windows(2).enumerate() {
            let corner = |i: usize, height: f64| [(i as f64 * PIECE) as f32, height as f32];
            world.ground([corner(i, pair[0]), corner(i + 1, pair[1])], GROUND_FRICTION, i);
        }
        let hull = build_hull(&mut world);
        world.push_center(&hull, [push, 0.0], 0.0);
        let legs = [0.05, -0.05].map(|turned| build_leg(&mut world, &hull, turned));
        let hull_touch = Touch::default();
        Self { world, hull, hull_touch, legs, ground, angle: 0.0, fallen: false, shaping: None }
    }

    pub fn step(&mut self, action: [f64; 4]) -> Step<[f32; 24]> {
        let motors = self.legs.iter().flat_map(|leg| &leg.parts).zip(SPEEDS.iter().cycle());
        for ((part, speed), action) in motors.zip(action) {
            let torque = TORQUE * action.abs().min(1.0);
            let direction = if action == 0.0 { 0.0 } else { action.signum() };
            self.world.drive(part, (speed * direction) as f32, torque as f32);
        }
        self.move_on();
        let state = self.state();
        let [x, _] = self.world.position(&self.hull);
        let shaping = 130.0 * x / SCALE - 5.0 * state[0].abs();
        let gain = self.shaping.replace(shaping).map_or(0.0, |before| shaping - before);
        let effort: f64 =
            action.iter().map(|action| 0.000_35 * TORQUE * action.abs().min(1.0)).sum();
        let fallen = self.fallen || x < 0.0;
        let arrived = x > (CORNERS - END) as f64 * PIECE;
        let reward = if fallen { -100.0 } else { gain - effort };
        let obs = state.map(|value| value as f32);
        Step { obs, reward: reward as f32, terminated: fallen || arrived, truncated: false }
    }

    /// One step of the engine, and what came to touch what.
    fn move_on(&mut self) {
        let before = self.world.angle(&self.hull);
        self.world.step();
        self.world.release(&self.hull);
        let turned = self.world.angle(&self.hull) - before;
        self.angle += turned - (turned / std::f64::consts::TAU).round() * std::f64::consts::TAU;
        self.fallen |= self.hull_touch.update(&self.world, &self.hull);
        for leg in &mut self.legs {
            leg.foot.update(&self.world, &leg.parts[1]);
        }
    }

    /// The observation in double precision.
    fn state(&self) -> [f64; 24] {
        let ([vx, vy], spin) = self.world.velocity(&self.hull);
        let mut state = [0.0; 24];
        let scaled_vx = 0.3 * vx * WIDTH / FPS;
        let scaled_vy = 0.3 * vy * HEIGHT / FPS;
        state[..4].copy_from_slice(&[self.angle, 2.0 * spin / FPS, scaled_vx, scaled_vy]);
        for (leg, row) in self.legs.iter().zip(state[4..14].chunks_exact_mut(5)) {
            let [hip, knee] = self.joints(leg);
            row[..2].copy_from_slice(&[hip.0, hip.1 / SPEEDS[0]]);
            row[2..4].copy_from_slice(&[knee.0 + 1.0, knee.1 / SPEEDS[1]]);
            row[4] = f64::from(u8::from(leg.foot.contact));
        }
        let from = self.world.position(&self.hull);
        for (ray, fraction) in state[14..].iter_mut().enumerate() {
            *fraction = self.cast(from, 1.5 * ray as f64 / RAYS as f64);
        }
        state
    }

    /// Angles (rad) and angular velocities (rad/s) of a leg's hip and knee.
    fn joints(&self, leg: &Leg) -> [(f64, f64); 2] {
        let [upper, lower] = &leg.parts;
        [(&self.hull, upper), (upper, lower)].map(|(first, second)| {
            let turn = self.world.angle(second) - self.world.angle(first);
            let around = std::f64::consts::TAU;
            let speed = self.world.velocity(second).1 - self.world.velocity(first).1;
            (turn - (turn / around).round() * around, speed)
        })
    }

    /// The part of a ray's length that is free of ground, for a ray at `angle` from straight down.
    fn cast(&self, [x, y]: [f64; 2], angle: f64) -> f64 {
        let (sin, cos) = sin_cos(angle);
        let (run, fall) = (sin * RAY_LENGTH, cos * RAY_LENGTH);
        let piece = |x: f64| (x / PIECE).max(0.0) as usize;
        let last = piece(x + run).min(CORNERS - 2);
        // How high the ray is above the ground, at a fraction of its length.
        let above = |fraction: f64, piece: usize| {
            let along = (x + run * fraction) / PIECE - piece as f64;
            let (left, right) = (self.ground[piece], self.ground[piece + 1]);
            y - fall * fraction - (left + (right - left) * along)
        };
        for piece in piece(x)..=last {
            let end = if run > 0.0 { ((piece + 1) as f64 * PIECE - x) / run } else { 1.0 };
            let end = end.clamp(0.0, 1.0);
            if above(end, piece) <= 0.0 {
                let (top, bottom) = (above(0.0, piece), above(1.0, piece));
                return (top / (top - bottom)).clamp(0.0, 1.0);
            }
        }
        1.0
    }

    /// The walker on the part of the field around it.
    pub fn picture(&self) -> Scene {
        const SKY: Color = [215, 215, 255];
        const GRASS: Color = [102, 153, 76];
        const HULL_COLOR: Color = [127, 51, 229];
        const LEG_COLORS: [Color; 2] = [[178, 101, 152], [128, 51, 102]];
        let [x, _] = self.world.position(&self.hull);
        let left = x - WIDTH / 5.0;
        let pixel = |[x, y]: [f64; 2]| [((x - left) * SCALE) as f32, ((HEIGHT - y) * SCALE) as f32];
        let mut picture = scene((WIDTH * SCALE) as f32, (HEIGHT * SCALE) as f32, SKY);
        let seen = |&(i, _): &(usize, &f64)| {
            (left - PIECE..=left + WIDTH + PIECE).contains(&(i as f64 * PIECE))
        };
        let line: Vec<[f32; 2]> = self
            .ground
            .iter()
            .enumerate()
            .filter(seen)
            .map(|(i, &height)| pixel([i as f64 * PIECE, height]))
            .collect();
        let bottom = (HEIGHT * SCALE) as f32;
        let ends = [line[line.len() - 1][0], line[0][0]].map(|x| [x, bottom]);
        picture.polygon(&[&line[..], &ends].concat(), GRASS);
        let mut draw = |corners: &[[f32; 2]], body: &Body, color: Color| {
            let (at, angle) = (pixel(self.world.position(body)), -self.world.angle(body) as f32);
            let points: Vec<_> =
                corners.iter().flat_map(|&corner| placed([corner], at, angle)).collect();
            picture.polygon(&points, color);
        };
        for (leg, color) in self.legs.iter().zip(LEG_COLORS) {
            for (part, width) in leg.parts.iter().zip(LEG_WIDTHS) {
                let (x, y) = (0.5 * width, 0.5 * LEG_LENGTH);
                draw(&corners([-x, x], [-y, y]), part, color);
            }
        }
        draw(&HULL.map(|[x, y]| [x, -y]), &self.hull, HULL_COLOR);
        picture
    }
}

/// Heights of the corners: level at first, then drawn back to the middle and pushed at random.
fn draw_ground(rng: &mut Rng) -> Vec<f64> {
    let (mut height, mut slope) = (GROUND_HEIGHT, 0.0);
    let (mut left, mut level) = (START, false);
    (0..CORNERS)
        .map(|i| {
            if !level {
                let off = GROUND_HEIGHT - height;
                slope = 0.8 * slope + if off == 0.0 { 0.0 } else { 0.01 * off.signum() };
                if i > START {
                    slope += rng.uniform(-1.0, 1.0) / SCALE;
                }
                height += slope;
            }
            left -= 1;
            level = left == 0;
            if level {
                left = END / 2 + rng.below(END - END / 2);
            }
            height
        })
        .collect()
}

/// Gymnasium draws the clouds' shapes from the same generator: ten of one position and five corners.
fn skip_clouds(rng: &mut Rng) {
    for _ in 0..10 * (1 + 5 * 2) {
        rng.random();
    }
}

fn build_hull(world: &mut World) -> Body {
    let points = HULL.map(|[x, y]| Vector::new(x, y) / SCALE as f32);
    let shape = SharedShape::convex_polyline(points.to_vec()).expect("the hull is convex");
    let at = [PIECE * START as f64 / 2.0, GROUND_HEIGHT + HULL_ABOVE].map(|x| x as f32);
    world.body(shape, &Matter { density: 5.0, friction: 0.1 }, at, 0.0)
}

/// A leg whose hip begins `turned` (rad) from the posture.
fn build_leg(world: &mut World, hull: &Body, turned: f32) -> Leg {
    let half = 0.5 * LEG_LENGTH / SCALE as f32;
    let matter = Matter { density: 1.0, friction: 0.2 };
    // The chain's first step puts the parts where their hinges say.
    let at = [PIECE * START as f64 / 2.0, GROUND_HEIGHT + HULL_ABOVE].map(|x| x as f32);
    let parts = LEG_WIDTHS.map(|width| {
        let shape = SharedShape::cuboid(0.5 * width / SCALE as f32, half);
        world.body(shape, &matter, at, 0.0)
    });
    let hips = [0.0, -HIP_BELOW / SCALE as f32];
    for (i, (first, anchor)) in [(hull, hips), (&parts[0], [0.0, -half])].into_iter().enumerate() {
        let hinge = Hinge {
            anchors: [anchor, [0.0, half]],
            limits: LIMITS[i],
            start: POSTURE[i] + if i == 0 { turned } else { 0.0 },
            motor_speed: 0.0,
            motor_torque: 0.0,
        };
        world.hinge(first, &parts[i], &hinge);
    }
    Leg { parts, foot: Touch::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rays_end_where_the_ground_is() {
        let walker = Walker::on_level_ground();
        let check = |angle: f64, expected: f64| {
            let found = walker.cast([10.0, GROUND_HEIGHT + 2.0], angle);
            assert!((found - expected).abs() < 1e-9, "{found}, not {expected}, at {angle}");
        };
        check(0.0, 2.0 / RAY_LENGTH);
        check(1.0, 2.0 / (RAY_LENGTH * 1.0_f64.cos()));
        check(1.35, 1.0);
        let mut hill = walker.clone();
        hill.ground[25..].fill(GROUND_HEIGHT + 1.0);
        // The rise from corner 24 (11.2 m) to 25 is met at a height h above the level ground where
        // 10 + (2 - h) tan 1 = 11.2 + h PIECE.
        let height = (1.0_f64.tan() * 2.0 - 1.2) / (1.0_f64.tan() + PIECE);
        let expected = (2.0 - height) / (RAY_LENGTH * 1.0_f64.cos());
        let found = hill.cast([10.0, GROUND_HEIGHT + 2.0], 1.0);
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    /// The first heights that differ from the level ones with Gymnasium 1.4.0 and seed 0.
    #[test]
    fn the_ground_is_gymnasiums() {
        let ground = draw_ground(&mut Rng::new(0));
        assert!(ground[..=20].iter().all(|&height| height == GROUND_HEIGHT));
        let expected = [
            3.317_985_780_917_591_7,
            3.285_105_973_914_077_5,
            3.236_570_637_346_501_7,
            3.228_627_050_705_792_4,
            3.259_789_219_878_406_6,
            3.301_828_006_934_31,
            3.360_758_807_311_299_3,
            3.400_811_780_377_252,
            3.400_811_780_377_252,
            3.451_858_987_082_532_2,
        ];
        for (found, expected) in ground[21..].iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }
}
