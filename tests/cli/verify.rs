//! `skinner verify`, a verifier as a filter.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::skinner;

/// What it prints for some lines, and whether it succeeded.
fn verify(args: &[&str], lines: &[Value]) -> (Vec<Value>, String, bool) {
    let text: String = lines.iter().map(|line| line.to_string() + "\n").collect();
    let all = [&["verify"][..], args].concat();
    let mut child = skinner(Path::new("."), &all)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses its arguments reads nothing.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let graded = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (graded, String::from_utf8(output.stderr).unwrap(), output.status.success())
}

#[test]
fn mathematics() {
    let items = [
        json!({"completion": "so it is \\boxed{\\frac{1}{2}}", "answer": "0.5"}),
        json!({"completion": "13", "answer": "12"}),
        json!({"completion": "13"}),
    ];
    let (graded, errors, success) = verify(&["--reward", "math"], &items);
    assert!(success, "{errors}");
    assert_eq!(graded[0]["reward"], 1.0, "{graded:?}");
    assert_eq!(graded[1]["reward"], 0.0);
    assert!(graded[1]["reason"].as_str().unwrap().contains("12"));
    assert!(graded[2]["failed"].as_str().unwrap().contains("answer"));
}

/// The binary itself is the sandbox's helper. Where the kernel lacks what the sandbox needs, it says what.
#[expect(clippy::print_stderr, reason = "a test that skips says why")]
#[test]
fn programs() {
    let tests = json!([{"args": [2], "expected": 4}, {"args": [3], "expected": 9}]);
    let item = |body: &str| {
        let completion = format!("```python\ndef square(x):\n    {body}\n```");
        json!({"completion": completion, "tests": tests, "entry_point": "square"})
    };
    let items = [item("return x * x"), item("return 4"), item("import os; os._exit(0)")];
    let (graded, errors, success) = verify(&["--reward", "code"], &items);
    if !success {
        assert!(errors.contains("accept_without"), "{errors}");
        eprintln!("skipped: this machine has no sandbox: {errors}");
        return;
    }
    let rewards: Vec<&Value> = graded.iter().map(|graded| &graded["reward"]).collect();
    assert_eq!(rewards, [1.0, 0.0, 0.0], "{graded:?}");
}

#[test]
fn mistakes_are_named() {
    let (_, errors, success) = verify(&["--reward", "maths"], &[]);
    assert!(!success && errors.contains("maths") && errors.contains("math"), "{errors}");
    let (_, errors, success) = verify(&["--reward", "math"], &[json!({"answer": "1"})]);
    assert!(!success && errors.contains("line 1") && errors.contains("completion"), "{errors}");
    let (_, errors, success) = verify(&["--reward", "math", "--set", "extractors=[]"], &[]);
    assert!(!success && errors.contains("extractors"), "{errors}");
}
