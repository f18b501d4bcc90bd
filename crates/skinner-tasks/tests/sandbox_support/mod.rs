//! What the tests of sandboxes and of programs share.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use skinner_tasks::code::{CodeConfig, CodeError, CodeVerifier};
use skinner_tasks::sandbox::{BubblewrapUse, Helper, Sandbox, SandboxConfig, SandboxError};
use skinner_tasks::{Task, Trace};

pub fn helper() -> Helper {
    Helper::new(env!("CARGO_BIN_EXE_sandbox-helper"), &[])
}

/// Whether all sandboxes are to be within Bubblewrap.
pub fn within_bubblewrap() -> bool {
    std::env::var_os("SKINNER_TEST_BUBBLEWRAP").is_some()
}

fn as_asked(config: SandboxConfig) -> SandboxConfig {
    let bubblewrap = if within_bubblewrap() { BubblewrapUse::Always } else { config.bubblewrap };
    SandboxConfig { bubblewrap, ..config }
}

/// None where the machine lacks a mechanism; the reason is printed.
pub fn sandbox(config: SandboxConfig) -> Option<Sandbox> {
    match Sandbox::new(as_asked(config), helper()) {
        Ok(sandbox) => Some(sandbox),
        Err(lack) if is_of_the_machine(&lack) => skip(&lack),
        Err(error) => panic!("{error}"),
    }
}

pub fn is_of_the_machine(error: &SandboxError) -> bool {
    matches!(error, SandboxError::Missing(_) | SandboxError::NotLinux | SandboxError::Bubblewrap(_))
}

/// None where the machine lacks a mechanism or Python.
pub fn python_verifier(config: CodeConfig) -> Option<CodeVerifier> {
    let config = CodeConfig { sandbox: as_asked(config.sandbox), ..config };
    match CodeVerifier::new(config, helper()) {
        Ok(verifier) => Some(verifier),
        Err(lack @ CodeError::Python { .. }) => skip(&lack),
        Err(CodeError::Sandbox(lack)) if is_of_the_machine(&lack) => skip(&lack),
        Err(error) => panic!("{error}"),
    }
}

pub fn skip<T>(lack: &dyn std::fmt::Display) -> Option<T> {
    eprintln!("SKIPPED, nothing was tested: {lack}");
    None
}

pub fn task(columns: Value) -> Task {
    let Value::Object(columns) = columns else { panic!("columns are an object") };
    Task { columns, ..Task::default() }
}

/// A program in a fenced block.
pub fn trace(program: &str) -> Trace {
    Trace { completion: format!("Here:\n```python\n{program}\n```\n"), ..Trace::default() }
}

/// Processes whose command line holds a text, and that still run.
pub fn processes_with(text: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers =
        entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let holds = |path: &PathBuf| {
        fs::read(path.join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    numbers.map(|entry| entry.path()).filter(holds).collect()
}
