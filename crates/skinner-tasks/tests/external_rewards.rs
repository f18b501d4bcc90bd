//! Rewards of programs and services, good and bad.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod external_support;

use std::process::Command;
use std::time::{Duration, Instant};

use external_support::{grade, reasons, samples};
use skinner_tasks::external::{ExternalConfig, ExternalReward};

/// A program that does something with each `request`. None where there is no Python.
fn python(each: &str, seconds: f64) -> Option<ExternalReward> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED, nothing was tested: there is no python3");
        return None;
    }
    let program = format!(
        "import json, os, sys, time\ncount = 0\nfor line in sys.stdin:\n    request = json.loads(line)\n    count += 1\n    {}",
        each.replace('\n', "\n    ")
    );
    let command = ["python3", "-u", "-c", &program].map(str::to_owned).into();
    let config = ExternalConfig { command, batch_seconds: seconds, ..ExternalConfig::default() };
    Some(ExternalReward::new(config).unwrap())
}

#[test]
fn a_program_is_kept_between_batches() {
    let each = "print(json.dumps({'rewards': [count + len(c) / 10 for c in request['completions']], 'reasons': request['answer']}))";
    let Some(reward) = python(each, 60.0) else { return };
    for batch in 1..4 {
        let graded = grade(&reward, 2);
        assert_eq!(graded[1].as_ref().unwrap().reward, f64::from(batch) + 0.2);
        assert_eq!(reasons(&graded), ["0", "1"]);
    }
    assert!(grade(&reward, 0).is_empty());
}

#[test]
fn what_goes_wrong_fails_the_batch_and_not_the_run() {
    let check = |name: &str, each: &str, words: &[&str]| {
        let each =
            format!("if len(request['prompts']) == 1:\n    print('[1]')\n    continue\n{each}");
        let Some(reward) = python(&each, if words[0].contains("time") { 2.0 } else { 60.0 }) else {
            return;
        };
        let started = Instant::now();
        for _ in 0..2 {
            let graded = grade(&reward, 2);
            assert_eq!(graded.len(), 2);
            for failed in graded {
                let text = failed.unwrap_err().0;
                assert!(
                    words.iter().all(|word| text.contains(word)),
                    "{name}: {text:?} lacks {words:?}"
                );
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{name}: {:?}", started.elapsed());
        assert_eq!(grade(&reward, 1)[0].as_ref().unwrap().reward, 1.0, "{name}");
    };
    check("hang", "time.sleep(99)", &["in time"]);
    check("hang in a child", "os.system('sleep 99')", &["in time"]);
    check(
        "crash",
        "print('over', file=sys.stderr)\nraise ValueError('bad day')",
        &["exit status: 1", "bad day"],
    );
    check("leave", "os._exit(7)", &["exit status: 7"]);
    check("rubbish", "print('hello')", &["cannot be read", "hello"]);
    check("half", "sys.stdout.write('[1')\nos._exit(0)", &["exit status: 0"]);
    check("count", "print('[1, 2, 3]')", &["3 rewards for 2 samples"]);
    check("twice", "print('[1, 2, 3]')\nprint('[1, 2]')", &["3 rewards"]);
    check("closed", "os.close(1)\ntime.sleep(99)", &["closed its output"]);
}

#[test]
fn a_sample_fails_alone() {
    let Some(reward) = python("print('{\"rewards\": [1, NaN, null, Infinity]}')", 60.0) else {
        return;
    };
    let graded = grade(&reward, 4);
    assert_eq!(graded[0].as_ref().unwrap().reward, 1.0);
    assert_eq!(graded[1..].iter().filter(|graded| graded.is_err()).count(), 3);
}

#[test]
fn a_request_larger_than_a_pipe_passes() {
    let Some(reward) = python("print(json.dumps([len(c) for c in request['completions']]))", 60.0)
    else {
        return;
    };
    let mut samples = samples(2);
    samples[1].1.completion = "x".repeat(3 << 20);
    let samples: Vec<_> = samples.iter().map(|(task, trace)| (task, trace)).collect();
    assert_eq!(reward.grade_batch(&samples)[1].as_ref().unwrap().reward, f64::from(3 << 20));
    // Nor does one that is never read hold anything up.
    let Some(deaf) = python("time.sleep(99)", 1.0) else { return };
    for _ in 0..2 {
        assert!(deaf.grade_batch(&samples)[0].is_err());
    }
}

#[test]
fn configurations_are_checked() {
    let check = |text: &str, words: &str| {
        let config: ExternalConfig = serde_json::from_str(text).unwrap();
        let problem = ExternalReward::new(config).err().unwrap().to_string();
        assert!(problem.contains(words), "{problem}");
    };
    check("{}", "command = [] must be a program");
    check(r#"{"url": "ftp://x"}"#, "url = ftp://x");
    check(r#"{"url": "http://x", "command": ["x"]}"#, "left out");
    check(r#"{"command": ["x"], "batch_seconds": 0}"#, "batch_seconds = 0");
    assert!(serde_json::from_str::<ExternalConfig>(r#"{"commands": []}"#).is_err());
    let command = vec!["/no/such/program".to_owned()];
    let reward =
        ExternalReward::new(ExternalConfig { command, ..ExternalConfig::default() }).unwrap();
    assert!(reasons(&grade(&reward, 1))[0].contains("/no/such/program"));
}
