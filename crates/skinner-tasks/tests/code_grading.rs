//! Programs that do what they should, or not, in each form of tests.

mod sandbox_support;

use sandbox_support::{helper, python_verifier, task, trace};
use serde_json::{Value, json};
use skinner_tasks::Graded;
use skinner_tasks::code::{Block, CodeConfig, CodeError, CodeVerifier, CommandConfig, GradedBy};
use skinner_tasks::sandbox::SandboxConfig;

fn grade(config: CodeConfig, columns: Value, program: &str) -> Option<Graded> {
    let verifier = python_verifier(config)?;
    Some(verifier.grade(&task(columns), &trace(program)))
}

fn check(config: &CodeConfig, columns: &Value, program: &str, reward: f64, reason: &str) {
    let Some(graded) = grade(config.clone(), columns.clone(), program) else { return };
    let graded = graded.unwrap_or_else(|failed| panic!("{failed}\n{columns}\n{program}"));
    assert_eq!(graded.reward, reward, "{}\n{program}", graded.reason);
    assert!(graded.reason.contains(reason), "{:?} lacks {reason:?}\n{program}", graded.reason);
}

#[test]
fn functions_are_called_and_their_results_compared() {
    let columns = json!({
        "entry_point": "f",
        "tests": [
            {"args": [2, 3], "expected": 5},
            {"args": [[1], [2]], "expected": [1, 2]},
            {"args": ["a"], "kwargs": {"b": "b"}, "expected": "ab"},
            {"args": [0.1, 0.2], "expected": 0.3},
        ],
    });
    let config = CodeConfig::default();
    check(&config, &columns, "def f(a, b):\n    return a + b", 1.0, "4 of 4");
    check(&config, &columns, "f = lambda a, b: a - b", 0.0, "test 1: the result is -1");
    check(&config, &columns, "def f(a, b): return (", 0.0, "SyntaxError");
    check(&config, &columns, "def g(): pass", 0.0, "NameError");
    check(&config, &columns, "raise ValueError('early')", 0.0, "ValueError: early");
    check(&config, &columns, "def f(a, b): return {a, b}", 0.0, "a set, which is no value of JSON");
    let half = CodeConfig { partial_credit: true, ..config };
    check(&half, &columns, "def f(a, b): return a + b if a == 2 else int(a) + 1.5", 0.25, "1 of 4");
    let method =
        json!({"entry_point": "Solution().f", "tests": [{"args": [1], "expected": {"1": [1]}}]});
    check(&half, &method, "class Solution:\n    def f(self, x): return {x: (x,)}", 1.0, "1 of 1");
    let tests =
        json!({"entry_point": "f", "tests": "[{\"args\": [{\"a\": 1}], \"expected\": [\"a\"]}]"});
    check(&half, &tests, "def f(x): return list(x)", 1.0, "1 of 1");
}

#[test]
fn printed_text_is_compared() {
    let columns = json!({"tests": [
        {"input": "2\n3\n", "output": "5\n"},
        {"input": "4\n4\n", "output": "8"},
    ]});
    let config = CodeConfig { partial_credit: true, ..CodeConfig::default() };
    check(&config, &columns, "print(int(input()) + int(input()))", 1.0, "2 of 2");
    check(&config, &columns, "print('5  ')\n", 0.5, "1 of 2 tests passed; test 2: it prints \"5\"");
    check(&config, &columns, "import sys\nprint(5)\nsys.exit(1)", 0.0, "code 1");
    let apps = json!({"tests": {"inputs": ["1"], "outputs": ["1"]}});
    check(&config, &apps, "if __name__ == '__main__': print(input())", 1.0, "1 of 1");
}

#[test]
fn asserts_are_run_apart_from_the_program() {
    let config = CodeConfig::default();
    let mbpp = json!({
        "test_list": ["assert set(shared((1, 2), (2, 3))) == set((2,))", "assert shared((1,), (1,)) == (1,)"],
        "test_setup_code": "",
    });
    let right = "def shared(a, b): return tuple(set(a) & set(b))";
    check(&config, &mbpp, right, 1.0, "2 of 2");
    check(&config, &mbpp, "def shared(a, b): return list(set(a) & set(b))", 0.0, "1 of 2");
    let partial = CodeConfig { partial_credit: true, ..config.clone() };
    check(&partial, &mbpp, "def shared(a, b): return (2,)", 0.5, "assert 2: AssertionError");
    let built_in = json!({"test_list": ["assert sum(1, 2) == 3"]});
    check(&config, &built_in, "def sum(a, b): return a + b", 1.0, "1 of 1");
    let class = json!({"test_list": ["assert longest([Pair(1, 2), Pair(3, 4)]) == 2"]});
    let pair = "class Pair:\n  def __init__(self, a, b): self.a = a\ndef longest(ps): return len([p.a for p in ps])";
    check(&config, &class, pair, 1.0, "1 of 1");
    let loops = json!({
        "entry_point": "f",
        "test": "def check(candidate):\n    import random\n    for _ in range(20):\n        x = random.random()\n        assert abs(candidate(x) - 2 * x) < 1e-9\n    try:\n        candidate('a')\n        assert False\n    except TypeError:\n        pass\n",
    });
    check(&config, &loops, "def f(x): return x * 2.0", 1.0, "1 of 1");
    check(&config, &loops, "def f(x): return x", 0.0, "AssertionError");
    let words = json!({"test_list": ["assert words('a b') == ['a', 'b']", "assert words(n=1)[0].x() == 1", "assert words(n=1)[0]"]});
    let objects =
        "class X:\n  def x(self): return 1\ndef words(s='', n=0): return [X()] if n else s.split()";
    check(&config, &words, objects, 1.0, "3 of 3");
}

#[test]
fn asserts_that_trust_the_program_are_refused() {
    let columns = json!({"entry_point": "f", "test_list": ["assert poly(f(2)) == 0"]});
    let Some(graded) = grade(CodeConfig::default(), columns.clone(), "def poly(x): return 0")
    else {
        return;
    };
    assert!(graded.unwrap_err().0.contains("poly"));
    let with = CodeConfig { asserts_in_child: true, ..CodeConfig::default() };
    check(&with, &columns, "def poly(x): return 0\ndef f(x): return 1", 1.0, "1 of 1");
    check(&with, &columns, "def poly(x): return 1\ndef f(x): return 1", 0.0, "AssertionError");
    let entry = json!({"entry_point": "f", "test": "def check(c):\n    assert c(lambda: 1) == 1"});
    check(&with, &entry, "def f(g): return g()", 1.0, "1 of 1");
    let plain = grade(CodeConfig::default(), entry, "def f(g): return g()").unwrap();
    assert!(plain.unwrap_err().0.contains("argument is of type function"));
}

#[test]
fn tests_that_cannot_be_read_are_no_verdict() {
    for (columns, reason) in [
        (json!({}), "no column tests"),
        (json!({"tests": []}), "empty"),
        (json!({"tests": 1}), "must be a list"),
        (json!({"tests": [{"args": [], "expected": 1}]}), "entry_point"),
        (json!({"tests": [{"input": "a"}]}), "output"),
        (json!({"tests": ["assert ("]}), "SyntaxError"),
        (json!({"tests": ["x = 1"]}), "call no function"),
    ] {
        let Some(graded) = grade(CodeConfig::default(), columns, "def f(): pass") else { return };
        let failed = graded.unwrap_err();
        assert!(failed.0.contains(reason), "{failed}");
    }
}

#[test]
fn any_command_can_be_run() {
    let command = |command: &[&str], graded_by| CodeConfig {
        block: Block::Whole,
        command: Some(CommandConfig {
            command: command.iter().map(|&part| part.to_owned()).collect(),
            program_file: "program.sh".to_owned(),
            files: [("lib/data.txt".to_owned(), "7".to_owned())].into(),
            graded_by,
        }),
        ..CodeConfig::default()
    };
    let grade = |config: CodeConfig, text: &str| {
        let verifier = python_verifier(config)?;
        let task = task(json!({"tests": [{"input": "1", "output": "17"}]}));
        Some(
            verifier
                .grade(
                    &task,
                    &skinner_tasks::Trace { completion: text.into(), ..Default::default() },
                )
                .unwrap()
                .reward,
        )
    };
    let printed = command(&["sh", "program.sh"], GradedBy::Stdout);
    let Some(reward) = grade(printed.clone(), "cat - lib/data.txt") else { return };
    assert_eq!(reward, 1.0);
    assert_eq!(grade(printed, "echo 1"), Some(0.0));
    let code = command(&["/bin/sh", "program.sh"], GradedBy::ExitCode);
    assert_eq!(grade(code.clone(), "exit 0"), Some(1.0));
    assert_eq!(grade(code, "exit 4"), Some(0.0));
}

#[test]
fn threads_do_not_change_the_rewards() {
    let Some(verifier) =
        python_verifier(CodeConfig { partial_credit: true, ..CodeConfig::default() })
    else {
        return;
    };
    let columns = json!({"test_list": ["assert f(0) == {'a', 'b', 'c'}", "assert f(1) == 1", "assert f(2) == 2"]});
    let task = task(columns);
    let programs: Vec<_> = (0..12)
        .map(|n| trace(&format!("def f(x): return list({{'a', 'b', 'c', 'd'}}) if x < 1 else {n}")))
        .collect();
    let samples: Vec<_> = programs.iter().map(|program| (&task, program)).collect();
    let alone = verifier.grade_all(&samples, 1);
    assert_eq!(alone, verifier.grade_all(&samples, 4));
    assert_eq!(alone[1].as_ref().unwrap().reward, 1.0 / 3.0);
    assert!(verifier.grade_all(&[], 4).is_empty());
}

#[test]
fn what_a_user_can_get_wrong_is_an_error() {
    let new = |config| CodeVerifier::new(config, helper()).err().unwrap().to_string();
    let text = new(CodeConfig { python: "python-that-is-not".to_owned(), ..CodeConfig::default() });
    assert!(text.contains("python-that-is-not"), "{text}");
    let text = new(CodeConfig { float_tolerance: f64::NAN, ..CodeConfig::default() });
    assert!(text.contains("float_tolerance = NaN"), "{text}");
    let sandbox = SandboxConfig { wall_seconds: 0.0, ..SandboxConfig::default() };
    let error = CodeVerifier::new(CodeConfig { sandbox, ..CodeConfig::default() }, helper());
    assert!(matches!(error, Err(CodeError::Sandbox(_))));
    assert!(serde_json::from_value::<CodeConfig>(json!({"blok": "last"})).is_err());
}
