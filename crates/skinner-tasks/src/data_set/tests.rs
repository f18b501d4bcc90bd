use std::path::Path;

use super::*;

/// Files that are removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skinner-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn columns(prompt: &str, answer: Option<&str>) -> Format {
    Format::Columns(Columns {
        prompt: prompt.into(),
        answer: answer.map(str::to_owned),
        solution: None,
        tests: None,
    })
}

/// The one task of a row.
fn one(name: &str, format: Format, row: &Value, change: impl Fn(&mut Config)) -> Task {
    let folder = Folder::new(name);
    let mut config = Config::new(folder.file("rows.jsonl", &row.to_string()), format);
    change(&mut config);
    let mut data = load(&config).unwrap();
    assert_eq!((data.train.len(), data.eval.len()), (1, 0));
    data.train.remove(0)
}

#[test]
fn gsm8k_has_the_final_answer() {
    let row = json!({ "question": "How many?", "answer": "2*9 = <<2*9=18>>18\n#### 1,018" });
    let task = one("gsm8k", Format::Gsm8k, &row, |_| {});
    assert_eq!(task.prompt, "How many?");
    assert_eq!(task.answer.as_deref(), Some("1,018"));
    assert_eq!(task.columns["solution"], row["answer"]);
    let task = one("gsm8k-chat", Format::Gsm8k, &row, |config| {
        config.chat = true;
        config.instruction = Some("Think.".into());
    });
    assert_eq!(task.prompt, json!([{ "role": "user", "content": "How many?\n\nThink." }]));
}

#[test]
fn svamp_joins_body_and_question() {
    let row =
        |body: &str| json!({ "Body": body, "Question": "How many?", "Answer": 145.0, "ID": "c" });
    let task = one("svamp", Format::Svamp, &row("Ann has 2 "), |_| {});
    assert_eq!(task.prompt, "Ann has 2, How many?");
    assert_eq!(task.answer.as_deref(), Some("145"));
    assert_eq!(task.columns["ID"], "c");
    let task = one("svamp-full", Format::Svamp, &row("Ann has 2."), |_| {});
    assert_eq!(task.prompt, "Ann has 2. How many?");
}

#[test]
fn programs_keep_their_tests() {
    let row = json!({ "prompt": "def f():\n", "canonical_solution": "    return 1\n",
        "entry_point": "f", "test": "def check(candidate): assert candidate() == 1" });
    let task = one("humaneval", Format::Humaneval, &row, |_| {});
    assert_eq!((&task.prompt, task.answer.as_deref()), (&row["prompt"], Some("    return 1\n")));
    assert_eq!(task.columns["entry_point"], "f");
    let row = json!({ "text": "Write f.", "code": "def f(): pass", "test_list": ["a", "b"] });
    let task = one("mbpp", Format::Mbpp, &row, |config| config.tests_shown = Some(1));
    assert_eq!(task.prompt, "Write f.\nYour code should pass these tests:\n\na");
    let task = one("mbpp-none", Format::Mbpp, &row, |config| config.tests_shown = Some(0));
    assert_eq!(task.prompt, "Write f.");
    assert_eq!(task.columns["test_list"], row["test_list"]);
}

#[test]
fn columns_are_named() {
    let row = json!({ "q": "2+2?", "a": 4, "prompt": "other", "level": 3 });
    let task = one("columns", columns("q", Some("a")), &row, |_| {});
    assert_eq!((task.prompt.as_str(), task.answer.as_deref()), (Some("2+2?"), Some("4")));
    assert_eq!(task.columns.keys().collect::<Vec<_>>(), ["level"]);
    let back: Task = serde_json::from_str(&serde_json::to_string(&task).unwrap()).unwrap();
    assert_eq!(back, task);
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let row = json!({ "m": messages });
    let task = one("messages", columns("m", None), &row, |config| config.needs_answer = false);
    assert_eq!((task.prompt, task.answer), (messages, None));
}

#[test]
fn a_list_is_read_as_well() {
    let folder = Folder::new("list");
    let path = folder.file("rows.json", r#"[{"q": "x", "a": true}, {"q": "y", "a": 1.5}]"#);
    let data = load(&Config::new(path, columns("q", Some("a")))).unwrap();
    let answers: Vec<_> = data.train.iter().filter_map(|task| task.answer.as_deref()).collect();
    assert_eq!(answers, ["true", "1.5"]);
}

#[test]
fn errors_name_file_and_line() {
    let folder = Folder::new("errors");
    let check = |text: &str, format: Format, expect: &str| {
        let error = load(&Config::new(folder.file("r.jsonl", text), format)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("r.jsonl") && error.contains(expect), "{error}");
    };
    let good = r#"{"question": "q", "answer": "x #### 1"}"#;
    check(&format!("{good}\n\n{{"), Format::Gsm8k, "line 3: is not valid JSON");
    check(&format!("{good}\n3"), Format::Gsm8k, "line 2: must be an object");
    check(&format!("{good}\n{{}}"), Format::Gsm8k, "line 2: has no column `question`");
    let without = format!("{good}\n{{\"question\": \"q\", \"answer\": \"18\"}}");
    check(&without, Format::Gsm8k, "line 2: has no answer in column `answer`");
    check("[{\"q\": 1}, 2]", columns("q", Some("a")), "item 2: must be an object");
    check("[{\"q\": 1}]", columns("q", Some("a")), "item 1: column `q` must hold a text");
    check("[\n{\"q\" 1}]", columns("q", Some("a")), "line 2: is not valid JSON");
    check(r#"{"q": "x"}"#, columns("q", Some("a")), "line 1: has no answer in column `a`");
    check(r#"{"q": "x"}"#, columns("q", None), "needs_answer = false");
    check(r#"{"prompt": "x"}"#, Format::Humaneval, "line 1: has no column `test`");
    check(r#"{"text": "x", "test_list": []}"#, Format::Mbpp, "must hold at least one test");
    check("\n", Format::Gsm8k, "has no row");
    let error = load(&Config::new("/nowhere/x.jsonl", Format::Gsm8k)).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/x.jsonl"), "{error}");
    let fraction = Config { eval_fraction: 1.5, ..Config::new("x", Format::Gsm8k) };
    assert!(load(&fraction).unwrap_err().to_string().contains("eval_fraction = 1.5"));
    let shown = Config { tests_shown: Some(1), ..Config::new("x", Format::Gsm8k) };
    assert!(load(&shown).unwrap_err().to_string().contains("tests_shown = 1"));
}

fn rows(count: usize) -> String {
    let row = |i: usize| format!("{{\"q\": \"What is {i}?\", \"a\": {i}}}\n");
    (0..count).map(row).collect()
}

#[test]
fn a_share_is_held_out_by_the_prompt() {
    let folder = Folder::new("share");
    // Each row twice: both are on one side.
    let path = folder.file("rows.jsonl", &rows(1000).repeat(2));
    let config = Config { eval_fraction: 0.2, ..Config::new(path, columns("q", Some("a"))) };
    let data = load(&config).unwrap();
    assert_eq!(data.train.len() + data.eval.len(), 2000);
    assert!((300..500).contains(&data.eval.len()), "{}", data.eval.len());
    assert!(data.eval.iter().all(|task| !data.train.contains(task)));
    assert_eq!(load(&config).unwrap(), data);
}

#[test]
fn rows_of_the_evaluation_file_are_left_out() {
    let folder = Folder::new("file");
    let path = folder.file("train.jsonl", &rows(10));
    let eval =
        folder.file("eval.jsonl", "{\"q\": \"what  IS 3?\", \"a\": 3}\n{\"q\": \"new\", \"a\": 1}");
    let config = Config { eval_path: Some(eval), ..Config::new(path, columns("q", Some("a"))) };
    let data = load(&config).unwrap();
    assert_eq!((data.train.len(), data.eval.len(), data.left_out), (9, 2, 1));
}

#[test]
fn configurations_are_tables() {
    let json = r#"{"path": "x.jsonl", "format": {"columns": {"prompt": "q", "answer": "a"}}}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!(config, Config::new(Path::new("x.jsonl"), columns("q", Some("a"))));
    let config: Config = serde_json::from_str(r#"{"path": "x", "format": "mbpp"}"#).unwrap();
    assert_eq!(config.format, Format::Mbpp);
    assert!(serde_json::from_str::<Config>(r#"{"path": "x", "format": "mbpp", "p": 1}"#).is_err());
}

#[test]
fn columns_of_solutions_and_tests_are_named() {
    let json = r#"{"columns": {"prompt": "q", "solution": "s", "tests": "t"}}"#;
    let format: Format = serde_json::from_str(json).unwrap();
    let row = json!({ "q": "Write f.", "s": "Like this.", "t": ["assert f() == 1"] });
    let task = one("tests", format, &row, |_| {});
    assert_eq!((&task.columns["tests"], worked(&task).as_deref()), (&row["t"], Some("Like this.")));
}

#[test]
fn a_system_speaks_first() {
    let row = json!({ "question": "How many?", "answer": "#### 1" });
    let task = one("system", Format::Gsm8k, &row, |config| {
        config.chat = true;
        config.system = Some("Be brief.".into());
    });
    assert_eq!(task.prompt[0], json!({ "role": "system", "content": "Be brief." }));
    assert_eq!(task.prompt[1]["role"], "user");
    let silent = Config { system: Some("x".into()), ..Config::new("x", Format::Gsm8k) };
    assert!(load(&silent).unwrap_err().to_string().contains("system = x"));
}

#[test]
fn worked_examples_stand_before_prompts() {
    let folder = Folder::new("few-shot");
    let row = |i: usize| json!({ "question": format!("{i}+1?"), "answer": format!("{i}+1=<<{i}+1={0}>>{0}\n#### {0}", i + 1) });
    let rows: String = (0..4).map(|i| row(i).to_string() + "\n").collect();
    let path = folder.file("rows.jsonl", &rows);
    let config = Config { few_shot: 2, ..Config::new(path, Format::Gsm8k) };
    let data = load(&config).unwrap();
    assert_eq!(data.train.len(), 2);
    assert_eq!(data.train[0].prompt, "0+1?\n0+1=1\n#### 1\n\n1+1?\n1+1=2\n#### 2\n\n2+1?\n");
    let chat = Config { chat: true, system: Some("Hi.".into()), ..config.clone() };
    let prompt = &load(&chat).unwrap().train[1].prompt;
    let roles: Vec<&str> =
        prompt.as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant", "user"]);
    assert_eq!(prompt[5]["content"], "3+1?");
    let many = Config { few_shot: 5, ..config };
    let error = load(&many).unwrap_err().to_string();
    assert_eq!(error, "few_shot = 5 is out of range: only 4 rows have a worked solution");
}
