//! `HumanEval` and MBPP: the data sets' own solutions score 1. `SKINNER_TEST_DATA` names the folder with `humaneval` and
//! `mbpp`.
#![allow(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and measurements are read"
)]

mod sandbox_support;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use sandbox_support::python_verifier;
use serde_json::Value;
use skinner_tasks::code::{Block, CodeConfig, CodeVerifier};
use skinner_tasks::{Graded, Task, Trace};

/// A task and its solution.
type Solved = (Task, Trace);

fn read(path: &str) -> Option<Vec<Value>> {
    let Some(folder) = std::env::var_os("SKINNER_TEST_DATA").map(PathBuf::from) else {
        eprintln!("SKIPPED, nothing was tested: SKINNER_TEST_DATA is not set");
        return None;
    };
    let text = fs::read_to_string(folder.join(path)).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn solved(row: &Value, prompt: &str, solution: &str) -> Solved {
    let columns = row.as_object().unwrap().clone();
    let task = Task { prompt: row[prompt].clone(), columns, ..Task::default() };
    (task, Trace { completion: row[solution].as_str().unwrap().to_owned(), ..Trace::default() })
}

fn humaneval() -> Option<(Vec<Solved>, CodeVerifier)> {
    let rows = read("humaneval/HumanEval.jsonl")?;
    let config = CodeConfig { block: Block::Whole, prepend_prompt: true, ..CodeConfig::default() };
    let samples = rows.iter().map(|row| solved(row, "prompt", "canonical_solution")).collect();
    Some((samples, python_verifier(config)?))
}

fn mbpp() -> Option<(Vec<Solved>, CodeVerifier)> {
    let rows = read("mbpp/mbpp.jsonl")?;
    let config = CodeConfig { block: Block::Whole, ..CodeConfig::default() };
    let samples = rows.iter().map(|row| solved(row, "text", "code")).collect();
    Some((samples, python_verifier(config)?))
}

fn grade(data: &[Solved], verifier: &CodeVerifier) -> Vec<Graded> {
    grade_on(std::thread::available_parallelism().map_or(1, usize::from), data, verifier)
}

fn grade_on(threads: usize, data: &[Solved], verifier: &CodeVerifier) -> Vec<Graded> {
    let samples: Vec<_> = data.iter().map(|(task, trace)| (task, trace)).collect();
    let started = Instant::now();
    let graded = verifier.grade_all(&samples, threads);
    let each = graded.len() as f64 / started.elapsed().as_secs_f64();
    eprintln!("{} checks on {threads} threads, {each:.1} per second", graded.len());
    graded
}

/// Says what did not pass, and how many did.
fn passed(data: &[Solved], graded: &[Graded]) -> usize {
    let mut passed = 0;
    for ((task, _), graded) in data.iter().zip(graded) {
        match graded {
            Ok(reward) if reward.reward == 1.0 => passed += 1,
            Ok(reward) => eprintln!("{} fails: {}", task.columns["task_id"], reward.reason),
            Err(failed) => eprintln!("{} not run: {failed}", task.columns["task_id"]),
        }
    }
    eprintln!("{passed} of {} pass", data.len());
    passed
}

#[test]
fn solutions_of_a_sample_pass() {
    for (data, verifier) in [humaneval(), mbpp()].into_iter().flatten() {
        let sample: Vec<_> = data.into_iter().step_by(8).take(20).collect();
        let graded = grade(&sample, &verifier);
        assert_eq!(passed(&sample, &graded), sample.len());
    }
}

#[test]
fn empty_functions_do_not_pass() {
    let Some((data, verifier)) = humaneval() else { return };
    let sample: Vec<_> = data.into_iter().step_by(8).take(20).collect();
    let empty =
        |(task, _): Solved| (task, Trace { completion: "    pass\n".into(), ..Trace::default() });
    let empty: Vec<_> = sample.into_iter().map(empty).collect();
    assert_eq!(passed(&empty, &grade(&empty, &verifier)), 0);
}

#[test]
#[ignore = "takes a minute; run by name"]
fn all_solutions_of_humaneval_pass() {
    let Some((data, verifier)) = humaneval() else { return };
    assert_eq!(passed(&data, &grade(&data, &verifier)), 164);
}

#[test]
#[ignore = "takes a minute; run by name"]
fn all_solutions_of_mbpp_but_one_pass() {
    let Some((data, verifier)) = mbpp() else { return };
    // The tests of 596 measure with a module that only the program imports.
    assert_eq!(passed(&data, &grade(&data, &verifier)), 973);
}

#[test]
#[ignore = "a measurement"]
fn checks_per_second() {
    for (name, data) in [("HumanEval", humaneval()), ("MBPP", mbpp())] {
        let Some((data, verifier)) = data else { return };
        eprintln!("{name}");
        for threads in [1, 1, 2, 4] {
            grade_on(threads, &data[..data.len().min(164)], &verifier);
        }
    }
}
