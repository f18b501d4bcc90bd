use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use super::*;

fn samples_of_the_repository(name: &str) -> String {
    format!("{}/../../data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn seed() -> SeedSequence {
    SeedSequence::new(5)
}

fn config(path: impl Into<String>) -> DataConfig {
    DataConfig { path: path.into(), ..DataConfig::default() }
}

/// A folder of files with these names and contents.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn path_of(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn texts(samples: &[Sample]) -> Vec<&str> {
    samples
        .iter()
        .map(|sample| match sample {
            Sample::Text(text) => text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn lines(texts: &[&str]) -> String {
    let line = |text: &&str| serde_json::json!({"text": text}).to_string() + "\n";
    texts.iter().map(line).collect()
}

#[test]
fn the_samples_of_the_repository() {
    let gsm8k = load(&config(samples_of_the_repository("gsm8k")), &seed()).unwrap();
    assert_eq!((gsm8k.train.len(), gsm8k.eval.len()), (2000, 300));
    let Sample::PromptCompletion { prompt, completion } = &gsm8k.train[0] else { panic!() };
    let Content::Messages(prompt) = prompt else { panic!() };
    assert!(prompt[0].content.starts_with("Natalia sold clips to 48"));
    let Content::Messages(completion) = completion else { panic!() };
    assert!(completion[0].content.starts_with("Natalia sold 48/2 = 24 clips in May.\n"));
    assert!(completion[0].content.ends_with("#### 72"));

    let hh = load(&config(samples_of_the_repository("hh-harmless")), &seed()).unwrap();
    assert_eq!((hh.train.len(), hh.eval.len()), (1992, 311));
    let counts =
        LoadCounts { rows: 2000, samples: 1992, malformed_pairs: 8, ..LoadCounts::default() };
    assert_eq!(hh.train_counts, counts);
    assert_eq!(hh.eval_counts.malformed_pairs, 1);
    for sample in hh.train.iter().chain(&hh.eval) {
        let Sample::Preference { prompt: Content::Messages(prompt), chosen, rejected } = sample
        else {
            panic!()
        };
        assert!(chosen != rejected && prompt.len() % 2 == 1);
    }

    let path = samples_of_the_repository("shakespeare/input.txt");
    let plays = load(&DataConfig { eval_fraction: 0.1, ..config(path.clone()) }, &seed()).unwrap();
    let whole = fs::read_to_string(path).unwrap();
    assert_eq!(texts(&plays.train).concat() + texts(&plays.eval)[0], whole);
    assert_eq!(plays.eval.len(), 1);
    assert_eq!(texts(&plays.eval)[0].len(), 111_539);
}

#[test]
fn folders_have_splits_and_shards() {
    let folder = folder(&[
        ("data/train-00001-of-00002.jsonl", &lines(&["c"])),
        ("data/train-00000-of-00002.jsonl", &lines(&["a", "b"])),
        ("data/validation.json", r#"[{"text": "v"}]"#),
        ("README.md", "About"),
    ]);
    let path = path_of(&folder, "");
    let data = load(&config(path.clone()), &seed()).unwrap();
    assert_eq!((texts(&data.train), texts(&data.eval)), (vec!["a", "b", "c"], vec!["v"]));
    let data =
        load(&DataConfig { split: "validation".to_owned(), ..config(path.clone()) }, &seed())
            .unwrap();
    assert_eq!((texts(&data.train), data.eval.len()), (vec!["v"], 0));
    let error = load(&DataConfig { split: "dev".to_owned(), ..config(path) }, &seed())
        .unwrap_err()
        .to_string();
    assert!(error.contains("has no file dev.* to read (has README.md)"), "{error}");
    let both = DataConfig {
        eval_path: Some(path_of(&folder, "data/validation.json")),
        max_samples: Some(2),
        ..config(path_of(&folder, "data"))
    };
    let data = load(&both, &seed()).unwrap();
    assert_eq!((texts(&data.train), texts(&data.eval)), (vec!["a", "b"], vec!["v"]));
}

#[test]
fn gzipped_lines_are_read() {
    let folder = folder(&[]);
    let path = path_of(&folder, "a.jsonl.gz");
    let file = fs::File::create(&path).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(lines(&["a", "b"]).as_bytes()).unwrap();
    encoder.finish().unwrap();
    assert_eq!(texts(&load(&config(path.clone()), &seed()).unwrap().train), ["a", "b"]);
    fs::write(&path, "no gzip").unwrap();
    let error = load(&config(path), &seed()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("a.jsonl.gz"), "{error}");
}

#[test]
fn broken_lines_fail_or_are_counted() {
    let text = lines(&["a"]) + "{\"text\": \n\n" + &lines(&["b"]) + "{\"text\": 3}\n";
    let folder = folder(&[("a.jsonl", &text), ("b.jsonl", "{\n{\n")]);
    let strict = config(path_of(&folder, "a.jsonl"));
    let error = load(&strict, &seed()).unwrap_err().to_string();
    assert!(error.contains("a.jsonl, line 2: is not valid JSON: EOF"), "{error}");
    assert!(error.ends_with("skip_broken_lines = true leaves such lines out"), "{error}");
    let data = load(&DataConfig { skip_broken_lines: true, ..strict }, &seed()).unwrap();
    assert_eq!(texts(&data.train), ["a", "b"]);
    let counts = data.train_counts;
    assert_eq!((counts.rows, counts.samples, counts.broken_lines), (4, 2, 2));
    let all = DataConfig { skip_broken_lines: true, ..config(path_of(&folder, "b.jsonl")) };
    let error = load(&all, &seed()).unwrap_err().to_string();
    assert!(error.contains("none of 2 rows is a sample (2 broken"), "{error}");
    assert!(error.contains("the first: "), "{error}");
}

#[test]
fn what_is_wrong_with_a_configuration() {
    let folder = folder(&[
        ("a.jsonl", &lines(&["a"])),
        ("a.csv", "a,b"),
        ("e.jsonl", "\n"),
        ("n.jsonl", "{\"x\": 1}"),
    ]);
    let check = |config: DataConfig, expect: &str| {
        let error = load(&config, &seed()).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    let good = || config(path_of(&folder, "a.jsonl"));
    check(config(""), "data.path = \"\": must name a file");
    check(DataConfig { eval_fraction: 1.0, ..good() }, "data.eval_fraction = 1: must be from 0");
    check(DataConfig { eval_fraction: f64::NAN, ..good() }, "data.eval_fraction = NaN");
    let both = DataConfig { eval_fraction: 0.5, eval_path: Some("x".to_owned()), ..good() };
    check(both, "cannot be given beside data.eval_path");
    check(DataConfig { max_samples: Some(0), ..good() }, "data.max_samples = 0");
    check(DataConfig { eval_path: Some("-".to_owned()), ..config("-") }, "read only once");
    check(DataConfig { shuffle_labels: true, ..good() }, "kind text have no labels");
    check(config(path_of(&folder, "none.jsonl")), "none.jsonl: ");
    check(config(path_of(&folder, "a.csv")), "should end in one of jsonl");
    check(config(path_of(&folder, "e.jsonl")), "has no row");
    check(config(path_of(&folder, "n.jsonl")), "line 1: the columns are `x`, expected one of");
    check(
        DataConfig { format: Format::Gsm8k, ..good() },
        "the columns are `text`, expected `question`",
    );
    assert!(serde_json::from_str::<DataConfig>(r#"{"paht": "a"}"#).is_err());
}

#[test]
fn a_held_out_part_is_seeded_and_disjoint() {
    let all: Vec<String> = (0..40).map(|i| i.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let folder = folder(&[("a.jsonl", &lines(&all))]);
    let config = DataConfig { eval_fraction: 0.25, ..config(path_of(&folder, "a.jsonl")) };
    let data = load(&config, &seed()).unwrap();
    assert_eq!((data.train.len(), data.eval.len()), (30, 10));
    let both: BTreeSet<&str> = texts(&data.train).into_iter().chain(texts(&data.eval)).collect();
    assert_eq!(both.len(), 40);
    assert_eq!(load(&config, &seed()).unwrap(), data);
    assert_ne!(load(&config, &SeedSequence::new(6)).unwrap(), data);
    let fewer = DataConfig { max_eval_samples: Some(3), ..config };
    let fewer = load(&fewer, &seed()).unwrap();
    assert_eq!((fewer.train.len(), fewer.eval), (30, data.eval[..3].to_vec()));
}

#[test]
fn shuffled_labels_are_a_fair_coin_for_training_alone() {
    let path = samples_of_the_repository("hh-harmless");
    let plain = load(&config(path.clone()), &seed()).unwrap();
    let shuffled = DataConfig { shuffle_labels: true, ..config(path) };
    let control = load(&shuffled, &seed()).unwrap();
    assert_eq!(control.eval, plain.eval);
    assert_eq!(load(&shuffled, &seed()).unwrap(), control);
    let swapped = plain.train.iter().zip(&control.train).filter(|(a, b)| a != b).count();
    // 996 expected, standard deviation 22.
    assert!((900..1092).contains(&swapped), "{swapped}");
    let mut back = control.train;
    shuffle_labels(&mut back, &seed()).unwrap();
    assert_eq!(back, plain.train);
}
