//! `skinner generate`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use skinner_lm::Message;
use skinner_lm::generate::{Completion, Finish, Request, Stop};

use super::visible::Visible;
use super::{ModelArgs, Ready, SamplingArgs, emit, read_messages, read_stdin, read_text};
use crate::{DeviceArgs, INTERRUPTED, interrupt, note, out};

#[derive(clap::Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    prompt: PromptArgs,
    /// Tokens to generate at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_new_tokens: usize,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Completions of the prompt, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    num_generations: u32,
    /// Write special tokens out too, such as the one that ends an answer
    #[arg(long)]
    raw: bool,
    /// Print one JSON object as the last line of stdout: `text` (special tokens written out), `ids` and
    /// `log_probs` of the completion, `content` (the text as it is shown without --json), `finish`; where top-k, top-p or
    /// min-p left tokens out also `log_kept`, the logarithm of what those that were left had together: the
    /// log-probability of a draw among them is `log_probs - log_kept`
    #[arg(long)]
    json: bool,
}

/// What to go on from; without any of these, standard input.
#[derive(clap::Args)]
#[group(multiple = false)]
struct PromptSource {
    /// Plain text to go on from
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// A file of plain text to go on from; `-` for standard input
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// A conversation to answer, as a JSON array of `role` and `content`; `-` for standard input
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
}

#[derive(clap::Args)]
struct PromptArgs {
    #[command(flatten)]
    source: PromptSource,
    /// The text is what a user says: write it as the model's chat template does
    #[arg(long, conflicts_with = "messages")]
    chat: bool,
}

impl PromptArgs {
    fn ids(&self, ready: &Ready) -> anyhow::Result<Vec<u32>> {
        if let Some(path) = &self.source.messages {
            let (messages, tools) = read_messages(path)?;
            return Ok(ready.model.conversation(&messages, tools.as_deref(), true)?.1);
        }
        let text = match (&self.source.prompt, &self.source.prompt_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => read_text(path)?,
            (None, None) => {
                if std::io::stdin().is_terminal() {
                    note(
                        "the prompt, then Ctrl-D (or give --prompt, --prompt-file or --messages):",
                    );
                }
                read_stdin()?
            }
        };
        if self.chat {
            return Ok(ready.model.conversation(&[Message::new("user", text)], None, true)?.1);
        }
        ready.encode(&text)
    }
}

/// Runs `skinner generate`.
pub(crate) fn generate(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let sampling = args.sampling.sampling()?;
    let ready = Ready::load_on(&args.model, Some(&args.device))?;
    let prompt = args.prompt.ids(&ready)?;
    let seeds = (0..args.num_generations).map(|i| args.sampling.seed().child(i)).collect();
    let stop = Stop {
        ids: ready.model.stop_ids(),
        strings: args.sampling.stop.clone(),
        tokenizer: Some(&ready.model.tokenizer),
        max_new_tokens: args.max_new_tokens,
    };
    let visible = || Visible::new(&ready.model.tokenizer, &stop.strings, args.raw);
    let streams = !args.json && args.num_generations == 1;
    let mut stream = visible();
    let mut failed = None;
    interrupt::listen()?;
    let request = Request { prompt, seeds };
    let mut watch = |_, _, drawn: skinner_lm::generate::Drawn| {
        if streams && failed.is_none() {
            match stream.push(drawn.id).and_then(|text| emit(&text)) {
                Ok(read) => return read && !interrupt::asked(),
                Err(error) => failed = Some(error),
            }
        }
        failed.is_none() && !interrupt::asked()
    };
    let requests = std::slice::from_ref(&request);
    let mut done = ready.generate(requests, &sampling, &stop, &mut watch)?;
    if let Some(error) = failed {
        return Err(error);
    }
    let completions = done.swap_remove(0);
    if streams {
        emit(&stream.finish()?)?;
        emit("\n")?;
    } else if args.json {
        let mut each = completions
            .iter()
            .map(|completion| as_json(&ready, completion, visible()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let line = if each.len() == 1 { each.remove(0) } else { json!({"completions": each}) };
        out(&line.to_string())?;
    } else {
        for (i, completion) in completions.iter().enumerate() {
            out(&format!("--- {} of {} ---", i + 1, completions.len()))?;
            out(&content(completion, visible())?)?;
        }
    }
    if interrupt::asked() {
        note("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let ended_by_context = |completion: &Completion| {
        completion.finish == Finish::Length && completion.ids.len() < args.max_new_tokens
    };
    if completions.iter().any(ended_by_context) {
        note(&format!("ended at the model's context of {} tokens", ready.context()));
    }
    Ok(ExitCode::SUCCESS)
}

fn content(completion: &Completion, mut visible: Visible<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    for &id in &completion.ids {
        text += &visible.push(id)?;
    }
    Ok(text + &visible.finish()?)
}

fn as_json(ready: &Ready, completion: &Completion, visible: Visible<'_>) -> anyhow::Result<Value> {
    let finish = match completion.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Cancelled => "cancelled",
    };
    let mut line = json!({
        "text": ready.decode(&completion.ids)?,
        "ids": completion.ids,
        "log_probs": completion.log_probs(),
        "content": content(completion, visible)?,
        "finish": finish,
    });
    let log_kept: Vec<f32> = completion.drawn.iter().map(|drawn| drawn.log_kept).collect();
    if log_kept.iter().any(|&kept| kept != 0.0) {
        line["log_kept"] = json!(log_kept);
    }
    Ok(line)
}
