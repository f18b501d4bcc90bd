use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::countdown::{check, solve};
use super::sudoku::{Grid, solutions};
use super::*;

fn task(columns: &serde_json::Value) -> Task {
    Task { columns: columns.as_object().unwrap().clone(), ..Task::default() }
}

fn reward(kind: Kind, task: &Task, completion: &str) -> f64 {
    let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
    Puzzle::new(kind, Config::default()).unwrap().grade(task, &trace).unwrap().reward
}

#[test]
fn expressions_by_hand() {
    let right = |expression: &str| check(expression, &[75, 50, 4, 3], 100).unwrap();
    right("(75-50)*4");
    right(" ( 75 − 50 ) × 4 = 100 ");
    right(r"\left(75-50\right) \times 4");
    right("4·75:3");
    right("[75 ÷ 3] * 4");
}

#[test]
fn wrong_expressions_say_why() {
    let wrong = |expression: &str, expect: &str| {
        let reason = check(expression, &[75, 50, 4, 4], 100).unwrap_err();
        assert!(reason.contains(expect), "{expression}: {reason}");
    };
    wrong("75+50", "the value is 125");
    wrong("100", "100 is not among");
    wrong("75+25", "25 is not among");
    wrong("75-50+75", "75 is not among");
    wrong("(75-50)*4 = 101", "follows `=`");
    wrong("(75-50)*4 = 25*4 = 100", "follows `=`");
    wrong("75/(4-4)", "divided by zero");
    wrong("(75-50", "ends");
    wrong("", "ends");
    wrong("75-+50", "`+`");
    wrong("-75+50", "`-`");
    wrong("4 4", "`4`");
    wrong("2**4", "`*`");
    wrong("75-50)*4", "`)`");
    wrong("99999999999999999999", "too large");
    wrong(&"(".repeat(600), "deeper");
    wrong(&"4+".repeat(300), "deeper");
    wrong(&"4".repeat(2000), "2000 bytes");
    wrong("print(100)", "`p`");
}

/// Thirds are exact: 8 ÷ (3 − 8 ÷ 3) is 24.
#[test]
fn values_are_exact() {
    check("8/(3-8/3)", &[3, 3, 8, 8], 24).unwrap();
    let reason = check("1/3*2", &[1, 2, 3], 1).unwrap_err();
    assert!(reason.contains("2/3"), "{reason}");
}

/// Every value that the numbers of each subset make, in floating point and by another route than the search's.
fn reachable(numbers: &[i64]) -> BTreeSet<i64> {
    let count = numbers.len();
    let mut values: Vec<Vec<f64>> = vec![vec![]; 1 << count];
    for subset in 1_usize..1 << count {
        if subset.is_power_of_two() {
            values[subset].push(numbers[subset.trailing_zeros() as usize] as f64);
        }
        let parts = (1..subset).filter(|part| part & subset == *part);
        let made: Vec<f64> = parts
            .flat_map(|part| {
                let (left, right) = (&values[part], &values[subset ^ part]);
                let both = |a: f64, b: f64| [a + b, a - b, a * b, a / b];
                left.iter().flat_map(move |a| right.iter().flat_map(move |b| both(*a, *b)))
            })
            .filter(|value| value.is_finite())
            .collect();
        values[subset].extend(made);
    }
    let whole = |value: &f64| (value - value.round()).abs() < 1e-9;
    values.iter().flatten().filter(|value| whole(value)).map(|value| value.round() as i64).collect()
}

#[test]
fn the_search_finds_what_brute_force_finds() {
    for numbers in [vec![2, 3], vec![1, 1, 1], vec![2, 5, 7], vec![3, 3, 8, 8], vec![1, 4, 6, 7]] {
        let reachable = reachable(&numbers);
        for target in -10..200 {
            let found = solve(&numbers, target);
            assert_eq!(found.is_some(), reachable.contains(&target), "{numbers:?} {target}");
            if let Some(found) = found {
                check(&found, &numbers, target).unwrap();
            }
        }
    }
}

#[test]
fn every_countdown_drawn_is_solved_by_the_search() {
    let json = r#"{"name": "countdown", "numbers": [2, 5]}"#;
    let generator: crate::generate::Generator = serde_json::from_str(json).unwrap();
    let mut rng = skinner_core::Rng::new(4);
    for _ in 0..200 {
        let task = generator.draw(&mut rng).task;
        let numbers: Vec<i64> = serde_json::from_value(task.columns["numbers"].clone()).unwrap();
        let target = task.columns["target"].as_i64().unwrap();
        assert!((10..=100).contains(&target) && !numbers.contains(&target));
        check(&solve(&numbers, target).unwrap(), &numbers, target).unwrap();
    }
}

#[test]
fn countdown_answers_are_found_in_completions() {
    let task = task(&json!({ "numbers": [3, 5, 20], "target": 45 }));
    let reward = |completion: &str| reward(Kind::Countdown, &task, completion);
    assert_eq!(reward("(20-5)*3"), 1.0);
    assert_eq!(reward("20-5=15;15*3=45;(20-5)*3"), 1.0);
    assert_eq!(reward("20-5 is 15.\n<answer> 3*(20-5) </answer> done"), 1.0);
    assert_eq!(reward("so \\boxed{(20-5)\\times 3 = 45}"), 1.0);
    assert_eq!(reward("The answer is (20 - 5) * 3."), 1.0);
    assert_eq!(reward("45"), 0.0);
    assert_eq!(reward("(20-5)*3\n20+5"), 0.0);
    assert_eq!(reward(""), 0.0);
    let broken = Task::default();
    let puzzle = Puzzle::new(Kind::Countdown, Config::default()).unwrap();
    assert!(puzzle.grade(&broken, &Trace::default()).is_err());
}

/// Every completed grid, found by trying all orders of the digits in each row.
#[test]
fn there_are_288_sudokus_of_four_rows() {
    let empty = Grid([0; 16]);
    assert_eq!(solutions(&empty, 1000, [1, 2, 3, 4]).len(), 288);
    let rows: Vec<[u8; 4]> = (0..256_usize)
        .map(|n| [n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6].map(|digit| digit as u8 + 1))
        .filter(|row| (1..=4).all(|digit| row.contains(&digit)))
        .collect();
    let mut count = 0;
    for a in &rows {
        for b in &rows {
            for c in &rows {
                for d in &rows {
                    let grid = Grid([*a, *b, *c, *d].concat().try_into().unwrap());
                    count += usize::from(grid.is_consistent());
                }
            }
        }
    }
    assert_eq!(count, 288);
}

#[test]
fn sudokus_drawn_have_one_solution_and_so_many_blanks() {
    for blanks in [1, 6, 12] {
        let json = format!(r#"{{"name": "sudoku", "blanks": {blanks}}}"#);
        let generator: crate::generate::Generator = serde_json::from_str(&json).unwrap();
        let mut rng = skinner_core::Rng::new(2);
        for _ in 0..20 {
            let task = generator.draw(&mut rng).task;
            let clues = Grid::parse(task.columns["clues"].as_str().unwrap()).unwrap();
            assert_eq!(clues.rows("").matches('_').count(), blanks);
            let found = solutions(&clues, 2, [4, 3, 2, 1]);
            assert_eq!(found.len(), 1);
            assert_eq!(Some(found[0].rows("/")), task.answer);
        }
    }
}

#[test]
fn sudokus_by_hand() {
    let task = task(&json!({ "clues": "12__/__1_/2___/__2_" }));
    let clues = Grid::parse("12__/__1_/2___/__2_").unwrap();
    for solution in solutions(&clues, 10, [1, 2, 3, 4]) {
        assert_eq!(reward(Kind::Sudoku, &task, &solution.rows("/")), 1.0);
    }
    let reward = |completion: &str| reward(Kind::Sudoku, &task, completion);
    assert_eq!(reward("1234/3412/2143/4321"), 1.0);
    assert_eq!(reward("1 2 | 3 4\n3 4 | 1 2\n2 1 | 4 3\n4 3 | 2 1\n"), 1.0);
    assert_eq!(reward("12__/__1_/2___/__2_ is\n1234\n3412\n2143\n4321"), 1.0);
    assert_eq!(reward("<answer>1234/3412/2143/4321</answer>"), 1.0);
    assert_eq!(reward("1234/3412/2143/4312"), 0.0);
    assert_eq!(reward("2134/3412/1243/4321"), 0.0);
    assert_eq!(reward("1234/3412/2143"), 0.0);
    assert_eq!(reward("12__/__1_/2___/__2_"), 0.0);
    assert_eq!(reward("1234/3412/2143/4321/ or so"), 0.0);
    assert_eq!(reward("1234341221434321"), 0.0);
}

#[test]
fn mazes_by_hand() {
    let task = task(&json!({ "maze": "S.#/..#/#.G" }));
    let reward = |completion: &str| reward(Kind::Maze, &task, completion);
    for right in ["DRDR", "RDDR", "drdr", "down right down right", "D -> R -> D -> R"] {
        assert_eq!(reward(right), 1.0, "{right}");
    }
    for wrong in ["", "DRD", "DRDRL", "RRDD", "DDRR", "LRDRDR", "RLRDDR", "DRDR!", "north"] {
        assert_eq!(reward(wrong), 0.0, "{wrong}");
    }
    let blocked = maze::Grid::parse("S#G").unwrap();
    assert_eq!(maze::shortest_path(&blocked), None);
    for broken in ["S.", "SS.G", "S./G", "S?G", ""] {
        assert_eq!(maze::Grid::parse(broken), None, "{broken}");
    }
}

/// No path that is shorter leads to the goal: all of them are tried.
#[test]
fn shortest_paths_are_as_short_as_brute_force_finds() {
    let json = r#"{"name": "maze", "side": 3}"#;
    let generator: crate::generate::Generator = serde_json::from_str(json).unwrap();
    let mut rng = skinner_core::Rng::new(9);
    for _ in 0..30 {
        let task = generator.draw(&mut rng).task;
        let maze = maze::Grid::parse(task.columns["maze"].as_str().unwrap()).unwrap();
        let shortest = maze::shortest_path(&maze).unwrap().len();
        let reaches = |length: usize| {
            (0..4_usize.pow(length as u32)).any(|number| {
                let path: String =
                    (0..length).map(|i| ['U', 'D', 'L', 'R'][number >> (2 * i) & 3]).collect();
                maze::check(&maze, &path, length).is_ok()
            })
        };
        assert_eq!((0..=8).find(|length| reaches(*length)), Some(shortest));
    }
}

#[test]
fn values_out_of_range_are_errors() {
    let config = Config { correct: f64::NAN, ..Config::default() };
    assert!(Puzzle::new(Kind::Maze, config).unwrap_err().to_string().contains("correct"));
    let config = Config { tag: "a b".into(), ..Config::default() };
    assert!(Puzzle::new(Kind::Maze, config).unwrap_err().to_string().contains("a b"));
}

proptest! {
    #[test]
    fn no_completion_panics(text in "[0-9+*/()x=:. SGUDLR_<>a-z\\\\÷×-]{0,80}") {
        let columns = json!({ "numbers": [3, 5, 20], "target": 45, "clues": "12__/__1_/2___/__2_",
            "maze": "S.#/..#/#.G" });
        let task = task(&columns);
        for kind in [Kind::Countdown, Kind::Sudoku, Kind::Maze] {
            reward(kind, &task, &text);
        }
    }

    #[test]
    fn what_the_search_finds_is_right(
        numbers in proptest::collection::vec(1_i64..30, 1..5), target in 1_i64..100,
    ) {
        if let Some(found) = solve(&numbers, target) {
            prop_assert!(check(&found, &numbers, target).is_ok());
            prop_assert!(check(&found, &numbers, target + 1).is_err());
            let more = format!("({found})*1000");
            prop_assert!(check(&more, &numbers, target).is_err());
        }
    }
}
