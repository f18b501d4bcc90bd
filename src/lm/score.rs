//! `skinner score`.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;

use super::{ModelArgs, Ready, read_messages, read_text};
use crate::{DeviceArgs, out};

#[derive(clap::Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    source: ScoreSource,
    /// Write the conversation up to where an answer begins
    #[arg(long, requires = "messages")]
    add_generation_prompt: bool,
    /// Print one JSON object as the last line of stdout: `text`, `ids`, and `log_probs` of every token but the first
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct ScoreSource {
    /// A conversation, as a JSON array of `role` and `content`; `-` for standard input
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    /// Plain text
    #[arg(long, visible_alias = "prompt", value_name = "TEXT")]
    text: Option<String>,
    /// A file of plain text; `-` for standard input
    #[arg(long, value_name = "FILE")]
    text_file: Option<PathBuf>,
}

/// Runs `skinner score`.
pub(crate) fn score(args: &ScoreArgs) -> anyhow::Result<()> {
    let source = &args.source;
    let ready = Ready::load_on(&args.model, Some(&args.device))?;
    let (text, ids) = match (&source.messages, &source.text, &source.text_file) {
        (Some(path), ..) => {
            let (messages, tools) = read_messages(path)?;
            let prompts = args.add_generation_prompt;
            ready.model.conversation(&messages, tools.as_deref(), prompts)?
        }
        (None, Some(text), _) => (text.clone(), ready.encode(text)?),
        (None, None, Some(path)) => {
            let text = read_text(path)?;
            let ids = ready.encode(&text)?;
            (text, ids)
        }
        (None, None, None) => bail!("give --messages, --text or --text-file"),
    };
    if ids.len() < 2 {
        bail!("the text has {} tokens, must have 2 or more: the first is not predicted", ids.len());
    }
    let scored = ready.score(&ids)?;
    let log_probs: Vec<f32> = scored.iter().map(|token| token.log_prob).collect();
    if args.json {
        return out(&json!({"text": text, "ids": ids, "log_probs": log_probs}).to_string());
    }
    let sum: f64 = log_probs.iter().map(|&log_prob| f64::from(log_prob)).sum();
    let mean = sum / log_probs.len() as f64;
    out(&format!(
        "{} tokens, {} predicted: mean log-probability {mean:.4}, perplexity {:.4}",
        ids.len(),
        log_probs.len(),
        (-mean).exp()
    ))
}
