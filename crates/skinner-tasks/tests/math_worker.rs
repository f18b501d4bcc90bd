//! The second opinion: scripts that hang, crash and talk rubbish, and the package itself where it is.

mod verifiers_common;

use std::time::{Duration, Instant};

use skinner_tasks::math::{Config, Fallback, Math, Worker, WorkerError};
use skinner_tasks::{Task, Trace};

const LIMIT: Duration = Duration::from_millis(500);

/// Equal texts are equal; some words of the given answer bring trouble.
const SCRIPT: &str = r#"
import json, os, sys, time
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    item = json.loads(line)
    given = item["given"]
    if given == "hang":
        time.sleep(60)
    if given == "crash":
        os._exit(3)
    if given == "rubbish":
        print("not JSON at all", flush=True)
        continue
    if given == "late":
        print(json.dumps({"id": item["id"] - 1, "equal": True}), flush=True)
        continue
    if given == "long":
        print("x" * 5_000_000, flush=True)
        continue
    if given == "error":
        print(json.dumps({"id": item["id"], "error": "no idea"}), flush=True)
        continue
    print(json.dumps({"id": item["id"], "equal": given == item["expected"]}), flush=True)
"#;

fn worker() -> Option<Worker> {
    match Worker::with_script("python3", SCRIPT, LIMIT) {
        Ok(worker) => Some(worker),
        Err(error) => {
            verifiers_common::say(&format!("skipped: {error}"));
            None
        }
    }
}

#[test]
fn trouble_is_an_error_and_the_next_question_is_answered() {
    let Some(mut worker) = worker() else { return };
    for (given, is_expected) in [
        ("hang", (|e| matches!(e, WorkerError::Timeout(_))) as fn(&WorkerError) -> bool),
        ("crash", |e| matches!(e, WorkerError::Ended)),
        ("rubbish", |e| matches!(e, WorkerError::Rubbish(_))),
        ("late", |e| matches!(e, WorkerError::Rubbish(_))),
        ("long", |e| matches!(e, WorkerError::Rubbish(_))),
        ("error", |e| matches!(e, WorkerError::Undecided(_))),
    ] {
        let start = Instant::now();
        let error = worker.equal("1", given).expect_err(given);
        assert!(is_expected(&error), "{given}: {error:?}");
        assert!(start.elapsed() < Duration::from_secs(5), "{given}");
        assert!(worker.equal("1", "1").expect("a fresh process"), "after {given}");
        assert!(!worker.equal("1", "2").expect("the same process"), "after {given}");
    }
}

#[test]
fn a_question_of_many_bytes_is_refused() {
    let Some(mut worker) = worker() else { return };
    let error = worker.equal("1", &"9".repeat(1 << 20)).expect_err("too long");
    assert!(matches!(error, WorkerError::Undecided(_)), "{error:?}");
    assert!(worker.equal("1", "1").expect("the same process"));
}

#[test]
fn what_does_not_start_says_what_is_missing() {
    let missing = Worker::math_verify("no-such-python", LIMIT).expect_err("no Python");
    assert!(missing.to_string().contains("cannot start `no-such-python`"), "{missing}");
    let script = "import json\nprint(json.dumps({'error': 'import: no module'}))";
    let Err(error) = Worker::with_script("python3", script, LIMIT) else {
        panic!("it said that it is not ready");
    };
    if !matches!(error, WorkerError::Start { .. }) {
        assert!(error.to_string().contains("-m pip install 'math-verify"), "{error}");
    }
}

/// `SKINNER_PYTHON` names the Python that has math-verify.
#[test]
fn math_verify_itself() {
    let python = std::env::var("SKINNER_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let fallback = Fallback::MathVerify;
    let config = Config { python, fallback, fallback_timeout_s: 30.0, ..Config::default() };
    let math = match Math::new(config) {
        Ok(math) => math,
        Err(error) => {
            verifiers_common::say(&format!("skipped: {error}"));
            return;
        }
    };
    let task = Task { answer: Some(r"\int_0^1 2x\,dx".to_owned()), ..Task::default() };
    for (completion, reward) in [(r"\boxed{1}", 1.0), (r"\boxed{2}", 0.0)] {
        let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
        let graded = math.grade(&task, &trace).expect("an answer");
        assert_eq!(graded.reward, reward, "{}", graded.reason);
        assert!(graded.reason.contains("math-verify"), "{}", graded.reason);
    }
}
