//! Rewards of programs and services, good and bad.
#![cfg(unix)]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use skinner_tasks::external::{ExternalConfig, ExternalReward};
use skinner_tasks::{Graded, Task, Trace};

fn samples(count: usize) -> Vec<(Task, Trace)> {
    let one = |index: usize| {
        let task = Task { prompt: "p".into(), answer: Some(index.to_string()), ..Task::default() };
        (task, Trace { completion: format!("c{index}"), ..Trace::default() })
    };
    (0..count).map(one).collect()
}

fn grade(reward: &ExternalReward, count: usize) -> Vec<Graded> {
    let samples = samples(count);
    let samples: Vec<_> = samples.iter().map(|(task, trace)| (task, trace)).collect();
    reward.grade_batch(&samples)
}

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

fn reasons(graded: &[Graded]) -> Vec<String> {
    graded
        .iter()
        .map(|graded| graded.clone().map_or_else(|failed| failed.0, |reward| reward.reason))
        .collect()
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

/// Answers each request by its number and body. None as an answer: it says nothing.
fn serve(answer: impl Fn(usize, Value) -> Option<(u16, String)> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/reward", listener.local_addr().unwrap());
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
            thread::spawn(move || {
                let body = receive(&stream);
                match answer(count.fetch_add(1, Ordering::SeqCst), body) {
                    Some((status, text)) => reply(&stream, status, &text),
                    None => thread::sleep(Duration::from_secs(30)),
                }
            });
        }
    });
    url
}

fn receive(stream: &TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn reply(mut stream: &TcpStream, status: u16, text: &str) {
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).unwrap();
}

#[cfg(feature = "http")]
fn service(url: &str, retries: u32) -> ExternalReward {
    let url = Some(url.to_owned());
    ExternalReward::new(ExternalConfig {
        url,
        retries,
        batch_seconds: 1.0,
        ..ExternalConfig::default()
    })
    .unwrap()
}

#[test]
#[cfg(feature = "http")]
fn a_service_is_asked_over_http() {
    let url = serve(|_, body| {
        let rewards: Vec<_> =
            body["completions"].as_array()?.iter().map(|c| c.as_str().unwrap().len()).collect();
        Some((
            200,
            serde_json::json!({ "rewards": rewards, "reasons": body["answer"] }).to_string(),
        ))
    });
    let graded = grade(&service(&url, 0), 2);
    assert_eq!(graded[0].as_ref().unwrap().reward, 2.0);
    assert_eq!(reasons(&graded), ["0", "1"]);
}

#[test]
#[cfg(feature = "http")]
fn services_fail_like_programs() {
    let check = |answer: Option<(u16, &'static str)>, words: &str| {
        let url = serve(move |_, _| answer.map(|(status, text)| (status, text.to_owned())));
        let text = reasons(&grade(&service(&url, 0), 1)).remove(0);
        assert!(text.contains(words), "{text}");
    };
    check(Some((200, "rubbish")), "cannot be read");
    check(Some((200, "[1, 2]")), "2 rewards for 1 samples");
    check(Some((200, "[NaN]")), "NaN");
    check(Some((404, "nobody")), "status 404: nobody");
    check(Some((503, "busy")), "status 503");
    check(None, "timeout");
    let nobody = reasons(&grade(&service("http://127.0.0.1:9/", 1), 1)).remove(0);
    assert!(nobody.contains("127.0.0.1:9"), "{nobody}");
}

#[test]
#[cfg(feature = "http")]
fn a_service_is_asked_again_where_that_may_help() {
    let second = |status| {
        serve(move |count, _| {
            Some(if count == 0 { (status, "no".into()) } else { (200, "[3]".into()) })
        })
    };
    assert_eq!(grade(&service(&second(500), 1), 1)[0].as_ref().unwrap().reward, 3.0);
    assert!(grade(&service(&second(400), 1), 1)[0].is_err());
    let late = serve(|count, _| if count == 0 { None } else { Some((200, "[4]".into())) });
    assert_eq!(grade(&service(&late, 1), 1)[0].as_ref().unwrap().reward, 4.0);
}
