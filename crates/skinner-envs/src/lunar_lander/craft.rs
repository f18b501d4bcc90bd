//! The craft and the moon of both landers: one step of physics, and what it is worth.

use rapier2d::prelude::{SharedShape, Vector};
use serde::{Deserialize, Serialize};
use skinner_core::{Rng, Space, Step};

use crate::error::{ParameterError, check, check_finite};
use crate::math::sin_cos;
use crate::physics::{Body, Hinge, Matter, Touch, World};

/// Pixels of a metre: lengths below are given in Gymnasium's pixels.
pub(super) const SCALE: f64 = 30.0;
const FPS: f64 = 50.0;
pub(super) const WIDTH: f64 = 600.0 / SCALE;
pub(super) const HEIGHT: f64 = 400.0 / SCALE;
/// Height of the pad between the flags.
pub(super) const PAD_HEIGHT: f64 = HEIGHT / 4.0;
/// Left and right ends of the pad.
pub(super) const PAD: [f64; 2] = [WIDTH * 0.4, WIDTH * 0.6];
/// Corners of the ground from left to right, `WIDTH / 10` apart.
const CORNERS: usize = 11;

pub(super) const HULL: [[f32; 2]; 6] =
    [[-14.0, 17.0], [-17.0, 0.0], [-17.0, -10.0], [17.0, -10.0], [17.0, 0.0], [14.0, 17.0]];
/// Half of a leg's width and height.
pub(super) const LEG: [f32; 2] = [2.0, 8.0];
/// The hinge of a leg, in the leg's frame.
const LEG_AWAY: f64 = 20.0;
const LEG_DOWN: f64 = 18.0;
/// A leg's motor closes it with this speed (rad/s) and at most this torque (N m): its spring.
const LEG_SPEED: f32 = 0.3;
const LEG_TORQUE: f32 = 40.0;
/// How far the left leg may be turned, in rad; the right one is its mirror image.
const LEG_ANGLES: [f32; 2] = [0.4, 0.9];
/// Where a leg begins, outside of its limits: the first step brings it there.
const LEG_START: f32 = 0.05;

/// An engine's impulse (N s) for each metre between the hull's origin and its nozzle.
const MAIN_POWER: f64 = 13.0;
const SIDE_POWER: f64 = 0.6;
/// The nozzles, seen from the hull's origin. Gymnasium takes one height for the side engines' x and another
/// for their y, so the lever of their push depends on the angle.
const MAIN_BELOW: f64 = 4.0;
pub(super) const SIDE_AWAY: f64 = 12.0;
pub(super) const SIDE_HEIGHT: f64 = 14.0;
const SIDE_LEVER: f64 = 17.0;
/// Bounds of the first push, in N.
const INITIAL_FORCE: f64 = 1000.0;

const SOLVER_ITERATIONS: usize = 30;
/// A body slower than this (m/s, rad/s) for so many steps (half a second) is at rest: the numbers of Box2D.
const REST_SPEED: f64 = 0.01;
const REST_SPIN: f64 = 2.0 / 180.0 * std::f64::consts::PI;
const REST_STEPS: u32 = 25;

/// The world's options; see the table in the [module](crate::lunar_lander).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Acceleration upwards, in m/s².
    pub gravity: f64,
    /// Whether wind blows until a leg touches the ground.
    pub enable_wind: bool,
    /// The largest force of the wind, in N.
    pub wind_power: f64,
    /// The largest torque of the wind, in N m.
    pub turbulence_power: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { gravity: -10.0, enable_wind: false, wind_power: 15.0, turbulence_power: 1.5 }
    }
}

impl Options {
    fn check(&self) -> Result<(), ParameterError> {
        let falls = -12.0 < self.gravity && self.gravity < 0.0;
        check("gravity", self.gravity, "above -12 and below 0", falls)?;
        check_finite("wind_power", self.wind_power)?;
        check_finite("turbulence_power", self.turbulence_power)?;
        Ok(())
    }
}

/// The power of the engines, from 0 to 1; the side engines' with a sign, negative for the left one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Throttle {
    pub main: f64,
    pub side: f64,
}

/// The craft above its landing ground.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Craft {
    options: Options,
    world: World,
    hull: Body,
    legs: [Body; 2],
    /// Height of each corner of the ground.
    ground: [f64; CORNERS],
    /// Angle of the hull, beyond ±π where it has turned around.
    angle: f64,
    hull_touch: Touch,
    leg_touch: [Touch; 2],
    crashed: bool,
    /// For how many steps hull and legs have been slow.
    slow_for: [u32; 3],
    /// What the state was worth at the last step.
    shaping: Option<f64>,
    /// Phases of wind and turbulence.
    wind: [f64; 2],
    throttle: Throttle,
}

impl Craft {
    pub fn new(options: Options) -> Result<Self, ParameterError> {
        options.check()?;
        Ok(Self::above(options, [PAD_HEIGHT; CORNERS], [0.0; 2]))
    }

    /// A craft at rest above this ground, pushed by a force (N) for one step.
    fn above(options: Options, ground: [f64; CORNERS], push: [f64; 2]) -> Self {
        let mut world = World::new(options.gravity as f32, (1.0 / FPS) as f32, SOLVER_ITERATIONS);
        lay_ground(&mut world, &ground);
        let hull = build_hull(&mut world);
        world.push_center(&hull, push, 0.0);
        let legs = [-1.0, 1.0].map(|side| build_leg(&mut world, &hull, side));
        Self {
            options,
            world,
            hull,
            legs,
            ground,
            angle: 0.0,
            hull_touch: Touch::default(),
            leg_touch: [Touch::default(); 2],
            crashed: false,
            slow_for: [0; 3],
            shaping: None,
            wind: [0.0; 2],
            throttle: Throttle::default(),
        }
    }

    /// A new episode, after its first step without engines.
    pub fn reset(&mut self, rng: &mut Rng) -> [f32; 8] {
        let ground = draw_ground(rng);
        let push = std::array::from_fn(|_| rng.uniform(-INITIAL_FORCE, INITIAL_FORCE));
        *self = Self::above(self.options, ground, push);
        if self.options.enable_wind {
            self.wind = std::array::from_fn(|_| rng.below(2 * 9999) as f64 - 9999.0);
        }
        self.step(Throttle::default(), rng).obs
    }

    pub fn step(&mut self, throttle: Throttle, rng: &mut Rng) -> Step<[f32; 8]> {
        self.throttle = throttle;
        if self.options.enable_wind && !self.leg_touch.iter().any(|touch| touch.contact) {
            self.blow();
        }
        self.fire(throttle, rng);
        self.move_on();
        let state = self.state();
        let shaping = worth(&state);
        let gain = self.shaping.replace(shaping).map_or(0.0, |before| shaping - before);
        let fuel = 0.3 * throttle.main + 0.03 * throttle.side.abs();
        let (reward, terminated) = if self.at_rest() {
            (100.0, true)
        } else if self.crashed || state[0].abs() >= 1.0 {
            (-100.0, true)
        } else {
            (gain - fuel, false)
        };
        let obs = state.map(|value| value as f32);
        Step { obs, reward: reward as f32, terminated, truncated: false }
    }

    fn blow(&mut self) {
        let gust = |phase: f64| {
            ((0.02 * phase).sin() + (std::f64::consts::PI * 0.01 * phase).sin()).tanh()
        };
        let [wind, turbulence] = self.wind.map(gust);
        let force = wind * self.options.wind_power;
        self.world.push_center(
            &self.hull,
            [force, 0.0],
            turbulence * self.options.turbulence_power,
        );
        self.wind = self.wind.map(|phase| phase + 1.0);
    }

    /// The engines' impulses, scattered by two random numbers that every step draws.
    fn fire(&mut self, throttle: Throttle, rng: &mut Rng) {
        let scatter: [f64; 2] = std::array::from_fn(|_| rng.uniform(-1.0, 1.0) / SCALE);
        let (sin, cos) = sin_cos(self.angle);
        let [x, y] = self.world.position(&self.hull);
        if throttle.main > 0.0 {
            let down = MAIN_BELOW / SCALE + 2.0 * scatter[0];
            let [ox, oy] = [sin * down - cos * scatter[1], -cos * down - sin * scatter[1]];
            let force = [ox, oy].map(|o| -o * MAIN_POWER * throttle.main * FPS);
            self.world.push(&self.hull, force, [x + ox, y + oy]);
        }
        if throttle.side != 0.0 {
            let out = 3.0 * scatter[1] + throttle.side.signum() * SIDE_AWAY / SCALE;
            let [ox, oy] = [sin * scatter[0] - cos * out, -cos * scatter[0] - sin * out];
            let force = [ox, oy].map(|o| -o * SIDE_POWER * throttle.side.abs() * FPS);
            let point = [x + ox - sin * SIDE_LEVER / SCALE, y + oy + cos * SIDE_HEIGHT / SCALE];
            self.world.push(&self.hull, force, point);
        }
    }

    /// One step of the engine, and what came to touch what.
    fn move_on(&mut self) {
        let before = self.world.angle(&self.hull);
        self.world.step();
        self.world.release(&self.hull);
        let turned = self.world.angle(&self.hull) - before;
        self.angle += turned - (turned / std::f64::consts::TAU).round() * std::f64::consts::TAU;
        self.crashed |= self.hull_touch.update(&self.world, &self.hull);
        for (touch, leg) in self.leg_touch.iter_mut().zip(&self.legs) {
            touch.update(&self.world, leg);
        }
        self.settle();
    }

    /// Counts the steps for which each body has been slow.
    fn settle(&mut self) {
        for (body, slow_for) in self.bodies().into_iter().zip(&mut self.slow_for) {
            let ([vx, vy], spin) = self.world.velocity(&body);
            let slow = vx.hypot(vy) <= REST_SPEED && spin.abs() <= REST_SPIN;
            *slow_for = if slow { *slow_for + 1 } else { 0 };
        }
    }

    fn at_rest(&self) -> bool {
        self.slow_for.iter().all(|&steps| steps >= REST_STEPS)
    }

    fn bodies(&self) -> [Body; 3] {
        [self.hull, self.legs[0], self.legs[1]]
    }

    /// The observation in double precision.
    fn state(&self) -> [f64; 8] {
        let [x, y] = self.world.position(&self.hull);
        let ([vx, vy], spin) =
            if self.at_rest() { ([0.0; 2], 0.0) } else { self.world.velocity(&self.hull) };
        let contact = self.leg_touch.map(|touch| f64::from(u8::from(touch.contact)));
        [
            (x - WIDTH / 2.0) / (WIDTH / 2.0),
            (y - (PAD_HEIGHT + LEG_DOWN / SCALE)) / (HEIGHT / 2.0),
            vx * (WIDTH / 2.0) / FPS,
            vy * (HEIGHT / 2.0) / FPS,
            self.angle,
            20.0 * spin / FPS,
            contact[0],
            contact[1],
        ]
    }

    /// The hull's and the legs' positions (m) and angles (rad).
    pub fn poses(&self) -> [([f64; 2], f64); 3] {
        self.bodies().map(|body| (self.world.position(&body), self.world.angle(&body)))
    }

    /// The corners of the ground from left to right, in m.
    pub fn ground(&self) -> impl Iterator<Item = [f64; 2]> {
        self.ground.iter().enumerate().map(|(i, &height)| [corner_x(i), height])
    }

    pub fn throttle(&self) -> Throttle {
        self.throttle
    }
}

/// What a state is worth: near the pad, slow, upright, on its legs.
fn worth([x, y, vx, vy, angle, _, left, right]: &[f64; 8]) -> f64 {
    -100.0 * (x * x + y * y).sqrt() - 100.0 * (vx * vx + vy * vy).sqrt() - 100.0 * angle.abs()
        + 10.0 * left
        + 10.0 * right
}

/// Random heights, level around the pad, each corner the (slightly lowered) mean of three.
fn draw_ground(rng: &mut Rng) -> [f64; CORNERS] {
    let mut heights: [f64; CORNERS + 1] = std::array::from_fn(|_| rng.uniform(0.0, HEIGHT / 2.0));
    heights[CORNERS / 2 - 2..=CORNERS / 2 + 2].fill(PAD_HEIGHT);
    std::array::from_fn(|i| {
        let left = heights[if i == 0 { CORNERS } else { i - 1 }];
        0.33 * (left + heights[i] + heights[i + 1])
    })
}

fn corner_x(i: usize) -> f64 {
    WIDTH / (CORNERS - 1) as f64 * i as f64
}

fn lay_ground(world: &mut World, heights: &[f64; CORNERS]) {
    world.ground([[0.0, 0.0], [WIDTH as f32, 0.0]], 0.2, CORNERS);
    for i in 0..CORNERS - 1 {
        let corner = |i: usize| [corner_x(i) as f32, heights[i] as f32];
        world.ground([corner(i), corner(i + 1)], 0.1, i);
    }
}

fn build_hull(world: &mut World) -> Body {
    let corners = HULL.map(|corner| vector(corner.map(|pixels| f64::from(pixels) / SCALE)));
    let shape = SharedShape::convex_polyline(corners.to_vec()).expect("the hull is convex");
    let matter = Matter { density: 5.0, friction: 0.1 };
    world.body(shape, &matter, [(WIDTH / 2.0) as f32, HEIGHT as f32], 0.0)
}

/// The leg on one side: -1 is the left one, whose anchor lies to its own left.
fn build_leg(world: &mut World, hull: &Body, side: f64) -> Body {
    let [half_width, half_height] = LEG.map(|pixels| pixels / SCALE as f32);
    let at = [(WIDTH / 2.0 - side * LEG_AWAY / SCALE) as f32, HEIGHT as f32];
    let matter = Matter { density: 1.0, friction: 0.2 };
    let shape = SharedShape::cuboid(half_width, half_height);
    let leg = world.body(shape, &matter, at, side as f32 * LEG_START);
    let [least, most] = LEG_ANGLES;
    let hinge = Hinge {
        anchors: [[0.0; 2], [side * LEG_AWAY / SCALE, LEG_DOWN / SCALE].map(|x| x as f32)],
        limits: if side < 0.0 { [least, most] } else { [-most, -least] },
        start: side as f32 * LEG_START,
        motor_speed: LEG_SPEED * side as f32,
        motor_torque: LEG_TORQUE,
    };
    world.hinge(hull, &leg, &hinge);
    leg
}

fn vector([x, y]: [f64; 2]) -> Vector {
    Vector::new(x as f32, y as f32)
}

pub(crate) fn observation_space() -> Space {
    // Nothing but the sides and the ground stops a craft that climbs or spins.
    let free = f32::INFINITY;
    let high = vec![2.5, free, free, free, free, free, 1.0, 1.0];
    let low = vec![-2.5, -free, -free, -free, -free, -free, 0.0, 0.0];
    Space::Box { low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_worth(state: [f64; 8], expected: f64) {
        let found = worth(&state);
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn a_state_is_worth_what_the_formula_says() {
        check_worth([0.0; 8], 0.0);
        check_worth([0.3, 0.4, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0], -50.0);
        check_worth([0.0, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, 0.0], -100.0);
        check_worth([0.0, 0.0, 0.0, 0.0, -0.25, 0.0, 1.0, 0.0], -15.0);
        check_worth([0.06, -0.08, 0.05, 0.12, 0.1, 1.0, 1.0, 1.0], -13.0);
    }

    /// The first step's reward is what the state gained in worth less the fuel.
    #[test]
    fn rewards_are_gains_in_worth_less_fuel() {
        let mut rng = Rng::new(3);
        let mut craft = Craft::new(Options::default()).unwrap();
        craft.reset(&mut rng);
        for (main, side, fuel) in [(0.0, 0.0, 0.0), (1.0, 0.0, 0.3), (0.5, -0.75, 0.1725)] {
            let before = worth(&craft.state());
            let reward = craft.step(Throttle { main, side }, &mut rng).reward;
            let expected = (worth(&craft.state()) - before - fuel) as f32;
            assert_eq!(reward, expected);
        }
    }

    /// NumPy's `default_rng(0).uniform(0, 20 / 3, size=12)`, smoothed as Gymnasium 1.4.0 smooths it.
    #[test]
    fn the_ground_is_gymnasiums() {
        let found = draw_ground(&mut Rng::new(0));
        let expected = [
            2.000_871_182_762_040_2,
            2.084_988_235_047_342_5,
            1.783_672_522_940_143,
            2.290_141_752_659_628_6,
            3.3,
            3.3,
            3.3,
            3.395_974_981_223_931,
            4.353_134_313_557_021,
            5.048_012_132_624_392,
            3.858_061_851_774_787,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }

    /// Without engines the whole falls freely; the legs' play at their limits shakes the hull a little.
    #[test]
    fn the_craft_falls_with_gravity() {
        let options = Options { gravity: -7.0, ..Options::default() };
        let mut craft = Craft::new(options).unwrap();
        let mut rng = Rng::new(1);
        let mut velocity_after = |steps: usize| {
            for _ in 0..steps {
                craft.step(Throttle::default(), &mut rng);
            }
            craft.state()[3] * FPS / (HEIGHT / 2.0)
        };
        let gained = velocity_after(5) - velocity_after(25);
        assert!((gained - 7.0 * 25.0 / FPS).abs() < 0.01, "{gained}");
    }

    #[test]
    fn wind_blows_until_a_leg_touches() {
        let options = Options { enable_wind: true, ..Options::default() };
        let mut craft = Craft::new(options).unwrap();
        let mut rng = Rng::new(1);
        craft.reset(&mut rng);
        let phase = craft.wind[0];
        craft.step(Throttle::default(), &mut rng);
        assert_eq!(craft.wind[0], phase + 1.0);
        craft.leg_touch[0].contact = true;
        craft.step(Throttle::default(), &mut rng);
        assert_eq!(craft.wind[0], phase + 1.0);
    }

    #[test]
    fn gravity_must_pull_down() {
        let error = |gravity| {
            let options = Options { gravity, ..Options::default() };
            Craft::new(options).err().unwrap().to_string()
        };
        assert_eq!(error(0.0), "`gravity` must be above -12 and below 0, not 0");
        assert_eq!(error(-12.0), "`gravity` must be above -12 and below 0, not -12");
    }
}
