//! Completions to look at, before and after a language model is trained.

use serde_json::json;
use skinner_core::{Metrics, SeedSequence};
use skinner_lm::data::{self, Content, Dataset, Sample, Tokenize};
use skinner_lm::generate::{Completion, Request, Sampling, Stop};
use skinner_lm::train::{Learner, Sequence};

use crate::lm_recipe::LmRecipe;

/// Completions, and what they say together.
pub(crate) struct Sampled {
    /// One JSON object a line: prompt, completion, and what is known of them.
    pub lines: String,
    pub metrics: Metrics,
}

/// The prompts to complete, with how they are shown.
pub(crate) fn prompts(
    recipe: &LmRecipe,
    learner: &Learner,
    dataset: &Dataset,
) -> anyhow::Result<Vec<(String, Vec<u32>)>> {
    let config = &recipe.run.samples;
    let context = learner.decoder().config().max_position_embeddings;
    let room = context.saturating_sub(config.max_new_tokens).max(1);
    let tokenize = Tokenize {
        tokenizer: &learner.tokenizer,
        template: learner.template.as_ref(),
        max_length: room.min(recipe.train.max_length),
        truncation: recipe.train.truncation,
        loss_on: data::LossOn::Auto,
    };
    let contents: Vec<Content> = if config.prompts.is_empty() {
        let samples = if dataset.eval.is_empty() { &dataset.train } else { &dataset.eval };
        let prompts: Vec<Content> =
            samples.iter().filter_map(Sample::prompt).take(config.count).collect();
        if prompts.is_empty() { openings(samples, config.count) } else { prompts }
    } else {
        config.prompts.iter().cloned().map(Content::Text).collect()
    };
    let mut prompts = Vec::new();
    for content in contents {
        let ids = tokenize.prompt(&content)?;
        let shown = match content {
            Content::Text(text) => text,
            Content::Messages(messages) => {
                messages.last().map_or_else(String::new, |message| message.content.clone())
            }
        };
        if !ids.is_empty() {
            prompts.push((shown, ids));
        }
    }
    Ok(prompts)
}

/// Of plain texts: so many openings to go on from, of as many texts as there are, or of parts of them.
fn openings(samples: &[Sample], count: usize) -> Vec<Content> {
    const CHARACTERS: usize = 64;
    let texts: Vec<&str> = samples
        .iter()
        .filter_map(|sample| match sample {
            Sample::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .take(count)
        .collect();
    let parts = count.div_ceil(texts.len().max(1));
    let opening = |i: usize| {
        let text = texts.get(i % texts.len().max(1))?;
        let before = text.chars().count() / parts * (i / texts.len());
        Some(Content::Text(text.chars().skip(before).take(CHARACTERS).collect()))
    };
    (0..count).filter_map(opening).collect()
}

/// Completions of the recipe's prompts by the model as it stands.
pub(crate) fn samples(
    recipe: &LmRecipe,
    learner: &mut Learner,
    dataset: &Dataset,
    seed: &SeedSequence,
) -> anyhow::Result<Option<Sampled>> {
    let config = &recipe.run.samples;
    let prompts = prompts(recipe, learner, dataset)?;
    if prompts.is_empty() || config.max_new_tokens == 0 {
        return Ok(None);
    }
    let requests: Vec<Request> = prompts
        .iter()
        .enumerate()
        .map(|(i, (_, ids))| Request { prompt: ids.clone(), seeds: vec![seed.child(i as u32)] })
        .collect();
    let sampling = Sampling { temperature: config.temperature as f32, ..Sampling::default() };
    let mut ids = learner.decoder().config().eos_token_ids.clone();
    ids.extend(learner.tokenizer.eos());
    let stop = Stop { ids, max_new_tokens: config.max_new_tokens, ..Stop::default() };
    let completions = learner.generate(&requests, &sampling, &stop)?;
    let all: Vec<_> = completions.into_iter().flatten().collect();
    let reference = reference_scores(learner, &prompts, &all);
    let mut lines = String::new();
    let (mut tokens, mut kl) = (0.0, 0.0);
    for (i, ((prompt, _), completion)) in prompts.iter().zip(&all).enumerate() {
        let text = learner.tokenizer.decode_drawn(&completion.ids, true)?;
        let log_prob: f64 = completion.log_probs().iter().map(|&x| f64::from(x)).sum();
        let mut line = json!({
            "prompt": prompt, "completion": text, "tokens": completion.ids.len(),
            "log_prob": log_prob, "finish": format!("{:?}", completion.finish).to_lowercase(),
        });
        tokens += completion.ids.len() as f64;
        if let Some([policy, reference]) = reference.get(i) {
            line["log_ratio"] = (policy - reference).into();
            kl += policy - reference;
        }
        lines += &line.to_string();
        lines.push('\n');
    }
    let mut metrics = Metrics::new();
    metrics.set("samples/mean_length", tokens / all.len() as f64);
    if !reference.is_empty() {
        metrics.set("samples/kl", kl / all.len() as f64);
    }
    Ok(Some(Sampled { lines, metrics }))
}

/// Of an adapter: log-probabilities of the completions with and without it.
fn reference_scores(
    learner: &mut Learner,
    prompts: &[(String, Vec<u32>)],
    completions: &[Completion],
) -> Vec<[f64; 2]> {
    if learner.adapter().is_none() {
        return Vec::new();
    }
    let whole: Vec<(Vec<u32>, Vec<bool>)> = prompts
        .iter()
        .zip(completions)
        .map(|((_, prompt), completion)| {
            let ids = [&prompt[..], &completion.ids].concat();
            let targets = (0..ids.len()).map(|i| i >= prompt.len()).collect();
            (ids, targets)
        })
        .collect();
    let sequences: Vec<Sequence<'_>> =
        whole.iter().map(|(ids, targets)| Sequence { ids, targets, starts: &[0] }).collect();
    let sums = |scores: Vec<Vec<f32>>| -> Vec<f64> {
        scores.iter().map(|s| s.iter().map(|&x| f64::from(x)).sum()).collect()
    };
    let policy = sums(learner.scores(&sequences, false));
    let reference = sums(learner.scores(&sequences, true));
    policy.into_iter().zip(reference).map(Into::into).collect()
}
