//! Knights tell the truth, knaves lie: who is who?

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::formula::orders;
use super::{GenerateError, Made, Make, PromptStyle, Sizes};
use crate::VerifierConfig;

const NAMES: [&str; 12] =
    ["Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jill", "Karl", "Lena"];

/// So many people, of whom each says something about one or two of them. Exactly one assignment of roles fits, and
/// that is found by trying all. The answer is the role of each, in the order in which they are named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnightsAndKnaves {
    /// How many people.
    pub people: Sizes,
    /// How it is asked; `plain` is the question and a space.
    pub prompt_style: PromptStyle,
}

impl Default for KnightsAndKnaves {
    fn default() -> Self {
        Self { people: Sizes::new(2, 3), prompt_style: PromptStyle::default() }
    }
}

/// That a person is a knight, or is not.
type Claim = (usize, bool);

/// What is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    One(Claim),
    And(Claim, Claim),
    Or(Claim, Claim),
    Same(usize, usize),
    Different(usize, usize),
}

/// What each person says.
pub(super) type Puzzle = Vec<Statement>;

impl Statement {
    fn draw(people: usize, rng: &mut Rng) -> Self {
        let first = rng.below(people);
        let second = (first + 1 + rng.below(people - 1)) % people;
        let [one, two] = [first, second].map(|person| (person, rng.below(2) == 1));
        match rng.below(5) {
            0 => Self::One(one),
            1 => Self::And(one, two),
            2 => Self::Or(one, two),
            3 => Self::Same(first, second),
            _ => Self::Different(first, second),
        }
    }

    fn holds(self, knights: &[bool]) -> bool {
        let claim = |(person, is): Claim| knights[person] == is;
        match self {
            Self::One(one) => claim(one),
            Self::And(one, two) => claim(one) && claim(two),
            Self::Or(one, two) => claim(one) || claim(two),
            Self::Same(one, two) => knights[one] == knights[two],
            Self::Different(one, two) => knights[one] != knights[two],
        }
    }

    fn written(self, names: &[&str]) -> String {
        let claim = |(person, is): Claim| format!("{} is a {}", names[person], role(is));
        match self {
            Self::One(one) => claim(one),
            Self::And(one, two) => format!("{} and {}", claim(one), claim(two)),
            Self::Or(one, two) => format!("{} or {}", claim(one), claim(two)),
            Self::Same(one, two) => format!("{} and {} are of one kind", names[one], names[two]),
            Self::Different(one, two) => {
                format!("{} and {} are of different kinds", names[one], names[two])
            }
        }
    }

    /// With other numbers of people, and the smaller first where the order does not matter.
    fn renamed(self, places: &[usize]) -> Self {
        let claim = |(person, is): Claim| (places[person], is);
        let ordered = |one: usize, two: usize| {
            let (one, two) = (places[one], places[two]);
            (one.min(two), one.max(two))
        };
        match self {
            Self::One(one) => Self::One(claim(one)),
            Self::And(one, two) => {
                Self::And(claim(one).min(claim(two)), claim(one).max(claim(two)))
            }
            Self::Or(one, two) => Self::Or(claim(one).min(claim(two)), claim(one).max(claim(two))),
            Self::Same(one, two) => {
                let (one, two) = ordered(one, two);
                Self::Same(one, two)
            }
            Self::Different(one, two) => {
                let (one, two) = ordered(one, two);
                Self::Different(one, two)
            }
        }
    }
}

fn role(is_knight: bool) -> &'static str {
    if is_knight { "knight" } else { "knave" }
}

/// Every assignment under which knights say what is true and knaves what is not.
pub(super) fn solutions(puzzle: &Puzzle) -> Vec<Vec<bool>> {
    let people = puzzle.len();
    let fits = |knights: &Vec<bool>| {
        puzzle.iter().zip(knights).all(|(statement, knight)| statement.holds(knights) == *knight)
    };
    (0..1_usize << people)
        .map(|bits| (0..people).map(|person| bits >> person & 1 == 1).collect())
        .filter(fits)
        .collect()
}

/// All are knights: a liar could not say that he lies or the next one is a knight.
fn simple(people: usize) -> Puzzle {
    let statement = |person| {
        let next = ((person + 1) % people, true);
        if person == 0 { Statement::Or((0, false), next) } else { Statement::One(next) }
    };
    (0..people).map(statement).collect()
}

fn draw_puzzle(people: usize, rng: &mut Rng) -> Puzzle {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        let roles: Vec<bool> = (0..people).map(|_| rng.below(2) == 1).collect();
        let puzzle: Puzzle = roles
            .iter()
            .map(|knight| {
                loop {
                    let statement = Statement::draw(people, rng);
                    if statement.holds(&roles) == *knight {
                        return statement;
                    }
                }
            })
            .collect();
        if solutions(&puzzle).len() == 1 {
            return puzzle;
        }
    }
    simple(people)
}

/// The smallest text under all orders of the people.
pub(super) fn key(puzzle: &Puzzle) -> String {
    let text = |places: &Vec<usize>| {
        let mut said = vec![Statement::Same(0, 0); puzzle.len()];
        for (person, statement) in puzzle.iter().enumerate() {
            said[places[person]] = statement.renamed(places);
        }
        format!("{said:?}")
    };
    orders(puzzle.len()).iter().map(text).min().unwrap_or_default()
}

impl Make for KnightsAndKnaves {
    fn validate(&self) -> Result<(), GenerateError> {
        self.people.check("people", 2, 6, "2 to 6")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let puzzle = draw_puzzle(self.people.draw(rng), rng);
        let mut names = NAMES;
        rng.shuffle(&mut names);
        let names = &names[..puzzle.len()];
        let say =
            |(name, said): (&&str, &Statement)| format!("{name} says: {}.", said.written(names));
        let said: Vec<String> = names.iter().zip(&puzzle).map(say).collect();
        let question = format!(
            "Knights always tell the truth, knaves always lie. {} Who is a knight and who is a \
             knave, in the order of {}?",
            said.join(" "),
            names.join(", ")
        );
        let form = "one word for each, knight or knave, separated by spaces,";
        let prompt = self.prompt_style.prompt(&format!("{question} "), &question, form);
        let roles = solutions(&puzzle).concat();
        let answer: Vec<&str> = roles.into_iter().map(role).collect();
        Made::new(prompt, &answer.join(" "), key(&puzzle))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.people
    }

    fn verifier(&self) -> VerifierConfig {
        super::exact_text(self.prompt_style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simple_puzzle_has_one_solution() {
        for people in 2..=6 {
            assert_eq!(solutions(&simple(people)), [vec![true; people]]);
        }
    }

    /// "We are of different kinds" is said by a knight of a knave; a knave who says it would have told the truth of a
    /// knight. So the other is a knave in both cases.
    #[test]
    fn a_puzzle_by_hand() {
        let puzzle = vec![Statement::Different(0, 1), Statement::One((0, false))];
        assert_eq!(solutions(&puzzle), [vec![true, false]]);
        let twins = vec![Statement::Same(0, 1), Statement::Same(0, 1)];
        assert_eq!(solutions(&twins).len(), 1);
        let open = vec![Statement::One((1, true)), Statement::One((0, true))];
        assert_eq!(solutions(&open), [vec![false, false], vec![true, true]]);
    }

    #[test]
    fn the_order_of_people_does_not_matter_to_the_key() {
        let first = vec![
            Statement::And((0, true), (1, false)),
            Statement::Same(2, 0),
            Statement::One((1, true)),
        ];
        // Person 0 becomes 2, 1 becomes 0, 2 becomes 1.
        let second = vec![
            Statement::Same(1, 2),
            Statement::One((0, true)),
            Statement::And((0, false), (2, true)),
        ];
        assert_eq!(key(&first), key(&second));
    }
}
