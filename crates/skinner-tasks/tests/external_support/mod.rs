//! What the tests of external rewards share.

use skinner_tasks::external::ExternalReward;
use skinner_tasks::{Graded, Task, Trace};

pub fn samples(count: usize) -> Vec<(Task, Trace)> {
    let one = |index: usize| {
        let task = Task { prompt: "p".into(), answer: Some(index.to_string()), ..Task::default() };
        (task, Trace { completion: format!("c{index}"), ..Trace::default() })
    };
    (0..count).map(one).collect()
}

pub fn grade(reward: &ExternalReward, count: usize) -> Vec<Graded> {
    let samples = samples(count);
    let samples: Vec<_> = samples.iter().map(|(task, trace)| (task, trace)).collect();
    reward.grade_batch(&samples)
}

pub fn reasons(graded: &[Graded]) -> Vec<String> {
    graded
        .iter()
        .map(|graded| graded.clone().map_or_else(|failed| failed.0, |reward| reward.reason))
        .collect()
}
