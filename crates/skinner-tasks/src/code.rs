//! Programs as answers: a completion's program runs in a [sandbox](crate::sandbox) against tests.
//!
//! # Tests
//!
//! Of a task's columns, `tests` (else `test_list`, else `test`) holds one of these:
//!
//! | form | looks like | asks for |
//! |---|---|---|
//! | functions | `[{"args": [2], "kwargs": {}, "expected": 4}, …]` | the entry point's results, compared as JSON values |
//! | input and output | `[{"input": "2\n", "output": "4\n"}, …]`, or `{"inputs": […], "outputs": […]}` | what a program prints |
//! | asserts | `["assert f(2) == 4", …]`, or a text with `def check(candidate): …` | what the asserts say |
//!
//! `entry_point` names the function; asserts without it mean the first function they call that nobody else defines. It
//! may be an expression, as `Solution().solve`. `setup` (else `test_setup_code`, else `test_imports`) is run before
//! asserts. A JSON text in place of the list is read as that list.
//!
//! # Threat model
//!
//! The program is hostile: it knows this source and wants the reward without the work. It runs in one process with a
//! *driver*, which calls its functions, and it can do to that process what it wants: patch modules, read frames, write
//! to the channel, leave. So the driver knows nothing worth having:
//!
//! 1. **What is expected never enters the program's sandbox.** The driver is sent inputs, one after another, and
//!    answers outputs over a socket. To forge an output is to compute it. What is printed does not count.
//! 2. **What comes back is data.** A result is taken apart into numbers, texts, lists and dictionaries, and is compared
//!    outside, so an `__eq__` that always holds is never asked. What is not plain data is wrong; asserts may call it
//!    and go through its items, for tests of classes, but not compare it.
//! 3. **Asserts run elsewhere.** A *judge* in a second sandbox runs them. It sees the data set's text and never the
//!    program; there, the function under test asks the program's sandbox for its results. So everything that
//!    asserts say (`==`, tolerances, loops over random inputs) works unchanged, and expected values stay with the judge.
//!    What the program may raise there is a short list of errors, none of which could end a loop as if all were well.
//!    Names besides the function's own are taken from the program only as arguments of that function; else the tests
//!    are refused, since a program could define them to its favour.
//! 4. **Silence is failure.** A program that leaves, hangs, runs out of memory or of lines fails the tests that it has
//!    not answered.
//!
//! Two modes are weaker, and must be asked for by name: `asserts_in_child` runs tests that a judge cannot run in the
//! program's own process, where it can forge success; a `command` graded by its exit code believes what the program's
//! process says of itself. Tests should be many, or a program that knows the data set answers from memory.

mod cases;
mod error;
mod extract;
mod functions;
mod judge;
mod pairs;
mod python;
mod values;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use serde::{Deserialize, Serialize};

pub use error::CodeError;

use crate::sandbox::{Helper, Running, Sandbox, SandboxConfig};
use crate::{Failed, Graded, Reward, Task, Trace};
use cases::Cases;
use python::Python;

/// How programs are graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodeConfig {
    /// Which part of the completion is the program.
    pub block: Block,
    /// Whether the prompt, a text, comes before the program: the completion goes on where the prompt ends.
    pub prepend_prompt: bool,
    /// The column with the tests. None: `tests`, else `test_list`, else `test`.
    pub tests_column: Option<String>,
    /// The function under test of tasks without a column `entry_point`.
    pub entry_point: Option<String>,
    /// Whether the reward is the share of tests passed. Else it is 1 for all of them and 0 otherwise.
    pub partial_credit: bool,
    /// How far a result may be from an expected number, where one of both is no integer: as a share of the expected
    /// number, or of 1 if that is larger. Asserts say this themselves.
    pub float_tolerance: f64,
    /// The interpreter: a path, or a name on `PATH`.
    pub python: String,
    /// Its arguments. Without `-S` it finds installed packages, and starts more slowly.
    pub python_arguments: Vec<String>,
    /// Runs this instead of the interpreter.
    pub command: Option<CommandConfig>,
    /// Whether asserts that cannot be run apart from the program are run with it. A program can then forge success.
    pub asserts_in_child: bool,
    /// What a program may use. The wall-clock time is that of all function tests or asserts of a task together, and of
    /// each pair of input and output.
    pub sandbox: SandboxConfig,
}

impl Default for CodeConfig {
    fn default() -> Self {
        Self {
            block: Block::Last,
            prepend_prompt: false,
            tests_column: None,
            entry_point: None,
            partial_credit: false,
            float_tolerance: 1e-6,
            python: "python3".to_owned(),
            python_arguments: vec!["-s".to_owned(), "-S".to_owned()],
            command: None,
            asserts_in_child: false,
            sandbox: SandboxConfig::default(),
        }
    }
}

/// Which part of a completion is the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// The last fenced block.
    #[default]
    Last,
    /// The first fenced block.
    First,
    /// All of it.
    Whole,
}

/// Any command that runs a program, of any language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandConfig {
    /// The command and its arguments, as `["sh", "-c", "gcc main.c && ./a.out"]`.
    pub command: Vec<String>,
    /// The file, below the private directory, that the program is placed in.
    pub program_file: String,
    /// Further texts that are placed there, by their paths.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// What counts.
    #[serde(default)]
    pub graded_by: GradedBy,
}

/// What of a command counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GradedBy {
    /// What it prints, against the task's inputs and outputs.
    #[default]
    Stdout,
    /// Whether its exit code is 0. Weaker: a program can leave with that code before it is tested.
    ExitCode,
}

/// Grades programs. It may be used by several threads at once.
pub struct CodeVerifier {
    config: CodeConfig,
    sandbox: Sandbox,
    python: Option<Python>,
    /// Judges that wait for work; each is taken by one sample at a time.
    judges: Mutex<Vec<Running>>,
}

/// How many tests a program passed, and what became of the first it failed.
struct Score {
    passed: usize,
    total: usize,
    first: Option<String>,
}

impl Score {
    /// No test passed.
    fn none(total: usize, problem: String) -> Self {
        Self { passed: 0, total, first: Some(problem) }
    }
}

impl CodeVerifier {
    /// Looks for the interpreter and for what the machine has.
    ///
    /// # Errors
    /// A wrong configuration, no interpreter, or a machine that lacks a mechanism of the sandbox.
    pub fn new(config: CodeConfig, helper: Helper) -> Result<Self, CodeError> {
        config.validate()?;
        let mut sandbox = config.sandbox.clone();
        let python = match &config.command {
            Some(_) => None,
            None => Some(Python::find(&config.python, &config.python_arguments)?),
        };
        if let Some(python) = &python {
            python.prepare(&mut sandbox);
        }
        let sandbox = Sandbox::new(sandbox, helper)?;
        Ok(Self { config, sandbox, python, judges: Mutex::default() })
    }

    /// Grades one completion.
    ///
    /// # Errors
    /// A task without usable tests, or a sandbox that could not be set up. Whatever a program does is a reward of 0.
    pub fn grade(&self, task: &Task, trace: &Trace) -> Graded {
        let Some(program) = extract::program(&trace.completion, self.config.block) else {
            return Ok(Reward::new(0.0, "the completion has no fenced block of code"));
        };
        let prefix = self.prefix(task)?;
        let program = format!("{prefix}{program}");
        let score = match &self.config.command {
            Some(command) => self.command(command, task, program)?,
            None => self.test(cases::of(task, &self.config)?, &program, prefix)?,
        };
        Ok(self.reward(&score))
    }

    /// Grades many completions on so many threads. The rewards are in the order of the samples, and do not depend on
    /// the number of threads. Of equal completions of equal tasks one is run.
    pub fn grade_all(&self, samples: &[(&Task, &Trace)], threads: usize) -> Vec<Graded> {
        let mut known = BTreeMap::new();
        let mut distinct = Vec::new();
        let which: Vec<usize> = samples
            .iter()
            .map(|(task, trace)| {
                let task_text = serde_json::to_string(task).unwrap_or_default();
                *known.entry((task_text, &trace.completion)).or_insert_with(|| {
                    distinct.push((*task, *trace));
                    distinct.len() - 1
                })
            })
            .collect();
        let graded = self.grade_each(&distinct, threads);
        which.into_iter().map(|at| graded[at].clone()).collect()
    }

    fn grade_each(&self, samples: &[(&Task, &Trace)], threads: usize) -> Vec<Graded> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((task, trace)) = samples.get(index) else { return done };
                done.push((index, self.grade(task, trace)));
            }
        };
        let mut all: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> =
                (0..threads.clamp(1, samples.len().max(1))).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
        });
        all.sort_by_key(|(index, _)| *index);
        all.into_iter().map(|(_, graded)| graded).collect()
    }

    /// What the machine has of the sandbox's mechanisms, for `run.json` and reports.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    fn prefix<'a>(&self, task: &'a Task) -> Result<&'a str, Failed> {
        if !self.config.prepend_prompt {
            return Ok("");
        }
        let no_text = "prepend_prompt: the prompt is a list of messages, must be a text";
        task.prompt.as_str().ok_or_else(|| Failed(no_text.to_owned()))
    }

    fn test(&self, cases: Cases, program: &str, prefix: &str) -> Result<Score, Failed> {
        match cases {
            Cases::Functions { entry_point, cases } => {
                self.functions(program, &entry_point, &cases)
            }
            Cases::Pairs(cases) => self.pairs(&self.script(program)?, &cases),
            Cases::Asserts(asserts) => self.asserts(program, prefix, &asserts),
        }
    }

    fn reward(&self, score: &Score) -> Reward {
        let Score { passed, total, first } = score;
        let share = *passed as f64 / (*total).max(1) as f64;
        let all = f64::from(passed == total && *total > 0);
        let reward = if self.config.partial_credit { share } else { all };
        let mut reason = format!("{passed} of {total} tests passed");
        if let Some(first) = first {
            reason = format!("{reason}; {first}");
        }
        Reward::new(reward, reason)
    }

    fn take_judge(&self) -> Option<Running> {
        self.judges.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep_judge(&self, judge: Running) {
        self.judges.lock().unwrap_or_else(PoisonError::into_inner).push(judge);
    }
}

impl CodeConfig {
    /// Says what is wrong with the values.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn validate(&self) -> Result<(), CodeError> {
        self.sandbox.validate()?;
        if !(self.float_tolerance >= 0.0 && self.float_tolerance.is_finite()) {
            let value = self.float_tolerance.to_string();
            return Err(CodeError::config("float_tolerance", value, "0 or more, and finite"));
        }
        match &self.command {
            Some(command) if command.command.is_empty() => Err(CodeError::config(
                "command.command",
                "[]".to_owned(),
                "a program with its arguments",
            )),
            _ => Ok(()),
        }
    }
}
