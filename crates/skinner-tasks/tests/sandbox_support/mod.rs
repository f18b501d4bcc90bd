//! What the tests of sandboxes share.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use skinner_tasks::sandbox::{Helper, Sandbox, SandboxConfig};

pub fn helper() -> Helper {
    Helper::new(env!("CARGO_BIN_EXE_sandbox-helper"), &[])
}

pub fn sandbox(config: SandboxConfig) -> Option<Sandbox> {
    Some(Sandbox::new(config, helper()).unwrap())
}

pub fn python() -> &'static (PathBuf, Vec<PathBuf>) {
    static PYTHON: OnceLock<(PathBuf, Vec<PathBuf>)> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let o = Command::new("python3").args(["-c", "import sys; print(sys.executable); print(sys.prefix)"]).output().unwrap();
        let s = String::from_utf8(o.stdout).unwrap();
        let l: Vec<_> = s.lines().collect();
        (l[0].into(), vec![l[1].into()])
    })
}
