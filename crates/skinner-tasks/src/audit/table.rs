use std::fmt;

use super::{Audit, Finding};

const WIDTH: usize = 28;

fn percent(share: f64) -> f64 {
    100.0 * share
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, finding: &Finding) -> fmt::Result {
    let Finding { count, of, .. } = finding;
    writeln!(f, "{name:<WIDTH$}{count:>8} of {of:<8}{:>6.1} %", percent(finding.share()))?;
    for example in &finding.examples {
        let (task, prompt, detail) = (example.task, &example.prompt, &example.detail);
        let detail = detail.replace('\n', " ");
        writeln!(f, "  task {task}: {prompt:?} {detail}")?;
    }
    Ok(())
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = [
            ("without answer", &self.without_answer),
            ("unsolvable", &self.unsolvable),
            ("not graded", &self.not_graded),
            ("duplicates", &self.duplicates),
            ("ambiguous", &self.ambiguous),
        ];
        for (name, finding) in findings {
            row(f, name, finding)?;
        }
        if let Some(finding) = &self.disagreement {
            row(f, "disagreement", finding)?;
        }
        writeln!(
            f,
            "\n{:<WIDTH$}{:>8}{:>9}{:>13}",
            "trivial policy", "solved", "share", "mean reward"
        )?;
        for trivial in &self.trivial {
            let share = percent(trivial.solved as f64 / self.tasks.max(1) as f64);
            let policy: String = trivial.policy.chars().take(WIDTH - 1).collect();
            let (solved, mean) = (trivial.solved, trivial.mean_reward);
            writeln!(f, "{policy:<WIDTH$}{solved:>8}{share:>7.1} %{mean:>13.3}")?;
        }
        Ok(())
    }
}
