//! Tests of what a program prints, and commands.

use super::cases::{self, PairCase};
use super::functions::{ending, no_python, short};
use super::{CodeVerifier, CommandConfig, GradedBy, Score};
use crate::sandbox::{Ended, Program};
use crate::{Failed, Task};

const FILE: &str = "program.py";

impl CodeVerifier {
    pub(super) fn script(&self, program: &str) -> Result<Program, Failed> {
        let python = self.python.as_ref().ok_or_else(no_python)?;
        Ok(python.run_file(FILE, program))
    }

    /// Runs the program once for each input.
    pub(super) fn pairs(&self, program: &Program, cases: &[PairCase]) -> Result<Score, Failed> {
        let mut score = Score { passed: 0, total: cases.len(), first: None };
        for (index, case) in cases.iter().enumerate() {
            let program = Program { stdin: case.input.clone().into_bytes(), ..program.clone() };
            let outcome = self.sandbox.run(&program)?;
            let printed = String::from_utf8_lossy(&outcome.stdout);
            let problem = if outcome.ended != Ended::Exited(0) {
                ending(&outcome)
            } else if same_text(&case.output, &printed) {
                score.passed += 1;
                continue;
            } else {
                format!("it prints {:?}", short(printed.trim_end()))
            };
            score.first.get_or_insert(format!("test {}: {problem}", index + 1));
            if !self.config.partial_credit {
                break;
            }
        }
        Ok(score)
    }

    /// Runs a command that was configured.
    pub(super) fn command(
        &self,
        command: &CommandConfig,
        task: &Task,
        text: String,
    ) -> Result<Score, Failed> {
        let (name, arguments) = command.command.split_first().ok_or_else(no_python)?;
        let mut program = Program { program: name.into(), ..Program::default() };
        program.arguments = arguments.to_vec();
        program.files = command.files.clone();
        program.files.insert(command.program_file.clone(), text);
        if command.graded_by == GradedBy::Stdout {
            return self.pairs(&program, &cases::pairs_of(task, &self.config)?);
        }
        let outcome = self.sandbox.run(&program)?;
        let passed = usize::from(outcome.ended == Ended::Exited(0));
        Ok(Score { passed, total: 1, first: (passed == 0).then(|| ending(&outcome)) })
    }
}

/// Texts are equal apart from white space at the ends of lines and of the whole.
fn same_text(expected: &str, printed: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    lines(expected) == lines(printed)
}
