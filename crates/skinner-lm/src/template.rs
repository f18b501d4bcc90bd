//! Chat templates: a conversation to the text that a model was trained on.
//!
//! Templates are Jinja, with the functions and the settings that `transformers` gives them. Whether a template
//! marks what the assistant says by `{% generation %}` or not, [`ChatTemplate::render_with_spans`] finds it.

mod functions;

use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value, context};

use crate::error::LmError;
use crate::message::Message;

pub use functions::Date;

const NAME: &str = "chat template";
/// Around what the assistant says, while its place is looked for; private-use characters, which no text has.
const BEGIN: char = '\u{10fffc}';
const END: char = '\u{10fffd}';

/// A chat template.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    has_marks: bool,
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Reads a template; `bos_token` and `eos_token` are the tokens written out that it may use.
    ///
    /// # Errors
    /// When it is no template: names the line.
    pub fn new(
        source: impl Into<String>,
        bos_token: Option<&str>,
        eos_token: Option<&str>,
    ) -> Result<Self, LmError> {
        let source = source.into();
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| template_error(&error))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        functions::add_to(&mut environment);
        let (compiled, has_marks) = with_marks(&source);
        environment.add_template_owned(NAME, compiled).map_err(|error| template_error(&error))?;
        Ok(Self {
            source,
            bos_token: bos_token.map(str::to_owned),
            eos_token: eos_token.map(str::to_owned),
            has_marks,
            environment,
        })
    }

    /// The date that templates may ask for by `strftime_now`; without it there is no such function.
    pub fn with_date(mut self, date: Date) -> Self {
        functions::set_date(&mut self.environment, date);
        self
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation; with `add_generation_prompt`, followed by what precedes an answer.
    ///
    /// # Errors
    /// When the template refuses the messages: names the line.
    pub fn render(
        &self,
        messages: &[Message],
        tools: Option<&[serde_json::Value]>,
        add_generation_prompt: bool,
    ) -> Result<String, LmError> {
        self.render_marked(messages, tools, add_generation_prompt, "", "")
    }

    fn render_marked(
        &self,
        messages: &[Message],
        tools: Option<&[serde_json::Value]>,
        add_generation_prompt: bool,
        begin: &str,
        end: &str,
    ) -> Result<String, LmError> {
        let template =
            self.environment.get_template(NAME).map_err(|error| template_error(&error))?;
        let tokens = [("bos_token", &self.bos_token), ("eos_token", &self.eos_token)]
            .into_iter()
            .filter_map(|(name, token)| Some((name, token.as_deref()?)));
        let values = context! {
            messages => Value::from(Serde(messages)),
            tools => tools.map_or(Value::from(()), |tools| Value::from(Serde(tools))),
            documents => (),
            add_generation_prompt,
            skinner_begin => begin,
            skinner_end => end,
            ..Value::from_pairs(tokens)
        };
        template.render(values).map_err(|error| template_error(&error))
    }

    /// The text of a conversation and the bytes of it that the assistant says: each answer with the token that
    /// ends it, without what the template puts before.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; also when the template marks no answers and writes earlier turns otherwise
    /// once later ones follow.
    pub fn render_with_spans(
        &self,
        messages: &[Message],
        tools: Option<&[serde_json::Value]>,
    ) -> Result<(String, Vec<Range<usize>>), LmError> {
        if self.has_marks {
            return self.marked_spans(messages, tools);
        }
        let text = self.render(messages, tools, false)?;
        let mut spans = Vec::new();
        for (at, message) in messages.iter().enumerate() {
            if message.role != "assistant" {
                continue;
            }
            let before = self.render(&messages[..at], tools, true)?;
            let through = self.render(&messages[..=at], tools, false)?;
            if !through.starts_with(&before) || !text.starts_with(&through) {
                return Err(LmError::Template {
                    line: 0,
                    what: format!(
                        "writes what precedes message {} otherwise when that message follows, so what the \
                         assistant says cannot be found: mark it by {{% generation %}} in the template",
                        at + 1
                    ),
                });
            }
            spans.push(before.len()..self.end_of_answer(&through, before.len()));
        }
        Ok((text, spans))
    }

    /// Up to the end token, if there is one: the model says nothing after it.
    fn end_of_answer(&self, text: &str, start: usize) -> usize {
        let Some(eos) = &self.eos_token else { return text.len() };
        text[start..].rfind(eos.as_str()).map_or(text.len(), |at| start + at + eos.len())
    }

    fn marked_spans(
        &self,
        messages: &[Message],
        tools: Option<&[serde_json::Value]>,
    ) -> Result<(String, Vec<Range<usize>>), LmError> {
        if self.render(messages, tools, false)?.contains([BEGIN, END]) {
            return Err(LmError::Template {
                line: 0,
                what: format!("the messages hold {BEGIN:?} or {END:?}, must not"),
            });
        }
        let marked =
            self.render_marked(messages, tools, false, &BEGIN.to_string(), &END.to_string())?;
        let mut text = String::with_capacity(marked.len());
        let mut spans: Vec<Range<usize>> = Vec::new();
        let mut start = None;
        for character in marked.chars() {
            match character {
                BEGIN => start = Some(text.len()),
                END => spans.extend(start.take().map(|start| start..text.len())),
                other => text.push(other),
            }
        }
        Ok((text, spans))
    }
}

/// Replaces `{% generation %}` and `{% endgeneration %}`, which Jinja does not know, by blocks that print marks;
/// they keep the tags' control of the whitespace around them.
fn with_marks(source: &str) -> (String, bool) {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(len) = tag[2..].find("%}").map(|at| at + 4) else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(len);
        let inner = &tag[2..len - 2];
        let left = inner.chars().next().filter(|c| "-+".contains(*c)).map_or("", |_| &inner[..1]);
        let right = &inner[left.len()..];
        let right = if right.ends_with(['-', '+']) { &right[right.len() - 1..] } else { "" };
        let name = inner.trim_matches(['-', '+']).trim();
        match name {
            "generation" => {
                out.extend(["{%", left, " if true %}{{ skinner_begin }}{% if true ", right, "%}"]);
            }
            "endgeneration" => {
                out.extend(["{%", left, " endif %}{{ skinner_end }}{% endif ", right, "%}"]);
            }
            _ => out.push_str(tag),
        }
        found |= name == "generation";
        rest = after;
    }
    out.push_str(rest);
    (out, found)
}

fn template_error(error: &minijinja::Error) -> LmError {
    let asks_for_date = error.kind() == ErrorKind::UnknownFunction
        && error.detail().is_some_and(|detail| detail.contains(functions::NOW));
    if asks_for_date {
        let what =
            "asks for today's date, and none is given: in a recipe, the key `date` gives one";
        return LmError::Template { line: error.line().unwrap_or(0), what: what.into() };
    }
    let mut what = vec![error.kind().to_string()];
    what.extend(error.detail().map(str::to_owned));
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        what.push(cause.to_string());
        source = cause.source();
    }
    LmError::Template { line: error.line().unwrap_or(0), what: what.join(": ") }
}
