//! What a program gets and gives in a sandbox.
#![cfg(target_os = "linux")]

mod sandbox_support;

use std::time::Duration;

use sandbox_support::{helper, sandbox, within_bubblewrap};
use skinner_tasks::sandbox::{
    Ended, Helper, Mechanism, Outcome, Program, Sandbox, SandboxConfig, SandboxError, mechanisms,
};

fn shell(script: &str) -> Program {
    Program::new("/bin/sh", &["-c", script])
}

fn run(config: SandboxConfig, program: &Program) -> Option<Outcome> {
    Some(sandbox(config)?.run(program).unwrap())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_program_has_its_input_files_and_little_else() {
    let script = "cat; cat a.txt lib/b.txt; echo oops >&2; pwd; env | sort; id -u; ls; exit 3";
    let mut program = Program { stdin: b"in ".to_vec(), ..shell(script) };
    program.files = [("a.txt", "A "), ("lib/b.txt", "B\n")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    let environment = [("COLOUR".to_owned(), "blue".to_owned())].into();
    let config = SandboxConfig { environment, ..SandboxConfig::default() };
    let Some(outcome) = run(config, &program) else { return };
    assert_eq!(outcome.ended, Ended::Exited(3));
    assert_eq!(text(&outcome.stderr), "oops\n");
    let expect = "in A B\n/tmp\nCOLOUR=blue\nHOME=/tmp\nLANG=C.UTF-8\n\
                  PATH=/usr/local/bin:/usr/bin:/bin\nPWD=/tmp\nTMPDIR=/tmp\n65534\na.txt\nlib\n";
    assert_eq!(text(&outcome.stdout), expect);
    assert!(outcome.peak_memory_bytes.unwrap() > 1 << 16);
}

#[test]
fn ends_are_told_apart() {
    let config =
        SandboxConfig { wall_seconds: 2.0, output_bytes: 1000, ..SandboxConfig::default() };
    let Some(sandbox) = sandbox(config) else { return };
    let ended = |script| sandbox.run(&shell(script)).unwrap();
    assert_eq!(ended("exit 7").ended, Ended::Exited(7));
    assert_eq!(ended("kill -SEGV $$").ended, Ended::Signalled(11));
    let late = ended("echo early; sleep 60");
    assert_eq!((late.ended, text(&late.stdout)), (Ended::TimedOut, "early\n"));
    assert!(late.wall >= Duration::from_secs(2) && late.wall < Duration::from_secs(12));
    let much = ended("while :; do echo 123456789; done");
    assert_eq!((much.ended, much.stdout.len()), (Ended::OutputCapped, 1000));
    // A process that stays behind does not hold the program up.
    let left = ended("sleep 60 & echo done");
    assert_eq!((left.ended, text(&left.stdout)), (Ended::Exited(0), "done\n"));
    let none = sandbox.run(&Program::new("/usr/bin/no-such-program", &[])).unwrap_err();
    assert!(none.to_string().contains("cannot run /usr/bin/no-such-program"), "{none}");
}

#[test]
fn long_input_and_output_pass() {
    let stdin = vec![b'x'; 3 << 20];
    let config = SandboxConfig { output_bytes: 4 << 20, ..SandboxConfig::default() };
    let Some(outcome) = run(config, &Program { stdin: stdin.clone(), ..Program::new("cat", &[]) })
    else {
        return;
    };
    assert_eq!((outcome.ended, outcome.stdout.len()), (Ended::Exited(0), stdin.len()));
    // Nobody has to read its input.
    let unread = Program { stdin, ..shell("exit 0") };
    assert_eq!(run(SandboxConfig::default(), &unread).unwrap().ended, Ended::Exited(0));
}

#[test]
fn limits_hold() {
    let config = SandboxConfig {
        memory_bytes: 64 << 20,
        processes: 4,
        file_bytes: 1 << 16,
        disk_bytes: 1 << 20,
        open_files: 16,
        ..SandboxConfig::default()
    };
    let Some(sandbox) = sandbox(config) else { return };
    let out = |script| text(&sandbox.run(&shell(script)).unwrap().stdout).trim().to_owned();
    assert_eq!(out("ulimit -v; ulimit -c; ulimit -n; ulimit -l"), "65536\n0\n16\n0");
    // The shell itself is one of the four.
    let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & echo started; done 2>/dev/null";
    assert_eq!(out(forks).lines().count(), 3);
    assert_eq!(out("trap '' XFSZ; head -c 100000 /dev/zero >big 2>/dev/null; wc -c <big"), "65536");
    let fill =
        "for i in $(seq 40); do head -c 60000 /dev/zero >f$i; done 2>/dev/null; cat f* | wc -c";
    assert!(out(fill).parse::<u64>().unwrap() <= 1 << 20);
}

#[test]
fn a_channel_carries_lines() {
    let Some(sandbox) =
        sandbox(SandboxConfig { wall_seconds: 2.0, line_bytes: 4096, ..SandboxConfig::default() })
    else {
        return;
    };
    let echo = "while read line; do echo \"$line!\"; done <&$SANDBOX_CHANNEL >&$SANDBOX_CHANNEL; echo over";
    let mut running = sandbox.start(&shell(echo)).unwrap();
    for word in ["one", "two"] {
        running.say(word);
        assert_eq!(running.hear().unwrap(), Some(format!("{word}!")));
    }
    let outcome = running.finish().unwrap();
    assert_eq!((outcome.ended, text(&outcome.stdout)), (Ended::Exited(0), "over\n"));
    let mut last = sandbox.start(&shell("echo bye >&$SANDBOX_CHANNEL")).unwrap();
    assert_eq!(last.hear().unwrap(), Some("bye".to_owned()));
    assert_eq!(last.hear().unwrap(), None);
    let mut silent = sandbox.start(&shell("sleep 60")).unwrap().within(Duration::from_millis(200));
    assert_eq!(silent.hear().unwrap(), None);
    assert_eq!(silent.finish().unwrap().ended, Ended::TimedOut);
    let mut long =
        sandbox.start(&shell("head -c 100000 /dev/zero >&$SANDBOX_CHANNEL; sleep 9")).unwrap();
    assert_eq!(long.hear().unwrap(), None);
    assert_eq!(long.finish().unwrap().ended, Ended::OutputCapped);
}

#[test]
fn each_mechanism_can_be_gone_without() {
    let Some(sandbox) = sandbox(SandboxConfig::default()) else { return };
    let look = "cat /etc/shadow; echo x >/usr/file; echo hi >own; cat own";
    for mechanism in Mechanism::ALL {
        let outcome = sandbox.clone().without(mechanism).run(&shell(look)).unwrap();
        assert_eq!(text(&outcome.stdout), "hi\n", "without {mechanism}");
    }
    let all = Mechanism::ALL.into_iter().filter(|one| *one != Mechanism::UnprivilegedUser);
    let bare = all.fold(sandbox, Sandbox::without);
    let outcome = bare.run(&shell("echo hi; (sleep 61.25 & sleep 61.25 &) ; exit 2")).unwrap();
    assert_eq!((outcome.ended, text(&outcome.stdout)), (Ended::Exited(2), "hi\n"));
    assert_eq!(sandbox_support::processes_with("61.25"), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_private_directory_on_the_disk_is_removed() {
    let Some(sandbox) = sandbox(SandboxConfig::default()) else { return };
    if within_bubblewrap() {
        // It is always in memory there.
        return;
    }
    let script =
        "mkdir -p a/b; touch a/b/c; ln -s / root; chmod 0 a/b a; pwd; touch ../x || echo shut";
    let outcome = sandbox.without(Mechanism::MountNamespace).run(&shell(script)).unwrap();
    let (directory, rest) = text(&outcome.stdout).split_once('\n').unwrap();
    assert!(directory.contains("skinner-sandbox-"), "{directory}");
    assert_eq!(rest, "shut\n");
    assert!(!std::path::Path::new(directory).exists(), "{directory} is left");
}

/// As in many containers.
#[test]
fn root_without_its_rights_is_an_ordinary_user() {
    let path = helper().program.display().to_string();
    let helper = Helper::new("/usr/bin/setpriv", &["--bounding-set=-sys_admin", "--", &path]);
    let sandbox = match Sandbox::new(SandboxConfig::default(), helper) {
        Ok(sandbox) => sandbox,
        Err(lack) => return sandbox_support::skip(&lack).unwrap_or_default(),
    };
    for sandbox in [sandbox.clone(), sandbox.without(Mechanism::MountNamespace)] {
        let script = "echo hi >own; cat own; id -u; touch /usr/x || echo no";
        let outcome = sandbox.run(&shell(script)).unwrap();
        assert_eq!(text(&outcome.stdout), "hi\n65534\nno\n");
    }
}

/// A helper that finds fault with the machine.
fn pessimist() -> Helper {
    let lack = r#"{"Probed":[{"mechanism":"landlock","problem":"not built in"},{"mechanism":"seccomp","problem":null}]}"#;
    Helper::new("/bin/sh", &["-c", &format!("head -c 15 >/dev/null; echo '{lack}' >&0")])
}

#[test]
fn what_is_missing_is_named_and_refused() {
    let error = Sandbox::new(SandboxConfig::default(), pessimist()).unwrap_err();
    let SandboxError::Missing(lacks) = &error else { panic!("{error}") };
    assert_eq!(lacks[0].mechanism, Mechanism::Landlock);
    let text = error.to_string();
    assert!(text.contains("landlock (not built in; without it"), "{text}");
    assert!(text.contains(r#"accept_without = ["landlock"]"#), "{text}");
    let accept_without = vec![Mechanism::Landlock];
    let config = SandboxConfig { accept_without, ..SandboxConfig::default() };
    assert_eq!(Sandbox::new(config, pessimist()).unwrap().using(), [Mechanism::Seccomp]);
    assert_eq!(mechanisms(&helper()).unwrap().len(), Mechanism::ALL.len());
}

#[test]
fn what_a_user_can_get_wrong_is_an_error() {
    let new = |config, helper| Sandbox::new(config, helper).unwrap_err().to_string();
    let text = new(SandboxConfig { memory_bytes: 1, ..SandboxConfig::default() }, helper());
    assert!(text.contains("memory_bytes = 1"), "{text}");
    let text = new(SandboxConfig { wall_seconds: f64::NAN, ..SandboxConfig::default() }, helper());
    assert!(text.contains("wall_seconds = NaN"), "{text}");
    let text =
        new(SandboxConfig { readable: vec!["here".into()], ..SandboxConfig::default() }, helper());
    assert!(text.contains("an absolute path"), "{text}");
    let text = new(SandboxConfig { open_files: 3, ..SandboxConfig::default() }, helper());
    assert!(text.contains("open_files = 3 must be at least 8"), "{text}");
    let text = new(SandboxConfig::default(), Helper::new("/no/helper", &[]));
    assert!(text.contains("/no/helper"), "{text}");
    let text = new(SandboxConfig::default(), Helper::new("/bin/true", &[]));
    assert!(text.contains("ended without a word"), "{text}");
    let Some(sandbox) = sandbox(SandboxConfig::default()) else { return };
    let mut program = shell("exit 0");
    program.files.insert("../x".to_owned(), String::new());
    let text = sandbox.run(&program).unwrap_err().to_string();
    assert!(text.contains("../x"), "{text}");
}
