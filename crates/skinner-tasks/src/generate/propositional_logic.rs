//! `a=true,c=false:a and not c=`: the truth value of a formula.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::formula::{Formula, letter, orders};
use super::{GenerateError, Made, Make, PromptStyle, Sizes, check};
use crate::{Task, VerifierConfig};

/// Formulas with so many connectives (and, or, xor, implies, iff) under an assignment; as many are true as false.
/// Where answers are tagged, its teacher evaluates the parts from inside:
///
/// ```text
/// not c=true;a and not c=true;<answer>true</answer>
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PropositionalLogic {
    /// How many connectives of two parts.
    pub connectives: Sizes,
    /// How many different variables, at most.
    pub variables: usize,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for PropositionalLogic {
    fn default() -> Self {
        Self { connectives: Sizes::new(1, 4), variables: 3, prompt_style: PromptStyle::default() }
    }
}

/// A formula whose variables are `0..` in the order in which they occur, and their values.
struct Question {
    formula: Formula,
    assignment: Vec<bool>,
}

impl Question {
    fn draw(connectives: usize, variables: usize, rng: &mut Rng) -> Self {
        let drawn = Formula::draw(connectives, variables, rng);
        let order = drawn.variables();
        let place = |variable| order.iter().position(|v| *v == variable).unwrap_or_default();
        let names: Vec<usize> = (0..variables).map(place).collect();
        let assignment = order.iter().map(|_| rng.below(2) == 1).collect();
        Self { formula: drawn.renamed(&names), assignment }
    }

    fn value(&self) -> bool {
        self.formula.value(&self.assignment)
    }

    fn assigned(&self, separator: &str, is: &str) -> String {
        let one = |(variable, value)| format!("{}{is}{value}", letter(variable));
        let all: Vec<String> = self.assignment.iter().enumerate().map(one).collect();
        all.join(separator)
    }

    /// The smallest text under all names that the variables could have.
    fn key(&self) -> String {
        let text = |names: &Vec<usize>| {
            let mut key = self.formula.renamed(names).canonical();
            let mut values = vec![false; names.len()];
            for (name, value) in names.iter().zip(&self.assignment) {
                values[*name] = *value;
            }
            let _ = write!(key, " {values:?}");
            key
        };
        orders(self.assignment.len()).iter().map(text).min().unwrap_or_default()
    }

    fn worked(&self) -> String {
        let mut steps = Vec::new();
        self.formula.steps(&self.assignment, &mut steps);
        steps.iter().fold(String::new(), |mut worked, (part, value)| {
            let _ = write!(worked, "{part}={value};");
            worked
        })
    }
}

impl Make for PropositionalLogic {
    fn validate(&self) -> Result<(), GenerateError> {
        self.connectives.check("connectives", 1, 32, "1 to 32")?;
        check((1..=5).contains(&self.variables), "variables", &self.variables, "1 to 5")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        const TRIES: usize = 64;
        let connectives = self.connectives.draw(rng);
        let wanted = rng.below(2) == 1;
        let mut question = Question::draw(connectives, self.variables, rng);
        for _ in 0..TRIES {
            if question.value() == wanted {
                break;
            }
            question = Question::draw(connectives, self.variables, rng);
        }
        let written = question.formula.written();
        let plain = format!("{}:{written}=", question.assigned(",", "="));
        let asked = format!(
            "Let {}. Is the formula \"{written}\" true or false?",
            question.assigned(", ", " be ")
        );
        let prompt = self.prompt_style.prompt(&plain, &asked, "true or false");
        Made::new(prompt, &question.value(), question.key()).with("worked", question.worked())
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        // Other styles have no place for work: what comes before the answer would be part of it.
        self.prompt_style.tag()?;
        let worked = task.columns.get("worked")?.as_str()?;
        Some(self.prompt_style.completion(worked, task.answer.as_deref()?))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.connectives
    }

    fn verifier(&self) -> VerifierConfig {
        super::exact_text(self.prompt_style)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All names of the variables of a formula give one key.
    #[test]
    fn names_of_variables_do_not_matter_to_the_key() {
        let mut rng = Rng::new(6);
        for _ in 0..100 {
            let question = Question::draw(5, 4, &mut rng);
            for names in orders(question.assignment.len()) {
                let mut assignment = question.assignment.clone();
                for (name, value) in names.iter().zip(&question.assignment) {
                    assignment[*name] = *value;
                }
                let renamed = Question { formula: question.formula.renamed(&names), assignment };
                assert_eq!(renamed.key(), question.key());
                assert_eq!(renamed.value(), question.value());
            }
        }
    }

    #[test]
    fn work_is_written_from_inside() {
        let variable = |number| Box::new(Formula::Variable(number));
        let formula = Formula::Not(Box::new(Formula::Not(variable(0))));
        let question = Question { formula, assignment: vec![true] };
        assert_eq!(question.worked(), "not a=false;not not a=true;");
    }
}
