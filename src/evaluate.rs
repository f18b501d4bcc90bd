//! `skinner eval`: the greedy policy of a run, on seeds of its own.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::json;
use skinner_algos::{Greedy, STREAM_EVAL, evaluate_until};
use skinner_core::running::RunningMoments;
use skinner_core::scene::Scene;
use skinner_core::{Metrics, SeedSequence, statistics};
use skinner_envs::render;
use skinner_run::checkpoint::{self, Checkpoint};
use skinner_run::run_dir::RunDir;

use crate::recipe::{AnyRecipe, Recipe};
use crate::{EvalArgs, interrupt, note, out, train};

/// Environments that evaluation steps together.
const EVAL_ENVS: usize = 20;

/// The stream of the final evaluation's environments.
pub(crate) fn stream_final(root: &SeedSequence) -> SeedSequence {
    root.child(STREAM_EVAL).child(0)
}

/// The stream of evaluations on the way.
pub(crate) fn stream_on_the_way(root: &SeedSequence) -> SeedSequence {
    root.child(STREAM_EVAL).child(1)
}

/// What an evaluation played.
pub(crate) struct Played {
    pub returns: Vec<f64>,
    pub lengths: Vec<f64>,
}

impl Played {
    /// As they are logged.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new();
        metrics.set("eval_return_mean", statistics::mean(&self.returns));
        metrics.set("eval_return_std", statistics::std(&self.returns));
        metrics.set("eval_length_mean", statistics::mean(&self.lengths));
        metrics
    }
}

/// Plays `episodes` with the greedy policy; `None` if `stop` came first.
pub(crate) fn play(
    recipe: &Recipe,
    policy: &dyn Greedy,
    moments: Option<&RunningMoments>,
    episodes: usize,
    seed: &SeedSequence,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Played>> {
    let mut envs = recipe.eval_envs(episodes.min(EVAL_ENVS), seed, moments)?;
    let played = evaluate_until(policy, envs.as_mut(), episodes, stop)?;
    Ok(played.map(|played| Played {
        returns: played.iter().map(|episode| episode.episode_return).collect(),
        lengths: played.iter().map(|episode| f64::from(episode.length)).collect(),
    }))
}

/// Runs `skinner eval`.
pub(crate) fn eval(args: &EvalArgs) -> anyhow::Result<ExitCode> {
    interrupt::listen()?;
    let run_dir = open(&args.run_dir)?;
    let name = args.run_dir.file_name().map_or("run".into(), |n| n.to_string_lossy().into_owned());
    let origin = run_dir.recipe_path().display().to_string();
    let recipe = match AnyRecipe::from_table(name, run_dir.recipe()?, &origin)? {
        AnyRecipe::Control(recipe) => *recipe,
        AnyRecipe::Variants(_) => bail!("{origin}: a run is of one variant, not of several"),
        #[cfg(feature = "lm")]
        AnyRecipe::Language(recipe) => return crate::lm_train::eval(args, &recipe),
    };
    args.device.expect_cpu()?;
    let checkpoint = find_checkpoint(&run_dir, &args.checkpoint)?;
    let (algorithm, envs) = train::load(&recipe, &checkpoint)?;
    let (policy, moments) = (&*algorithm.greedy(), envs.obs_statistics());
    let seed = stream_final(&SeedSequence::new(args.seed.unwrap_or(recipe.run.seed)));
    if args.render.is_some() || args.show {
        let (scenes, pace) =
            (record(&recipe, policy, moments, &seed)?, recipe.env.frames_per_second());
        if let Some(file) = &args.render {
            draw(&scenes, pace, file)?;
            note(&format!("drew {} pictures of one episode: {}", scenes.len(), file.display()));
        }
        if args.show {
            show(&scenes, pace)?;
        }
    }
    let episodes = args.episodes.map_or(recipe.run.eval.episodes, |n| n as usize);
    let Some(played) = play(&recipe, policy, moments, episodes, &seed, &interrupt::asked)? else {
        note("interrupted");
        return Ok(ExitCode::from(crate::INTERRUPTED));
    };
    let metrics = played.metrics();
    let get = |name: &str| metrics.get(name).unwrap_or(f64::NAN);
    let (mean, std) = (get("eval_return_mean"), get("eval_return_std"));
    if args.json {
        let line = json!({
            "run_dir": args.run_dir,
            "algorithm": recipe.run.algorithm.as_str(),
            "env": recipe.env.id(),
            "seed": recipe.run.seed,
            "env_steps": checkpoint.step,
            "eval_episodes": episodes,
            "eval_return_mean": mean,
            "eval_return_std": std,
            "eval_length_mean": get("eval_length_mean"),
        });
        out(&line.to_string())?;
    } else {
        let step = checkpoint.step;
        out(&format!(
            "return {mean:.2} ± {std:.2} over {episodes} episodes of the greedy policy after {step} steps"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &Path) -> anyhow::Result<RunDir> {
    if !RunDir::is_run(path) && path.is_dir() {
        let mut seeds: Vec<String> = std::fs::read_dir(path)?
            .flatten()
            .filter(|entry| RunDir::is_run(entry.path()))
            .map(|entry| entry.path().display().to_string())
            .collect();
        seeds.sort();
        if !seeds.is_empty() {
            bail!("{} holds several runs; name one: {}", path.display(), seeds.join(", "));
        }
    }
    Ok(RunDir::open(path)?)
}

pub(crate) fn find_checkpoint(
    run_dir: &RunDir,
    which: &str,
) -> anyhow::Result<Checkpoint<'static>> {
    let all = run_dir.checkpoints()?;
    let steps: Vec<String> = all.iter().map(|(step, _)| step.to_string()).collect();
    let path = match which {
        "last" => all.last().map(|(_, path)| path.clone()),
        "best" => run_dir.best_checkpoint(),
        step => {
            let number: u64 = step.trim_start_matches("step-").parse().with_context(|| {
                format!("--checkpoint {step} is none of `last`, `best` or a step")
            })?;
            all.iter().find(|(known, _)| *known == number).map(|(_, path)| path.clone())
        }
    };
    let Some(path) = path else {
        let there = if steps.is_empty() {
            "there is none yet".into()
        } else {
            format!("there are: {}", steps.join(", "))
        };
        bail!("{} has no checkpoint `{which}`: {there}", run_dir.path().display());
    };
    checkpoint::load(&path).or_else(|error| {
        let others = run_dir.newest_checkpoint().ok().and_then(|(good, _)| good);
        match others {
            Some(good) => bail!("{error}; the newest good one is --checkpoint {}", good.step),
            None => bail!("{error}; no other checkpoint is good"),
        }
    })
}

/// Pictures of one episode.
fn record(
    recipe: &Recipe,
    policy: &dyn Greedy,
    moments: Option<&RunningMoments>,
    seed: &SeedSequence,
) -> anyhow::Result<Vec<Scene>> {
    let mut envs = recipe.eval_envs(1, seed, moments)?;
    envs.start_recording();
    skinner_algos::evaluate(policy, envs.as_mut(), 1)?;
    let mut scenes = envs.take_scenes();
    // The step that ended the episode also showed the start of the next one.
    scenes.pop();
    if scenes.is_empty() {
        bail!("{} has no pictures", recipe.env.id());
    }
    Ok(scenes)
}

fn draw(scenes: &[Scene], pace: f32, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    match path.extension().and_then(|e| e.to_str()) {
        Some("gif") => {
            let file = BufWriter::new(File::create(path).with_context(cannot)?);
            render::write_gif(scenes, pace, file).with_context(cannot)
        }
        Some("svg") => {
            let last = scenes.last().context("there is no picture to draw")?;
            std::fs::write(path, render::to_svg(last)).with_context(cannot)
        }
        _ => bail!("--render {}: the file's name must end in .gif or .svg", path.display()),
    }
}

fn show(scenes: &[Scene], pace: f32) -> anyhow::Result<()> {
    let mut terminal = std::io::stderr().lock();
    if !terminal.is_terminal() {
        bail!("--show needs a terminal; --render FILE.gif draws into a file");
    }
    let pause = std::time::Duration::from_secs_f32(1.0 / pace);
    for scene in scenes {
        let picture = render::to_terminal(scene, 60);
        write!(terminal, "\x1b[H\x1b[2J{picture}")?;
        terminal.flush()?;
        std::thread::sleep(pause);
    }
    writeln!(terminal)?;
    Ok(())
}
