//! Rewards of HTTP services, good and bad.
#![cfg(feature = "http")]

mod external_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use external_support::{grade, reasons};
use serde_json::Value;
use skinner_tasks::external::{ExternalConfig, ExternalReward};

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
