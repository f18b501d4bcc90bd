//! Where the interpreter is, and what it needs to read.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::CodeError;
use crate::sandbox::{Program, SandboxConfig};

pub(super) struct Python {
    executable: PathBuf,
    arguments: Vec<String>,
    readable: Vec<PathBuf>,
}

/// Prints where the interpreter and its files are, one in a line.
const ASK: &str = "import os, sys
places = [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
places += [os.path.dirname(os.path.realpath(sys.executable))]
print('\\n'.join(places + [path for path in sys.path if os.path.isabs(path)]))";

impl Python {
    /// Asks the interpreter itself, outside of any sandbox.
    pub(super) fn find(python: &str, arguments: &[String]) -> Result<Self, CodeError> {
        let problem = |problem: String| CodeError::Python { python: python.to_owned(), problem };
        let output = Command::new(python)
            .args(arguments)
            .args(["-c", ASK])
            .output()
            .map_err(|error| problem(error.to_string()))?;
        if !output.status.success() {
            return Err(problem(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut places = text.lines().map(PathBuf::from);
        let executable = places.next().filter(|path| path.is_absolute() && path.is_file());
        let executable = executable.ok_or_else(|| problem("it does not say where it is".into()))?;
        let readable = places.filter(|path| path.exists() && path != Path::new("/")).collect();
        Ok(Self { executable, arguments: arguments.to_vec(), readable })
    }

    /// Lets sandboxes read the interpreter, and makes it the same in each run.
    pub(super) fn prepare(&self, sandbox: &mut SandboxConfig) {
        sandbox.readable.extend(self.readable.iter().cloned());
        for (name, value) in [("PYTHONHASHSEED", "0"), ("PYTHONDONTWRITEBYTECODE", "1")] {
            sandbox.environment.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }

    /// A source text that is run as `-c`.
    pub(super) fn run_source(&self, source: &str) -> Program {
        self.program(["-c", source])
    }

    /// A file of the private directory that is run.
    pub(super) fn run_file(&self, name: &str, source: &str) -> Program {
        let mut program = self.program([name]);
        program.files.insert(name.to_owned(), source.to_owned());
        program
    }

    fn program<const N: usize>(&self, more: [&str; N]) -> Program {
        let mut arguments = self.arguments.clone();
        arguments.extend(more.map(str::to_owned));
        Program { program: self.executable.clone(), arguments, ..Program::default() }
    }
}
