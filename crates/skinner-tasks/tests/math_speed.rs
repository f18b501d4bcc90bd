//! How many short answers are graded in a second. Run it in release: `cargo test --release -- --ignored`.

use std::hint::black_box;
use std::time::Instant;

use skinner_tasks::math::{Config, Math};
use skinner_tasks::{Task, Trace};

#[test]
#[ignore = "measures time"]
fn a_million_short_answers_in_a_second() {
    const COUNT: usize = 2_000_000;
    let math = Math::new(Config::default()).expect("the default");
    let completions = [
        r"She has 16 - 3 - 4 = 9 eggs left, so she makes 9 * 2 dollars. \boxed{18}",
        "She has 16 - 3 - 4 = 9 eggs left.\n#### 18",
        "<think>16 - 3 - 4 = 9</think><answer>18</answer>",
        "The answer is 17.",
    ];
    let task = Task { answer: Some("18".to_owned()), ..Task::default() };
    for completion in completions {
        let trace = Trace { completion: completion.to_owned(), ..Trace::default() };
        let start = Instant::now();
        let mut sum = 0.0;
        for _ in 0..COUNT {
            sum += math.grade(black_box(&task), black_box(&trace)).expect("an answer").reward;
        }
        let rate = COUNT as f64 / start.elapsed().as_secs_f64();
        assert!(rate > 1e6, "{rate:.0} in a second, of {completion:?} (sum {sum})");
        verifiers_common::say(&format!("{rate:.0} in a second: {completion:?}"));
    }
}

mod verifiers_common;
