//! `Taxi-v4`: fetch a passenger at one of four places and set them down at another.
//!
//! A grid of 5 rows and 5 columns with walls (`|`) and the places Red, Green, Yellow and Blue:
//!
//! ```text
//! +---------+
//! |R: | : :G|
//! | : | : : |
//! | : : : : |
//! | | : | : |
//! |Y| : |B: |
//! +---------+
//! ```
//!
//! # Actions: `Discrete(6)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | drive south (down) |
//! | 1 | drive north (up) |
//! | 2 | drive east (right) |
//! | 3 | drive west (left) |
//! | 4 | pick the passenger up |
//! | 5 | set the passenger down |
//!
//! # Observations: `Discrete(500)`
//!
//! `((row * 5 + column) * 5 + passenger) * 4 + destination`, where `passenger` is the place they wait
//! at (0 Red, 1 Green, 2 Yellow, 3 Blue) or 4 in the taxi, and `destination` is a place.
//!
//! # Rewards
//!
//! | step | reward |
//! |---|---|
//! | the passenger is set down at the destination | 20 |
//! | picking up or setting down where that cannot be done | -10 |
//! | any other | -1 |
//!
//! Setting the passenger down at one of the other three places is allowed and costs -1.
//!
//! # Start
//!
//! Uniform over the 300 states in which the passenger waits at a place that is not the destination.
//!
//! # Options
//!
//! `is_rainy`: a drive that no wall blocks goes where it was meant to go with `rainy_probability`,
//! else to its left or its right with equal probability. `fickle_passenger`: with
//! `fickle_probability`, drawn when the episode starts, the passenger names another destination once
//! the taxi has moved with them.
//!
//! # Episode End
//!
//! - **Termination**: the passenger is set down at the destination.
//! - **Truncation**: none here; registered with a limit of 200 steps.
//!
//! Reward threshold 8. The best policy's mean return over the starts is 7.93.
//!
//! # Source
//!
//! T. Dietterich, "Hierarchical Reinforcement Learning with the MAXQ Value Function Decomposition",
//! JAIR 13 (2000); behaviour and numbers of Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::mdp::{Cell, Layout, Mark, Panel, Tabular, Transition};
use skinner_core::{
    Env, Rng, Space, Step,
    scene::{Color, Scene},
};

use crate::draw::{BLACK, Draw, GREY, WHITE, scene};
use crate::error::{ParameterError, check_probability};
use crate::tiles;

const SIDE: usize = 5;
const CELLS: usize = SIDE * SIDE;
const STATES: usize = CELLS * 5 * 4;
const STARTS: usize = CELLS * 4 * 3;
const PLACES: [usize; 4] = [0, 4, 20, 23];
const IN_TAXI: usize = 4;
/// Cells with a wall on their east side.
const WALLED: [usize; 6] = [1, 6, 15, 20, 17, 22];
const MOVES: [[u8; 4]; CELLS] = moves();
/// The directions to the left and to the right of each.
const SIDES: [[usize; 2]; 4] = [[2, 3], [3, 2], [1, 0], [0, 1]];
const CUMULATIVE_STARTS: [f64; STARTS] = cumulative_starts();

const PICK_UP: usize = 4;

/// The taxi; see the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taxi {
    cell: usize,
    passenger: usize,
    destination: usize,
    rainy_probability: Option<f64>,
    fickle_probability: Option<f64>,
    /// Whether the passenger will change their mind in this episode.
    fickle: bool,
}

impl Taxi {
    /// A taxi in dry weather with a steadfast passenger, unless a probability says otherwise:
    /// `rainy_probability` of driving straight on in rain, `fickle_probability` of a change of mind.
    ///
    /// # Errors
    /// If either is no probability.
    pub fn new(
        rainy_probability: Option<f64>,
        fickle_probability: Option<f64>,
    ) -> Result<Self, ParameterError> {
        if let Some(probability) = rainy_probability {
            check_probability("rainy_probability", probability)?;
        }
        if let Some(probability) = fickle_probability {
            check_probability("fickle_probability", probability)?;
        }
        Ok(Self { rainy_probability, fickle_probability, ..Self::default() })
    }

    /// The state's index, as observed.
    pub fn state(&self) -> usize {
        (self.cell * 5 + self.passenger) * 4 + self.destination
    }

    /// Which actions change the state.
    pub fn action_mask(&self) -> [bool; 6] {
        let moves = MOVES[self.cell].map(|next| next as usize != self.cell);
        let waits_here = self.passenger < 4 && PLACES[self.passenger] == self.cell;
        let can_set_down = self.passenger == IN_TAXI && PLACES.contains(&self.cell);
        [moves[0], moves[1], moves[2], moves[3], waits_here, can_set_down]
    }

    fn set_state(&mut self, state: usize) {
        self.destination = state % 4;
        self.passenger = state / 4 % 5;
        self.cell = state / 20;
    }

    /// The probabilities to drive straight on, to the left and to the right.
    fn drift(straight: f64) -> [f64; 3] {
        let side = (1.0 - straight) / 2.0;
        [straight, side, side]
    }

    /// Reward and termination of picking up or setting down.
    #[inline]
    fn serve(&mut self, action: usize) -> (f32, bool) {
        let place = PLACES.iter().position(|&cell| cell == self.cell);
        let Some(place) = place else { return (-10.0, false) };
        if action == PICK_UP && self.passenger == place {
            self.passenger = IN_TAXI;
            return (-1.0, false);
        }
        if action == PICK_UP || self.passenger != IN_TAXI {
            return (-10.0, false);
        }
        self.passenger = place;
        if place == self.destination { (20.0, true) } else { (-1.0, false) }
    }

    #[inline]
    fn drive(&mut self, action: usize, outcome: usize, rng: &mut Rng) {
        let start = self.cell;
        self.cell = destination(start, action, outcome);
        if self.fickle && self.passenger == IN_TAXI && self.cell != start {
            self.fickle = false;
            let other = rng.below(3);
            self.destination = other + usize::from(other >= self.destination);
        }
    }
}

/// Where a drive ends: `outcome` 0 is straight on, 1 left, 2 right. A blocked drive does not drift.
#[inline]
fn destination(cell: usize, action: usize, outcome: usize) -> usize {
    let straight = MOVES[cell][action] as usize;
    if outcome == 0 || straight == cell {
        straight
    } else {
        MOVES[cell][SIDES[action][outcome - 1]] as usize
    }
}

const fn walled(cell: usize) -> bool {
    let mut i = 0;
    while i < WALLED.len() {
        if WALLED[i] == cell {
            return true;
        }
        i += 1;
    }
    false
}

const fn moves() -> [[u8; 4]; CELLS] {
    let mut table = [[0; 4]; CELLS];
    let mut cell = 0;
    while cell < CELLS {
        let (row, column) = (cell / SIDE, cell % SIDE);
        let south = if row + 1 < SIDE { cell + SIDE } else { cell };
        let north = if row > 0 { cell - SIDE } else { cell };
        let east = if column + 1 < SIDE && !walled(cell) { cell + 1 } else { cell };
        let west = if column > 0 && !walled(cell - 1) { cell - 1 } else { cell };
        table[cell] = [south as u8, north as u8, east as u8, west as u8];
        cell += 1;
    }
    table
}

const fn cumulative_starts() -> [f64; STARTS] {
    let mut table = [0.0; STARTS];
    let mut sum = 0.0;
    let mut i = 0;
    while i < STARTS {
        sum += 1.0 / STARTS as f64;
        table[i] = sum;
        i += 1;
    }
    table
}

/// The state with this rank among the starting states.
fn starting_state(rank: usize) -> usize {
    let (cell, passenger, other) = (rank / 12, rank / 3 % 4, rank % 3);
    (cell * 5 + passenger) * 4 + other + usize::from(other >= passenger)
}

impl Env for Taxi {
    type Obs = usize;
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::Discrete(STATES)
    }

    fn action_space(&self) -> Space {
        Space::Discrete(6)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> usize {
        let u = rng.random();
        let rank = CUMULATIVE_STARTS.partition_point(|&sum| sum <= u).min(STARTS - 1);
        self.set_state(starting_state(rank));
        self.fickle = self.fickle_probability.is_some_and(|p| rng.random() < p);
        self.state()
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<usize> {
        debug_assert!(*action < 6, "action {action} of 6");
        // Gymnasium draws a number for each step, also where there is but one outcome.
        let (reward, terminated) = if *action < PICK_UP {
            let outcome = if let Some(straight) = self.rainy_probability {
                rng.categorical(&Self::drift(straight))
            } else {
                rng.random();
                0
            };
            self.drive(*action, outcome, rng);
            (-1.0, false)
        } else {
            rng.random();
            self.serve(*action)
        };
        Step { obs: self.state(), reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        const MARGIN: f32 = 24.0;
        let extent = SIDE as f32 * tiles::CELL;
        let mut picture = scene(extent + 2.0 * MARGIN, extent + 2.0 * MARGIN, [104, 138, 92]);
        picture.rounded_rect([MARGIN - 6.0; 2], [extent + 12.0; 2], 8.0, [60, 64, 70]);
        picture.rect(MARGIN, MARGIN, extent, extent, [214, 214, 210]);
        let corner = |cell: usize| tiles::corner(cell, SIDE).map(|edge| edge + MARGIN);

        let places: [(&str, Color); 4] = [
            ("R", [222, 84, 76]),
            ("G", [92, 178, 96]),
            ("Y", [236, 200, 70]),
            ("B", [84, 132, 216]),
        ];
        for (&cell, (letter, color)) in PLACES.iter().zip(places) {
            let [x, y] = corner(cell);
            picture.rounded_rect([x + 3.0, y + 3.0], [58.0, 58.0], 6.0, color);
            picture.text(x + 32.0, y + 32.0, 32.0, letter, WHITE);
        }
        for cell in 0..CELLS {
            let [x, y] = corner(cell);
            picture.rect(x + 63.5, y, 1.0, 64.0, [196, 196, 192]);
            picture.rect(x, y + 63.5, 64.0, 1.0, [196, 196, 192]);
        }
        for cell in WALLED {
            let [x, y] = corner(cell);
            picture.rect(x + 61.0, y, 6.0, 64.0, [60, 64, 70]);
        }

        let [x, y] = corner(PLACES[self.destination]);
        let frame = [[2.0, 2.0], [62.0, 2.0], [62.0, 62.0], [2.0, 62.0], [2.0, 2.0]];
        picture.line(&frame.map(|[dx, dy]| [x + dx, y + dy]), 4.0, [150, 52, 160]);
        chequered_flag(&mut picture, [x + 38.0, y + 6.0]);
        taxi(&mut picture, corner(self.cell), self.passenger == IN_TAXI);
        if self.passenger != IN_TAXI {
            let [x, y] = corner(PLACES[self.passenger]);
            passenger(&mut picture, [x + 17.0, y + 32.0]);
        }
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn Tabular> {
        self.fickle_probability.is_none().then_some(self)
    }
}

fn chequered_flag(picture: &mut Scene, [x, y]: [f32; 2]) {
    picture.line(&[[x, y], [x, y + 50.0]], 3.0, BLACK);
    for (row, column) in (0..3).flat_map(|row| (0..4).map(move |column| (row, column))) {
        let color = if (row + column) % 2 == 0 { BLACK } else { WHITE };
        picture.rect(x + 1.0 + 5.0 * column as f32, y + 5.0 * row as f32, 5.0, 5.0, color);
    }
}

fn taxi(picture: &mut Scene, [x, y]: [f32; 2], occupied: bool) {
    let (yellow, glass) = ([250, 196, 36], [206, 230, 242]);
    picture.rounded_rect([x + 26.0, y + 13.0], [13.0, 7.0], 2.0, BLACK);
    let cabin =
        [[x + 17.0, y + 34.0], [x + 23.0, y + 19.0], [x + 43.0, y + 19.0], [x + 50.0, y + 34.0]];
    picture.polygon(&cabin, yellow);
    let rear =
        [[x + 21.0, y + 33.0], [x + 25.0, y + 22.0], [x + 32.0, y + 22.0], [x + 32.0, y + 33.0]];
    let front =
        [[x + 35.0, y + 33.0], [x + 35.0, y + 22.0], [x + 41.5, y + 22.0], [x + 46.5, y + 33.0]];
    picture.polygon(&rear, glass);
    picture.polygon(&front, glass);
    if occupied {
        picture.circle(x + 28.0, y + 28.5, 4.5, [128, 70, 160]);
    }
    picture.rounded_rect([x + 6.0, y + 32.0], [53.0, 15.0], 5.0, yellow);
    for i in 0..6 {
        picture.rect(x + 14.0 + 6.0 * i as f32, y + 38.0, 3.0, 3.0, BLACK);
    }
    for wheel in [18.0, 47.0] {
        picture.circle(x + wheel, y + 47.0, 7.0, BLACK);
        picture.circle(x + wheel, y + 47.0, 3.0, GREY);
    }
}

fn passenger(picture: &mut Scene, [x, y]: [f32; 2]) {
    let body = [[x - 5.0, y], [x + 5.0, y], [x + 8.0, y + 21.0], [x - 8.0, y + 21.0]];
    picture.polygon(&body, [128, 70, 160]);
    picture.line(&[[x - 3.0, y + 21.0], [x - 3.0, y + 27.0]], 4.0, BLACK);
    picture.line(&[[x + 3.0, y + 21.0], [x + 3.0, y + 27.0]], 4.0, BLACK);
    picture.circle(x, y - 5.0, 7.0, [246, 208, 172]);
}

impl Tabular for Taxi {
    fn num_states(&self) -> usize {
        STATES
    }

    fn num_actions(&self) -> usize {
        6
    }

    /// The table of a passenger who keeps their destination; a fickle one has more than one state in
    /// mind, as in Gymnasium.
    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        let mut taxi = Self { fickle: false, ..self.clone() };
        taxi.set_state(state);
        if action >= PICK_UP {
            let (reward, terminated) = taxi.serve(action);
            return vec![Transition::certain(taxi.state(), reward.into(), terminated)];
        }
        let outcomes = match self.rainy_probability {
            None => vec![1.0],
            Some(straight) => Self::drift(straight).to_vec(),
        };
        outcomes
            .into_iter()
            .enumerate()
            .map(|(outcome, probability)| {
                let next_state = destination(state / 20, action, outcome) * 20 + state % 20;
                Transition { probability, next_state, reward: -1.0, terminated: false }
            })
            .collect()
    }

    fn initial_distribution(&self) -> Vec<f64> {
        let mut distribution = vec![0.0; STATES];
        for rank in 0..STARTS {
            distribution[starting_state(rank)] = 1.0 / STARTS as f64;
        }
        distribution
    }

    /// One map for each place of the passenger and destination.
    fn layout(&self) -> Option<Layout> {
        const LETTERS: [char; 5] = ['R', 'G', 'Y', 'B', 'T'];
        let marks =
            [Mark::Down, Mark::Up, Mark::Right, Mark::Left, Mark::Letter('P'), Mark::Letter('D')];
        let errands = (0..20).map(|code| (code / 4, code % 4)).filter(|(from, to)| from != to);
        let panels = errands.map(|(from, to)| Panel {
            title: format!("{} to {}", LETTERS[from], LETTERS[to]),
            cells: (0..CELLS).map(|cell| Cell::At((cell * 5 + from) * 4 + to)).collect(),
        });
        Some(Layout { panels: panels.collect(), columns: SIDE, marks: marks.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_checked() {
        assert!(Taxi::new(Some(1.2), None).is_err());
        assert!(Taxi::new(None, Some(-0.1)).is_err());
    }

    #[test]
    fn the_mask_names_exactly_the_actions_that_change_the_state() {
        let mut taxi = Taxi::default();
        for state in 0..STATES {
            taxi.set_state(state);
            let mask = taxi.action_mask();
            for (action, allowed) in mask.into_iter().enumerate() {
                assert_eq!(taxi.transitions(state, action)[0].next_state != state, allowed);
            }
        }
    }
}
