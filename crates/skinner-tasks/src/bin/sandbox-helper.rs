//! The sandbox's helper as a program of its own, for this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    skinner_tasks::sandbox::helper_main()
}
