//! Word problems about animals and their legs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check, numbers};
use crate::Task;

/// Singular, plural, legs.
type Animal = (&'static str, &'static str, i64);

const ANIMALS: [Animal; 16] = [
    ("chicken", "chickens", 2),
    ("duck", "ducks", 2),
    ("ostrich", "ostriches", 2),
    ("cow", "cows", 4),
    ("horse", "horses", 4),
    ("dog", "dogs", 4),
    ("sheep", "sheep", 4),
    ("lizard", "lizards", 4),
    ("bee", "bees", 6),
    ("ant", "ants", 6),
    ("beetle", "beetles", 6),
    ("grasshopper", "grasshoppers", 6),
    ("spider", "spiders", 8),
    ("scorpion", "scorpions", 8),
    ("crab", "crabs", 10),
    ("lobster", "lobsters", 10),
];

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegsQuestion {
    /// How many legs so many animals have.
    #[default]
    Legs,
    /// How many animals of one kind there are, of two kinds, from the heads and the legs.
    Animals,
}

/// Animals of so many kinds. Its teacher multiplies and adds:
///
/// ```text
/// How many legs do 3 cows and 2 bees have in all?
/// 3*4=12;2*6=12;12+12=24;24
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Legs {
    /// How many kinds of animals.
    pub kinds: Sizes,
    /// Animals of each kind, at most.
    pub most: usize,
    /// What is asked for.
    pub question: LegsQuestion,
    /// How it is asked; `plain` is the question and a space.
    pub prompt_style: PromptStyle,
}

impl Default for Legs {
    fn default() -> Self {
        Self {
            kinds: Sizes::new(1, 4),
            most: 10,
            question: LegsQuestion::default(),
            prompt_style: PromptStyle::default(),
        }
    }
}

/// `3 cows, 1 bee and 2 ducks`.
fn listed(items: &[String]) -> String {
    match items {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => items.concat(),
    }
}

impl Legs {
    fn made(&self, question: &str, answer: i64, key: String) -> Made {
        let prompt = self.prompt_style.prompt(&format!("{question} "), question, "the number");
        Made::new(prompt, &answer, key)
    }

    fn ask_legs(&self, animals: &[(Animal, i64)]) -> Made {
        let name = |((one, many, _), count): &(Animal, i64)| {
            format!("{count} {}", if *count == 1 { one } else { many })
        };
        let mut names: Vec<String> = animals.iter().map(name).collect();
        let question = format!("How many legs do {} have in all?", listed(&names));
        let factors: Vec<i64> =
            animals.iter().flat_map(|((_, _, legs), count)| [*count, *legs]).collect();
        let total = factors.chunks(2).map(|pair| pair.iter().product::<i64>()).sum();
        names.sort_unstable();
        self.made(&question, total, names.join(",")).with("numbers", factors)
    }

    fn ask_animals(&self, animals: &[(Animal, i64); 2]) -> Made {
        let [((_, asked, legs), count), ((_, other, other_legs), others)] = animals;
        let (heads, all_legs) = (count + others, count * legs + others * other_legs);
        let question = format!(
            "A yard holds only {asked} and {other}. Together they have {heads} heads and \
             {all_legs} legs. How many {asked} are there?"
        );
        let mut kinds = [asked, other];
        kinds.sort_unstable();
        let key = format!("{} {} {heads} {all_legs}", kinds[0], kinds[1]);
        let factors = vec![heads, all_legs, *legs, *other_legs];
        self.made(&question, *count, key).with("numbers", factors)
    }
}

impl Make for Legs {
    fn validate(&self) -> Result<(), GenerateError> {
        self.kinds.check("kinds", 1, ANIMALS.len(), "1 to 16")?;
        check((1..=1_000_000).contains(&self.most), "most", &self.most, "1 to 1000000")?;
        let solvable = self.question == LegsQuestion::Legs || self.kinds == 2.into();
        check(solvable, "kinds", &self.kinds, "2 where question = \"animals\"")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let mut kinds = ANIMALS;
        rng.shuffle(&mut kinds);
        let count = |rng: &mut Rng| 1 + rng.below(self.most) as i64;
        match self.question {
            LegsQuestion::Legs => {
                let size = self.kinds.draw(rng);
                let animals: Vec<_> = kinds.iter().take(size).map(|k| (*k, count(rng))).collect();
                self.ask_legs(&animals)
            }
            LegsQuestion::Animals => {
                let other = kinds.iter().copied().find(|kind| kind.2 != kinds[0].2);
                let other = other.unwrap_or(ANIMALS[0]);
                self.ask_animals(&[(kinds[0], count(rng)), (other, count(rng))])
            }
        }
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        let factors = numbers::of_task(task)?;
        let (worked, answer) = match self.question {
            LegsQuestion::Legs => worked_legs(&factors),
            LegsQuestion::Animals => worked_animals(factors.try_into().ok()?)?,
        };
        Some(self.prompt_style.completion(&worked, &answer.to_string()))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.kinds
    }
}

fn worked_legs(factors: &[i64]) -> (String, i64) {
    let mut worked = String::new();
    let mut products = Vec::new();
    for pair in factors.chunks_exact(2) {
        let product = pair[0] * pair[1];
        let _ = write!(worked, "{}*{}={product};", pair[0], pair[1]);
        products.push(product);
    }
    let total = products.iter().sum();
    if products.len() > 1 {
        let _ = write!(worked, "{}={total};", numbers::joined(&products, "+"));
    }
    (worked, total)
}

/// If all were of the other kind, so many legs would be missing or too many.
fn worked_animals([heads, legs, of_one, of_other]: [i64; 4]) -> Option<(String, i64)> {
    let (expected, by_one) = (heads * of_other, of_one - of_other);
    let missing = legs - expected;
    let answer = missing.checked_div(by_one)?;
    let worked = format!(
        "{heads}*{of_other}={expected};{legs}-{expected}={missing};{of_one}-{of_other}={by_one};\
         {missing}/{by_one}={answer};"
    );
    Some((worked, answer))
}
