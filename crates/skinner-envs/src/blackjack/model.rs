//! Blackjack as a table.
//!
//! A state is what the player sees, and whether they hold a natural: that is not seen (21 with a usable ace
//! may have been drawn), but it pays differently. The dealer's hidden card is drawn like any other, so the
//! dealer's turn depends on the shown card alone.

use skinner_core::mdp::{Cell, Layout, Mark, Panel, Tabular, Transition};

use super::Blackjack;

const SUMS: usize = 32;
const DEALERS: usize = 11;
const SEEN: usize = SUMS * DEALERS * 2;
/// A natural beside each card of the dealer.
const NATURALS: usize = 11;

/// A card and its probability: ten, jack, queen and king count alike.
fn cards() -> impl Iterator<Item = (usize, f64)> {
    (1..=10).map(|card| (card, if card == 10 { 4.0 / 13.0 } else { 1.0 / 13.0 }))
}

fn index(sum: usize, dealer: usize, usable_ace: bool) -> usize {
    (sum * DEALERS + dealer) * 2 + usize::from(usable_ace)
}

/// The sum with a further card, and whether an ace in it counts 11.
fn with_card(sum: usize, usable_ace: bool, card: usize) -> (usize, bool) {
    let hard = if usable_ace { sum - 10 } else { sum } + card;
    let usable = (usable_ace || card == 1) && hard + 10 <= 21;
    (if usable { hard + 10 } else { hard }, usable)
}

/// The probabilities of the dealer's score from a hand on: `[0]` is a bust.
fn dealers_turn(sum: usize, usable_ace: bool) -> [f64; 22] {
    let mut scores = [0.0; 22];
    if sum > 21 {
        scores[0] = 1.0;
    } else if sum >= 17 {
        scores[sum] = 1.0;
    } else {
        for (card, probability) in cards() {
            let (sum, usable_ace) = with_card(sum, usable_ace, card);
            let after = dealers_turn(sum, usable_ace);
            scores.iter_mut().zip(after).for_each(|(score, p)| *score += probability * p);
        }
    }
    scores
}

/// What the player holds: a sum beside the dealer's card.
struct Held {
    sum: usize,
    dealer: usize,
    usable_ace: bool,
    natural: bool,
}

impl Held {
    fn of(state: usize) -> Self {
        if state >= SEEN {
            return Self { sum: 21, dealer: state - SEEN, usable_ace: true, natural: true };
        }
        let (sum, dealer) = (state / 2 / DEALERS, state / 2 % DEALERS);
        Self { sum, dealer, usable_ace: state % 2 == 1, natural: false }
    }

    /// Whether a hand can hold this and still choose.
    fn is_possible(&self) -> bool {
        let least = if self.usable_ace { 12 } else { 4 };
        self.dealer > 0 && (least..=21).contains(&self.sum)
    }
}

impl Blackjack {
    /// The rewards of sticking with their probabilities.
    fn stuck(&self, held: &Held) -> [(f64, f64); 3] {
        let (sum, ace) = with_card(0, false, held.dealer);
        let scores = dealers_turn(sum, ace);
        let lost = scores[held.sum + 1..].iter().sum();
        let (drawn, won) = (scores[held.sum], scores[..held.sum].iter().sum());
        if !held.natural {
            return [(1.0, won), (0.0, drawn), (-1.0, lost)];
        }
        let dealers_natural = match held.dealer {
            1 => 4.0 / 13.0,
            10 => 1.0 / 13.0,
            _ => 0.0,
        };
        if self.sab {
            return [(1.0, 1.0 - dealers_natural), (0.0, dealers_natural), (-1.0, 0.0)];
        }
        [(if self.natural { 1.5 } else { 1.0 }, won), (0.0, drawn), (-1.0, lost)]
    }
}

impl Tabular for Blackjack {
    fn num_states(&self) -> usize {
        SEEN + NATURALS
    }

    fn num_actions(&self) -> usize {
        2
    }

    fn transitions(&self, state: usize, action: usize) -> Vec<Transition> {
        let held = Held::of(state);
        if !held.is_possible() {
            return vec![Transition::certain(state, 0.0, true)];
        }
        if action == 0 {
            let outcome = |(reward, probability)| Transition {
                probability,
                next_state: state,
                reward,
                terminated: true,
            };
            return self.stuck(&held).map(outcome).to_vec();
        }
        cards()
            .map(|(card, probability)| {
                let (sum, usable_ace) = with_card(held.sum, held.usable_ace, card);
                let (bust, next_state) = (sum > 21, index(sum, held.dealer, usable_ace));
                let reward = if bust { -1.0 } else { 0.0 };
                Transition { probability, next_state, reward, terminated: bust }
            })
            .collect()
    }

    fn initial_distribution(&self) -> Vec<f64> {
        let mut start = vec![0.0; SEEN + NATURALS];
        for (dealer, shown) in cards() {
            for (first, p_first) in cards() {
                for (second, p_second) in cards() {
                    let (sum, ace) = with_card(0, false, first);
                    let (sum, usable_ace) = with_card(sum, ace, second);
                    let natural = sum == 21;
                    let state =
                        if natural { SEEN + dealer } else { index(sum, dealer, usable_ace) };
                    start[state] += shown * p_first * p_second;
                }
            }
        }
        start
    }

    fn observed(&self, state: usize) -> usize {
        if state >= SEEN { index(21, state - SEEN, true) } else { state }
    }

    /// Figure 5.2 of the book: the player's sum from 21 down to 11, the dealer's card from ace to ten.
    fn layout(&self) -> Option<Layout> {
        let panel = |usable_ace: bool| Panel {
            title: if usable_ace { "usable ace" } else { "no usable ace" }.to_owned(),
            cells: (11..=21)
                .rev()
                .flat_map(|sum| (1..=10).map(move |dealer| (sum, dealer)))
                .map(|(sum, dealer)| {
                    let impossible = usable_ace && sum == 11;
                    let place = Cell::At(index(sum, dealer, usable_ace));
                    if impossible { Cell::Fixed(' ') } else { place }
                })
                .collect(),
        };
        let marks = vec![Mark::Letter('S'), Mark::Letter('H')];
        Some(Layout { panels: vec![panel(false), panel(true)], columns: 10, marks })
    }
}
