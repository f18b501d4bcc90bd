//! `Blackjack-v1`: come closer to 21 than the dealer without going over.
//!
//! Cards are drawn from an infinite deck. Aces count 11 where that does not bust the hand ("usable")
//! and 1 otherwise; jack, queen and king count 10. The dealer shows one card, and after the player
//! sticks draws up to at least 17.
//!
//! # Actions: `Discrete(2)`
//!
//! | action | meaning |
//! |---|---|
//! | 0 | stick: the dealer plays and the hands are compared |
//! | 1 | hit: take a card |
//!
//! # Observations: `MultiDiscrete([32, 11, 2])`
//!
//! | index | quantity | values |
//! |---|---|---|
//! | 0 | the player's sum | 4 to 31 |
//! | 1 | the dealer's card | 1 (ace) to 10 |
//! | 2 | whether the player has a usable ace | 0, 1 |
//!
//! # Rewards
//!
//! | hand | reward |
//! |---|---|
//! | won | 1 |
//! | drawn | 0 |
//! | lost | -1 |
//! | won with a natural (ace and ten at once), with `natural` and without `sab` | 1.5 |
//!
//! With `sab` (the rules of Sutton and Barto's book, the registered default) a natural wins against
//! anything but a natural, and `natural` has no effect.
//!
//! # Start
//!
//! Two cards for the dealer, two for the player.
//!
//! # Episode End
//!
//! - **Termination**: the player sticks, or goes over 21.
//! - **Truncation**: none; registered without a time limit.
//!
//! No reward threshold. Basic strategy returns about -0.043 a hand.
//!
//! # Source
//!
//! Sutton and Barto, *Reinforcement Learning*, 2nd edition, example 5.1; behaviour and numbers of
//! Gymnasium 1.4.

use serde::{Deserialize, Serialize};
use skinner_core::{
    Env, Rng, Space, Step,
    scene::{Color, Scene},
};

use crate::draw::{BLACK, Draw, WHITE, scene};

mod model;

/// A hand without a bust holds at most 21 aces; one more card ends it.
const MAX_CARDS: usize = 22;

/// Cards in the order they were drawn, 1 to 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hand {
    cards: [u8; MAX_CARDS],
    count: u8,
    /// Sum with aces as 1.
    hard_sum: u8,
    has_ace: bool,
}

impl Hand {
    fn deal(rng: &mut Rng) -> Self {
        let mut hand = Self::default();
        hand.draw(rng);
        hand.draw(rng);
        hand
    }

    #[inline]
    fn draw(&mut self, rng: &mut Rng) {
        let card = (rng.below(13) as u8 + 1).min(10);
        self.cards[self.count as usize] = card;
        self.count += 1;
        self.hard_sum += card;
        self.has_ace |= card == 1;
    }

    #[inline]
    fn usable_ace(&self) -> bool {
        self.has_ace && self.hard_sum + 10 <= 21
    }

    #[inline]
    fn sum(&self) -> u8 {
        if self.usable_ace() { self.hard_sum + 10 } else { self.hard_sum }
    }

    /// The sum, or 0 for a bust.
    #[inline]
    fn score(&self) -> u8 {
        if self.is_bust() { 0 } else { self.sum() }
    }

    #[inline]
    fn is_bust(&self) -> bool {
        self.sum() > 21
    }

    fn is_natural(&self) -> bool {
        self.count == 2 && self.has_ace && self.hard_sum == 11
    }

    fn cards(&self) -> &[u8] {
        &self.cards[..self.count as usize]
    }
}

/// Blackjack; see the [module](self).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blackjack {
    natural: bool,
    sab: bool,
    dealer: Hand,
    player: Hand,
    /// Clubs, diamonds, hearts or spades, for the picture.
    suit: u8,
    /// Jack, queen or king where the dealer's card is a ten, for the picture.
    face: u8,
    stuck: bool,
}

impl Blackjack {
    /// Blackjack in which a natural pays 1.5 (`natural`), or by the book's rules (`sab`).
    pub fn new(natural: bool, sab: bool) -> Self {
        let hand = Hand::default();
        Self { natural, sab, dealer: hand, player: hand, suit: 0, face: 0, stuck: false }
    }

    fn observation(&self) -> [usize; 3] {
        let usable_ace = usize::from(self.player.usable_ace());
        [self.player.sum() as usize, self.dealer.cards[0] as usize, usable_ace]
    }

    /// The dealer's turn, and who has won.
    #[inline]
    fn stick(&mut self, rng: &mut Rng) -> f32 {
        self.stuck = true;
        while self.dealer.sum() < 17 {
            self.dealer.draw(rng);
        }
        let reward = match self.player.score().cmp(&self.dealer.score()) {
            std::cmp::Ordering::Less => -1.0,
            std::cmp::Ordering::Equal => 0.0,
            std::cmp::Ordering::Greater => 1.0,
        };
        if !self.player.is_natural() {
            reward
        } else if self.sab {
            if self.dealer.is_natural() { reward } else { 1.0 }
        } else if self.natural && reward == 1.0 {
            1.5
        } else {
            reward
        }
    }
}

impl Default for Blackjack {
    fn default() -> Self {
        Self::new(false, true)
    }
}

impl Env for Blackjack {
    type Obs = [usize; 3];
    type Action = usize;

    fn observation_space(&self) -> Space {
        Space::MultiDiscrete(vec![32, 11, 2])
    }

    fn action_space(&self) -> Space {
        Space::Discrete(2)
    }

    #[inline]
    fn reset(&mut self, rng: &mut Rng) -> [usize; 3] {
        self.dealer = Hand::deal(rng);
        self.player = Hand::deal(rng);
        self.suit = rng.below(4) as u8;
        self.face = if self.dealer.cards[0] == 10 { rng.below(3) as u8 } else { 0 };
        self.stuck = false;
        self.observation()
    }

    #[inline]
    fn step(&mut self, action: &usize, rng: &mut Rng) -> Step<[usize; 3]> {
        debug_assert!(*action < 2, "action {action} of 2");
        let (reward, terminated) = if *action == 0 {
            (self.stick(rng), true)
        } else {
            self.player.draw(rng);
            let bust = self.player.is_bust();
            (if bust { -1.0 } else { 0.0 }, bust)
        };
        Step { obs: self.observation(), reward, terminated, truncated: false }
    }

    fn render(&self) -> Option<Scene> {
        let mut picture = scene(480.0, 400.0, [38, 110, 76]);
        picture.arc([240.0, -300.0], 480.0, [0.9, 2.24], 3.0, [62, 138, 100]);
        let dealer = if self.stuck {
            format!("DEALER {}", self.dealer.sum())
        } else {
            format!("DEALER SHOWS {}", rank(self.dealer.cards[0], self.face))
        };
        picture.text(240.0, 28.0, 20.0, &dealer, [226, 238, 220]);
        row_of_cards(&mut picture, 50.0, self.dealer.cards().len(), |picture, i, corner| {
            if i == 0 {
                let name = rank(self.dealer.cards[0], self.face);
                card(picture, corner, name, self.suit);
            } else if self.stuck {
                card(picture, corner, rank(self.dealer.cards[i], 0), suit(i + 2));
            } else {
                back(picture, corner);
            }
        });
        row_of_cards(&mut picture, 230.0, self.player.cards().len(), |picture, i, corner| {
            card(picture, corner, rank(self.player.cards[i], 1), suit(i));
        });
        let ace = if self.player.usable_ace() { " (USABLE ACE)" } else { "" };
        let bust = if self.player.is_bust() { " BUST" } else { "" };
        let player = format!("PLAYER {}{ace}{bust}", self.player.sum());
        picture.text(240.0, 378.0, 20.0, &player, [226, 238, 220]);
        Some(picture)
    }

    fn tabular(&self) -> Option<&dyn skinner_core::mdp::Tabular> {
        Some(self)
    }
}

const CARD: [f32; 2] = [80.0, 116.0];

/// Any suit for the cards whose suit is not drawn.
fn suit(index: usize) -> u8 {
    [3, 2, 0, 1][index % 4]
}

fn rank(card: u8, face: u8) -> &'static str {
    const FACES: [&str; 3] = ["J", "Q", "K"];
    const NAMES: [&str; 9] = ["A", "2", "3", "4", "5", "6", "7", "8", "9"];
    if card == 10 { FACES[face as usize] } else { NAMES.get(card as usize - 1).unwrap_or(&"?") }
}

/// Lays out `count` cards side by side from `top`, closer together where there are many.
fn row_of_cards(
    picture: &mut Scene,
    top: f32,
    count: usize,
    mut draw: impl FnMut(&mut Scene, usize, [f32; 2]),
) {
    let pitch = (360.0 / count.max(2).saturating_sub(1) as f32).min(CARD[0] + 12.0);
    let left = 240.0 - f32::midpoint(pitch * count.saturating_sub(1) as f32, CARD[0]);
    for i in 0..count {
        draw(picture, i, [left + pitch * i as f32, top]);
    }
}

fn blank(picture: &mut Scene, [x, y]: [f32; 2], color: Color) {
    picture.rounded_rect([x - 1.0, y - 1.0], [CARD[0] + 2.0, CARD[1] + 2.0], 8.0, [24, 74, 50]);
    picture.rounded_rect([x, y], CARD, 7.0, color);
}

fn back(picture: &mut Scene, [x, y]: [f32; 2]) {
    blank(picture, [x, y], WHITE);
    picture.rounded_rect([x + 6.0, y + 6.0], [CARD[0] - 12.0, CARD[1] - 12.0], 5.0, [52, 86, 139]);
    for i in 0..3 {
        for j in 0..5 {
            let [cx, cy] = [x + 20.0 + 20.0 * i as f32, y + 18.0 + 20.0 * j as f32];
            let diamond = [[cx, cy - 7.0], [cx + 5.0, cy], [cx, cy + 7.0], [cx - 5.0, cy]];
            picture.polygon(&diamond, [110, 148, 199]);
        }
    }
}

fn card(picture: &mut Scene, [x, y]: [f32; 2], name: &str, suit: u8) {
    blank(picture, [x, y], WHITE);
    let ink = if matches!(suit, 1 | 2) { [200, 44, 44] } else { BLACK };
    picture.text(x + 14.0, y + 16.0, 20.0, name, ink);
    picture.text(x + CARD[0] - 14.0, y + CARD[1] - 16.0, 20.0, name, ink);
    pip(picture, [x + CARD[0] / 2.0, y + CARD[1] / 2.0], suit, ink);
}

/// The suit's sign.
fn pip(picture: &mut Scene, [x, y]: [f32; 2], suit: u8, ink: Color) {
    let stem = [[x, y], [x + 7.0, y + 21.0], [x - 7.0, y + 21.0]];
    match suit {
        0 => {
            for [dx, dy] in [[0.0, -10.0], [-10.0, 5.0], [10.0, 5.0]] {
                picture.circle(x + dx, y + dy, 9.0, ink);
            }
            picture.polygon(&stem, ink);
        }
        1 => {
            let sign = [[x, y - 21.0], [x + 15.0, y], [x, y + 21.0], [x - 15.0, y]];
            picture.polygon(&sign, ink);
        }
        2 => {
            picture.circle(x - 8.5, y - 7.0, 9.5, ink);
            picture.circle(x + 8.5, y - 7.0, 9.5, ink);
            let point = [[x - 16.5, y - 2.0], [x, y + 19.0], [x + 16.5, y - 2.0], [x, y - 8.0]];
            picture.polygon(&point, ink);
        }
        _ => {
            picture.circle(x - 8.5, y + 5.0, 9.5, ink);
            picture.circle(x + 8.5, y + 5.0, 9.5, ink);
            let point = [[x - 16.5, y], [x, y - 21.0], [x + 16.5, y], [x, y + 6.0]];
            picture.polygon(&point, ink);
            picture.polygon(&stem, ink);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand(cards: &[u8]) -> Hand {
        let mut hand = Hand::default();
        for &card in cards {
            hand.cards[hand.count as usize] = card;
            hand.count += 1;
            hand.hard_sum += card;
            hand.has_ace |= card == 1;
        }
        hand
    }

    fn check(natural: bool, sab: bool, player: &[u8], dealer: &[u8], reward: f32) {
        let mut game = Blackjack::new(natural, sab);
        (game.player, game.dealer) = (hand(player), hand(dealer));
        assert_eq!(game.stick(&mut Rng::new(0)), reward, "{player:?} against {dealer:?}");
    }

    #[test]
    fn hands_are_compared_by_the_rules() {
        check(false, true, &[10, 9], &[10, 8], 1.0);
        check(false, true, &[10, 8], &[10, 8], 0.0);
        check(false, true, &[10, 7], &[10, 8], -1.0);
        check(false, true, &[1, 10], &[10, 5, 6], 1.0);
        check(false, true, &[1, 10], &[1, 10], 0.0);
        check(false, true, &[1, 5, 5], &[10, 5, 6], 0.0);
        check(true, false, &[1, 10], &[10, 8], 1.5);
        check(true, false, &[1, 10], &[10, 5, 6], 0.0);
        check(true, true, &[1, 10], &[10, 8], 1.0);
        check(false, false, &[10, 9], &[10, 6, 10], 1.0);
    }

    #[test]
    fn an_ace_is_usable_until_it_would_bust() {
        assert_eq!((hand(&[1, 6]).sum(), hand(&[1, 6]).usable_ace()), (17, true));
        assert_eq!((hand(&[1, 6, 9]).sum(), hand(&[1, 6, 9]).usable_ace()), (16, false));
    }
}
