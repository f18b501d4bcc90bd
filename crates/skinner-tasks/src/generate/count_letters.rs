//! `count a in banana=`: how often a letter occurs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use skinner_core::Rng;

use super::{GenerateError, Made, Make, PromptStyle, Sizes, check};
use crate::Task;

/// How often a letter occurs in a text of so many random letters. Its teacher counts along:
///
/// ```text
/// count a in banana=b0a1n1a2n2a3;3
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CountLetters {
    /// How many letters the text has.
    pub letters: Sizes,
    /// How many different letters it may have: the fewer, the larger the counts.
    pub alphabet: usize,
    /// How it is asked.
    pub prompt_style: PromptStyle,
}

impl Default for CountLetters {
    fn default() -> Self {
        Self { letters: Sizes::new(4, 10), alphabet: 4, prompt_style: PromptStyle::default() }
    }
}

impl Make for CountLetters {
    fn validate(&self) -> Result<(), GenerateError> {
        self.letters.check("letters", 1, 256, "1 to 256")?;
        check((2..=26).contains(&self.alphabet), "alphabet", &self.alphabet, "2 to 26")
    }

    fn draw(&self, rng: &mut Rng) -> Made {
        let mut alphabet: Vec<char> = ('a'..='z').collect();
        rng.shuffle(&mut alphabet);
        let count = self.letters.draw(rng);
        let text: String = (0..count).map(|_| alphabet[rng.below(self.alphabet)]).collect();
        let letter = alphabet[rng.below(self.alphabet)];
        let occurs = text.chars().filter(|c| *c == letter).count();
        let question = format!("How often does the letter \"{letter}\" occur in \"{text}\"?");
        let plain = format!("count {letter} in {text}=");
        let prompt = self.prompt_style.prompt(&plain, &question, "the number");
        let made = Made::new(prompt, &occurs, format!("{letter} {text}"));
        made.with("letter", letter.to_string()).with("text", text)
    }

    fn teach(&self, task: &Task, _rng: &mut Rng) -> Option<String> {
        let column = |name| task.columns.get(name)?.as_str();
        let (letter, text) = (column("letter")?.chars().next()?, column("text")?);
        let (mut worked, mut count) = (String::new(), 0);
        for c in text.chars() {
            count += usize::from(c == letter);
            let _ = write!(worked, "{c}{count}");
        }
        worked.push(';');
        Some(self.prompt_style.completion(&worked, &count.to_string()))
    }

    fn sizes(&mut self) -> &mut Sizes {
        &mut self.letters
    }
}
