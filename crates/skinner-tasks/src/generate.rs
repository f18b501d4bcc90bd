//! Tasks made by a program: as many as are asked for, each from its own random numbers.
//!
//! | `name` | size | other values |
//! |---|---|---|
//! | `addition` | `digits` | `forgets` |
//! | `arithmetic` | `digits` | `operations` |
//! | `multiplication` | `digits` | `forgets`, `prompt_style` |
//! | `chain_sum` | `terms` | `digits`, `prompt_style` |
//! | `max`, `sort` | `numbers` | `digits`, `prompt_style` |
//! | `reverse_text` | `letters` | `prompt_style` |
//! | `count_letters` | `letters` | `alphabet`, `prompt_style` |
//! | `countdown` | `numbers` | `largest`, `target`, `misses`, `prompt_style` |
//! | `gcd` | `digits` | `prompt_style` |
//! | `linear_equation` | `digits` | `both_sides`, `fractions`, `prompt_style` |
//! | `legs` | `kinds` | `most`, `question`, `prompt_style` |
//! | `propositional_logic` | `connectives` | `variables`, `prompt_style` |
//! | `knights_and_knaves` | `people` | `prompt_style` |
//! | `sudoku` | `blanks` | `prompt_style` |
//! | `maze` | `side` | `walls`, `prompt_style` |
//! | `simple_functions` | `operations` | `mistakes`, `tests`, `prompt_style` |
//!
//! A size is a number, or a range of which each task draws its own, as `digits = [1, 4]`. [`Generator::levels`] makes
//! one generator of each size. [`Generator::verifier`] is who grades the answers.
//!
//! A task has a *key*. Tasks are kept for evaluation by a hash of it, so that none of them, however often it is
//! drawn, is among those to train on.

mod addition;
mod arithmetic;
mod chain_sum;
mod count_letters;
mod countdown;
mod formula;
mod gcd;
mod knights_and_knaves;
mod legs;
mod linear_equation;
mod max;
mod maze;
mod multiplication;
mod numbers;
mod prompt;
mod propositional_logic;
mod reverse_text;
mod simple_functions;
mod sizes;
mod sort;
mod sudoku;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skinner_core::{Rng, SeedSequence};

pub use addition::Addition;
pub use arithmetic::{Arithmetic, Operation};
pub use chain_sum::ChainSum;
pub use count_letters::CountLetters;
pub use countdown::Countdown;
pub use gcd::Gcd;
pub use knights_and_knaves::KnightsAndKnaves;
pub use legs::{Legs, LegsQuestion};
pub use linear_equation::LinearEquation;
pub use max::Max;
pub use maze::Maze;
pub use multiplication::Multiplication;
pub use prompt::PromptStyle;
pub use propositional_logic::PropositionalLogic;
pub use reverse_text::ReverseText;
pub use simple_functions::SimpleFunctions;
pub use sizes::Sizes;
pub use sort::Sort;
pub use sudoku::Sudoku;

use crate::{Task, VerifierConfig, math, text};

/// Draws after which a generator is taken to have no further task.
const PATIENCE: usize = 10_000;

/// What makes tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Generator {
    /// Sums of two numbers, worked column by column.
    Addition(Addition),
    /// One operation on small numbers, asked in words.
    Arithmetic(Arithmetic),
    /// Products of two numbers, worked column by column.
    Multiplication(Multiplication),
    /// Sums and differences of several numbers.
    ChainSum(ChainSum),
    /// The largest of several numbers.
    Max(Max),
    /// Several numbers in ascending order.
    Sort(Sort),
    /// Letters in the opposite order.
    ReverseText(ReverseText),
    /// How often a letter occurs.
    CountLetters(CountLetters),
    /// An expression of given numbers that has a given value.
    Countdown(Countdown),
    /// The greatest common divisor of two numbers.
    Gcd(Gcd),
    /// A linear equation in one unknown.
    LinearEquation(LinearEquation),
    /// Word problems about animals and their legs.
    Legs(Legs),
    /// The truth value of a formula.
    PropositionalLogic(PropositionalLogic),
    /// Who tells the truth and who lies.
    KnightsAndKnaves(KnightsAndKnaves),
    /// A sudoku of four rows.
    Sudoku(Sudoku),
    /// A shortest path through a maze.
    Maze(Maze),
    /// Functions of a list, in Python.
    SimpleFunctions(SimpleFunctions),
}

/// A task, and what makes it different from others.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// The task.
    pub task: Task,
    /// Equal for tasks that are the same in another order or wording.
    pub key: String,
}

/// A value out of range, or a generator that has too few tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A value out of range.
    #[error("{name} = {value} is out of range: must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What would be right.
        must: &'static str,
    },
    /// Fewer different tasks than were asked for.
    #[error("it has only {found} tasks of its kind, {wanted} were asked for; make them harder")]
    TooFew {
        /// How many.
        found: usize,
        /// How many were wanted.
        wanted: usize,
    },
}

fn check(
    ok: bool,
    name: &'static str,
    value: &(impl ToString + ?Sized),
    must: &'static str,
) -> Result<(), GenerateError> {
    if ok { Ok(()) } else { Err(GenerateError::Value { name, value: value.to_string(), must }) }
}

/// FNV-1a.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What every generator does.
trait Make {
    /// Checks every value.
    fn validate(&self) -> Result<(), GenerateError>;

    /// A task. The values are valid.
    fn draw(&self, rng: &mut Rng) -> Made;

    /// How its teacher would complete a task.
    fn teach(&self, _task: &Task, _rng: &mut Rng) -> Option<String> {
        None
    }

    /// One of this many keys is kept for evaluation.
    fn held_out_of(&self) -> u64 {
        10
    }

    /// How large tasks are.
    fn sizes(&mut self) -> &mut Sizes;

    /// Who grades the answers.
    fn verifier(&self) -> VerifierConfig {
        VerifierConfig::Math(math::Config::default())
    }
}

/// Whether the completion is the task's answer, as a text.
fn exact_text(style: PromptStyle) -> VerifierConfig {
    let exact = text::Exact {
        ignore_case: true,
        ignore_whitespace: true,
        ignore_punctuation: true,
        ..text::Exact::default()
    };
    let config = text::Config::new(text::Check::Exact(exact));
    VerifierConfig::Text(text::Config { tag: style.tag(), ..config })
}

impl Made {
    fn new(prompt: Value, answer: &(impl ToString + ?Sized), key: String) -> Self {
        let answer = Some(answer.to_string());
        Self { task: Task { prompt, answer, columns: Map::new() }, key }
    }

    /// With a further column of the task.
    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.task.columns.insert(name.to_owned(), value.into());
        self
    }
}

impl Generator {
    fn make(&self) -> &dyn Make {
        match self {
            Self::Addition(tasks) => tasks,
            Self::Arithmetic(tasks) => tasks,
            Self::Multiplication(tasks) => tasks,
            Self::ChainSum(tasks) => tasks,
            Self::Max(tasks) => tasks,
            Self::Sort(tasks) => tasks,
            Self::ReverseText(tasks) => tasks,
            Self::CountLetters(tasks) => tasks,
            Self::Countdown(tasks) => tasks,
            Self::Gcd(tasks) => tasks,
            Self::LinearEquation(tasks) => tasks,
            Self::Legs(tasks) => tasks,
            Self::PropositionalLogic(tasks) => tasks,
            Self::KnightsAndKnaves(tasks) => tasks,
            Self::Sudoku(tasks) => tasks,
            Self::Maze(tasks) => tasks,
            Self::SimpleFunctions(tasks) => tasks,
        }
    }

    fn make_mut(&mut self) -> &mut dyn Make {
        match self {
            Self::Addition(tasks) => tasks,
            Self::Arithmetic(tasks) => tasks,
            Self::Multiplication(tasks) => tasks,
            Self::ChainSum(tasks) => tasks,
            Self::Max(tasks) => tasks,
            Self::Sort(tasks) => tasks,
            Self::ReverseText(tasks) => tasks,
            Self::CountLetters(tasks) => tasks,
            Self::Countdown(tasks) => tasks,
            Self::Gcd(tasks) => tasks,
            Self::LinearEquation(tasks) => tasks,
            Self::Legs(tasks) => tasks,
            Self::PropositionalLogic(tasks) => tasks,
            Self::KnightsAndKnaves(tasks) => tasks,
            Self::Sudoku(tasks) => tasks,
            Self::Maze(tasks) => tasks,
            Self::SimpleFunctions(tasks) => tasks,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn validate(&self) -> Result<(), GenerateError> {
        self.make().validate()
    }

    /// A task. The values must be valid.
    pub fn draw(&self, rng: &mut Rng) -> Made {
        self.make().draw(rng)
    }

    /// How its teacher would complete a task, right or wrong; `None` if it has no teacher.
    pub fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        self.make().teach(task, rng)
    }

    /// The verifier that gives a right answer the reward 1 and any other 0. Every task's `answer` is right.
    pub fn verifier(&self) -> VerifierConfig {
        self.make().verifier()
    }

    /// How large tasks are.
    pub fn sizes(&self) -> Sizes {
        *self.clone().make_mut().sizes()
    }

    /// The same tasks by size, from the smallest to the largest: one generator for each size.
    pub fn levels(&self) -> Vec<Self> {
        let sizes = self.sizes();
        let of_size = |size: usize| {
            let mut level = self.clone();
            *level.make_mut().sizes() = size.into();
            level
        };
        (sizes.low..=sizes.high).map(of_size).collect()
    }

    /// Whether tasks with this key are kept for evaluation.
    pub fn is_held_out(&self, key: &str) -> bool {
        // The lowest bits of this hash depend on little of the text.
        (hash(key) >> 32).is_multiple_of(self.make().held_out_of())
    }

    /// Task number `index` to train on; one may be drawn several times.
    pub fn train_task(&self, root: &SeedSequence, index: u32) -> Option<Task> {
        let mut rng = root.child(index).rng();
        let made = (0..PATIENCE).map(|_| self.draw(&mut rng));
        made.into_iter().find(|made| !self.is_held_out(&made.key)).map(|made| made.task)
    }

    /// `count` tasks, each with another prompt, whose keys are never trained on.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn held_out(&self, root: &SeedSequence, count: usize) -> Result<Vec<Task>, GenerateError> {
        let mut rng = root.rng();
        let mut prompts = std::collections::BTreeSet::new();
        let mut tasks = Vec::with_capacity(count);
        let mut since = 0;
        while tasks.len() < count {
            let made = self.draw(&mut rng);
            since += 1;
            if self.is_held_out(&made.key) && prompts.insert(made.task.prompt.to_string()) {
                tasks.push(made.task);
                since = 0;
            } else if since > PATIENCE {
                return Err(GenerateError::TooFew { found: tasks.len(), wanted: count });
            }
        }
        Ok(tasks)
    }
}

#[cfg(test)]
mod tests;
