//! `# drop first, sum`: a function of a list, in Python.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check};
use crate::code::{Block, CodeConfig};
use crate::{Task, VerifierConfig};

/// Functions of a list of whole numbers, described in words: so many operations, one after the other. The prompt is the
/// beginning of a program, the completion goes on:
///
/// ```text
/// # drop first, sum
/// def f(x):
///  x=x[1:]
///  x=sum(x)
///  return x
/// ```
///
/// Its teacher has habits: he keeps what is to be dropped, takes the last for the largest and the first for the smallest,
/// subtracts the wrong way round. The tests are lists with what the function returns for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleFunctions {
    /// Operations of a function.
    pub operations: Sizes,
    /// How it is asked.
    pub prompt_style: PromptStyle,
    /// The probability with which the teacher is mistaken at each operation that he has a habit of.
    pub mistakes: f64,
    /// Lists that a program is tested on.
    pub tests: usize,
}

impl Default for SimpleFunctions {
    fn default() -> Self {
        Self {
            operations: Sizes::new(1, 3),
            prompt_style: PromptStyle::default(),
            mistakes: 0.6,
            tests: 4,
        }
    }
}

/// What is done to a list. The last four make a number of it, and come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Sort,
    Reverse,
    Negate,
    Absolute,
    Double,
    Triple,
    Halve,
    Increment,
    Decrement,
    DropFirst,
    DropLast,
    Repeat,
    Mirror,
    Sum,
    Count,
    Largest,
    Smallest,
}

impl Operation {
    const ALL: [Self; 17] = [
        Self::Sort,
        Self::Reverse,
        Self::Negate,
        Self::Absolute,
        Self::Double,
        Self::Triple,
        Self::Halve,
        Self::Increment,
        Self::Decrement,
        Self::DropFirst,
        Self::DropLast,
        Self::Repeat,
        Self::Mirror,
        Self::Sum,
        Self::Count,
        Self::Largest,
        Self::Smallest,
    ];
    /// How many of them leave a list.
    const LISTS: usize = 13;

    fn draw(last: bool, rng: &mut Rng) -> Self {
        Self::ALL[rng.below(if last { Self::ALL.len() } else { Self::LISTS })]
    }

    fn words(self) -> &'static str {
        match self {
            Self::Sort => "sort",
            Self::Reverse => "reverse",
            Self::Negate => "negate",
            Self::Absolute => "absolute",
            Self::Double => "double",
            Self::Triple => "triple",
            Self::Halve => "halve",
            Self::Increment => "increment",
            Self::Decrement => "decrement",
            Self::DropFirst => "drop first",
            Self::DropLast => "drop last",
            Self::Repeat => "repeat",
            Self::Mirror => "mirror",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Largest => "largest",
            Self::Smallest => "smallest",
        }
    }

    fn of_words(words: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.words() == words)
    }

    fn expression(self) -> &'static str {
        match self {
            Self::Sort => "sorted(x)",
            Self::Reverse => "x[::-1]",
            Self::Negate => "[-i for i in x]",
            Self::Absolute => "[abs(i) for i in x]",
            Self::Double => "[2*i for i in x]",
            Self::Triple => "[3*i for i in x]",
            Self::Halve => "[i//2 for i in x]",
            Self::Increment => "[i+1 for i in x]",
            Self::Decrement => "[i-1 for i in x]",
            Self::DropFirst => "x[1:]",
            Self::DropLast => "x[:-1]",
            Self::Repeat => "x+x",
            Self::Mirror => "x+x[::-1]",
            Self::Sum => "sum(x)",
            Self::Count => "len(x)",
            Self::Largest => "max(x)",
            Self::Smallest => "min(x)",
        }
    }

    /// What the teacher has a habit of writing instead.
    fn mistaken(self) -> Option<&'static str> {
        Some(match self {
            Self::Decrement => "[1-i for i in x]",
            Self::DropFirst => "x[:1]",
            Self::DropLast => "x[-1:]",
            Self::Largest => "x[-1]",
            Self::Smallest => "x[0]",
            _ => return None,
        })
    }

    /// What it makes of a list that is not empty.
    fn apply(self, mut list: Vec<i64>) -> Value {
        match self {
            Self::Sort => list.sort_unstable(),
            Self::Reverse => list.reverse(),
            Self::Negate => list.iter_mut().for_each(|i| *i = -*i),
            Self::Absolute => list.iter_mut().for_each(|i| *i = i.abs()),
            Self::Double => list.iter_mut().for_each(|i| *i *= 2),
            Self::Triple => list.iter_mut().for_each(|i| *i *= 3),
            Self::Halve => list.iter_mut().for_each(|i| *i = i.div_euclid(2)),
            Self::Increment => list.iter_mut().for_each(|i| *i += 1),
            Self::Decrement => list.iter_mut().for_each(|i| *i -= 1),
            Self::DropFirst => drop(list.remove(0)),
            Self::DropLast => drop(list.pop()),
            Self::Repeat => list.extend_from_within(..),
            Self::Mirror => {
                let mirrored: Vec<i64> = list.iter().rev().copied().collect();
                list.extend(mirrored);
            }
            Self::Sum => return list.iter().sum::<i64>().into(),
            Self::Count => return list.len().into(),
            Self::Largest => return list.iter().max().copied().into(),
            Self::Smallest => return list.iter().min().copied().into(),
        }
        list.into()
    }
}

/// What a function returns.
fn returned(operations: &[Operation], list: &[i64]) -> Value {
    operations.iter().fold(json!(list), |value, operation| {
        let list = value.as_array().map(|list| list.iter().filter_map(Value::as_i64).collect());
        operation.apply(list.unwrap_or_default())
    })
}

/// The lines of a function's body.
fn body(expressions: impl Iterator<Item = &'static str>) -> String {
    let lines: Vec<String> = expressions.map(|expression| format!(" x={expression}\n")).collect();
    lines.concat() + " return x"
}

const HEAD: &str = "def f(x):\n";

impl SimpleFunctions {
    /// A completion with this body.
    fn completion(&self, body: &str) -> String {
        match self.prompt_style {
            PromptStyle::Plain => body.to_owned(),
            _ => format!("```python\n{HEAD}{body}\n```"),
        }
    }
}

impl Make for SimpleFunctions {
    fn validate(&self) -> Result<(), GenerateError> {
        self.operations.check("operations", 1, 8, "1 to 8")?;
        check((0.0..=1.0).contains(&self.mistakes), "mistakes", &self.mistakes, "0 to 1")?;
        check((1..=100).contains(&self.tests), "tests", &self.tests, "1 to 100")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let count = self.operations.draw(rng);
        let operations: Vec<Operation> =
            (1..=count).map(|i| Operation::draw(i == count, rng)).collect();
        let words: Vec<&str> = operations.iter().map(|operation| operation.words()).collect();
        let tests = (0..self.tests).map(|_| {
            // No list becomes empty on the way.
            let list: Vec<i64> =
                (0..count + 2 + rng.below(3)).map(|_| rng.below(19) as i64 - 9).collect();
            json!({ "args": [list], "expected": returned(&operations, &list) })
        });
        let tests: Vec<Value> = tests.collect();
        let key = words.join(", ");
        let question = format!(
            "Write a Python function `f(x)` of a list `x` of whole numbers that does this and returns the result: {}.",
            words.join(", then ")
        );
        let prompt =
            self.prompt_style.prompt(&format!("# {key}\n{HEAD}"), &question, "a block of code");
        let answer = self.completion(&body(operations.iter().map(|o| o.expression())));
        Made::new(prompt, &answer, key)
            .with("operations", words)
            .with("entry_point", "f")
            .with("tests", tests)
    }

    fn teach(&self, task: &Task, rng: &mut Rng) -> Option<String> {
        let words = task.columns.get("operations")?.as_array()?;
        let operations: Vec<Operation> = words
            .iter()
            .map(|words| Operation::of_words(words.as_str()?))
            .collect::<Option<_>>()?;
        let written = operations.iter().map(|operation| {
            let mistaken = operation.mistaken().filter(|_| rng.random() < self.mistakes);
            mistaken.unwrap_or(operation.expression())
        });
        Some(self.completion(&body(written)))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.operations
    }

    fn verifier(&self) -> VerifierConfig {
        let plain = self.prompt_style == PromptStyle::Plain;
        VerifierConfig::Code(CodeConfig {
            block: if plain { Block::Whole } else { Block::Last },
            prepend_prompt: plain,
            ..CodeConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_return_what_python_returns() {
        use Operation::{
            Absolute, Count, Decrement, Double, DropFirst, DropLast, Halve, Increment, Largest,
            Mirror, Negate, Repeat, Reverse, Smallest, Sort, Sum, Triple,
        };
        let check = |operations: &[Operation], expect: Value| {
            assert_eq!(returned(operations, &[3, -1, 2]), expect, "{operations:?}");
        };
        check(&[Sort, Reverse], json!([3, 2, -1]));
        check(&[DropFirst, Double], json!([-2, 4]));
        check(&[DropLast, Negate, Increment], json!([-2, 2]));
        check(&[Halve, Absolute], json!([1, 1, 1]));
        check(&[DropLast, Mirror], json!([3, -1, -1, 3]));
        check(&[DropFirst, Repeat, Triple], json!([-3, 6, -3, 6]));
        check(&[Decrement, Sum], json!(1));
        check(&[Largest], json!(3));
        check(&[Smallest], json!(-1));
        check(&[Reverse, Count], json!(3));
    }

    #[test]
    fn words_are_read_again() {
        for operation in Operation::ALL {
            assert_eq!(Operation::of_words(operation.words()), Some(operation));
        }
        assert_eq!(Operation::of_words("drop"), None);
    }

    #[test]
    fn a_teacher_writes_and_has_habits() {
        let words = json!({ "operations": ["drop first", "decrement", "sum"] });
        let task = Task { columns: words.as_object().unwrap().clone(), ..Task::default() };
        let teach = |mistakes: f64, prompt_style: PromptStyle| {
            let teacher = SimpleFunctions { prompt_style, mistakes, ..SimpleFunctions::default() };
            teacher.teach(&task, &mut Rng::new(0)).unwrap()
        };
        let right = " x=x[1:]\n x=[i-1 for i in x]\n x=sum(x)\n return x";
        let wrong = " x=x[:1]\n x=[1-i for i in x]\n x=sum(x)\n return x";
        assert_eq!(teach(0.0, PromptStyle::Plain), right);
        assert_eq!(teach(1.0, PromptStyle::Plain), wrong);
        let block = format!("```python\ndef f(x):\n{right}\n```");
        assert_eq!(teach(0.0, PromptStyle::Chat), block);
    }

    #[test]
    fn prompts_are_the_beginning_of_a_program() {
        let made = SimpleFunctions::default().draw(&mut Rng::new(0));
        assert_eq!(made.task.prompt, format!("# {}\ndef f(x):\n", made.key));
        assert_eq!(made.task.columns["tests"].as_array().unwrap().len(), 4);
    }
}
