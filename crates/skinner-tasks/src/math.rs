//! Answers to mathematical questions: found in a text, parsed, compared exactly where that can be.
//!
//! [`Math`] finds the final answer of a completion and compares it with that of the task.
//! [`equal`] compares two answers. Both sides go through one parser, for LaTeX and plain notation,
//! to a tree and from there to a normal form.
//!
//! # What is equal
//!
//! | kind | rule |
//! |---|---|
//! | numbers | exact rationals: `0.5`, `\frac12`, `1/2`, `5e-1`, `1,000`, `2\frac{1}{3}`, `0.\overline{3}` |
//! | roots, π, e, i | exact, as sums of rationals × roots of primes × powers: `\sqrt{12} = 2\sqrt3` |
//! | variables | exact, as quotients of polynomials: `(x+1)^2 = x^2+2x+1` |
//! | what has no normal form | functions, nested roots: numerically, at five points where variables occur |
//! | a decimal and a number without end | numerically: `0.3333333333 = 1/3` |
//! | percent | `28\%` is `0.28`; where units are ignored, also `28` |
//! | `x = 5`, `f(x) = 5`, `AB = 5` | the value; chains give the last one |
//! | other equations | one is a multiple of the other |
//! | `x > 3`, `\|x\| \le 3`, `x \ne 3`, `x \in (3, \infty)` | the intervals |
//! | `(1, 2)`, `[0, 1)` | in order, brackets included; brackets of longer ones do not matter |
//! | `\{1, 2\}`; `1, 2 and 3`; `\pm 1` | without order |
//! | matrices, ratios `7:32` | item by item; a ratio is also its quotient |
//! | words, choices | without spaces, style and case |
//!
//! Numerically means a relative difference of at most [`Rules::tolerance`], 1e-9. `\log` is the natural
//! logarithm. Two decimals that end are compared exactly.
//!
//! # Agreement with math-verify
//!
//! Of the 275 cases that math-verify 0.9.0 tests itself with, 253 come out the same. The others:
//!
//! | kind | cases | here |
//! |---|---|---|
//! | decimal commas, `1,22` | 4 | a list of two numbers |
//! | several boxes with words between them | 4 | the last box |
//! | numbers rounded to few digits, `(0.6, 2.6667]` | 2 | not within 1e-9 |
//! | sums and products of matrices | 2 | no value |
//! | a formula in single `$` over several lines | 2 | a formula |
//! | what their extraction or comparison gets from broken LaTeX | 3 | no value, or different |
//! | sums with `\sum` whose factors are swapped | 1 | no value |
//! | `p=5,q=2;p=7,q=2` as two points | 1 | a list of four |
//! | an interval given as an inequality | 1 | equal, in both directions |
//! | a box that is followed by another final answer | 1 | the box |
//! | `f(x)` and `f(y)`, under their option `strict = False` | 1 | different |
//!
//! # Limits
//!
//! An answer of more than 4,096 bytes or 96 levels, numbers of more than 4,096 bits and sums of too many terms
//! are not computed; such answers are compared as text, and the reason says so. No input panics. Within points and
//! sets a comma separates: there a thousand is `1000` or `1{,}000`.

mod answer;
mod canonical;
mod compare;
mod extract;
mod lexer;
mod normal;
mod number;
mod numeric;
mod parser;
mod plain;
mod poly;
mod primary;
mod tree;
mod vocabulary;
mod worker;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Failed, Graded, Reward, Task, Trace};

pub use compare::Rules;
pub use extract::Extractor;
pub use worker::{Worker, WorkerError};

/// What is done with units, currencies and signs of percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// `5 cm` is `5`, and `28\%` is `28`.
    #[default]
    Ignore,
    /// Both sides must have the same unit, or none. Nothing is converted.
    Compare,
}

/// Who decides about answers that cannot be parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fallback {
    /// Nobody: they are compared as text.
    #[default]
    None,
    /// Python's math-verify, in a process of its own that takes one question at a time.
    MathVerify,
}

/// How completions are graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the final answer is found: the first that finds one counts.
    pub extractors: Vec<Extractor>,
    /// The name of the tags that [`Extractor::Tags`] looks for.
    pub tag: String,
    /// Units, currencies and signs of percent.
    pub units: Units,
    /// The relative difference up to which values are equal that have no common exact form.
    pub tolerance: f64,
    /// The reward of an equal answer.
    pub correct: f64,
    /// The reward of any other, and of none.
    pub wrong: f64,
    /// Who decides about answers that cannot be parsed.
    pub fallback: Fallback,
    /// The Python that runs the fallback.
    pub python: String,
    /// Seconds the fallback may take for one answer.
    pub fallback_timeout_s: f64,
}

impl Default for Config {
    fn default() -> Self {
        use Extractor::{AnswerIs, Boxed, Hashes, LastNumber, Tags};
        Self {
            extractors: vec![Boxed, Tags, Hashes, AnswerIs, LastNumber],
            tag: "answer".to_owned(),
            units: Units::default(),
            tolerance: Rules::default().tolerance,
            correct: 1.0,
            wrong: 0.0,
            fallback: Fallback::default(),
            python: "python3".to_owned(),
            fallback_timeout_s: 5.0,
        }
    }
}

/// A verifier that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MathError {
    /// No way to find an answer.
    #[error("extractors is empty; name at least one, such as \"boxed\"")]
    NoExtractor,
    /// A value out of range.
    #[error("{name} is {value}, must be {must}")]
    Value {
        /// The field.
        name: &'static str,
        /// What it holds.
        value: f64,
        /// What would be right.
        must: &'static str,
    },
    /// A tag that can stand in no text.
    #[error("tag is {0:?}, must be letters, digits, `_` or `-`")]
    Tag(String),
    /// The fallback does not start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Why an answer has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is too long.
    #[error("it has {bytes} bytes, at most {} are parsed", lexer::MAX_LENGTH)]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is nested too deeply.
    #[error("it is nested deeper than {} levels", parser::MAX_DEPTH)]
    TooDeep,
    /// A number in it is too large.
    #[error("it holds a number of more than {} bits", number::MAX_BITS)]
    TooLarge,
    /// It ends too early.
    #[error("it ends where more is expected")]
    Ends,
    /// A bracket is not closed.
    #[error("`{open}` is not closed")]
    Unclosed {
        /// The bracket.
        open: char,
    },
    /// Something that has no meaning there.
    #[error("`{found}` is not understood there")]
    Unexpected {
        /// What it is.
        found: String,
    },
    /// Parts that do not make a value together.
    #[error("its parts make no value together")]
    NoValue,
}

/// One of the two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of the task.
    Expected,
    /// That of the completion.
    Given,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Exact arithmetic.
    Exact,
    /// Floating point, to the tolerance.
    Numeric,
    /// Equal texts.
    Text,
    /// Different texts: one side cannot be parsed.
    Unparsed {
        /// Which.
        side: Side,
        /// Why.
        error: ParseError,
    },
}

/// Whether two answers say the same, and how that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Whether they do.
    pub same: bool,
    /// What decided.
    pub basis: Basis,
}

/// Whether two answers say the same. It is symmetric, and every answer but an empty one equals itself.
///
/// ```
/// use skinner_tasks::math::{Rules, equal};
///
/// assert!(equal(r"\frac{\sqrt{12}}{4}", r"\sqrt{3}/2", Rules::default()).same);
/// assert!(!equal("2", r"\frac{1+\sqrt{5}}{2}", Rules::default()).same);
/// ```
pub fn equal(expected: &str, given: &str, rules: Rules) -> Comparison {
    compare::compare(expected, given, rules)
}

/// A verifier of final answers.
#[derive(Debug)]
pub struct Math {
    config: Config,
    worker: Option<Mutex<Worker>>,
}

impl Math {
    /// A verifier; it starts the fallback, where there is one.
    ///
    /// # Errors
    /// If a value is out of range, or the fallback does not start.
    pub fn new(config: Config) -> Result<Self, MathError> {
        if config.extractors.is_empty() {
            return Err(MathError::NoExtractor);
        }
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if config.tag.is_empty() || !config.tag.chars().all(in_name) {
            return Err(MathError::Tag(config.tag));
        }
        let check = |ok: bool, name, value, must| {
            if ok { Ok(()) } else { Err(MathError::Value { name, value, must }) }
        };
        let tolerance = config.tolerance;
        check((0.0..1.0).contains(&tolerance), "tolerance", tolerance, "at least 0 and below 1")?;
        for (name, value) in [("correct", config.correct), ("wrong", config.wrong)] {
            check(value.is_finite(), name, value, "finite")?;
        }
        let seconds = config.fallback_timeout_s;
        check((0.01..=3600.0).contains(&seconds), "fallback_timeout_s", seconds, "0.01 to 3600")?;
        let worker = match config.fallback {
            Fallback::None => None,
            Fallback::MathVerify => {
                let limit = Duration::from_secs_f64(seconds);
                Some(Mutex::new(Worker::math_verify(&config.python, limit)?))
            }
        };
        Ok(Self { config, worker })
    }

    /// Grades a completion against the task's `answer`.
    ///
    /// An answer that is a whole solution may mark its own with `####`, `\boxed{…}` or the tags.
    ///
    /// # Errors
    /// If the task has no answer.
    pub fn grade(&self, task: &Task, trace: &Trace) -> Graded {
        let Some(answer) = task.answer.as_deref().filter(|answer| !answer.trim().is_empty()) else {
            return Err(Failed("the task has no `answer`".to_owned()));
        };
        let text = &trace.completion;
        if text.trim_start().is_empty() {
            return Ok(Reward::new(self.config.wrong, "the completion is empty"));
        }
        let expected = self.expected(answer);
        let found = self.config.extractors.iter().find_map(|extractor| {
            extractor.extract(text, &self.config.tag).map(|found| (*extractor, found))
        });
        let Some((extractor, given)) = found else {
            return Ok(Reward::new(self.config.wrong, "the completion holds no final answer"));
        };
        let rules = Rules { units: self.config.units, tolerance: self.config.tolerance };
        let comparison = equal(&expected, &given, rules);
        let mut reason = String::with_capacity(64);
        let _ = reason.write_str(extractor.as_str());
        reason.push_str(": ");
        push_short(&mut reason, &given);
        let same = self.decide(&comparison, &expected, &given, &mut reason);
        Ok(Reward::new(if same { self.config.correct } else { self.config.wrong }, reason))
    }

    /// The final answer of a completion in its normal form, where there is one.
    pub fn answer(&self, completion: &str) -> Option<String> {
        let mut extractors = self.config.extractors.iter();
        let found =
            extractors.find_map(|extractor| extractor.extract(completion, &self.config.tag))?;
        Some(canonical::canonical(&found, self.config.units))
    }

    /// The answer within that of the task.
    fn expected<'a>(&self, answer: &'a str) -> Cow<'a, str> {
        [Extractor::Hashes, Extractor::Boxed, Extractor::Tags]
            .into_iter()
            .find_map(|extractor| extractor.extract(answer, &self.config.tag))
            .unwrap_or_else(|| Cow::Borrowed(answer.trim()))
    }

    /// Whether the answer counts, and why.
    fn decide(
        &self,
        comparison: &Comparison,
        expected: &str,
        given: &str,
        reason: &mut String,
    ) -> bool {
        reason.push_str(if comparison.same { ", equals " } else { ", is not " });
        push_short(reason, expected);
        match &comparison.basis {
            Basis::Exact => {}
            Basis::Numeric => {
                let _ = write!(reason, " (numerically, to {:e})", self.config.tolerance);
            }
            Basis::Text => reason.push_str(" (as text)"),
            Basis::Unparsed { side, error } => {
                let whose = match side {
                    Side::Expected => "the expected answer",
                    Side::Given => "the given answer",
                };
                let _ = write!(reason, " (as text; {whose} has no value: {error})");
                return self.ask_worker(expected, given, reason);
            }
        }
        comparison.same
    }

    fn ask_worker(&self, expected: &str, given: &str, reason: &mut String) -> bool {
        let Some(worker) = &self.worker else { return false };
        let mut worker = worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match worker.equal(expected, given) {
            Ok(same) => {
                reason.push_str(if same { "; math-verify: equal" } else { "; math-verify: not" });
                same
            }
            Err(error) => {
                let _ = write!(reason, "; math-verify gave no verdict: {error}");
                false
            }
        }
    }
}

/// Adds a text, of a long one its beginning.
fn push_short(reason: &mut String, text: &str) {
    const LONGEST: usize = 80;
    if text.len() <= LONGEST {
        reason.push_str(text);
        return;
    }
    let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    reason.push_str(&text[..end]);
    reason.push('…');
}
