//! Nothing outlives a sandbox, however it ends.
#![cfg(target_os = "linux")]

mod sandbox_support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox_support::{helper, processes_with, sandbox, within_bubblewrap};
use skinner_tasks::sandbox::{Helper, Program, Sandbox, SandboxConfig};

/// Processes that leave their group, session and parents, each with the marker in its command line.
fn stayer(marker: &str) -> Program {
    let fork = format!("setsid sleep {marker} & (setsid sleep {marker} &) ; sleep {marker}");
    Program::new("/bin/sh", &["-c", &fork])
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn none() -> Vec<PathBuf> {
    Vec::new()
}

#[test]
fn all_processes_die_when_the_time_is_over_and_when_dropped() {
    let marker = format!("4001.{}", std::process::id());
    let Some(sandbox) = sandbox(SandboxConfig { wall_seconds: 0.7, ..SandboxConfig::default() })
    else {
        return;
    };
    sandbox.run(&stayer(&marker)).unwrap();
    assert_eq!(processes_with(&marker), none());
    let running = sandbox.start(&stayer(&marker)).unwrap();
    wait_for("the program starts", || processes_with(&format!("sleep\0{marker}")).len() == 3);
    drop(running);
    assert_eq!(processes_with(&marker), none());
    let stopped = sandbox.start(&stayer(&marker)).unwrap().stop().unwrap();
    assert_eq!(stopped.ended, skinner_tasks::sandbox::Ended::Stopped);
    assert_eq!(processes_with(&marker), none());
}

#[test]
#[ignore = "a part of the next test, which runs it in a process of its own"]
fn victim() {
    let Ok(marker) = std::env::var("SANDBOX_VICTIM") else { return };
    let Some(sandbox) = sandbox(SandboxConfig { wall_seconds: 600.0, ..SandboxConfig::default() })
    else {
        return;
    };
    sandbox.run(&stayer(&marker)).unwrap();
}

#[test]
fn all_processes_die_when_the_caller_is_killed() {
    if sandbox(SandboxConfig::default()).is_none() {
        return;
    }
    let marker = format!("4002.{}", std::process::id());
    let mut caller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored"])
        .env("SANDBOX_VICTIM", &marker)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the program starts", || processes_with(&format!("sleep\0{marker}")).len() == 3);
    caller.kill().unwrap();
    caller.wait().unwrap();
    wait_for("the program dies", || processes_with(&marker).is_empty());
}

#[test]
fn all_processes_die_when_the_helper_is_killed() {
    if within_bubblewrap() {
        // Its outer process does no more than wait: without it the program ends with its time.
        return;
    }
    let marker = format!("4003.{}", std::process::id());
    let Some(sandbox) = sandbox(SandboxConfig { wall_seconds: 60.0, ..SandboxConfig::default() })
    else {
        return;
    };
    let running = sandbox.start(&stayer(&marker)).unwrap();
    wait_for("the program starts", || processes_with(&format!("sleep\0{marker}")).len() == 3);
    let helpers = Command::new("pgrep")
        .args(["-P", &std::process::id().to_string(), "-f", "sandbox-helper"])
        .output();
    let Ok(helpers) = helpers else { return };
    for pid in String::from_utf8(helpers.stdout).unwrap().lines() {
        Command::new("kill").args(["-9", pid]).status().unwrap();
    }
    assert!(running.finish().is_err());
    wait_for("the program dies", || processes_with(&marker).is_empty());
}

#[test]
fn descriptors_of_the_caller_do_not_reach_the_program() {
    if sandbox(SandboxConfig::default()).is_none() {
        return;
    }
    let path = helper().program.display().to_string();
    let leaky = Helper::new("/bin/sh", &["-c", "exec 9</etc/passwd; exec \"$0\"", &path]);
    let sandbox = Sandbox::new(SandboxConfig::default(), leaky).unwrap();
    let outcome = sandbox.run(&Program::new("/bin/sh", &["-c", "cat <&9 || echo sealed"])).unwrap();
    assert_eq!(outcome.stdout, b"sealed\n");
}

#[test]
fn no_descriptor_and_no_zombie_is_left() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let Some(sandbox) = sandbox(SandboxConfig::default()) else { return };
    let program = Program::new("/bin/true", &[]);
    sandbox.run(&program).unwrap();
    let before = count();
    for _ in 0..20 {
        sandbox.run(&program).unwrap();
        sandbox.start(&program).unwrap().finish().unwrap();
        drop(sandbox.start(&program).unwrap());
    }
    // Other tests of this file open some at the same time.
    assert!(count() < before + 30, "{} {before}", count());
    assert!(helper().program.is_absolute());
}
