//! The floors of ARCHITECTURE.md: a crate depends only on crates of lower floors.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const FLOORS: [(&str, u32); 8] = [
    ("skinner-core", 0),
    ("skinner-nn", 1),
    ("skinner-tasks", 1),
    ("skinner-envs", 2),
    ("skinner-algos", 2),
    ("skinner-lm", 2),
    ("skinner-run", 2),
    ("skinner", 4),
];

#[test]
fn crates_import_lower_floors_only() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let floors = BTreeMap::from(FLOORS);
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(
        packages.len(),
        floors.len(),
        "every crate has a floor, and every floor's crate exists"
    );
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let floor = floors[name];
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            // Dev-dependencies are free: PPO's tests use CartPole.
            if dependency["kind"] == "dev" {
                continue;
            }
            if let Some(&other) = floors.get(on) {
                assert!(other < floor, "{name} (floor {floor}) imports {on} (floor {other})");
            }
        }
    }
}
