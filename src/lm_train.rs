//! `skinner train` and `skinner eval` of language models.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use skinner_core::{Metrics, SeedSequence, statistics};
use skinner_lm::data::{self, Dataset};
use skinner_lm::tensor::{DeviceKind, Machine};
use skinner_lm::train::grpo::{TaskSource, worked_examples};
use skinner_lm::train::{STREAM_DATA, STREAM_SAMPLES, Start, StartTerms, Task, Trainer};
use skinner_lm::{RUN_ADAPTER, RUN_MODEL};
use skinner_run::checkpoint::{Checkpoint, Tensor};
use skinner_run::history::History;
use skinner_run::logger::{LogOffsets, Logger};
use skinner_run::run_dir::{RunDir, RunInfo, Status};
use skinner_run::{host, report};

use crate::lm_recipe::LmRecipe;
use crate::train::{command_line, default_run_dir, exit_code, mark_ended, seed_dirs};
use crate::{DeviceArgs, EvalArgs, TrainArgs, explain, interrupt, note, out};
use crate::{lm_export, lm_samples};

/// A checkpoint is written at least this often, and at every tenth of a run; but not so often that saving costs
/// more than a twentieth.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
const CHECKPOINTS_KEPT: usize = 2;

impl DeviceArgs {
    /// The device, or an error that says what is missing; `threads` are the CPU's.
    pub(crate) fn open(&self, threads: usize) -> anyhow::Result<Machine> {
        Ok(self.device.parse::<DeviceKind>()?.open(threads)?)
    }
}

/// Runs `skinner train` of a language model.
pub(crate) fn train(args: &TrainArgs, recipe: &LmRecipe) -> anyhow::Result<ExitCode> {
    let Some(count) = args.seeds else {
        let path = args.run_dir.clone().unwrap_or_else(|| {
            let name = format!("{}-seed-{}", recipe.name, recipe.run.seed);
            default_run_dir(&name, args.resume)
        });
        let ended = run(args, recipe, &path)?;
        if args.json {
            out(&Value::Object(ended.result).to_string())?;
        } else if !ended.interrupted {
            out(&summary(&ended.result, &path))?;
        }
        return Ok(exit_code(ended.interrupted, ended.saved, &path));
    };
    let path = args
        .run_dir
        .clone()
        .unwrap_or_else(|| default_run_dir(&format!("{}-seeds-{count}", recipe.name), args.resume));
    train_seeds(args, recipe, count, &path)
}

/// One seed after the other: each uses all threads.
fn train_seeds(
    args: &TrainArgs,
    recipe: &LmRecipe,
    count: u64,
    path: &Path,
) -> anyhow::Result<ExitCode> {
    let (mut runs, mut failures) = (Vec::new(), Vec::new());
    let (mut interrupted, mut saved) = (false, false);
    for (seed, dir) in seed_dirs(path, recipe.run.seed, count, args.resume)? {
        let mut seeded = recipe.clone();
        seeded.run.seed = seed;
        let ended = match run(args, &seeded, &dir) {
            Ok(ended) => ended,
            Err(error) => {
                failures.push(format!("seed {seed}: {}", explain(&error)));
                continue;
            }
        };
        interrupted |= ended.interrupted;
        saved |= ended.saved;
        if !args.json && !ended.interrupted {
            out(&format!("seed {seed}: {}", eval_line(&ended.result)))?;
        }
        runs.push(ended.result);
        if interrupted {
            break;
        }
    }
    if !interrupted && !runs.is_empty() {
        report::write_report(&path.join("report.html"), &[path])?;
    }
    let summary = seeds_summary(&runs);
    if args.json {
        let all =
            json!({ "run_dir": path, "runs": runs, "summary": summary, "failures": failures });
        out(&all.to_string())?;
    } else if let Some((name, mean, std)) = headline(&summary) {
        out(&format!("{} seeds: {name} {mean:.4}, standard deviation {std:.4}", runs.len()))?;
    }
    if !failures.is_empty() {
        bail!("{} of {count} seeds failed: {}", failures.len(), failures.join("; "));
    }
    Ok(exit_code(interrupted, saved, path))
}

/// Mean and standard deviation over the seeds of what every run was evaluated by.
fn seeds_summary(runs: &[Map<String, Value>]) -> Value {
    let Some(first) = runs.first() else { return Value::Null };
    let mut summary = Map::from_iter([("seeds".to_owned(), json!(runs.len()))]);
    for name in first.keys().filter(|name| name.starts_with("eval_")) {
        let values: Option<Vec<f64>> = runs.iter().map(|run| number(run, name)).collect();
        if let Some(values) = values {
            summary.insert(format!("{name}_mean"), json!(statistics::mean(&values)));
            summary.insert(format!("{name}_std"), json!(statistics::std(&values)));
        }
    }
    Value::Object(summary)
}

/// What a summary is told by in one line.
fn headline(summary: &Value) -> Option<(&'static str, f64, f64)> {
    ["eval_accuracy", "eval_loss"].into_iter().find_map(|name| {
        let part = |part| summary.get(format!("{name}_{part}"))?.as_f64();
        Some((name, part("mean")?, part("std")?))
    })
}

struct Ended {
    result: Map<String, Value>,
    interrupted: bool,
    /// Whether there is a checkpoint to continue from.
    saved: bool,
}

/// Everything of a run that a checkpoint holds beside tensors.
#[derive(Serialize, Deserialize)]
struct RunState {
    trainer: Vec<u8>,
    /// The best loss of an evaluation on the way.
    best: Option<f64>,
    evaluated: bool,
}

struct Run<'a> {
    recipe: &'a LmRecipe,
    root: SeedSequence,
    dataset: Dataset,
    dir: RunDir,
    logger: Logger,
    trainer: Trainer,
    best: Option<f64>,
    evaluated: bool,
    /// Seconds of training before this process.
    earlier_seconds: f64,
    /// Tokens trained on before this process.
    earlier_tokens: u64,
    /// Seconds of evaluation and the like in this process.
    other_seconds: f64,
    /// Warnings of the monitor that were told.
    told: usize,
    /// Whether the weights that divergences are measured from are in a file.
    reference_saved: bool,
    bar: ProgressBar,
}

fn run(args: &TrainArgs, recipe: &LmRecipe, path: &Path) -> anyhow::Result<Ended> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, |n| n as usize);
    let machine = args.device.open(threads)?;
    let device = machine.name();
    let root = SeedSequence::new(recipe.run.seed);
    // Data and model first: a recipe that cannot run leaves no directory behind.
    let dataset = load_data(recipe, &root)?;
    let start = Start::new(&recipe.model, terms(recipe)?, &dataset, &root)?;
    let mut trainer = Trainer::new(&recipe.train, &recipe.task, start, &dataset, &root, machine)?;
    lm_samples::prompts(recipe, &trainer.learner, &dataset)?;
    let text = recipe.to_toml()?;
    let info = RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        git_commit: option_env!("SKINNER_GIT_COMMIT").map(str::to_owned),
        command: command_line(),
        algorithm: recipe.run.algorithm.as_str().into(),
        env: recipe.model_name(),
        seed: recipe.run.seed,
        threads,
        device,
        cpu: host::cpu_name(),
        started: host::utc_now(),
        ..RunInfo::default()
    };
    let (dir, checkpoint) = if args.resume {
        warn_of_another_device(path, &info.device);
        let resumed = RunDir::resume(path, &text, &info)?;
        for warning in &resumed.warnings {
            note(&format!("warning: {warning}"));
        }
        (resumed.run_dir, resumed.checkpoint)
    } else {
        (RunDir::create(path, &text, &info)?, None)
    };
    let logger = Logger::open(&dir, checkpoint.as_ref().map(|c| c.logs))?;
    let (mut best, mut evaluated) = (None, false);
    if let Some(checkpoint) = &checkpoint {
        let state: RunState = serde_json::from_slice(&checkpoint.state)
            .context("the checkpoint's state cannot be decoded")?;
        let info = dir.info()?;
        if state.evaluated
            && info.status == Status::Finished
            && let Some(result) = info.result
        {
            note(&format!("{} is finished; this is its result", path.display()));
            return Ok(Ended { result, interrupted: false, saved: true });
        }
        (best, evaluated) = (state.best, state.evaluated);
        note(&format!("resuming {} from step {}", path.display(), checkpoint.step));
    } else {
        for line in &trainer.notes {
            note(line);
        }
    }
    trainer.keep_grades(&dir.path().join("grades.jsonl"))?;
    if !prepare(&mut trainer, &recipe.name)? {
        mark_ended(&dir, Status::Interrupted);
        let saved = checkpoint.is_some();
        let result = json!({
            "run_dir": path, "algorithm": recipe.run.algorithm.as_str(), "seed": recipe.run.seed,
            "steps": checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step), "status": "interrupted",
        });
        let Value::Object(result) = result else { unreachable!("it was written as an object") };
        return Ok(Ended { result, interrupted: true, saved });
    }
    if let Some(checkpoint) = checkpoint {
        restore(&mut trainer, checkpoint)?;
    }
    let reference_saved = restore_reference(&mut trainer, &dir)?;
    if !trainer.alarms().is_empty() {
        dir.update_info(|info| info.warnings = trainer.alarms().to_vec())?;
    }
    let earlier = History::read(dir.timing_path())?;
    let bar =
        progress(trainer.total_steps(), &format!("{} seed {}", recipe.name, recipe.run.seed))?;
    bar.set_position(trainer.step());
    let run = Run {
        recipe,
        root,
        dataset,
        dir,
        logger,
        earlier_tokens: trainer.tokens(),
        told: trainer.alarms().len(),
        reference_saved,
        trainer,
        best,
        evaluated,
        earlier_seconds: earlier.points("train_seconds").last().map_or(0.0, |point| point.1),
        other_seconds: 0.0,
        bar,
    };
    run.go()
}

fn terms(recipe: &LmRecipe) -> anyhow::Result<StartTerms<'_>> {
    let (lora, rope_scaling) = (recipe.run.lora.as_ref(), recipe.run.rope_scaling);
    Ok(StartTerms { lora, rope_scaling, date: recipe.date()? })
}

/// The same numbers come out only where the same device computes them.
fn warn_of_another_device(path: &Path, device: &str) {
    let before = RunDir::open(path).and_then(|dir| dir.info());
    if let Some(before) = before.ok().filter(|info| info.device != device) {
        let before = before.device;
        note(&format!(
            "warning: this run was on the device `{before}`; on `{device}` it rounds otherwise from here on"
        ));
    }
}

/// What the recipe trains on; of tasks with verifiable rewards, their teacher's worked examples.
fn load_data(recipe: &LmRecipe, root: &SeedSequence) -> anyhow::Result<Dataset> {
    match (&recipe.task, &recipe.run.data) {
        (Task::Grpo(grpo), _) => worked_examples(grpo, root).map_err(|error| match &grpo.task {
            TaskSource::DataSet(config) => {
                hint_at_data(error, "task.path", &config.path.to_string_lossy())
            }
            TaskSource::Generator(_) => error.into(),
        }),
        (_, Some(config)) => data::load(config, &root.child(STREAM_DATA))
            .map_err(|error| hint_at_data(error, "data.path", &config.path)),
        (_, None) => bail!("the key `data` is missing"),
    }
}

/// The small sets of the repository are named relative to it.
pub(crate) fn hint_at_data(
    error: impl Into<anyhow::Error>,
    key: &str,
    path: &str,
) -> anyhow::Error {
    let missing = path.starts_with("data/") && !Path::new(path).exists();
    let error = error.into();
    if missing {
        return error.context(format!(
            "no {path} here: it lies in Skinner's repository; run there, or set {key} to where the data is"
        ));
    }
    error
}

fn progress(steps: u64, prefix: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(
        Some(steps),
        if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    let style = "{prefix} {bar:24} {percent:>3}% {human_pos} steps  {msg}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_prefix(prefix.to_owned());
    Ok(bar)
}

/// What is asked of the model before its first step; false if Ctrl-C came first.
fn prepare(trainer: &mut Trainer, name: &str) -> anyhow::Result<bool> {
    let bar = progress(1, &format!("{name}: reference log-probabilities"))?;
    let done = trainer.prepare(&mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        !interrupt::asked()
    });
    bar.finish_and_clear();
    Ok(done)
}

/// Puts a checkpoint's tensors and state into a fresh trainer.
fn restore(trainer: &mut Trainer, checkpoint: Checkpoint<'static>) -> anyhow::Result<()> {
    let step = checkpoint.step;
    let state: RunState = serde_json::from_slice(&checkpoint.state)
        .with_context(|| format!("the state of checkpoint step {step} cannot be decoded"))?;
    let expected = trainer.learner.trained().len() + 2;
    if checkpoint.tensors.len() != expected {
        let found = checkpoint.tensors.len();
        bail!("checkpoint step {step} has {found} tensors, this recipe's model has {expected}");
    }
    for tensor in checkpoint.tensors {
        let Some(place) = trainer.learner.tensor_mut(&tensor.name) else {
            bail!("checkpoint step {step} has a tensor `{}` that this model has not", tensor.name);
        };
        if place.len() != tensor.data.len() {
            let (found, expected) = (tensor.data.len(), place.len());
            bail!("tensor `{}` has {found} numbers, this model {expected}", tensor.name);
        }
        place.copy_from_slice(&tensor.data);
    }
    trainer.load(&state.trainer)?;
    Ok(())
}

/// Puts back the weights that divergences are measured from; false where there are none yet.
fn restore_reference(trainer: &mut Trainer, dir: &RunDir) -> anyhow::Result<bool> {
    let Some(place) = trainer.reference_mut() else { return Ok(false) };
    let saved = dir.load_reference().context("the weights after [sft] are not in the run")?;
    let [tensor] = &saved.tensors[..] else {
        bail!("checkpoints/reference has {} tensors, must have one", saved.tensors.len());
    };
    if tensor.data.len() != place.len() {
        let (found, expected) = (tensor.data.len(), place.len());
        bail!("checkpoints/reference has {found} numbers, this model {expected}");
    }
    place.copy_from_slice(&tensor.data);
    Ok(true)
}

impl Run<'_> {
    fn go(mut self) -> anyhow::Result<Ended> {
        let ended = self.train_and_evaluate();
        self.bar.finish_and_clear();
        if let Err(error) = &ended {
            mark_ended(&self.dir, Status::Failed(explain(error)));
            let written =
                report::write_report(&self.dir.report_path(), &[self.dir.path().to_owned()]);
            if let Err(error) = written {
                note(&format!("warning: the report could not be written: {error}"));
            }
        }
        ended
    }

    fn train_and_evaluate(&mut self) -> anyhow::Result<Ended> {
        let started = Instant::now();
        let total = self.trainer.total_steps();
        let every = |given: u64, of: u64, part: u64| {
            if given > 0 { given } else { (of / part).max(1) }
        };
        let log_every = every(self.recipe.run.log_every, total, 200);
        if self.trainer.step() == 0 {
            let Some(metrics) = self.evaluate_and_sample("before")? else {
                return self.interrupted(started);
            };
            self.logger.log(0, &metrics, &self.timing(started))?;
        }
        let tenth = (total / 10).max(1);
        let (mut saved, mut cost) = (Instant::now(), Duration::ZERO);
        while self.trainer.step() < total {
            if interrupt::asked() {
                return self.interrupted(started);
            }
            if let Some(why) = self.trainer.stops().map(str::to_owned) {
                self.save()?;
                bail!("stopped by its monitor: {why}");
            }
            let began = Instant::now();
            let Some(mut metrics) = self.trainer.evaluate_first(&interrupt::asked)? else {
                return self.interrupted(started);
            };
            self.other_seconds += began.elapsed().as_secs_f64();
            metrics.extend(&self.trainer.iteration()?);
            let step = self.trainer.step();
            self.save_reference()?;
            self.tell_alarms()?;
            let (first, steps) = self.trainer.phase(step);
            let eval_every = every(self.recipe.run.eval.every, steps, 10);
            let evaluates = (step - first).is_multiple_of(eval_every) && step < total;
            let evaluated = metrics.get("eval_items").is_some();
            if evaluates {
                self.evaluate_on_the_way(&mut metrics)?;
            }
            let stops = self.trainer.stops().is_some();
            if step.is_multiple_of(log_every) || step == total || evaluates || evaluated || stops {
                let mut timing = self.timing(started);
                timing.extend(&self.trainer.seconds());
                self.logger.log(step, &metrics, &timing)?;
            }
            self.bar.set_position(step);
            let (name, value) = match metrics.get("reward") {
                Some(reward) => ("reward", reward),
                None => ("loss", metrics.get("loss").unwrap_or(f64::NAN)),
            };
            let rate = self.tokens_per_second(started);
            self.bar.set_message(format!("{name} {value:.4}  {rate:.0} tokens/s"));
            let (elapsed, cheap) = (saved.elapsed(), 20 * cost);
            if elapsed > CHECKPOINT_EVERY.max(cheap)
                || step.is_multiple_of(tenth) && elapsed > cheap
            {
                let began = Instant::now();
                self.save()?;
                (cost, saved) = (began.elapsed(), Instant::now());
            }
        }
        let (seconds, rate) = (self.train_seconds(started), self.tokens_per_second(started));
        let Some(metrics) = self.evaluate_and_sample("after")? else {
            return self.interrupted(started);
        };
        if !self.evaluated {
            let mut timing = Metrics::new();
            timing.set("train_seconds", seconds);
            timing.set("tokens_per_second", rate);
            self.logger.log(total, &metrics, &timing)?;
            self.evaluated = true;
        }
        let hash = self.save()?;
        lm_export::export(self.dir.path(), self.recipe, &self.trainer.learner)?;
        self.finish(&metrics, seconds, rate, &hash)
    }

    /// Keeps the weights that divergences are measured from, before a checkpoint needs them.
    fn save_reference(&mut self) -> anyhow::Result<()> {
        if self.reference_saved {
            return Ok(());
        }
        let step = self.trainer.step();
        let Some(weights) = self.trainer.reference_mut() else { return Ok(()) };
        let tensor = Tensor {
            name: "reference".to_owned(),
            shape: vec![weights.len()],
            data: (&*weights).into(),
        };
        let checkpoint = Checkpoint { step, tensors: vec![tensor], ..Checkpoint::default() };
        self.dir.save_reference(&checkpoint)?;
        self.reference_saved = true;
        Ok(())
    }

    /// Says what the monitor found in the last step.
    fn tell_alarms(&mut self) -> anyhow::Result<()> {
        let alarms = self.trainer.alarms().to_vec();
        for alarm in &alarms[self.told..] {
            self.bar.suspend(|| note(&format!("warning: {alarm}")));
        }
        if alarms.len() > self.told {
            self.told = alarms.len();
            self.dir.update_info(|info| info.warnings = alarms)?;
        }
        Ok(())
    }

    fn train_seconds(&self, started: Instant) -> f64 {
        self.earlier_seconds + self.own_seconds(started)
    }

    fn own_seconds(&self, started: Instant) -> f64 {
        started.elapsed().as_secs_f64() - self.other_seconds
    }

    fn tokens_per_second(&self, started: Instant) -> f64 {
        let seconds = self.own_seconds(started);
        let tokens = self.trainer.tokens() - self.earlier_tokens;
        if tokens == 0 { 0.0 } else { tokens as f64 / seconds }
    }

    fn timing(&self, started: Instant) -> Metrics {
        let mut timing = Metrics::new();
        timing.set("train_seconds", self.train_seconds(started));
        timing.set("tokens_per_second", self.tokens_per_second(started));
        timing
    }

    fn evaluate_on_the_way(&mut self, metrics: &mut Metrics) -> anyhow::Result<()> {
        let began = Instant::now();
        self.write_traces()?;
        // Not to be stopped: a checkpoint between a step and its evaluation would lose a line.
        if let Some(evaluated) = self.trainer.evaluate(&|| false)? {
            metrics.extend(&evaluated);
            // Where there is no loss, what is solved says which model is best.
            let solved = evaluated.get("eval_accuracy").map_or(f64::NAN, |accuracy| -accuracy);
            let loss = evaluated.get("eval_loss").unwrap_or(solved);
            if self.best.is_none_or(|best| loss < best) {
                self.best = Some(loss);
                let logs = self.logger.offsets()?;
                let checkpoint = self.checkpoint(logs)?;
                self.dir.save_best(&checkpoint)?;
            }
        }
        self.other_seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    /// Completions of the last step with their rewards and why, to look at.
    fn write_traces(&self) -> anyhow::Result<()> {
        let Some(lines) = self.trainer.traces().filter(|lines| !lines.is_empty()) else {
            return Ok(());
        };
        let path = self.dir.path().join("samples");
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let file = path.join(format!("step-{}.jsonl", self.trainer.step()));
        std::fs::write(&file, lines).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The evaluation before or after training, and completions to look at; `None` if Ctrl-C came first.
    fn evaluate_and_sample(&mut self, stage: &str) -> anyhow::Result<Option<Metrics>> {
        let began = Instant::now();
        let mut metrics = Metrics::new();
        if self.trainer.can_evaluate() {
            let after = stage == "after";
            let evaluated = if after {
                self.trainer.evaluate_whole(&interrupt::asked, true)?
            } else {
                self.trainer.evaluate(&interrupt::asked)?
            };
            let Some(evaluated) = evaluated else { return Ok(None) };
            metrics = evaluated;
            if after {
                self.trainer.summary(&mut metrics);
            }
        }
        let seed = self.root.child(STREAM_SAMPLES);
        let sampled =
            lm_samples::samples(self.recipe, &mut self.trainer.learner, &self.dataset, &seed)?;
        if let Some(sampled) = sampled {
            metrics.extend(&sampled.metrics);
            let path = self.dir.path().join("samples");
            std::fs::create_dir_all(&path)
                .with_context(|| format!("cannot create {}", path.display()))?;
            let file = path.join(format!("{stage}.jsonl"));
            std::fs::write(&file, sampled.lines)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        self.other_seconds += began.elapsed().as_secs_f64();
        Ok(Some(metrics))
    }

    fn checkpoint(&self, logs: LogOffsets) -> anyhow::Result<Checkpoint<'_>> {
        let state =
            RunState { trainer: self.trainer.save()?, best: self.best, evaluated: self.evaluated };
        let metadata = BTreeMap::from([
            ("algorithm".to_owned(), self.recipe.run.algorithm.as_str().to_owned()),
            ("model".to_owned(), self.trainer.learner.provenance.clone()),
        ]);
        let learner = &self.trainer.learner;
        let mut tensors: Vec<Tensor<'_>> = learner
            .trained()
            .into_iter()
            .map(|(name, shape, data)| Tensor {
                name: name.to_owned(),
                shape: shape.to_vec(),
                data: data.into(),
            })
            .collect();
        for (name, data) in ["adam.mean", "adam.square"].into_iter().zip(learner.moments()) {
            let shape = vec![data.len()];
            tensors.push(Tensor { name: name.to_owned(), shape, data: data.into() });
        }
        Ok(Checkpoint {
            step: self.trainer.step(),
            tensors,
            state: serde_json::to_vec(&state).context("cannot encode the training state")?,
            metadata,
            logs,
        })
    }

    fn save(&mut self) -> anyhow::Result<String> {
        let began = Instant::now();
        let logs = self.logger.offsets()?;
        let checkpoint = self.checkpoint(logs)?;
        let hash = self.dir.save_checkpoint(&checkpoint, CHECKPOINTS_KEPT)?;
        self.other_seconds += began.elapsed().as_secs_f64();
        Ok(hash)
    }

    fn interrupted(&mut self, started: Instant) -> anyhow::Result<Ended> {
        let hash = self.save()?;
        let mut result = self.facts(self.train_seconds(started), self.tokens_per_second(started));
        result.insert("status".into(), "interrupted".into());
        self.dir.update_info(|info| {
            info.status = Status::Interrupted;
            info.ended = Some(host::utc_now());
            info.checkpoint_sha256 = Some(hash);
        })?;
        Ok(Ended { result, interrupted: true, saved: true })
    }

    fn facts(&self, seconds: f64, rate: f64) -> Map<String, Value> {
        let facts = json!({
            "run_dir": self.dir.path(),
            "algorithm": self.recipe.run.algorithm.as_str(),
            "model": self.recipe.model_name(),
            "seed": self.recipe.run.seed,
            "steps": self.trainer.step(),
            "num_tokens": self.trainer.tokens(),
            "trainable_parameters": self.trainer.learner.num_trainable(),
            "train_seconds": seconds,
            "tokens_per_second": rate,
            "peak_memory_mb": host::peak_memory_mb(),
        });
        match facts {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn finish(
        &mut self,
        metrics: &Metrics,
        seconds: f64,
        rate: f64,
        hash: &str,
    ) -> anyhow::Result<Ended> {
        let mut result = self.facts(seconds, rate);
        result.insert("status".into(), "finished".into());
        result.extend(metrics.iter().map(|(name, value)| (name.to_owned(), value.into())));
        result.insert("checkpoint_sha256".into(), hash.into());
        let warnings = self.trainer.warnings();
        for warning in warnings.iter().filter(|warning| !self.trainer.alarms().contains(warning)) {
            self.bar.suspend(|| note(&format!("warning: {warning}")));
        }
        result.insert("warnings".into(), warnings.clone().into());
        self.dir.update_info(|info| {
            info.status = Status::Finished;
            info.ended = Some(host::utc_now());
            info.result = Some(result.clone());
            info.warnings = warnings;
            info.checkpoint_sha256 = Some(hash.to_owned());
        })?;
        self.dir.save_pass_at_k()?;
        report::write_report(&self.dir.report_path(), &[self.dir.path().to_owned()])?;
        Ok(Ended { result, interrupted: false, saved: true })
    }
}

/// Runs `skinner eval` on a language model's run.
pub(crate) fn eval(args: &EvalArgs, recipe: &LmRecipe) -> anyhow::Result<ExitCode> {
    if args.episodes.is_some() || args.render.is_some() || args.show || args.seed.is_some() {
        bail!(
            "--episodes, --seed, --render and --show are of environments; this run trained a language model"
        );
    }
    let run_dir = RunDir::open(&args.run_dir)?;
    let checkpoint = crate::evaluate::find_checkpoint(&run_dir, &args.checkpoint)?;
    let root = SeedSequence::new(recipe.run.seed);
    let dataset = load_data(recipe, &root)?;
    let start = Start::new(&recipe.model, terms(recipe)?, &dataset, &root)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let machine = args.device.open(threads)?;
    let mut trainer = Trainer::new(&recipe.train, &recipe.task, start, &dataset, &root, machine)?;
    if !prepare(&mut trainer, &recipe.name)? {
        return Ok(ExitCode::from(crate::INTERRUPTED));
    }
    let step = checkpoint.step;
    restore(&mut trainer, checkpoint)?;
    let Some(metrics) = trainer.evaluate_whole(&interrupt::asked, true)? else {
        if interrupt::asked() {
            return Ok(ExitCode::from(crate::INTERRUPTED));
        }
        bail!("the recipe keeps no data for evaluation: set data.eval_path or data.eval_fraction");
    };
    let mut result = Map::new();
    result.insert("run_dir".into(), json!(args.run_dir));
    result.insert("step".into(), step.into());
    result.extend(metrics.iter().map(|(name, value)| (name.to_owned(), value.into())));
    if args.json {
        out(&Value::Object(result).to_string())?;
    } else {
        out(&eval_line(&result))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn number(result: &Map<String, Value>, key: &str) -> Option<f64> {
    result.get(key).and_then(Value::as_f64)
}

fn eval_line(result: &Map<String, Value>) -> String {
    let mut parts = Vec::new();
    if let Some(accuracy) = number(result, "eval_accuracy") {
        let solves = number(result, "eval_items");
        let mut part = match solves {
            Some(items) => format!("solves {accuracy:.3} of {items:.0} unseen tasks"),
            None => format!("preference accuracy {accuracy:.3}"),
        };
        let ends = (number(result, "eval_accuracy_low"), number(result, "eval_accuracy_high"));
        if let (Some(low), Some(high)) = ends {
            part = format!("{part} (95 % {low:.3} to {high:.3})");
        }
        if let Some(before) = number(result, "eval_accuracy_before") {
            part = format!("{part}; {before:.3} before reinforcement");
        }
        parts.push(part);
    }
    if let Some(loss) = number(result, "eval_loss") {
        parts.push(format!("evaluation loss {loss:.4}"));
    }
    if parts.is_empty() { "no data was kept for evaluation".into() } else { parts.join(", ") }
}

fn summary(result: &Map<String, Value>, path: &Path) -> String {
    let value = |key| number(result, key).unwrap_or(f64::NAN);
    let model = if path.join(RUN_MODEL).exists() { RUN_MODEL } else { RUN_ADAPTER };
    format!(
        "{}\n{} steps, {} tokens in {:.1} s ({:.0} tokens/s, peak memory {:.0} MB)\n{model}: {}\nreport: {}",
        eval_line(result),
        value("steps"),
        value("num_tokens"),
        value("train_seconds"),
        value("tokens_per_second"),
        value("peak_memory_mb"),
        PathBuf::from(path).join(model).display(),
        path.join("report.html").display(),
    )
}
