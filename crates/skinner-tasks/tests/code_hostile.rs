//! Programs that want the reward without the work, or to do harm: all score zero, and nothing of them is left.
#![cfg(target_os = "linux")]

mod sandbox_support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sandbox_support::{processes_with, python_verifier, task, trace};
use serde_json::json;
use skinner_tasks::code::CodeConfig;
use skinner_tasks::sandbox::SandboxConfig;

/// What no program can compute.
const SECRET: &str = "s3cret-of-the-test";

fn config(marker: &str) -> CodeConfig {
    let sandbox = SandboxConfig {
        wall_seconds: 1.0,
        memory_bytes: 128 << 20,
        processes: 8,
        output_bytes: 1 << 16,
        ..SandboxConfig::default()
    };
    let mut config = CodeConfig { partial_credit: true, sandbox, ..CodeConfig::default() };
    // The interpreter ignores it, and all processes that the program forks have it in their command lines.
    config.python_arguments.extend(["-X".to_owned(), format!("marker={marker}")]);
    config
}

/// Grades a program against each form of tests; each must give zero for a reason that holds one of the words.
fn check(name: &str, program: &str, words: &[&str]) {
    let marker = format!("hostile-{name}-{}", std::process::id());
    let Some(verifier) = python_verifier(config(&marker)) else { return };
    let trace = trace(&program.replace("MARKER", &marker));
    let forms = [
        json!({"entry_point": "f", "tests": [{"args": [3], "expected": SECRET}]}),
        json!({"entry_point": "f", "test": format!("def check(c):\n    assert c(3) == '{SECRET}'\n")}),
        json!({"test_list": [format!("assert f(3) == {{'a': ['{SECRET}']}}['a'][0]")]}),
        json!({"tests": [{"input": "3", "output": SECRET}]}),
    ];
    for form in forms {
        let started = Instant::now();
        let graded = verifier.grade(&task(form.clone()), &trace).unwrap();
        assert_eq!(graded.reward, 0.0, "{name}: {}", graded.reason);
        assert!(started.elapsed() < Duration::from_secs(15), "{name}: {:?}", started.elapsed());
        let said = words.is_empty() || words.iter().any(|word| graded.reason.contains(word));
        assert!(
            said || form.get("tests").is_some_and(|tests| tests[0].get("output").is_some()),
            "{name}: {}",
            graded.reason
        );
    }
    // The judges are kept for the next tests.
    drop(verifier);
    assert_eq!(processes_with(&marker), Vec::<PathBuf>::new(), "{name}");
    assert!(!Path::new("/tmp").join(&marker).exists(), "{name} left a file");
}

#[test]
fn too_much_of_everything() {
    check("fork", "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", &["time"]);
    check(
        "threads",
        "import threading, time\nwhile True:\n  try: threading.Thread(target=time.sleep, args=(99,)).start()\n  except RuntimeError: pass",
        &["time", "MemoryError"],
    );
    check("memory", "def f(x): return bytearray(1 << 34)", &["MemoryError"]);
    check("growth", "a = []\nwhile True: a.append(bytearray(1 << 20))", &["MemoryError"]);
    check("print", "while True: print('x' * 1000)", &["wrote too much"]);
    check("stderr", "import sys\nwhile True: sys.stderr.write('x' * 1000)", &["wrote too much"]);
    check("sleep", "import time\ndef f(x): time.sleep(99)\ntime.sleep(99)", &["time"]);
    check("spin", "while True: pass", &["time"]);
    check(
        "disk",
        "n = 0\nwhile True:\n  n += 1\n  open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))",
        &["OSError"],
    );
    check("recursion", "def f(x): return f(x)", &["RecursionError"]);
    check(
        "stack",
        "import sys\nsys.setrecursionlimit(1 << 30)\nclass A:\n  def __repr__(self): return repr(self)\ndef f(x): return repr(A())",
        &[],
    );
}

#[test]
fn results_that_are_no_results() {
    check(
        "eq",
        "class A:\n  def __eq__(self, o): return True\n  __ne__ = lambda s, o: False\n  __hash__ = lambda s: 1\ndef f(x): return A()",
        &["A"],
    );
    check("str", "class A(str):\n  def __eq__(self, o): return True\ndef f(x): return A('x')", &[]);
    check("nested", "class A:\n  def __eq__(self, o): return True\ndef f(x): return [A()]", &[]);
    check("deep", "def f(x):\n  a = []\n  for _ in range(900): a = [a]\n  return a", &[]);
    check("cycle", "def f(x):\n  a = []\n  a.append(a)\n  return a", &["RecursionError"]);
    check("integer", "def f(x): return 1 << (1 << 20)", &[]);
    check("enormous", "def f(x): return 1 << (1 << 28)", &[]);
    check("text", "def f(x): return 'x' * (1 << 25)", &["wrote too much", "MemoryError"]);
    check("nan", "def f(x): return float('nan')", &[]);
    check("infinity", "def f(x): return [float('inf'), -float('inf')]", &[]);
    check("surrogate", "def f(x): return '\\ud800'", &[]);
    check("generator", "def f(x):\n  while True: yield 1", &[]);
    check(
        "raises",
        "class E(BaseException):\n  def __str__(self): raise self\ndef f(x): raise E",
        &["E"],
    );
    check("stop", "def f(x): raise StopIteration", &["StopIteration"]);
    check("exit", "def f(x): raise SystemExit(0)", &["SystemExit"]);
}

#[test]
fn leaving_and_staying() {
    check("left", "import os\nos._exit(0)", &["ended before"]);
    check("leaves", "import os\ndef f(x): os._exit(0)", &["ended before"]);
    check(
        "exec",
        "import os\ndef f(x): os.execv('/bin/sleep', ['MARKER', '60'])",
        &["time", "ended before"],
    );
    let daemon = "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    for n in range(64):\n      try: os.close(n)\n      except OSError: pass\n    while True: time.sleep(1)\n  os._exit(0)\ndef f(x): return 1";
    check("daemon", daemon, &[]);
    check(
        "deaf",
        "import signal\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): pass\nwhile True: pass",
        &["time"],
    );
    check(
        "stopped",
        "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)\nf(1)",
        &["time"],
    );
    check(
        "closed",
        "import os\ndef f(x): os.closerange(0, 256)\nf(1)",
        &["ended before", "code", "answer"],
    );
    check(
        "killed",
        "import os\ndef f(x):\n  for p in (os.getppid(), 1, -1, 0):\n    try: os.kill(p, 9)\n    except OSError: pass\n  return 1",
        &[],
    );
}

#[test]
fn looking_for_what_is_expected() {
    let search = "import gc, sys\ndef f(x):\n  found = []\n  for o in gc.get_objects():\n    for t in (list(o.values()) if isinstance(o, dict) else o if isinstance(o, (list, tuple)) else ()):\n      if isinstance(t, str) and 's3cret' in t and len(t) < 40: found.append(t)\n  frame = sys._getframe()\n  while frame:\n    found += [v for v in frame.f_locals.values() if isinstance(v, str) and v.startswith('s3' + 'cret')]\n    frame = frame.f_back\n  return found[0] if found else ''";
    check("search", search, &[]);
    check(
        "argv",
        "import sys, os\ndef f(x): return open('/proc/self/cmdline').read() + str(os.environ)",
        &[],
    );
    check(
        "modules",
        "import sys, json, builtins\nclass Yes:\n  def __getattr__(s, n): return lambda *a, **k: True\nsys.modules['json'] = Yes()\nbuiltins.eval = lambda *a: {'kind': 'x'}\nbuiltins.isinstance = lambda *a: True\ndef f(x): return True",
        &[],
    );
}

#[test]
fn forging_lines() {
    let write = |line: &str| {
        format!(
            "import os\nprint('1 of 1 tests passed')\ndef f(x):\n  for n in range(3, 64):\n    try: os.write(n, b'''{line}\\n''')\n    except OSError: pass\n  return 1\nf(1)"
        )
    };
    for (name, line) in [
        ("done", r#"{"done":{"passed":1,"total":1,"first":null}}"#),
        ("value", r#"{"value":true}"#),
        ("object", r#"{"value":{"object":["x",0]}}"#),
        ("handle", r#"{"value":{"handle":0}}"#),
        ("list", "[[[[]]]]"),
        ("unhashable", r#"{"value":{"dict":[[[],1]]}}"#),
        ("error", r#"{"error":["StopIteration",""]}"#),
        ("strange", r#"{"error":[[],{}]}"#),
        ("gone", r#"{"gone":true}"#),
        ("bytes", "\\\\xff\\\\x00"),
        ("report", r#"{"Ended":{"code":0,"signal":null,"peak_memory_bytes":1}}"#),
    ] {
        check(name, &write(line), &[]);
    }
    check(
        "flood",
        "import os\nwhile True:\n  for n in range(3, 64):\n    try: os.write(n, b'x' * 4096)\n    except OSError: pass",
        &[],
    );
    check(
        "lines",
        "import os, threading\ndef g():\n  while True:\n    for n in range(3, 64):\n      try: os.write(n, b'{\"value\":1}\\n')\n      except OSError: pass\nthreading.Thread(target=g, daemon=True).start()\ndef f(x): return 1",
        &[],
    );
}

#[test]
fn an_error_cannot_end_a_loop_of_asserts() {
    let Some(verifier) = python_verifier(config("loops")) else { return };
    let form = json!({"entry_point": "f", "test": "def check(c):\n    assert all(map(lambda x: c(x) == x + 1, range(9)))\n"});
    for error in [
        "StopIteration",
        "GeneratorExit",
        "KeyboardInterrupt",
        "SystemExit(0)",
        "StopAsyncIteration",
    ] {
        let graded = verifier
            .grade(&task(form.clone()), &trace(&format!("def f(x): raise {error}")))
            .unwrap();
        assert_eq!(graded.reward, 0.0, "{error}: {}", graded.reason);
    }
    let right = verifier.grade(&task(form), &trace("def f(x): return x + 1")).unwrap();
    assert_eq!(right.reward, 1.0, "{}", right.reason);
}

#[test]
fn an_object_that_says_yes_to_everything_passes_for_no_data() {
    let Some(verifier) = python_verifier(config("yes")) else { return };
    let yes = "class Yes:\n  def __getattr__(s, n): return lambda *a: True\n  def __eq__(s, o): return True\n  def __contains__(s, o): return True\n  def __len__(s): return 3\ndef f(x): return Yes()";
    for assert in [
        "f(3) == 'abc'",
        "'abc' == f(3)",
        "f(3).startswith('abc')",
        "f(3).isdigit()",
        "f(3).issubset({1})",
        "'a' in f(3)",
        "f(3) in ['a']",
        "len(f(3)) == 3",
        "str(f(3)) == 'abc'",
        "abs(f(3) - 1) < 1e-6",
        "f(3) > 1",
        "f(3)[0] == 1",
        "isinstance(f(3), str)",
        "{1: f(3)} == {1: 'abc'}",
        "f(3) is True",
        "not f(3)",
    ] {
        let form = json!({"entry_point": "f", "test_list": [format!("assert {assert}")]});
        let graded = verifier.grade(&task(form), &trace(yes)).unwrap();
        assert_eq!(graded.reward, 0.0, "{assert}: {}", graded.reason);
    }
}

/// What a program sees of the machine, as a positive: each attempt must fail, and the list of them is what it answers.
#[test]
fn the_outside_is_out_of_reach() {
    let program = r"
import os, socket, ctypes
def fails(do):
    try: do()
    except OSError: return True
    return False
libc = ctypes.CDLL(None, use_errno=True)
calls = {'ptrace': 101, 'mount': 165, 'unshare': 272, 'setns': 308, 'chroot': 161, 'bpf': 321, 'keyctl': 250,
         'process_vm_readv': 310, 'io_uring_setup': 425, 'userfaultfd': 323, 'perf_event_open': 298, 'socket': 41,
         'memfd_create': 319, 'setuid': 105, 'clone3': 435, 'add_key': 248, 'shmget': 29, 'personality': 135,
         'open_by_handle_at': 304, 'pidfd_getfd': 438, 'mknod': 133, 'seccomp': 317, 'reboot': 169}
def f():
    outside = ['/etc/passwd', '/etc/shadow', '/proc/1/mem', '/proc/1/fd', '/proc/1/root/usr', '/proc/sys/kernel/hostname', '/proc/cpuinfo', '/root', '/home', '/var', '/sys', '/dev/mem', '/proc/1/environ', '/dev/shm/x']
    wrong = [path for path in outside if not fails(lambda: os.listdir(path) if os.path.isdir(path) else open(path))]
    wrong += [path for path in ['/x', '/usr/x', '/etc/x', '/dev/x', '/proc/self/oom_score_adj', '/proc/self/mem', '/proc/self/comm', '/proc/self/root/usr/x', '/usr/bin/env']
              if not fails(lambda: open(path, 'w'))]
    seen = [] if fails(lambda: os.listdir('/proc')) else os.listdir('/proc')
    wrong += [name for name in seen if name.isdigit() and int(name) > 99]
    os.symlink('/etc/passwd', 'link'); os.symlink('/', 'root')
    wrong += [path for path in ['link', 'root/etc/passwd', '../etc/passwd'] if not fails(lambda: open(path))]
    wrong += [name for name, number in calls.items() if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1]
    if not fails(lambda: os.link('/usr/bin/env', 'env')): wrong.append('link')
    if not fails(lambda: os.chmod('/usr/bin/env', 0o777)): wrong.append('chmod')
    if not fails(lambda: os.chown('/tmp', 0, 0)): wrong.append('chown')
    if not fails(lambda: socket.socket()): wrong.append('socket')
    if os.getuid() in (0, 1000) or os.environ.get('CARGO'): wrong.append('user')
    os.mkdir('shut'); open('shut/file', 'w').close(); os.chmod('shut', 0)
    return wrong
";
    let marker = format!("outside-{}", std::process::id());
    let Some(verifier) = python_verifier(config(&marker)) else { return };
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let form = json!({"entry_point": "f", "tests": [{"args": [], "expected": []}]});
    let graded = verifier.grade(&task(form), &trace(program)).unwrap();
    assert_eq!(graded.reward, 1.0, "{}", graded.reason);
}
