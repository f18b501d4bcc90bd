//! Who grades, and what was graded before.
//!
//! A program under test may be late once and in time another time, and a service may remember. So that a run which
//! continues from a checkpoint takes the same steps again, what such graders say is written to a journal, before it is
//! used; the steps since the checkpoint are graded from there, and so are evaluations. A line has a step, who graded what
//! (as a hash) and the grades. Within a step, the same samples get the same grades.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skinner_tasks::{
    Failed, GradedSample, Reward, RewardConfig, RewardError, Rewards, Task as Exercise, Trace,
};

use crate::error::LmError;

/// Verifiers that grade together.
#[derive(Debug)]
pub(super) struct Grader {
    /// Tells the run's graders apart in the journal.
    name: String,
    rewards: Rewards,
    repeats: bool,
}

/// The journal of all graders of a run.
#[derive(Clone, Debug)]
pub(super) struct SharedJournal(Arc<Mutex<Journal>>);

#[derive(Debug)]
struct Journal {
    path: PathBuf,
    file: File,
    step: u64,
    /// By step and what was graded.
    known: BTreeMap<(u64, String), Vec<GradedSample>>,
    failed: Option<std::io::Error>,
}

/// A line of the journal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    step: u64,
    samples: String,
    grades: Vec<Grade>,
}

#[derive(Serialize, Deserialize)]
struct Grade {
    reward: Option<f64>,
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Given(Reward),
    Failed { failed: String },
}

impl From<&GradedSample> for Grade {
    fn from(graded: &GradedSample) -> Self {
        let part = |part: &skinner_tasks::Graded| match part {
            Ok(reward) => Part::Given(reward.clone()),
            Err(Failed(failed)) => Part::Failed { failed: failed.clone() },
        };
        Self { reward: graded.reward, parts: graded.parts.iter().map(part).collect() }
    }
}

impl From<Grade> for GradedSample {
    fn from(grade: Grade) -> Self {
        let part = |part: Part| match part {
            Part::Given(reward) => Ok(reward),
            Part::Failed { failed } => Err(Failed(failed)),
        };
        Self { reward: grade.reward, parts: grade.parts.into_iter().map(part).collect() }
    }
}

impl SharedJournal {
    /// What stands in the file is graded no more.
    pub fn open(path: &Path) -> Result<Self, LmError> {
        Ok(Self(Arc::new(Mutex::new(Journal::open(path)?))))
    }

    fn lock(&self) -> MutexGuard<'_, Journal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is graded from now on belongs to a step.
    pub fn at_step(&self, step: u64) {
        let mut journal = self.lock();
        journal.step = step;
        journal.known = journal.known.split_off(&(step, String::new()));
    }

    /// Waits until all grades are on the disk.
    ///
    /// # Errors
    /// If they could not be written.
    pub fn sync(&self) -> Result<(), LmError> {
        let mut journal = self.lock();
        let failed = journal.failed.take().map_or_else(|| journal.file.sync_data(), Err);
        failed.map_err(LmError::io("write", &journal.path))
    }
}

impl Grader {
    pub fn new(name: &str, configs: &[RewardConfig]) -> Result<Self, RewardError> {
        let repeats = configs.iter().all(|config| config.verifier.repeats());
        Ok(Self { name: name.to_owned(), rewards: Rewards::new(configs)?, repeats })
    }

    /// Whether the same samples always get the same grades, so that a journal is of no use.
    pub fn repeats(&self) -> bool {
        self.repeats
    }

    pub fn labels(&self) -> Vec<&str> {
        self.rewards.labels()
    }

    /// The answer that a completion gives, in its normal form.
    pub fn answer(&self, trace: &Trace) -> Option<String> {
        self.rewards.answer(trace)
    }

    /// Grades samples together, unless the journal knows what was said of them in this step.
    pub fn grade(
        &self,
        samples: &[(&Exercise, &Trace)],
        journal: Option<&SharedJournal>,
    ) -> Vec<GradedSample> {
        let Some(journal) = journal.filter(|_| !self.repeats) else {
            return self.rewards.grade(samples);
        };
        let mut journal = journal.lock();
        let key = (journal.step, hash(&self.name, samples));
        if let Some(known) = journal.known.get(&key) {
            return known.clone();
        }
        let graded = self.rewards.grade(samples);
        journal.write(key, &graded);
        graded
    }
}

fn hash(grader: &str, samples: &[(&Exercise, &Trace)]) -> String {
    let mut hash = Sha256::new();
    hash.update(grader);
    hash.update([0]);
    for sample in samples {
        hash.update(serde_json::to_vec(sample).unwrap_or_default());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest[..16].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl Journal {
    fn open(path: &Path) -> Result<Self, LmError> {
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            text => text.map_err(LmError::io("read", path))?,
        };
        // A line without its end was not used by anyone.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut known = BTreeMap::new();
        for (number, line) in text[..whole].split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line: Line = serde_json::from_slice(line).map_err(|error| {
                let what = "to start the run again without it, remove the file";
                LmError::file(path, format!("line {} is damaged: {error}; {what}", number + 1))
            })?;
            let grades = line.grades.into_iter().map(GradedSample::from).collect();
            known.entry((line.step, line.samples)).or_insert(grades);
        }
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            file.set_len(whole as u64)?;
            Ok(file)
        };
        let file = open().map_err(LmError::io("open", path))?;
        Ok(Self { path: path.to_owned(), file, step: 0, known, failed: None })
    }

    fn write(&mut self, (step, samples): (u64, String), graded: &[GradedSample]) {
        let grades = graded.iter().map(Grade::from).collect();
        let line = Line { step, samples: samples.clone(), grades };
        let written =
            serde_json::to_vec(&line).map_err(std::io::Error::from).and_then(|mut line| {
                line.push(b'\n');
                self.file.write_all(&line)
            });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
        self.known.insert((step, samples), graded.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(reward: f64) -> GradedSample {
        let parts = vec![Ok(Reward::new(reward, "so")), Err(Failed("late".into()))];
        GradedSample { reward: Some(reward), parts }
    }

    /// A journal holds what was written to it, but for a line that was cut.
    #[test]
    fn a_journal_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grades.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        journal.write((3, "a".into()), &[graded(0.1), graded(1.0 / 3.0)]);
        journal.write((4, "a".into()), &[graded(1.0)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], b"{\"step\": 5, \"sam"].concat()).unwrap();
        let again = Journal::open(&path).unwrap();
        assert_eq!(again.known, journal.known);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        std::fs::write(&path, [b"oops\n", &whole[..]].concat()).unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(error.contains("grades.jsonl") && error.contains("line 1 is damaged"), "{error}");
    }

    #[test]
    fn what_is_graded_tells_apart() {
        let (task, other) =
            (Exercise::default(), Exercise { prompt: "p".into(), ..Exercise::default() });
        let trace = Trace { completion: "c".into(), ..Trace::default() };
        let hashes = [
            hash("reward", &[(&task, &trace)]),
            hash("reward", &[(&other, &trace)]),
            hash("reward", &[(&task, &trace), (&task, &trace)]),
            hash("monitor", &[(&task, &trace)]),
        ];
        assert!(hashes[1..].iter().all(|other| *other != hashes[0]));
        assert_eq!(hashes[0], hash("reward", &[(&task, &trace)]));
    }
}
