//! The same sandbox where Bubblewrap makes its namespaces. With `SKINNER_TEST_BUBBLEWRAP=1` the other tests of sandboxes
//! run so, too.
#![cfg(target_os = "linux")]

mod sandbox_support;

use sandbox_support::{helper, is_of_the_machine, processes_with, sandbox, skip};
use skinner_tasks::sandbox::{
    BubblewrapUse, Ended, Helper, Mechanism, Program, Sandbox, SandboxConfig,
};

/// None where there is no Bubblewrap, or it does not work; the reason is printed.
fn wrapped(config: SandboxConfig) -> Option<Sandbox> {
    let config = SandboxConfig { bubblewrap: BubblewrapUse::Always, ..config };
    match Sandbox::new(config, helper()) {
        Ok(sandbox) => Some(sandbox),
        Err(lack) if is_of_the_machine(&lack) => skip(&lack),
        Err(error) => panic!("{error}"),
    }
}

fn shell(script: &str) -> Program {
    Program::new("/bin/sh", &["-c", script])
}

#[test]
fn a_program_sees_what_it_sees_without() {
    let Some(wrapped) = wrapped(SandboxConfig::default()) else { return };
    assert_eq!(wrapped.using(), Mechanism::ALL);
    let Some(own) = sandbox(SandboxConfig::default()) else { return };
    let look =
        "cat; pwd; env | sort; id; ls / /dev; ls -a; hostname; ulimit -a; echo oops >&2; exit 3";
    let program = Program {
        stdin: b"in ".to_vec(),
        files: [("a.txt".to_owned(), "A".to_owned())].into(),
        ..shell(look)
    };
    let [found, expected] = [wrapped, own].map(|sandbox| sandbox.run(&program).unwrap());
    let lines = |bytes: &[u8]| -> Vec<String> {
        // One process more is counted: Bubblewrap's own.
        let all = String::from_utf8_lossy(bytes).into_owned();
        all.lines().filter(|line| !line.starts_with("process")).map(str::to_owned).collect()
    };
    assert_eq!(found.ended, Ended::Exited(3));
    assert_eq!(lines(&found.stdout), lines(&expected.stdout));
    assert_eq!(found.stderr, expected.stderr);
}

#[test]
fn hostile_programs_get_nothing_and_leave_nothing() {
    let config = SandboxConfig { wall_seconds: 3.0, processes: 6, ..SandboxConfig::default() };
    let Some(sandbox) = wrapped(config) else { return };
    let out = |script: &str| {
        let outcome = sandbox.run(&shell(script)).unwrap();
        String::from_utf8_lossy(&outcome.stdout).trim().to_owned()
    };
    for shut in [
        "cat /etc/passwd",
        "cat /.helper",
        "touch /usr/x",
        "touch /dev/x",
        "touch /x",
        "touch /.helper",
        "echo 1 > /proc/sys/kernel/panic",
        "kill -9 1 2",
        "unshare -U true",
        "mount -t tmpfs none /usr",
        "python3 -c 'import socket; socket.socket()'",
        "ls /root",
        "ls /home",
        "ls /proc/1/root/",
    ] {
        assert_eq!(out(&format!("({shut}) 2>/dev/null && echo open; echo over")), "over", "{shut}");
    }
    let forks = out("for i in 1 2 3 4 5 6 7 8 9; do sleep 0.3 & echo started; done 2>/dev/null");
    assert_eq!(forks.lines().count(), 5);
    let marker = format!("4801.{}", std::process::id());
    for stay in [
        format!("setsid sleep {marker} & (setsid sleep {marker} &); exit 0"),
        format!("setsid sleep {marker} & (setsid sleep {marker} &); sleep {marker}"),
    ] {
        sandbox.run(&shell(&stay)).unwrap();
        assert_eq!(processes_with(&marker), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn why_it_cannot_be_done_is_said() {
    let config = SandboxConfig { bubblewrap: BubblewrapUse::Always, ..SandboxConfig::default() };
    if wrapped(SandboxConfig::default()).is_none() {
        return;
    }
    let error = Sandbox::new(config, Helper::new("/no/such/helper", &[])).unwrap_err().to_string();
    assert!(error.contains("bubblewrap = always cannot be done here: "), "{error}");
    assert!(error.contains("No such file"), "{error}");
}
