//! Requests: what is asked for, checked and tokenized.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use skinner_core::SeedSequence;
use skinner_lm::generate::{Request, Sampling, Stop, Terms};
use skinner_lm::{LmError, Message};
use tokio::sync::mpsc;

use super::Server;
use super::tools;
use super::worker::{Event, Job};
use crate::explain;

const MAX_CHOICES: usize = 128;
const MAX_PROMPTS: usize = 1024;
const MAX_ALTERNATIVES: usize = 20;
const MAX_STOPS: usize = 16;
/// What the legacy route generates where nothing is said.
const DEFAULT_TEXT_TOKENS: usize = 16;

/// Which of the two routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// Why a request is not answered, in the shape that clients of the OpenAI API know.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    what: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), param: None, code: None }
    }

    pub(super) fn internal(what: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, what)
    }

    /// A field has a value that it must not have.
    fn bad(param: &'static str, what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what).of(param)
    }

    /// The field it is about.
    pub(super) fn of(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    pub(super) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(super) fn body(&self) -> Value {
        let kind =
            if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        json!({"error": {
            "message": self.what,
            "type": kind,
            "param": self.param,
            "code": self.code,
        }})
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}

/// A prompt: its tokens, and its text where it is echoed.
pub(super) struct Prompt {
    pub ids: Vec<u32>,
    pub text: String,
}

/// What is asked for.
pub(super) struct Ask {
    pub format: Format,
    pub prompts: Vec<Prompt>,
    /// Completions of each prompt.
    pub n: usize,
    pub stream: bool,
    pub include_usage: bool,
    /// Whether log-probabilities are wanted, and with how many alternatives.
    pub log_probs: Option<usize>,
    pub token_ids: bool,
    pub echo: bool,
    /// The names of the tools that the model may call.
    pub tools: Vec<String>,
    terms: Terms<'static>,
    seed: SeedSequence,
}

/// The fields of a request that were not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => {
                Err(Refusal::new(StatusCode::BAD_REQUEST, "the request must be a JSON object"))
            }
            Err(error) => {
                let what = format!("the request is no JSON: {error}");
                Err(Refusal::new(StatusCode::BAD_REQUEST, what))
            }
        }
    }

    /// A field's value; none if it is absent or null.
    fn take<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        right: &str,
    ) -> Result<Option<T>, Refusal> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read_value(&value, name, right).map(Some),
        }
    }

    fn flag(&mut self, name: &'static str) -> Result<bool, Refusal> {
        Ok(self.take(name, "true or false")?.unwrap_or(false))
    }

    fn number(&mut self, name: &'static str, default: f32) -> Result<f32, Refusal> {
        Ok(self.take(name, "a number")?.unwrap_or(default))
    }

    fn count(&mut self, name: &'static str, most: usize) -> Result<Option<usize>, Refusal> {
        let right = format!("an integer from 0 to {most}");
        let count = self.take::<usize>(name, &right)?;
        match count {
            Some(count) if count > most => {
                Err(Refusal::bad(name, format!("{name} is {count}, must be {right}")))
            }
            count => Ok(count),
        }
    }

    /// Refuses what is not built here unless it says what happens anyway, and what nobody knows.
    fn finish(mut self) -> Result<(), Refusal> {
        // Of no consequence for the answer.
        for name in
            ["user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"]
        {
            self.0.remove(name);
        }
        let empty = |value: &Value| {
            value.as_array().is_some_and(Vec::is_empty)
                || value.as_object().is_some_and(Map::is_empty)
        };
        self.0.retain(|name, value| match name.as_str() {
            "best_of" => value.as_u64() != Some(1),
            "suffix" => value.as_str() != Some(""),
            "function_call" => *value != "none" && !value.is_null(),
            "response_format" => value["type"] != "text" && !value.is_null(),
            "parallel_tool_calls" => false,
            _ => !value.is_null() && !empty(value),
        });
        match self.0.iter().next() {
            None => Ok(()),
            Some((name, value)) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                format!("{name} = {} is not supported here: leave it out", short(value)),
            )
            .code("unsupported_parameter")),
        }
    }
}

/// A value as it is shown in a message.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 {
        return text;
    }
    text.chars().take(60).chain("...".chars()).collect()
}

impl Ask {
    /// Reads the `number`-th request.
    pub(super) fn read(
        server: &Server,
        body: &[u8],
        format: Format,
        number: u32,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields::read(body)?;
        if let Some(name) = fields.take::<String>("model", "a text")? {
            server.check_name(&name)?;
        }
        // The completions of a prompt are decoded together.
        let most = MAX_CHOICES.min(server.max_batch as usize);
        let n = fields.count("n", most)?.unwrap_or(1);
        if n == 0 {
            return Err(Refusal::bad("n", format!("n is 0, must be an integer from 1 to {most}")));
        }
        let stream = fields.flag("stream")?;
        let mut options: Map<String, Value> =
            fields.take("stream_options", "an object")?.unwrap_or_default();
        let include_usage = match options.remove("include_usage") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(wanted)) => wanted,
            Some(other) => {
                let what =
                    format!("stream_options.include_usage is {other}, must be true or false");
                return Err(Refusal::bad("stream_options", what));
            }
        };
        if let Some(key) = options.keys().next() {
            let what = format!("stream_options.{key} is not known; include_usage is");
            return Err(Refusal::bad("stream_options", what));
        }
        if include_usage && !stream {
            let what = "stream_options.include_usage needs stream to be true";
            return Err(Refusal::bad("stream_options", what));
        }
        let log_probs = match format {
            Format::Text => fields.count("logprobs", MAX_ALTERNATIVES)?,
            Format::Chat => {
                let wanted = fields.flag("logprobs")?;
                let top = fields.count("top_logprobs", MAX_ALTERNATIVES)?;
                if top.is_some_and(|top| top > 0) && !wanted {
                    return Err(Refusal::bad(
                        "top_logprobs",
                        "top_logprobs needs logprobs to be true",
                    ));
                }
                wanted.then_some(top.unwrap_or(0))
            }
        };
        let seed = match fields.take::<i64>("seed", "an integer")? {
            Some(seed) => SeedSequence::new(seed as u64),
            None => server.seed.child(number),
        };
        let token_ids = fields.flag("return_token_ids")?;
        let echo = format == Format::Text && fields.flag("echo")?;
        let terms = terms(server, &mut fields, format, log_probs.unwrap_or(0))?;
        let (prompts, tools) = match format {
            Format::Chat => {
                let tools = tools_of(&mut fields)?;
                let names = tools.iter().map(|(name, _)| name.clone()).collect();
                (vec![conversation(server, &mut fields, tools)?], names)
            }
            Format::Text => (texts(server, &mut fields)?, Vec::new()),
        };
        fields.finish()?;
        let context = server.ready.context();
        for prompt in &prompts {
            let param = if format == Format::Chat { "messages" } else { "prompt" };
            if prompt.ids.is_empty() {
                return Err(Refusal::bad(param, "the prompt has no tokens: nothing to go on from"));
            }
            server.ready.model.decoder.check(&prompt.ids).map_err(|error| match error {
                LmError::TooLong { tokens, .. } => Refusal::bad(
                    param,
                    format!(
                        "the prompt has {tokens} tokens, and this model's maximum context length is {context}"
                    ),
                )
                .code("context_length_exceeded"),
                error => Refusal::bad(param, error.to_string()),
            })?;
        }
        Ok(Self {
            format,
            prompts,
            n,
            stream,
            include_usage,
            log_probs,
            token_ids,
            echo,
            tools,
            terms,
            seed,
        })
    }

    /// The strings that end a completion.
    pub(super) fn stops(&self) -> &[String] {
        &self.terms.stop.strings
    }

    /// What the worker is to do.
    pub(super) fn jobs(&self, events: &mpsc::UnboundedSender<Event>) -> Vec<Job> {
        let job = |(i, prompt): (usize, &Prompt)| {
            let first = i * self.n;
            let seeds = (first..first + self.n).map(|i| self.seed.child(i as u32)).collect();
            Job {
                request: Request { prompt: prompt.ids.clone(), seeds },
                terms: self.terms.clone(),
                score: self.log_probs.filter(|_| self.echo),
                first,
                events: events.clone(),
            }
        };
        self.prompts.iter().enumerate().map(job).collect()
    }
}

fn terms(
    server: &Server,
    fields: &mut Fields,
    format: Format,
    alternatives: usize,
) -> Result<Terms<'static>, Refusal> {
    let sampling = Sampling {
        temperature: fields.number("temperature", 1.0)?,
        top_k: fields.count("top_k", u32::MAX as usize)?.unwrap_or(0),
        top_p: fields.number("top_p", 1.0)?,
        min_p: fields.number("min_p", 0.0)?,
        presence_penalty: fields.number("presence_penalty", 0.0)?,
        frequency_penalty: fields.number("frequency_penalty", 0.0)?,
        repetition_penalty: fields.number("repetition_penalty", 1.0)?,
    };
    sampling.validate().map_err(|error| {
        let what = error.to_string();
        let names = [
            "temperature",
            "top_p",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
        ];
        let about = names.into_iter().find(|name| what.starts_with(name));
        Refusal { param: about, ..Refusal::new(StatusCode::BAD_REQUEST, what) }
    })?;
    let most = u32::MAX as usize;
    let newer = fields.count("max_completion_tokens", most)?;
    let max_new_tokens = match (fields.count("max_tokens", most)?.or(newer), format) {
        (Some(0), Format::Chat) => {
            return Err(Refusal::bad("max_tokens", "max_tokens is 0, must be at least 1"));
        }
        (Some(tokens), _) => tokens,
        (None, Format::Text) => DEFAULT_TEXT_TOKENS,
        // Up to the end of the context.
        (None, Format::Chat) => most,
    };
    let strings = match fields.take::<Value>("stop", "")? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(value) => read_value(&value, "stop", "a text or a list of texts")?,
    };
    if strings.len() > MAX_STOPS || strings.iter().any(String::is_empty) {
        let what = format!("stop must be at most {MAX_STOPS} texts, none of them empty");
        return Err(Refusal::bad("stop", what));
    }
    let ids = if fields.flag("ignore_eos")? { Vec::new() } else { server.ready.model.stop_ids() };
    let tokenizer = Some(&server.ready.model.tokenizer);
    let stop = Stop { ids, strings, tokenizer, max_new_tokens };
    Ok(Terms { sampling, stop, alternatives })
}

/// Reads a field's value.
fn read_value<T: DeserializeOwned>(
    value: &Value,
    name: &'static str,
    right: &str,
) -> Result<T, Refusal> {
    T::deserialize(value)
        .map_err(|_| Refusal::bad(name, format!("{name} is {}, must be {right}", short(value))))
}

/// The tools that a model may call, by name; none where it is told to call none.
fn tools_of(fields: &mut Fields) -> Result<Vec<(String, Value)>, Refusal> {
    let right = "a list of objects with `type` = `function` and `function` with a `name`";
    let tools = fields.take::<Vec<Value>>("tools", right)?.unwrap_or_default();
    let choice = fields.take::<Value>("tool_choice", "")?;
    match choice.as_ref().map(|choice| choice.as_str().unwrap_or_default()) {
        Some("none") => return Ok(Vec::new()),
        None | Some("auto") => {}
        Some(_) => {
            let choice = short(&choice.unwrap_or_default());
            let what = format!(
                "tool_choice is {choice}, must be \"auto\" or \"none\": nothing forces a call"
            );
            return Err(Refusal::bad("tool_choice", what));
        }
    }
    let named = tools.into_iter().map(|tool| {
        let name = tool["function"]["name"].as_str().filter(|_| tool["type"] == "function");
        let Some(name) = name.map(str::to_owned) else {
            let what = format!("tools has {}, must be {right}", short(&tool));
            return Err(Refusal::bad("tools", what));
        };
        Ok((name, tool))
    });
    named.collect()
}

fn conversation(
    server: &Server,
    fields: &mut Fields,
    tools: Vec<(String, Value)>,
) -> Result<Prompt, Refusal> {
    let right = "a list of objects with `role` and `content`";
    let Some(mut values) = fields.take::<Vec<Map<String, Value>>>("messages", right)? else {
        return Err(Refusal::bad("messages", format!("messages is missing, must be {right}")));
    };
    if values.is_empty() {
        return Err(Refusal::bad("messages", "messages is empty: there is nothing to answer"));
    }
    let mut messages = Vec::with_capacity(values.len());
    for (i, value) in values.iter_mut().enumerate() {
        let content = content_text(value.get("content")).ok_or_else(|| {
            let what =
                format!("messages[{i}].content must be a text, or a list of parts of type `text`");
            Refusal::bad("messages", what)
        })?;
        value.insert("content".to_owned(), Value::String(content));
        tools::for_template(value);
        let message = std::mem::take(value);
        let message: Message = serde_json::from_value(Value::Object(message)).map_err(|error| {
            Refusal::bad("messages", format!("messages[{i}] is no message: {error}"))
        })?;
        messages.push(message);
    }
    let tools: Vec<Value> = tools.into_iter().map(|(_, tool)| tool).collect();
    let render = |tools: Option<&[Value]>| {
        let rendered = server.ready.model.conversation(&messages, tools, true);
        rendered.map_err(|error| Refusal::bad("messages", explain(&error.into())))
    };
    if tools.is_empty() {
        let (text, ids) = render(None)?;
        return Ok(Prompt { ids, text });
    }
    let (text, ids) = render(Some(&tools))?;
    if render(None).is_ok_and(|(without, _)| without == text) {
        let what = "this model's chat template does not know tools: leave them out, or describe them in a message";
        return Err(Refusal::bad("tools", what));
    }
    Ok(Prompt { ids, text })
}

/// The text of a message's content, which may be a list of parts; none where a part is no text.
fn content_text(content: Option<&Value>) -> Option<String> {
    match content {
        None | Some(Value::Null) => Some(String::new()),
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| part["text"].as_str().filter(|_| part["type"] == "text"))
            .collect(),
        Some(_) => None,
    }
}

/// One text, several, one list of tokens, or several.
fn texts(server: &Server, fields: &mut Fields) -> Result<Vec<Prompt>, Refusal> {
    let right = "a text, a list of texts, a list of token ids or a list of such lists";
    let bad = |value: &Value| {
        Refusal::bad("prompt", format!("prompt is {}, must be {right}", short(value)))
    };
    let value = fields.take::<Value>("prompt", right)?;
    let value = value
        .ok_or_else(|| Refusal::bad("prompt", format!("prompt is missing, must be {right}")))?;
    let each = match &value {
        Value::String(_) => vec![&value],
        Value::Array(values) if values.first().is_some_and(Value::is_number) => vec![&value],
        Value::Array(values) if (1..=MAX_PROMPTS).contains(&values.len()) => {
            values.iter().collect()
        }
        Value::Array(values) => {
            let what = format!("prompt has {} entries, must have 1 to {MAX_PROMPTS}", values.len());
            return Err(Refusal::bad("prompt", what));
        }
        _ => return Err(bad(&value)),
    };
    each.into_iter()
        .map(|value| {
            let refuse = |error: anyhow::Error| Refusal::bad("prompt", explain(&error));
            if let Value::String(text) = value {
                let ids = server.ready.encode(text).map_err(refuse)?;
                return Ok(Prompt { ids, text: text.clone() });
            }
            let ids: Vec<u32> = read_value(value, "prompt", right)?;
            let text = server.ready.decode(&ids).map_err(refuse)?;
            Ok(Prompt { ids, text })
        })
        .collect()
}
