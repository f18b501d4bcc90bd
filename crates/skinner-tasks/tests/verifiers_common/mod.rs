//! What the integration tests share.
#![allow(dead_code, reason = "each test uses a part of it")]
#![expect(clippy::print_stderr, reason = "a skipped test says why, a measurement what it found")]

use std::path::PathBuf;

/// A file below the folder that `SKINNER_TEST_DATA` names; a test without it says so and is skipped.
pub fn data_file(name: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("SKINNER_TEST_DATA") else {
        eprintln!("skipped: SKINNER_TEST_DATA does not name the folder with {name}");
        return None;
    };
    let path = PathBuf::from(folder).join(name);
    let text = std::fs::read_to_string(&path);
    text.map_err(|error| eprintln!("skipped: {}: {error}", path.display())).ok()
}

/// A figure for the reader.
pub fn say(text: &str) {
    eprintln!("{text}");
}
