//! From samples to examples.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::DataError;
use super::example::{Example, PairExample, TokenizeCounts, Truncation, UnpairedExample};
use super::sample::{Content, Message, Sample};
use crate::error::LmError;
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;

/// Which tokens of a sample shall be learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOn {
    /// Of a prompt and its completion the completion; of messages the assistant's; of text all.
    #[default]
    Auto,
    /// The completion; of messages the assistant's last one.
    Completion,
    /// What the assistant says in every turn, by the chat template's spans.
    Assistant,
    /// Every token but the first.
    All,
}

/// How samples become token ids.
///
/// Conversations go through the chat template, which writes the ends of turns itself; what it
/// writes after the last end-of-text token is left out. A plain completion or text is given the
/// end-of-text token, where the tokenizer has one. It is always a target of its completion, also in
/// models that fill batches with the same token.
#[derive(Clone, Debug)]
pub struct Tokenize<'a> {
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The chat template; needed by samples that are messages.
    pub template: Option<&'a ChatTemplate>,
    /// Longest example in tokens.
    pub max_length: usize,
    /// What happens to a longer one.
    pub truncation: Truncation,
    /// Which tokens are targets.
    pub loss_on: LossOn,
}

/// A prompt's ids and those of what follows.
struct Parts {
    prompt: Vec<u32>,
    completion: Vec<u32>,
}

impl Tokenize<'_> {
    /// Examples to fine-tune on. Of a preference the chosen completion is taken.
    ///
    /// # Errors
    /// If a sample does not fit `loss_on`, has messages where there is no template, or cannot be
    /// tokenised; [`DataError::NoTargets`] if no example is left.
    pub fn examples(&self, samples: &[Sample]) -> Result<(Vec<Example>, TokenizeCounts), LmError> {
        let mut counts = TokenizeCounts::default();
        let mut examples = Vec::with_capacity(samples.len());
        for (i, sample) in samples.iter().enumerate() {
            let example = self.example(sample).map_err(LmError::of_sample(i))?;
            let cut = self.truncation.apply([example], self.max_length, &mut counts);
            examples.extend(cut.into_iter().flatten());
        }
        self.some_left(&counts)?;
        Ok((examples, counts))
    }

    /// Pairs to align with preferences; the completions are the targets.
    ///
    /// # Errors
    /// As [`Tokenize::examples`], and if a sample is no preference.
    pub fn pairs(&self, samples: &[Sample]) -> Result<(Vec<PairExample>, TokenizeCounts), LmError> {
        let mut counts = TokenizeCounts::default();
        let mut pairs = Vec::with_capacity(samples.len());
        for (i, sample) in samples.iter().enumerate() {
            let sides = self.sides(sample).map_err(LmError::of_sample(i))?;
            let cut = self.truncation.apply(sides, self.max_length, &mut counts);
            pairs.extend(cut.map(|[chosen, rejected]| PairExample { chosen, rejected }));
        }
        self.some_left(&counts)?;
        Ok((pairs, counts))
    }

    /// Judged completions; they are the targets. A preference is two of them.
    ///
    /// # Errors
    /// As [`Tokenize::examples`], and if a sample has no label.
    pub fn unpaired(
        &self,
        samples: &[Sample],
    ) -> Result<(Vec<UnpairedExample>, TokenizeCounts), LmError> {
        let mut counts = TokenizeCounts::default();
        let mut examples = Vec::with_capacity(samples.len());
        for (i, sample) in samples.iter().enumerate() {
            for (example, label) in self.judged(sample).map_err(LmError::of_sample(i))? {
                let cut = self.truncation.apply([example], self.max_length, &mut counts);
                examples.extend(cut.map(|[example]| UnpairedExample { example, label }));
            }
        }
        self.some_left(&counts)?;
        Ok((examples, counts))
    }

    /// The chosen and the rejected side of a preference.
    fn sides(&self, sample: &Sample) -> Result<[Example; 2], LmError> {
        let Sample::Preference { prompt, chosen, rejected } = sample else {
            return Err(unfit(sample, "preference: `prompt`, `chosen`, `rejected`"));
        };
        Ok([self.completion(prompt, chosen)?, self.completion(prompt, rejected)?])
    }

    /// What a sample says is good and bad.
    fn judged(&self, sample: &Sample) -> Result<Vec<(Example, bool)>, LmError> {
        let (prompt, completions) = match sample {
            Sample::Unpaired { prompt, completion, label } => (prompt, vec![(completion, *label)]),
            Sample::Preference { prompt, chosen, rejected } => {
                (prompt, vec![(chosen, true), (rejected, false)])
            }
            _ => return Err(unfit(sample, "unpaired: `prompt`, `completion`, `label`")),
        };
        let judge = |(completion, label)| Ok((self.completion(prompt, completion)?, label));
        completions.into_iter().map(judge).collect()
    }

    /// All samples as one stream of tokens to pretrain on, each followed by the end-of-text token
    /// where the tokenizer has one. Conversations are written out by the chat template.
    ///
    /// # Errors
    /// As [`Tokenize::examples`]; [`DataError::NoTargets`] if there are not two tokens.
    pub fn stream(&self, samples: &[Sample]) -> Result<Vec<u32>, LmError> {
        let mut stream = Vec::new();
        for (i, sample) in samples.iter().enumerate() {
            stream.extend(self.whole(sample).map_err(LmError::of_sample(i))?);
        }
        if stream.len() < 2 {
            let what = format!("the texts have {} tokens in all", stream.len());
            return Err(DataError::NoTargets { examples: samples.len(), what }.into());
        }
        Ok(stream)
    }

    /// The ids of a prompt to complete, cut to its last `max_length` tokens.
    ///
    /// # Errors
    /// As [`Tokenize::examples`].
    pub fn prompt(&self, prompt: &Content) -> Result<Vec<u32>, LmError> {
        let mut ids = match prompt {
            Content::Text(text) => self.tokenizer.encode(text, true)?,
            Content::Messages(messages) => {
                self.tokenizer.encode(&self.render(messages, &[], true)?, false)?
            }
        };
        let excess = ids.len().saturating_sub(self.max_length);
        ids.drain(..excess);
        Ok(ids)
    }

    fn some_left(&self, counts: &TokenizeCounts) -> Result<(), DataError> {
        if counts.examples > 0 {
            return Ok(());
        }
        let what = format!(
            "{} are longer than max_length = {} and {} have no target within it; a larger \
             max_length or truncation = \"keep_end\" may help",
            counts.dropped_long, self.max_length, counts.dropped_without_targets
        );
        Err(DataError::NoTargets { examples: counts.samples, what })
    }

    fn example(&self, sample: &Sample) -> Result<Example, LmError> {
        match (sample, self.loss_on) {
            (Sample::Unpaired { .. }, _) => {
                Err(unfit(sample, "messages, prompt and completion, text or preference"))
            }
            (_, LossOn::All) | (Sample::Text(_), LossOn::Auto) => {
                Ok(Example::whole(self.whole(sample)?))
            }
            (Sample::Text(_), _) => Err(unfit(sample, "a prompt and a completion, or messages")),
            (Sample::Messages { messages, tools }, LossOn::Auto | LossOn::Assistant) => {
                self.assistant(messages, tools)
            }
            (Sample::Messages { messages, tools }, LossOn::Completion) => {
                let last = messages.iter().rposition(|message| message.role == "assistant");
                match last {
                    Some(last) if last > 0 => {
                        let (prompt, rest) = messages.split_at(last);
                        let parts = self.conversation(prompt, &rest[..1], tools)?;
                        Ok(Example::of_completion(&parts.prompt, &parts.completion))
                    }
                    _ => Ok(Example::default()),
                }
            }
            (
                Sample::PromptCompletion { prompt, completion }
                | Sample::Preference { prompt, chosen: completion, .. },
                loss_on,
            ) => match (loss_on, prompt, completion) {
                (LossOn::Assistant, Content::Messages(prompt), Content::Messages(completion)) => {
                    self.assistant(&[&prompt[..], completion].concat(), &[])
                }
                (LossOn::Assistant, _, _) => Err(unfit(sample, "messages")),
                _ => self.completion(prompt, completion),
            },
        }
    }

    /// The assistant's turns are targets.
    fn assistant(&self, messages: &[Message], tools: &[Value]) -> Result<Example, LmError> {
        let (text, spans) = self.template()?.render_with_spans(messages, some(tools))?;
        let (ids, offsets) = self.tokenizer.encode_with_offsets(&text, false)?;
        Ok(Example::of_spans(ids, &offsets, &spans))
    }

    /// The completion is the target.
    fn completion(&self, prompt: &Content, completion: &Content) -> Result<Example, LmError> {
        let parts = match (prompt, completion) {
            (Content::Text(prompt), Content::Text(completion)) => {
                let mut parts = self.parts(prompt, completion, true)?;
                self.end(&mut parts.completion);
                parts
            }
            (Content::Messages(prompt), Content::Messages(completion)) => {
                self.conversation(prompt, completion, &[])?
            }
            _ => {
                let what = "prompt and completion must both be strings or both be messages";
                return Err(LmError::Recipe(what.into()));
            }
        };
        Ok(Example::of_completion(&parts.prompt, &parts.completion))
    }

    /// A conversation of which the first messages are the prompt.
    fn conversation(
        &self,
        prompt: &[Message],
        completion: &[Message],
        tools: &[Value],
    ) -> Result<Parts, LmError> {
        let prompt_text = self.render(prompt, tools, true)?;
        let text = self.render(&[prompt, completion].concat(), tools, false)?;
        // Templates that write a history otherwise than a prompt share only a beginning with it.
        let same = prompt_text.chars().zip(text.chars()).take_while(|(a, b)| a == b);
        let at: usize = same.map(|(c, _)| c.len_utf8()).sum();
        let mut parts = self.parts(&text[..at], &text[at..], false)?;
        let eos = self.tokenizer.eos();
        if let Some(end) = parts.completion.iter().rposition(|id| Some(*id) == eos) {
            parts.completion.truncate(end + 1);
        }
        Ok(parts)
    }

    /// The ids of a text in two parts. They are those of the whole where the prompt's ids are its
    /// beginning; else, where a token would lie across the border, the parts are encoded alone, as
    /// they are when the completion is sampled.
    fn parts(&self, prompt: &str, completion: &str, special: bool) -> Result<Parts, LmError> {
        let prompt_ids = self.tokenizer.encode(prompt, special)?;
        let mut ids = self.tokenizer.encode(&[prompt, completion].concat(), special)?;
        let completion = if ids.starts_with(&prompt_ids) {
            ids.split_off(prompt_ids.len())
        } else {
            self.tokenizer.encode(completion, false)?
        };
        Ok(Parts { prompt: prompt_ids, completion })
    }

    /// The ids of a whole sample.
    fn whole(&self, sample: &Sample) -> Result<Vec<u32>, LmError> {
        match sample {
            Sample::Text(text) => {
                let mut ids = self.tokenizer.encode(text, true)?;
                self.end(&mut ids);
                Ok(ids)
            }
            Sample::Messages { messages, tools } => {
                self.tokenizer.encode(&self.render(messages, tools, false)?, false)
            }
            Sample::PromptCompletion { prompt, completion }
            | Sample::Preference { prompt, chosen: completion, .. }
            | Sample::Unpaired { prompt, completion, .. } => {
                Ok(self.completion(prompt, completion)?.ids)
            }
        }
    }

    fn end(&self, ids: &mut Vec<u32>) {
        if let Some(eos) = self.tokenizer.eos()
            && ids.last() != Some(&eos)
        {
            ids.push(eos);
        }
    }

    fn template(&self) -> Result<&ChatTemplate, DataError> {
        self.template.ok_or_else(|| {
            let what = "the data has messages but the model has no chat template; use a model that \
                        has one, or columns `prompt` and `completion` of text";
            DataError::file("chat template", what)
        })
    }

    fn render(
        &self,
        messages: &[Message],
        tools: &[Value],
        add_generation_prompt: bool,
    ) -> Result<String, LmError> {
        self.template()?.render(messages, some(tools), add_generation_prompt)
    }
}

fn some(tools: &[Value]) -> Option<&[Value]> {
    (!tools.is_empty()).then_some(tools)
}

fn unfit(sample: &Sample, wanted: &str) -> LmError {
    LmError::Recipe(format!("it is of kind {}, must be {wanted}", sample.kind()))
}

#[cfg(test)]
mod tests;
