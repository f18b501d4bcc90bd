//! `skinner`: reinforcement learning as one program.

#[cfg(feature = "lm")]
mod audit;
mod bench;
#[cfg(feature = "lm")]
mod bench_lm;
mod evaluate;
mod exact;
mod interrupt;
mod list;
#[cfg(feature = "lm")]
mod lm;
#[cfg(feature = "lm")]
mod lm_export;
#[cfg(feature = "lm")]
mod lm_recipe;
#[cfg(feature = "lm")]
mod lm_samples;
#[cfg(feature = "lm")]
mod lm_train;
mod recipe;
mod solve;
mod train;
#[cfg(feature = "lm")]
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

/// Reinforcement learning as one program: train agents, evaluate them, report on them.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train an agent as a recipe says
    #[command(
        after_help = "Examples:\n  skinner train ppo-cartpole\n  skinner train ppo-cartpole --set learning_rate=3e-4 --seed 1\n  skinner train my.toml --seeds 10 --run-dir runs/mine\n  skinner train ppo-cartpole --resume"
    )]
    Train(TrainArgs),
    /// Evaluate the final policy of a run, greedily
    Eval(EvalArgs),
    /// Write one self-contained HTML page on one or several runs
    Report(ReportArgs),
    /// Go on from a text, or answer a conversation, with a language model
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Examples:\n  skinner generate --model smollm2-135m-instruct --prompt 'Once upon a time'\n  skinner generate --model smollm2-135m-instruct --chat --prompt 'Name three rivers.'\n  skinner generate --model smollm2-135m-instruct --messages chat.json --temperature 0 --json\n  skinner generate --model runs/sft-smollm2-gsm8k-seed-0 --chat < question.txt"
    )]
    Generate(lm::GenerateArgs),
    /// Print how likely a text or a conversation is to a language model
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Examples:\n  skinner score --model smollm2-135m-instruct --text 'The sky is blue.'\n  skinner score --model smollm2-135m-instruct --messages chat.json --add-generation-prompt --json"
    )]
    Score(lm::ScoreArgs),
    /// Talk with a language model in the terminal
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Examples:\n  skinner chat --model smollm2-135m-instruct\n  skinner chat --model smollm2-135m-instruct --system 'Answer in one sentence.' --precision bf16"
    )]
    Chat(lm::ChatArgs),
    /// Serve a language model over HTTP, with the routes of the OpenAI API
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Examples:\n  skinner serve --model smollm2-135m-instruct\n  skinner serve --model runs/dpo-smollm2-hh-seed-0 --name mine --port 0 --json\n\nThen:\n  curl localhost:8080/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'"
    )]
    Serve(lm::ServeArgs),
    /// Grade completions with a verifier: JSON lines in, JSON lines out
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Each line of stdin is an object with `completion`, and what the verifier needs: `answer`, `tests`, ...\nEach line of stdout is `{\"reward\": ..., \"reason\": ...}`, or `{\"failed\": ...}`.\n\nExamples:\n  echo '{\"completion\": \"so it is 12\", \"answer\": \"12\"}' | skinner verify --reward math\n  skinner verify --reward code --set partial_credit=true < items.jsonl"
    )]
    Verify(verify::VerifyArgs),
    /// Look for what is wrong with tasks before training on them
    #[cfg(feature = "lm")]
    #[command(
        after_help = "Finds tasks without an answer, tasks whose own answer is not rewarded, ambiguous and repeated ones, policies\nthat do no work and are rewarded, and what two verifiers disagree about. Findings are no failure: the exit code is 0.\n\nExamples:\n  skinner audit grpo-arithmetic\n  skinner audit my.toml --items 1000 --json\n  skinner audit --reward math --against text < items.jsonl"
    )]
    Audit(audit::AuditArgs),
    /// List environments, algorithms, recipes or models
    List {
        /// What to list
        what: Listed,
        /// Print one JSON array instead
        #[arg(long)]
        json: bool,
    },
    /// Solve a finite environment exactly: the optimal policy, its values and its return
    #[command(
        after_help = "Examples:\n  skinner solve FrozenLake-v1 --gamma 0.99\n  skinner solve FrozenLake-v1 --set is_slippery=false\n  skinner solve my-table.toml --gamma 0.9 --json"
    )]
    Solve(SolveArgs),
    /// Print a recipe as it would run, with every default
    Show {
        /// A recipe's name (see `skinner list recipes`) or the path of a TOML file
        recipe: String,
        /// Change a key of the recipe
        #[arg(long = "set", value_name = "KEY=VALUE")]
        sets: Vec<String>,
    },
    /// Measure this machine: environment steps, policy inference, gradient steps, a language model
    Bench {
        /// Print one JSON object as the last line
        #[arg(long)]
        json: bool,
        /// Measure this alone
        #[arg(long)]
        only: Option<bench::Part>,
        /// Seconds for each measurement
        #[arg(long, default_value_t = 0.5, value_parser = positive_seconds)]
        seconds: f64,
        #[cfg(feature = "lm")]
        #[command(flatten)]
        lm: bench_lm::LmArgs,
    },
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// A recipe's name (see `skinner list recipes`) or the path of a TOML file
    recipe: String,
    /// Change a key of the recipe; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seed of everything random [default: the recipe's]
    #[arg(long)]
    seed: Option<u64>,
    /// Train this many seeds, counting up from the first: in parallel, or one after the other where the model is a
    /// language model, which takes all cores
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
    /// Where the run's files go [default: below runs/]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Continue the run in the run directory from its last checkpoint
    #[arg(long)]
    resume: bool,
    /// Threads: of one run's environments, or seeds at a time [default: one, or all cores for seeds and language models]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    threads: Option<u64>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// What computes: `cpu`; for language models also `cuda`, `vulkan`, `metal`, or `flex` (slow: Burn on the CPU,
    /// to compare with), where it is built in
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl DeviceArgs {
    /// Environments' networks are small: they have no other device.
    fn expect_cpu(&self) -> anyhow::Result<()> {
        if self.device == "cpu" {
            return Ok(());
        }
        anyhow::bail!(
            "--device {} is not available: networks that act in environments are computed on the `cpu`",
            self.device
        )
    }
}

#[derive(clap::Args)]
pub(crate) struct EvalArgs {
    /// A run directory
    run_dir: PathBuf,
    /// Episodes to play [default: the recipe's]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    episodes: Option<u64>,
    /// Seed of the environments [default: the one of the run's own final evaluation]
    #[arg(long)]
    seed: Option<u64>,
    /// Which checkpoint: `last`, `best`, or a step
    #[arg(long, default_value = "last")]
    checkpoint: String,
    /// Draw one episode into FILE.gif, or its last picture into FILE.svg
    #[arg(long, value_name = "FILE")]
    render: Option<PathBuf>,
    /// Play one episode in the terminal
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct SolveArgs {
    /// An environment's id (see `skinner list envs`), or a file with a table (.toml or .json)
    env: String,
    /// Discount
    #[arg(long, default_value_t = 1.0)]
    gamma: f64,
    /// Change an option of the environment
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ReportArgs {
    /// Run directories
    #[arg(required = true)]
    run_dirs: Vec<PathBuf>,
    /// The HTML file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also say how long it took until an evaluation on the way reached this return
    #[arg(long, value_name = "RETURN", allow_negative_numbers = true)]
    threshold: Option<f64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Listed {
    Envs,
    Algorithms,
    Recipes,
    #[cfg(feature = "lm")]
    Models,
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("it must be a number above 0 and at most 3600".into()),
    }
}

/// Exit code of a run that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[expect(clippy::print_stderr, reason = "the binary is where errors are printed")]
fn main() -> ExitCode {
    // Before anything else, while there is one thread: the sandbox starts this program again.
    #[cfg(feature = "lm")]
    if std::env::args_os().nth(1).is_some_and(|argument| argument == skinner_tasks::HELPER) {
        return skinner_tasks::sandbox::helper_main();
    }
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes in one line; a cause that the error before it tells already is not told again.
fn explain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string().replace('\n', " ");
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Train(args) => train::train(&args),
        Command::Eval(args) => evaluate::eval(&args),
        Command::Report(args) => report(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "lm")]
        Command::Generate(args) => lm::generate(&args),
        #[cfg(feature = "lm")]
        Command::Score(args) => lm::score(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "lm")]
        Command::Chat(args) => lm::chat(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "lm")]
        Command::Serve(args) => lm::serve(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "lm")]
        Command::Verify(args) => verify::verify(&args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "lm")]
        Command::Audit(args) => audit::audit(&args).map(|()| ExitCode::SUCCESS),
        Command::List { what, json } => {
            list::list(what, json)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Solve(args) => solve::solve(&args).map(|()| ExitCode::SUCCESS),
        Command::Show { recipe, sets } => {
            let recipe = recipe::AnyRecipe::load(&recipe, &sets, None)?;
            out(recipe.to_toml()?.trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench {
            json,
            only,
            seconds,
            #[cfg(feature = "lm")]
            lm,
        } => bench::bench(
            only,
            seconds,
            json,
            #[cfg(feature = "lm")]
            &lm,
        )
        .map(|()| ExitCode::SUCCESS),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "skinner", &mut script);
            out(String::from_utf8_lossy(&script).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn report(args: &ReportArgs) -> anyhow::Result<()> {
    use skinner_run::report::{write_report, write_report_until};
    let Some(threshold) = args.threshold else {
        write_report(&args.out, &args.run_dirs)?;
        return out(&format!("wrote {}", args.out.display()));
    };
    for reach in write_report_until(&args.out, &args.run_dirs, threshold)? {
        let [label, runs, steps, seconds, by_steps, by_seconds] = reach.cells();
        out(&format!("{label}: {runs} runs reached {threshold}, in {steps} steps, {seconds} s"))?;
        if reach.steps_ratio.is_some() {
            out(&format!("  times the first's steps {by_steps}, its seconds {by_seconds}"))?;
        }
    }
    out(&format!("wrote {}", args.out.display()))
}

/// Prints a line of results. A reader that has gone away (`| head`) is no error.
fn out(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// Prints a line for the person at the terminal.
#[expect(clippy::print_stderr, reason = "the binary is where messages are printed")]
fn note(line: &str) {
    eprintln!("{line}");
}
