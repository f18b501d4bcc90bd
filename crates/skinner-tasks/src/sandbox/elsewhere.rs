//! Other systems than Linux: everything is refused.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use super::{Availability, Helper, Mechanism, Outcome, Program, SandboxConfig, SandboxError};

/// Runs programs in sandboxes. There is none on this system.
#[derive(Clone, Debug)]
pub struct Sandbox(Infallible);

/// A program in its sandbox. There is none on this system.
#[derive(Debug)]
pub struct Running(Infallible);

impl Sandbox {
    /// Refuses.
    ///
    /// # Errors
    /// Always: [`SandboxError::NotLinux`].
    pub fn new(config: SandboxConfig, _helper: Helper) -> Result<Self, SandboxError> {
        config.validate()?;
        Err(SandboxError::NotLinux)
    }

    /// Cannot be called.
    pub fn without(self, _mechanism: Mechanism) -> Self {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn using(&self) -> &[Mechanism] {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn config(&self) -> &SandboxConfig {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn run(&self, _program: &Program) -> Result<Outcome, SandboxError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn start(&self, _program: &Program) -> Result<Running, SandboxError> {
        match self.0 {}
    }
}

impl Running {
    /// Cannot be called.
    pub fn within(self, _time: Duration) -> Self {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn allow(&mut self, _time: Duration) {
        match self.0 {}
    }

    /// Cannot be called.
    pub fn say(&mut self, _line: &str) {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn hear(&mut self) -> Result<Option<String>, SandboxError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn finish(self) -> Result<Outcome, SandboxError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn stop_unless_ended(self) -> Result<Outcome, SandboxError> {
        match self.0 {}
    }

    /// Cannot be called.
    ///
    /// # Errors
    /// None.
    pub fn stop(self) -> Result<Outcome, SandboxError> {
        match self.0 {}
    }
}

/// Says of no mechanism that it is there.
///
/// # Errors
/// None.
pub fn mechanisms(_helper: &Helper) -> Result<Vec<Availability>, SandboxError> {
    let problem = Some(SandboxError::NotLinux.to_string());
    let none = |mechanism| Availability { mechanism, problem: problem.clone() };
    Ok(Mechanism::ALL.into_iter().map(none).collect())
}

/// Fails: there is nothing to help with.
pub fn helper_main() -> ExitCode {
    ExitCode::from(2)
}
