//! Answers: what the worker tells, as the JSON that clients of the OpenAI API read.

use std::ops::Range;

use serde_json::{Map, Value, json};
use skinner_lm::Tokenizer;
use skinner_lm::generate::{Finish, Scored};

use super::ask::{Ask, Format};
use super::tools::{self, Call};
use super::worker::Event;
use super::{Server, unix_time};
use crate::explain;
use crate::lm::visible::Visible;

/// The log-probability that stands for that of an impossible token, which JSON cannot say.
const LOWEST: f32 = -9999.0;

/// A token with its log-probability, which the first of an echoed prompt has not.
struct TokenLog {
    id: u32,
    log_prob: Option<f32>,
    alternatives: Vec<(u32, f32)>,
    /// Where its text begins, in characters.
    offset: usize,
}

/// A completion, or what of one was not yet told.
struct Choice {
    visible: Option<Visible<'static>>,
    text: String,
    /// Characters of all text so far.
    chars: usize,
    ids: Vec<u32>,
    logs: Vec<TokenLog>,
    finish: Option<&'static str>,
    /// Tools that it asks to be called.
    calls: Vec<Call>,
    /// Whether its role (and its prompt's ids) were told in a chunk.
    begun: bool,
}

/// What is known of a prompt.
struct Prompt {
    ids: Vec<u32>,
    text: String,
}

/// The answer to a request.
pub(super) struct Answer {
    tokenizer: &'static Tokenizer,
    id: String,
    created: u64,
    model: String,
    format: Format,
    /// Completions of each prompt.
    n: usize,
    wants_log_probs: bool,
    wants_token_ids: bool,
    echo: bool,
    /// The names of the tools that may be called; with any, text is held back until it is whole.
    tools: Vec<String>,
    prompts: Vec<Prompt>,
    choices: Vec<Choice>,
    generated: usize,
    /// Tokens of the prompts that were known from earlier ones.
    known: usize,
}

impl Answer {
    pub(super) fn new(server: &Server, ask: &Ask, number: u32) -> Self {
        let tokenizer = &server.ready.model.tokenizer;
        let choice = |_| Choice {
            visible: Some(Visible::new(tokenizer, ask.stops(), false)),
            text: String::new(),
            chars: 0,
            ids: Vec::new(),
            logs: Vec::new(),
            finish: None,
            calls: Vec::new(),
            begun: false,
        };
        let prefix = if ask.format == Format::Chat { "chatcmpl" } else { "cmpl" };
        let prompt = |prompt: &super::ask::Prompt| Prompt {
            ids: prompt.ids.clone(),
            text: prompt.text.clone(),
        };
        Self {
            tokenizer,
            id: format!("{prefix}-{}-{number}", server.started),
            created: unix_time(),
            model: server.name.clone(),
            format: ask.format,
            n: ask.n,
            wants_log_probs: ask.log_probs.is_some(),
            wants_token_ids: ask.token_ids,
            echo: ask.echo,
            tools: ask.tools.clone(),
            prompts: ask.prompts.iter().map(prompt).collect(),
            choices: (0..ask.prompts.len() * ask.n).map(choice).collect(),
            generated: 0,
            known: 0,
        }
    }

    /// Takes in what happened; returns the completions that it happened to.
    ///
    /// # Errors
    /// When the request cannot be completed.
    pub(super) fn add(&mut self, event: Event) -> Result<Range<usize>, String> {
        match event {
            Event::Failed(what) => Err(what),
            Event::Began { choices, scored, known } => {
                self.known += known;
                if self.echo {
                    for choice in choices.clone() {
                        self.begin_with_prompt(choice, &scored);
                    }
                }
                Ok(choices)
            }
            Event::Token { choice: place, drawn, alternatives } => {
                let choice = &mut self.choices[place];
                if self.wants_log_probs {
                    let (id, offset) = (drawn.id, choice.chars);
                    let log_prob = Some(drawn.log_prob);
                    choice.logs.push(TokenLog { id, log_prob, alternatives, offset });
                }
                choice.ids.push(drawn.id);
                self.generated += 1;
                let text = choice.visible.as_mut().map(|visible| visible.push(drawn.id));
                choice.show(text)?;
                Ok(place..place + 1)
            }
            Event::Ended { choice: place, finish } => {
                let choice = &mut self.choices[place];
                choice.finish = Some(if finish == Finish::Stop { "stop" } else { "length" });
                let text = choice.visible.take().map(Visible::finish);
                choice.show(text)?;
                if !self.tools.is_empty()
                    && let Some((said, calls)) = tools::parse(&choice.text, &self.tools)
                {
                    (choice.text, choice.calls) = (said, calls);
                    if finish == Finish::Stop {
                        choice.finish = Some("tool_calls");
                    }
                }
                Ok(place..place + 1)
            }
        }
    }

    /// The prompt itself, before what follows it.
    fn begin_with_prompt(&mut self, place: usize, scored: &[Scored]) {
        let (prompt, choice) = (&self.prompts[place / self.n], &mut self.choices[place]);
        choice.text.push_str(&prompt.text);
        if self.wants_log_probs {
            let mut stream = self.tokenizer.stream(false);
            let scored = std::iter::once(None).chain(scored.iter().map(Some));
            for (&id, scored) in prompt.ids.iter().zip(scored) {
                choice.logs.push(TokenLog {
                    id,
                    log_prob: scored.map(|scored| scored.log_prob),
                    alternatives: scored.map_or_else(Vec::new, |s| s.alternatives.clone()),
                    offset: choice.chars,
                });
                choice.chars += stream.push(id).map_or(0, |text| text.chars().count());
            }
        }
        choice.chars = prompt.text.chars().count();
    }

    fn frame(&self, object: &str, choices: &[Value]) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn usage(&self) -> Value {
        let prompt: usize = self.prompts.iter().map(|prompt| prompt.ids.len()).sum();
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": self.generated,
            "total_tokens": prompt + self.generated,
            "prompt_tokens_details": {"cached_tokens": self.known},
        })
    }

    /// All of it.
    pub(super) fn whole(&self) -> Value {
        let choices = self.choices.iter().enumerate().map(|(index, choice)| {
            let mut value = json!({"index": index});
            if self.format == Format::Chat {
                value["message"] =
                    json!({"role": "assistant", "content": choice.text, "refusal": null});
                if !choice.calls.is_empty() {
                    value["message"]["tool_calls"] = self.calls(index, choice, false);
                    if choice.text.is_empty() {
                        value["message"]["content"] = Value::Null;
                    }
                }
            } else {
                value["text"] = json!(choice.text);
            }
            self.finish_choice(&mut value, choice);
            if self.wants_token_ids && self.format == Format::Text {
                value["prompt_token_ids"] = json!(self.prompts[index / self.n].ids);
            }
            value
        });
        let object =
            if self.format == Format::Chat { "chat.completion" } else { "text_completion" };
        let mut whole = self.frame(object, &choices.collect::<Vec<_>>());
        whole["usage"] = self.usage();
        if self.wants_token_ids && self.format == Format::Chat {
            whole["prompt_token_ids"] = json!(self.prompts[0].ids);
        }
        whole
    }

    /// The tools that a completion asks to be called; in a part of an answer they are numbered.
    fn calls(&self, index: usize, choice: &Choice, numbered: bool) -> Value {
        let calls = choice.calls.iter().enumerate().map(|(i, call)| {
            let mut value = json!({
                "id": format!("call-{}-{index}-{i}", self.id),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            });
            if numbered {
                value["index"] = i.into();
            }
            value
        });
        Value::Array(calls.collect())
    }

    /// What all and parts have in common.
    fn finish_choice(&self, value: &mut Value, choice: &Choice) {
        value["logprobs"] = match (self.wants_log_probs, self.format) {
            (false, _) => Value::Null,
            (true, Format::Chat) => self.chat_log_probs(&choice.logs),
            (true, Format::Text) => self.text_log_probs(&choice.logs),
        };
        value["finish_reason"] = json!(choice.finish);
        if self.wants_token_ids {
            value["token_ids"] = json!(choice.ids);
        }
    }

    /// What is new of some completions; none where nothing can be shown yet.
    pub(super) fn chunk(&mut self, places: Range<usize>, include_usage: bool) -> Option<Value> {
        let chat = self.format == Format::Chat;
        let mut choices = Vec::new();
        let mut prompt_ids = None;
        for index in places {
            let first = !std::mem::replace(&mut self.choices[index].begun, true);
            let choice = &self.choices[index];
            let tells_prompt = first && self.wants_token_ids;
            let held = !self.tools.is_empty() && choice.finish.is_none();
            let text = if held { "" } else { &choice.text };
            let is_new = !text.is_empty()
                || choice.finish.is_some()
                || !choice.logs.is_empty()
                || (self.wants_token_ids && !choice.ids.is_empty());
            let begins = first && (chat || self.wants_token_ids);
            if !(is_new || begins) {
                continue;
            }
            let mut value = json!({"index": index});
            if chat {
                let mut delta = Map::new();
                if first {
                    delta.insert("role".to_owned(), json!("assistant"));
                }
                if (first && choice.calls.is_empty()) || !text.is_empty() {
                    delta.insert("content".to_owned(), json!(text));
                }
                if !choice.calls.is_empty() {
                    delta.insert("tool_calls".to_owned(), self.calls(index, choice, true));
                }
                value["delta"] = Value::Object(delta);
            } else {
                value["text"] = json!(choice.text);
            }
            self.finish_choice(&mut value, choice);
            if tells_prompt && chat {
                prompt_ids = Some(json!(self.prompts[0].ids));
            } else if tells_prompt {
                value["prompt_token_ids"] = json!(self.prompts[index / self.n].ids);
            }
            choices.push(value);
            let choice = &mut self.choices[index];
            if !held {
                choice.text.clear();
            }
            choice.ids.clear();
            choice.logs.clear();
        }
        if choices.is_empty() {
            return None;
        }
        let mut chunk = self.frame(self.chunk_object(), &choices);
        if let Some(ids) = prompt_ids {
            chunk["prompt_token_ids"] = ids;
        }
        if include_usage {
            chunk["usage"] = Value::Null;
        }
        Some(chunk)
    }

    fn chunk_object(&self) -> &'static str {
        if self.format == Format::Chat { "chat.completion.chunk" } else { "text_completion" }
    }

    /// The last chunk of those who asked for the usage.
    pub(super) fn usage_chunk(&self) -> Value {
        let mut chunk = self.frame(self.chunk_object(), &[]);
        chunk["usage"] = self.usage();
        chunk
    }

    fn chat_log_probs(&self, logs: &[TokenLog]) -> Value {
        let entry = |id: u32, log_prob: f32| {
            json!({
                "token": self.text(id),
                "logprob": log_prob.max(LOWEST),
                "bytes": bytes(self.tokenizer, id),
            })
        };
        let content = logs.iter().map(|log| {
            let mut value = entry(log.id, log.log_prob.unwrap_or(0.0));
            let top = log.alternatives.iter().map(|&(id, log_prob)| entry(id, log_prob));
            value["top_logprobs"] = Value::Array(top.collect());
            value
        });
        json!({"content": content.collect::<Vec<_>>(), "refusal": null})
    }

    fn text_log_probs(&self, logs: &[TokenLog]) -> Value {
        let log_prob = |log: &TokenLog| log.log_prob.map(|log_prob| log_prob.max(LOWEST));
        let top = |log: &TokenLog| {
            // The first of an echoed prompt was not predicted.
            log.log_prob?;
            let mut top = Map::new();
            for &(id, log_prob) in &log.alternatives {
                // Two tokens may have one text: the likelier one is told.
                top.entry(self.text(id)).or_insert(json!(log_prob.max(LOWEST)));
            }
            Some(top)
        };
        json!({
            "tokens": logs.iter().map(|log| self.text(log.id)).collect::<Vec<_>>(),
            "token_logprobs": logs.iter().map(log_prob).collect::<Vec<_>>(),
            "top_logprobs": logs.iter().map(top).collect::<Vec<_>>(),
            "text_offset": logs.iter().map(|log| log.offset).collect::<Vec<_>>(),
        })
    }

    /// A token's text.
    fn text(&self, id: u32) -> String {
        self.tokenizer.decode(&[id], false).unwrap_or_default()
    }
}

impl Choice {
    fn show(&mut self, text: Option<anyhow::Result<String>>) -> Result<(), String> {
        let text = text.transpose().map_err(|error| explain(&error))?.unwrap_or_default();
        self.chars += text.chars().count();
        self.text.push_str(&text);
        Ok(())
    }
}

/// A token's bytes, which may be part of a character.
fn bytes(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let text = tokenizer.decode(&[id], false).unwrap_or_default();
    if !text.contains(char::REPLACEMENT_CHARACTER) {
        return text.into_bytes();
    }
    let token = tokenizer.id_to_token(id).unwrap_or_default();
    let whole: Option<Vec<u8>> = token.chars().map(byte_of).collect();
    whole.unwrap_or_else(|| text.into_bytes())
}

/// The byte that a character stands for in byte-level vocabularies (Radford et al. 2019): printable ones for
/// themselves, the others from U+0100 on, in order.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => printable(byte).then_some(byte),
        Err(_) => (0..=255).filter(|&byte| !printable(byte)).nth(code as usize - 0x100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_half_a_character() {
        let tokenizer = Tokenizer::train_bpe(["a"].into_iter(), 257).unwrap();
        let ids = tokenizer.encode("é \u{7f}ab€", false).unwrap();
        let all: Vec<u8> = ids.iter().flat_map(|&id| bytes(&tokenizer, id)).collect();
        assert_eq!(String::from_utf8(all).unwrap(), "é \u{7f}ab€");
        assert!(ids.iter().all(|&id| bytes(&tokenizer, id).len() == 1));
    }
}
