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
/// Its teacher has four habits: he keeps what is to be dropped, takes the last for the largest, subtracts the wrong way
/// round. The tests are lists with what the function returns for them.
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

/// What is done to a list. The last three make a number of it, and come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Sort,
    Reverse,
    Negate,
    Double,
    Add(i64),
    Subtract(i64),
    DropFirst,
    DropLast,
    Sum,
    Count,
    Largest,
}

use Operation::{
    Add, Count, Double, DropFirst, DropLast, Largest, Negate, Reverse, Sort, Subtract, Sum,
};

/// Operations that leave a list.
const LISTS: usize = 8;
const ALL: usize = 11;

impl Operation {
    fn draw(last: bool, rng: &mut Rng) -> Self {
        let number = 1 + rng.below(9) as i64;
        match rng.below(if last { ALL } else { LISTS }) {
            0 => Sort,
            1 => Reverse,
            2 => Negate,
            3 => Double,
            4 => Add(number),
            5 => Subtract(number),
            6 => DropFirst,
            7 => DropLast,
            8 => Sum,
            9 => Count,
            _ => Largest,
        }
    }

    fn words(self) -> String {
        match self {
            Sort => "sort".to_owned(),
            Reverse => "reverse".to_owned(),
            Negate => "negate".to_owned(),
            Double => "double".to_owned(),
            Add(number) => format!("add {number}"),
            Subtract(number) => format!("subtract {number}"),
            DropFirst => "drop first".to_owned(),
            DropLast => "drop last".to_owned(),
            Sum => "sum".to_owned(),
            Count => "count".to_owned(),
            Largest => "largest".to_owned(),
        }
    }

    fn of_words(words: &str) -> Option<Self> {
        let number = |words: &str| words.parse().ok();
        Some(match words.rsplit_once(' ').unwrap_or(("", words)) {
            ("add", given) => Add(number(given)?),
            ("subtract", given) => Subtract(number(given)?),
            _ => *[Sort, Reverse, Negate, Double, DropFirst, DropLast, Sum, Count, Largest]
                .iter()
                .find(|known| known.words() == words)?,
        })
    }

    fn expression(self) -> String {
        match self {
            Sort => "sorted(x)".to_owned(),
            Reverse => "x[::-1]".to_owned(),
            Negate => "[-i for i in x]".to_owned(),
            Double => "[2*i for i in x]".to_owned(),
            Add(number) => format!("[i+{number} for i in x]"),
            Subtract(number) => format!("[i-{number} for i in x]"),
            DropFirst => "x[1:]".to_owned(),
            DropLast => "x[:-1]".to_owned(),
            Sum => "sum(x)".to_owned(),
            Count => "len(x)".to_owned(),
            Largest => "max(x)".to_owned(),
        }
    }

    /// What the teacher has a habit of writing instead.
    fn mistaken(self) -> Option<String> {
        Some(match self {
            Subtract(number) => format!("[{number}-i for i in x]"),
            DropFirst => "x[:1]".to_owned(),
            DropLast => "x[-1:]".to_owned(),
            Largest => "x[-1]".to_owned(),
            _ => return None,
        })
    }

    /// What it makes of a list that is not empty.
    fn apply(self, mut list: Vec<i64>) -> Value {
        match self {
            Sort => list.sort_unstable(),
            Reverse => list.reverse(),
            Negate => list.iter_mut().for_each(|i| *i = -*i),
            Double => list.iter_mut().for_each(|i| *i *= 2),
            Add(number) => list.iter_mut().for_each(|i| *i += number),
            Subtract(number) => list.iter_mut().for_each(|i| *i -= number),
            DropFirst => drop(list.remove(0)),
            DropLast => drop(list.pop()),
            Sum => return list.iter().sum::<i64>().into(),
            Count => return list.len().into(),
            Largest => return list.iter().max().copied().into(),
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
fn body(expressions: impl Iterator<Item = String>) -> String {
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
        let words: Vec<String> = operations.iter().map(|operation| operation.words()).collect();
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
            mistaken.unwrap_or_else(|| operation.expression())
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
        let check = |operations: &[Operation], expect: Value| {
            assert_eq!(returned(operations, &[3, -1, 2]), expect, "{operations:?}");
        };
        check(&[Sort, Reverse], json!([3, 2, -1]));
        check(&[DropFirst, Double], json!([-2, 4]));
        check(&[DropLast, Negate, Add(5)], json!([2, 6]));
        check(&[Subtract(4), Sum], json!(-8));
        check(&[Largest], json!(3));
        check(&[Reverse, Count], json!(3));
    }

    #[test]
    fn words_are_read_again() {
        for operation in [Sort, Add(7), Subtract(2), DropLast, Largest] {
            assert_eq!(Operation::of_words(&operation.words()), Some(operation));
        }
        assert_eq!(Operation::of_words("add x"), None);
    }

    #[test]
    fn a_teacher_writes_and_has_habits() {
        let words = json!({ "operations": ["drop first", "subtract 3", "sum"] });
        let task = Task { columns: words.as_object().unwrap().clone(), ..Task::default() };
        let teach = |mistakes: f64, prompt_style: PromptStyle| {
            let teacher = SimpleFunctions { mistakes, prompt_style, ..SimpleFunctions::default() };
            teacher.teach(&task, &mut Rng::new(0)).unwrap()
        };
        let right = " x=x[1:]\n x=[i-3 for i in x]\n x=sum(x)\n return x";
        let wrong = " x=x[:1]\n x=[3-i for i in x]\n x=sum(x)\n return x";
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
