//! `skinner train`: a recipe becomes a run directory.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use skinner_algos::{Algorithm, STREAM_ENVS};
use skinner_core::{Metrics, SeedSequence, VecEnv, statistics};
use skinner_envs::render;
use skinner_run::checkpoint::{Checkpoint, Tensor};
use skinner_run::error::RunError;
use skinner_run::history::History;
use skinner_run::logger::{LogOffsets, Logger};
use skinner_run::run_dir::{RunDir, RunInfo, Status};
use skinner_run::{host, report};

use crate::exact::Exact;
use crate::recipe::{AnyRecipe, Recipe, Variants};
use crate::{TrainArgs, evaluate, explain, interrupt, note, out};

/// A checkpoint is written at least this often, and at every tenth of a run.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
const CHECKPOINTS_KEPT: usize = 3;

/// How a run ended.
struct Ended {
    result: Map<String, Value>,
    /// A learned table as plain text, where it has a map.
    map: Option<String>,
    interrupted: bool,
}

/// Runs `skinner train`.
pub(crate) fn train(args: &TrainArgs) -> anyhow::Result<ExitCode> {
    interrupt::listen()?;
    let recipe = AnyRecipe::load(&args.recipe, &args.sets, args.seed)?;
    #[cfg(feature = "lm")]
    if let AnyRecipe::Language(recipe) = &recipe {
        return crate::lm_train::train(args, recipe);
    }
    args.device.expect_cpu()?;
    let bars = MultiProgress::with_draw_target(if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    match (&recipe, args.seeds) {
        (AnyRecipe::Control(recipe), None) => train_one(args, recipe, &bars),
        (AnyRecipe::Control(recipe), Some(count)) => train_seeds(args, recipe, count, &bars),
        (AnyRecipe::Variants(variants), count) => {
            train_variants(args, variants, count.unwrap_or(1), &bars)
        }
        #[cfg(feature = "lm")]
        (AnyRecipe::Language(_), _) => unreachable!("trained above"),
    }
}

fn train_one(args: &TrainArgs, recipe: &Recipe, bars: &MultiProgress) -> anyhow::Result<ExitCode> {
    let path = match &args.run_dir {
        Some(path) => path.clone(),
        None => default_run_dir(&format!("{}-seed-{}", recipe.name, recipe.run.seed), args.resume),
    };
    let threads = args.threads.unwrap_or(1) as usize;
    let ended = Run::start(recipe, &path, threads, args.resume, bars)?.go()?;
    if args.json {
        out(&Value::Object(ended.result).to_string())?;
    } else if !ended.interrupted {
        if let Some(map) = &ended.map {
            out(map)?;
        }
        out(&summary(&ended.result, &path))?;
    }
    Ok(exit_code(ended.interrupted, true, &path))
}

/// Several variants of a recipe, each with so many seeds, below one directory with one report.
fn train_variants(
    args: &TrainArgs,
    variants: &Variants,
    count: u64,
    bars: &MultiProgress,
) -> anyhow::Result<ExitCode> {
    let path = match &args.run_dir {
        Some(path) => path.clone(),
        None => default_run_dir(&format!("{}-seeds-{count}", variants.base.name), args.resume),
    };
    let (mut all, mut failures, mut finished) = (Map::new(), Vec::new(), Vec::new());
    let mut interrupted = false;
    for (name, recipe) in &variants.each {
        let dir = path.join(name);
        let seeds = run_seeds(args, recipe, &dir, count, bars)?;
        interrupted |= seeds.interrupted;
        failures.extend(seeds.failures.iter().map(|failure| format!("{name}, {failure}")));
        if seeds.ended.iter().any(|run| !run.interrupted) {
            finished.push(dir.clone());
        }
        if !args.json && !seeds.returns().is_empty() {
            let exact = seeds.exact_returns();
            let line = exact.map_or_else(
                || seeds_line(&seeds.returns(), 2),
                |returns| format!("exact returns of {}", seeds_line(&returns, 4)),
            );
            out(&format!("{name}: {line}"))?;
        }
        all.insert(name.clone(), seeds.into_json(&dir));
        if interrupt::asked() {
            interrupted = true;
            break;
        }
    }
    let file = path.join("report.html");
    if !finished.is_empty() {
        report::write_report(&file, &finished)?;
    }
    if args.json {
        let all = json!({ "run_dir": path, "variants": all, "failures": failures });
        out(&all.to_string())?;
    } else if !finished.is_empty() {
        out(&format!("report: {}", file.display()))?;
    }
    if !failures.is_empty() {
        bail!("{} runs failed: {}", failures.len(), failures.join("; "));
    }
    Ok(exit_code(interrupted, true, &path))
}

fn train_seeds(
    args: &TrainArgs,
    recipe: &Recipe,
    count: u64,
    bars: &MultiProgress,
) -> anyhow::Result<ExitCode> {
    let path = match &args.run_dir {
        Some(path) => path.clone(),
        None => default_run_dir(&format!("{}-seeds-{count}", recipe.name), args.resume),
    };
    let seeds = run_seeds(args, recipe, &path, count, bars)?;
    if seeds.ended.iter().any(|run| !run.interrupted) {
        // Of all seeds that are there, those of earlier commands too.
        report::write_report(&path.join("report.html"), &[&path])?;
    }
    let (failures, interrupted) = (seeds.failures.clone(), seeds.interrupted);
    if args.json {
        out(&seeds.into_json(&path).to_string())?;
    } else if !seeds.returns().is_empty() {
        out(&seeds.lines().join("\n"))?;
        let file = path.join("report.html");
        out(&format!("{}\nreport: {}", seeds_line(&seeds.returns(), 2), file.display()))?;
    }
    if !failures.is_empty() {
        bail!("{} of {count} seeds failed: {}", failures.len(), failures.join("; "));
    }
    Ok(exit_code(interrupted, true, &path))
}

/// What the seeds of one recipe came to.
struct Seeds {
    ended: Vec<Ended>,
    failures: Vec<String>,
    interrupted: bool,
}

impl Seeds {
    fn returns(&self) -> Vec<f64> {
        let of = |run: &Ended| run.result.get("eval_return_mean")?.as_f64();
        self.ended.iter().filter_map(of).collect()
    }

    /// Of tables whose environment is known.
    fn exact_returns(&self) -> Option<Vec<f64>> {
        self.ended.iter().map(|run| run.result.get("exact_return")?.as_f64()).collect()
    }

    /// One line for each that is finished.
    fn lines(&self) -> Vec<String> {
        let finished = self.ended.iter().filter(|run| !run.interrupted);
        finished
            .map(|run| format!("seed {}: {}", run.result["seed"], eval_line(&run.result)))
            .collect()
    }

    fn into_json(self, path: &Path) -> Value {
        let summary = seeds_summary(&self.returns());
        let runs: Vec<Value> =
            self.ended.into_iter().map(|run| Value::Object(run.result)).collect();
        json!({ "run_dir": path, "runs": runs, "summary": summary, "failures": self.failures })
    }
}

/// Trains `count` seeds below `path`, several at once.
fn run_seeds(
    args: &TrainArgs,
    recipe: &Recipe,
    path: &Path,
    count: u64,
    bars: &MultiProgress,
) -> anyhow::Result<Seeds> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, |n| n as usize).min(count as usize);
    let (seeds, dirs): (Vec<u64>, Vec<PathBuf>) =
        seed_dirs(path, recipe.run.seed, count, args.resume)?.into_iter().unzip();
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<anyhow::Result<Ended>>>> =
        seeds.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= seeds.len() || interrupt::asked() {
                        break;
                    }
                    let mut seeded = recipe.clone();
                    seeded.run.seed = seeds[i];
                    let ended =
                        Run::start(&seeded, &dirs[i], 1, args.resume, bars).and_then(Run::go);
                    if let Ok(mut result) = results[i].lock() {
                        *result = Some(ended);
                    }
                }
            });
        }
    });
    let mut ended = Vec::new();
    let mut failures = Vec::new();
    for (result, seed) in results.into_iter().zip(&seeds) {
        match result.into_inner().ok().flatten() {
            Some(Ok(result)) => ended.push(result),
            Some(Err(error)) => failures.push(format!("seed {seed}: {}", explain(&error))),
            // Seeds that Ctrl-C left unstarted begin when the command is given again with --resume.
            None if interrupt::asked() => {}
            None => failures.push(format!("seed {seed}: its thread ended without a result")),
        }
    }
    let interrupted =
        interrupt::asked() && ended.len() < seeds.len() || ended.iter().any(|run| run.interrupted);
    Ok(Seeds { ended, failures, interrupted })
}

/// So many seeds from `first` on, each with its directory below `path`, which holds no run unless it is resumed.
pub(crate) fn seed_dirs(
    path: &Path,
    first: u64,
    count: u64,
    resume: bool,
) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    if RunDir::is_run(path) {
        bail!("{} holds a single run: choose another --run-dir for several seeds", path.display());
    }
    let Some(after) = first.checked_add(count).filter(|&after| i64::try_from(after).is_ok()) else {
        bail!("--seeds {count} from seed {first} goes beyond 2^63");
    };
    let dir = |seed| (seed, path.join(format!("seed-{seed}")));
    let dirs: Vec<(u64, PathBuf)> = (first..after).map(dir).collect();
    if let Some((_, taken)) = dirs.iter().find(|(_, dir)| !resume && RunDir::is_run(dir)) {
        bail!(RunError::HoldsARun { path: taken.clone() });
    }
    Ok(dirs)
}

/// The exit code, and a word to who interrupted; `saved` says whether there is a checkpoint to continue from.
pub(crate) fn exit_code(interrupted: bool, saved: bool, path: &Path) -> ExitCode {
    if !interrupted {
        return ExitCode::SUCCESS;
    }
    let path = path.display();
    note(&if saved {
        format!(
            "interrupted: a checkpoint is saved in {path}; the same command with --resume continues"
        )
    } else {
        format!(
            "interrupted before the first step: {path} has no checkpoint yet; the same command with --resume \
             begins anew"
        )
    });
    ExitCode::from(crate::INTERRUPTED)
}

/// A free name below `runs/`: one more than the last taken. To resume, the last one taken.
pub(crate) fn default_run_dir(name: &str, resume: bool) -> PathBuf {
    let number = |entry: std::fs::DirEntry| {
        let file = entry.file_name().into_string().ok()?;
        let rest = file.strip_prefix(name)?;
        if rest.is_empty() { Some(1) } else { rest.strip_prefix('-')?.parse::<u32>().ok() }
    };
    let taken = std::fs::read_dir("runs").into_iter().flatten().flatten().filter_map(number).max();
    let number = if resume { taken.unwrap_or(1) } else { taken.map_or(1, |last| last + 1) };
    let suffix = if number == 1 { String::new() } else { format!("-{number}") };
    Path::new("runs").join(format!("{name}{suffix}"))
}

/// Everything of a run that a checkpoint holds beside the policy's parameters.
#[derive(Serialize, Deserialize)]
struct RunState {
    learner: Vec<u8>,
    envs: Vec<u8>,
    /// The best return of an evaluation on the way.
    best: Option<f64>,
    /// Whether the final evaluation is done (and logged).
    evaluated: bool,
    /// Since when the greedy policy has been optimal, in episodes, where that can be known.
    optimal_since: Option<u64>,
}

/// One run from its recipe to its last file.
struct Run<'a> {
    recipe: Recipe,
    root: SeedSequence,
    dir: RunDir,
    logger: Logger,
    algorithm: Algorithm,
    envs: Box<dyn VecEnv>,
    best: Option<f64>,
    evaluated: bool,
    /// Exact returns, where the environment's dynamics are known and a table is learned.
    exact: Option<Exact>,
    optimal_since: Option<u64>,
    /// Seconds of training before this process.
    earlier_seconds: f64,
    /// Seconds of evaluation and the like in this process.
    other_seconds: f64,
    bar: ProgressBar,
    bars: &'a MultiProgress,
    /// The result of a run that was finished before.
    finished: Option<Map<String, Value>>,
}

impl<'a> Run<'a> {
    fn start(
        recipe: &Recipe,
        path: &Path,
        threads: usize,
        resume: bool,
        bars: &'a MultiProgress,
    ) -> anyhow::Result<Self> {
        let root = SeedSequence::new(recipe.run.seed);
        // Environments and policy first: a recipe that cannot run leaves no directory behind.
        let mut envs = recipe.training_envs(&root.child(STREAM_ENVS), threads)?;
        let mut algorithm = Algorithm::new(&recipe.algorithm, envs.as_mut(), &root)?;
        let text = recipe.to_toml()?;
        let info = run_info(recipe, threads);
        let (run_dir, checkpoint) = if resume {
            let resumed = RunDir::resume(path, &text, &info)?;
            for warning in &resumed.warnings {
                note(&format!("warning: {warning}"));
            }
            (resumed.run_dir, resumed.checkpoint)
        } else {
            (RunDir::create(path, &text, &info)?, None)
        };
        let (mut best, mut evaluated, mut optimal_since) = (None, false, None);
        let logger = Logger::open(&run_dir, checkpoint.as_ref().map(|c| c.logs))?;
        let info = run_dir.info()?;
        let mut finished = None;
        if let Some(checkpoint) = &checkpoint {
            let state = restore(checkpoint, &mut algorithm, envs.as_mut())?;
            (best, evaluated, optimal_since) = (state.best, state.evaluated, state.optimal_since);
            let done = info.status == Status::Finished;
            finished = info.result.filter(|_| evaluated && done);
            if done && !evaluated {
                // The last checkpoint is gone: what it led to is no longer this run's result.
                run_dir.update_info(|info| {
                    (info.status, info.result, info.ended) = (Status::Running, None, None);
                })?;
            }
            if finished.is_none() {
                let step = checkpoint.step;
                bars.suspend(|| note(&format!("resuming {} from step {step}", path.display())));
            }
        }
        let earlier = History::read(run_dir.timing_path())?;
        let bar = bars.add(ProgressBar::new(recipe.algorithm.total_steps()));
        let style = "{prefix} {bar:24} {percent:>3}% {human_pos} steps  {msg}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style)?);
        bar.set_prefix(format!("{} seed {}", recipe.name, recipe.run.seed));
        Ok(Self {
            recipe: recipe.clone(),
            root,
            dir: run_dir,
            logger,
            algorithm,
            envs,
            best,
            evaluated,
            exact: Exact::new(recipe)?,
            optimal_since,
            earlier_seconds: earlier.points("train_seconds").last().map_or(0.0, |point| point.1),
            other_seconds: 0.0,
            bar,
            bars,
            finished,
        })
    }

    /// Trains to the end, or until Ctrl-C, and leaves the directory consistent whatever happens.
    fn go(mut self) -> anyhow::Result<Ended> {
        if let Some(result) = self.finished.take() {
            let path = self.dir.path().display();
            self.bars.suspend(|| note(&format!("{path} is finished; this is its result")));
            return Ok(Ended { result, interrupted: false, map: self.map() });
        }
        let ended = self.train_and_evaluate();
        self.bar.finish_and_clear();
        if let Err(error) = &ended {
            mark_ended(&self.dir, Status::Failed(explain(error)));
        }
        ended
    }

    fn train_and_evaluate(&mut self) -> anyhow::Result<Ended> {
        let started = Instant::now();
        let mut saved = Instant::now();
        let total = self.recipe.algorithm.total_steps();
        let tenth = (total / 10).max(1);
        while !self.algorithm.finished() {
            if interrupt::asked() {
                return self.interrupted(started);
            }
            let before = self.algorithm.env_steps();
            let mut metrics = self.algorithm.iteration(self.envs.as_mut())?;
            let after = self.algorithm.env_steps();
            let crossed = |every: u64| after / every > before / every;
            if crossed(self.recipe.eval_every()) && !self.algorithm.finished() {
                self.evaluate_on_the_way(&mut metrics)?;
            }
            if crossed(self.recipe.log_every()) || self.algorithm.finished() {
                self.compare_with_optimum(&mut metrics)?;
            }
            if crossed(self.recipe.log_every()) || metrics.get("eval_return_mean").is_some() {
                self.log(after, &metrics, started)?;
            }
            if crossed(tenth) || saved.elapsed() > CHECKPOINT_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        let train_seconds = self.train_seconds(started);
        let Some(final_metrics) = self.final_evaluation()? else {
            return self.interrupted(started);
        };
        let step = self.algorithm.env_steps();
        if !self.evaluated {
            self.logger.log(step, &final_metrics, &timing(train_seconds, step))?;
            self.evaluated = true;
        }
        let hash = self.save()?;
        self.finish(&final_metrics, train_seconds, &hash)
    }

    fn train_seconds(&self, started: Instant) -> f64 {
        self.earlier_seconds + started.elapsed().as_secs_f64() - self.other_seconds
    }

    fn log(&mut self, step: u64, metrics: &Metrics, started: Instant) -> anyhow::Result<()> {
        let seconds = self.train_seconds(started);
        self.logger.log(step, metrics, &timing(seconds, step))?;
        self.bar.set_position(step);
        let episode_return = metrics.get("episode_return").unwrap_or(f64::NAN);
        self.bar.set_message(format!(
            "return {episode_return:.1}  {:.0} steps/s",
            step as f64 / seconds
        ));
        Ok(())
    }

    fn evaluate_on_the_way(&mut self, metrics: &mut Metrics) -> anyhow::Result<()> {
        let began = Instant::now();
        let episodes = self.recipe.run.eval.episodes_on_the_way;
        let seed = evaluate::stream_on_the_way(&self.root);
        let policy = self.algorithm.greedy();
        let moments = self.envs.obs_statistics();
        // Not to be stopped: a checkpoint between the iteration and its evaluation would lose a line.
        let never = || false;
        let Some(played) =
            evaluate::play(&self.recipe, &*policy, moments, episodes, &seed, &never)?
        else {
            return Ok(());
        };
        metrics.set("eval_return_mean", statistics::mean(&played.returns));
        metrics.set("eval_return_std", statistics::std(&played.returns));
        let mean = statistics::mean(&played.returns);
        if self.best.is_none_or(|best| mean > best) {
            self.best = Some(mean);
            let logs = self.logger.offsets()?;
            let checkpoint = self.checkpoint(logs)?;
            self.dir.save_best(&checkpoint)?;
        }
        self.other_seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    fn final_evaluation(&mut self) -> anyhow::Result<Option<Metrics>> {
        let episodes = self.recipe.run.eval.episodes;
        let seed = evaluate::stream_final(&self.root);
        let policy = self.algorithm.greedy();
        let moments = self.envs.obs_statistics();
        let stop = interrupt::asked;
        let played = evaluate::play(&self.recipe, &*policy, moments, episodes, &seed, &stop)?;
        let Some(played) = played else { return Ok(None) };
        let mut metrics = played.metrics();
        if let (Some(exact), Some(table)) = (&mut self.exact, self.algorithm.table()) {
            metrics.extend(&exact.metrics(table)?);
        }
        Ok(Some(metrics))
    }

    /// The exact return of a table's greedy policy, and since when that has been the optimum's.
    fn compare_with_optimum(&mut self, metrics: &mut Metrics) -> anyhow::Result<()> {
        let (Some(exact), Some(table)) = (&mut self.exact, self.algorithm.table()) else {
            return Ok(());
        };
        let began = Instant::now();
        let exact_return = exact.of_table(table)?;
        metrics.set("exact_return", exact_return);
        self.optimal_since = exact
            .is_optimal(exact_return)
            .then(|| self.optimal_since.unwrap_or_else(|| table.episodes()));
        self.other_seconds += began.elapsed().as_secs_f64();
        Ok(())
    }

    /// The learned table and the optimal one as plain text.
    fn map(&self) -> Option<String> {
        let map = self.exact.as_ref()?.text(self.algorithm.table()?)?;
        Some(map.trim_end().to_owned())
    }

    /// Draws the learned table and the optimal one for the report.
    fn draw_table(&self) -> anyhow::Result<()> {
        let (Some(exact), Some(table)) = (&self.exact, self.algorithm.table()) else {
            return Ok(());
        };
        let Some(picture) = exact.picture(table) else { return Ok(()) };
        self.dir.save_picture("values and greedy actions", &render::to_svg(&picture))?;
        Ok(())
    }

    fn checkpoint(&self, logs: LogOffsets) -> anyhow::Result<Checkpoint<'_>> {
        let state = RunState {
            learner: self.algorithm.save()?,
            envs: self.envs.save()?,
            best: self.best,
            evaluated: self.evaluated,
            optimal_since: self.optimal_since,
        };
        let metadata = BTreeMap::from([
            ("algorithm".to_owned(), self.recipe.run.algorithm.as_str().to_owned()),
            ("env".to_owned(), self.recipe.env.id().to_owned()),
        ]);
        Ok(Checkpoint {
            step: self.algorithm.env_steps(),
            tensors: tensors(&self.algorithm, self.envs.as_ref()),
            state: postcard::to_stdvec(&state).context("cannot encode the training state")?,
            metadata,
            logs,
        })
    }

    fn save(&mut self) -> anyhow::Result<String> {
        let logs = self.logger.offsets()?;
        let checkpoint = self.checkpoint(logs)?;
        Ok(self.dir.save_checkpoint(&checkpoint, CHECKPOINTS_KEPT)?)
    }

    fn interrupted(&mut self, started: Instant) -> anyhow::Result<Ended> {
        let hash = self.save()?;
        let step = self.algorithm.env_steps();
        let mut result = self.facts(step, self.train_seconds(started));
        result.insert("status".into(), "interrupted".into());
        self.dir.update_info(|info| {
            info.status = Status::Interrupted;
            info.ended = Some(host::utc_now());
            info.checkpoint_sha256 = Some(hash);
        })?;
        Ok(Ended { result, interrupted: true, map: None })
    }

    fn facts(&self, step: u64, train_seconds: f64) -> Map<String, Value> {
        let facts = json!({
            "run_dir": self.dir.path(),
            "algorithm": self.recipe.run.algorithm.as_str(),
            "env": self.recipe.env.id(),
            "seed": self.recipe.run.seed,
            "env_steps": step,
            "train_seconds": train_seconds,
            "steps_per_second": step as f64 / train_seconds,
        });
        match facts {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    fn finish(&mut self, metrics: &Metrics, seconds: f64, hash: &str) -> anyhow::Result<Ended> {
        let mut result = self.facts(self.algorithm.env_steps(), seconds);
        result.insert("status".into(), "finished".into());
        result.insert("eval_episodes".into(), self.recipe.run.eval.episodes.into());
        result.extend(metrics.iter().map(|(name, value)| (name.to_owned(), value.into())));
        if self.exact.is_some() {
            result.insert("episodes_to_optimal".into(), self.optimal_since.into());
        }
        result.insert("checkpoint_sha256".into(), hash.into());
        let warnings = self.algorithm.warnings();
        for warning in &warnings {
            self.bars.suspend(|| note(&format!("warning: {warning}")));
        }
        result.insert("warnings".into(), warnings.into());
        self.dir.update_info(|info| {
            info.status = Status::Finished;
            info.ended = Some(host::utc_now());
            info.result = Some(result.clone());
            info.checkpoint_sha256 = Some(hash.to_owned());
        })?;
        self.draw_table()?;
        report::write_report(&self.dir.report_path(), &[self.dir.path().to_owned()])?;
        Ok(Ended { result, interrupted: false, map: self.map() })
    }
}

/// Puts a checkpoint's contents into a fresh algorithm and its environments.
fn restore(
    checkpoint: &Checkpoint<'_>,
    algorithm: &mut Algorithm,
    envs: &mut dyn VecEnv,
) -> anyhow::Result<RunState> {
    let step = checkpoint.step;
    let state: RunState = postcard::from_bytes(&checkpoint.state)
        .with_context(|| format!("the state of checkpoint step {step} cannot be decoded"))?;
    let mut params = Vec::new();
    for (name, _, _) in algorithm.arrays() {
        params.extend_from_slice(&checkpoint.tensor(&name)?.data);
    }
    algorithm.load(params, &state.learner)?;
    envs.load(&state.envs)?;
    Ok(state)
}

/// An algorithm with the parameters and statistics of a checkpoint, and its environments.
pub(crate) fn load(
    recipe: &Recipe,
    checkpoint: &Checkpoint<'_>,
) -> anyhow::Result<(Algorithm, Box<dyn VecEnv>)> {
    let root = SeedSequence::new(recipe.run.seed);
    let mut envs = recipe.training_envs(&root.child(STREAM_ENVS), 1)?;
    let mut algorithm = Algorithm::new(&recipe.algorithm, envs.as_mut(), &root)?;
    restore(checkpoint, &mut algorithm, envs.as_mut())?;
    Ok((algorithm, envs))
}

fn tensors<'a>(algorithm: &'a Algorithm, envs: &dyn VecEnv) -> Vec<Tensor<'a>> {
    let arrays = algorithm.arrays().into_iter();
    let mut tensors: Vec<Tensor<'_>> =
        arrays.map(|(name, shape, data)| Tensor { name, shape, data }).collect();
    if let Some(moments) = envs.obs_statistics() {
        for (name, values) in [("mean", moments.mean()), ("variance", moments.variance())] {
            let data: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            tensors.push(Tensor {
                name: format!("obs_normalizer.{name}"),
                shape: vec![data.len()],
                data: data.into(),
            });
        }
    }
    tensors
}

fn timing(train_seconds: f64, step: u64) -> Metrics {
    let mut timing = Metrics::new();
    timing.set("train_seconds", train_seconds);
    timing.set("steps_per_second", step as f64 / train_seconds);
    timing
}

/// An argument as a shell takes it back.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', "'\\''"))
    }
}

/// Writes into `run.json` how a run ended that has no result.
pub(crate) fn mark_ended(dir: &RunDir, status: Status) {
    let ended = Some(host::utc_now());
    if let Err(error) = dir.update_info(|info| (info.status, info.ended) = (status, ended)) {
        note(&format!("warning: {error}"));
    }
}

/// The command that repeats this run.
pub(crate) fn command_line() -> String {
    let given = std::env::args().skip(1).filter(|arg| arg != "--resume");
    let command: Vec<String> = given.map(|arg| quoted(&arg)).collect();
    format!("skinner {}", command.join(" "))
}

fn run_info(recipe: &Recipe, threads: usize) -> RunInfo {
    RunInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        git_commit: option_env!("SKINNER_GIT_COMMIT").map(str::to_owned),
        command: command_line(),
        algorithm: recipe.run.algorithm.as_str().into(),
        env: recipe.env.id().into(),
        seed: recipe.run.seed,
        threads,
        device: "cpu".into(),
        cpu: host::cpu_name(),
        started: host::utc_now(),
        ..RunInfo::default()
    }
}

fn number(result: &Map<String, Value>, key: &str) -> f64 {
    result.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn eval_line(result: &Map<String, Value>) -> String {
    let played = format!(
        "return {:.2} ± {:.2} over {} episodes of the final greedy policy",
        number(result, "eval_return_mean"),
        number(result, "eval_return_std"),
        number(result, "eval_episodes"),
    );
    if !result.contains_key("exact_return") {
        return played;
    }
    let since = match result["episodes_to_optimal"].as_u64() {
        Some(episodes) => format!("optimal since episode {episodes}"),
        None => format!("the optimum is {:.4}", number(result, "optimal_return")),
    };
    format!("{played}; exactly {:.4}, {since}", number(result, "exact_return"))
}

fn summary(result: &Map<String, Value>, path: &Path) -> String {
    format!(
        "{}\n{} steps in {:.1} s ({:.0} steps/s)\nreport: {}",
        eval_line(result),
        number(result, "env_steps"),
        number(result, "train_seconds"),
        number(result, "steps_per_second"),
        path.join("report.html").display(),
    )
}

fn interval(returns: &[f64]) -> (f64, f64) {
    let mut rng = skinner_core::Rng::new(0);
    statistics::bootstrap_interval(&[returns], statistics::iqm, 0.95, 2000, &mut rng)
}

fn seeds_summary(returns: &[f64]) -> Value {
    if returns.is_empty() {
        return Value::Null;
    }
    let (low, high) = interval(returns);
    json!({
        "seeds": returns.len(),
        "eval_return_mean": statistics::mean(returns),
        "eval_return_std": statistics::std(returns),
        "eval_return_min": returns.iter().copied().fold(f64::INFINITY, f64::min),
        "eval_return_iqm": statistics::iqm(returns),
        "eval_return_iqm_low": low,
        "eval_return_iqm_high": high,
    })
}

fn seeds_line(returns: &[f64], digits: usize) -> String {
    let ((low, high), d) = (interval(returns), digits);
    format!(
        "{} seeds: mean {:.d$}, IQM {:.d$} (95 % {low:.d$} to {high:.d$}), worst {:.d$}",
        returns.len(),
        statistics::mean(returns),
        statistics::iqm(returns),
        returns.iter().copied().fold(f64::INFINITY, f64::min),
    )
}
