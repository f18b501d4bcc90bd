//! `skinner chat`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use skinner_lm::generate::{Finish, Request, Sampling, Session, Stop, Terms};
use skinner_lm::{LmError, Message};
use skinner_nn::matrix::Cpu;

use super::visible::Visible;
use super::{ModelArgs, Ready, SamplingArgs, emit};
use crate::{interrupt, note};

const HELP: &str = "/reset forgets the conversation, /quit or Ctrl-D ends; Ctrl-C stops an answer";

#[derive(clap::Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// What the model is told before the conversation [default: what its chat template says]
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Tokens of an answer at most
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// Where a person's lines come from.
enum Lines {
    Terminal(Box<DefaultEditor>),
    Pipe,
}

impl Lines {
    fn open() -> anyhow::Result<Self> {
        if std::io::stdin().is_terminal() {
            return Ok(Self::Terminal(Box::new(DefaultEditor::new()?)));
        }
        Ok(Self::Pipe)
    }

    /// The next line; none at the end, or at a second Ctrl-C.
    fn next(&mut self) -> anyhow::Result<Option<String>> {
        let editor = match self {
            Self::Terminal(editor) => editor,
            Self::Pipe => {
                let mut line = Vec::new();
                let read = std::io::stdin().lock().read_until(b'\n', &mut line);
                let read = read.context("cannot read standard input")?;
                return Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()));
            }
        };
        let mut asked = false;
        loop {
            match editor.readline("> ") {
                Ok(line) => {
                    editor.add_history_entry(&line)?;
                    return Ok(Some(line));
                }
                Err(ReadlineError::Interrupted) if !asked => {
                    asked = true;
                    note("Ctrl-C again, or Ctrl-D, quits");
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(error).context("cannot read the terminal"),
            }
        }
    }
}

struct Conversation<'a> {
    args: &'a ChatArgs,
    ready: &'a Ready,
    sampling: Sampling,
    cpu: Cpu,
    /// Keeps the conversation so far, so that a turn runs what is new of it alone.
    session: Session<'a>,
    messages: Vec<Message>,
    /// Answers so far, forgotten ones too: each has a seed of its own.
    answers: u32,
}

/// Runs `skinner chat`.
pub(crate) fn chat(args: &ChatArgs) -> anyhow::Result<()> {
    let sampling = args.sampling.sampling()?;
    let ready = Ready::load(&args.model)?;
    let engine = ready.engine();
    let mut conversation = Conversation {
        args,
        cpu: ready.cpu(),
        session: engine.session().keep_prompts(ready.context()),
        ready: &ready,
        sampling,
        messages: Vec::new(),
        answers: 0,
    };
    conversation.reset();
    if ready.model.template.is_none() {
        // It cannot talk: say so now.
        ready.model.conversation(&[], None, true)?;
    }
    let mut lines = Lines::open()?;
    interrupt::listen()?;
    note(&ready.model.provenance);
    note(HELP);
    while let Some(line) = lines.next()? {
        match line.trim() {
            "" => {}
            "/quit" | "/exit" => break,
            "/help" => note(HELP),
            "/reset" => {
                conversation.reset();
                note("the conversation begins anew");
            }
            command if command.starts_with('/') => {
                note(&format!("{command} is no command: {HELP}"));
            }
            text => {
                if !conversation.answer(text)? {
                    break;
                }
            }
        }
    }
    Ok(())
}

impl Conversation<'_> {
    fn reset(&mut self) {
        let system = self.args.system.as_ref();
        self.messages =
            system.map(|text| Message::new("system", text.as_str())).into_iter().collect();
    }

    /// Answers; false when whoever read the answers has gone away.
    fn answer(&mut self, text: &str) -> anyhow::Result<bool> {
        self.messages.push(Message::new("user", text));
        let Some(prompt) = self.fit()? else { return Ok(true) };
        let tokenizer = &self.ready.model.tokenizer;
        let stop = Stop {
            ids: self.ready.model.stop_ids(),
            strings: self.args.sampling.stop.clone(),
            tokenizer: Some(tokenizer),
            max_new_tokens: self.args.max_new_tokens as usize,
        };
        let terms = Terms { sampling: self.sampling.clone(), stop, alternatives: 0 };
        let mut visible = Visible::new(tokenizer, &terms.stop.strings, false);
        let mut answer = String::new();
        let mut failed = None;
        let mut read = true;
        interrupt::take();
        let seeds = vec![self.args.sampling.seed().child(self.answers)];
        self.answers = self.answers.wrapping_add(1);
        self.session.enter(&mut self.cpu, 0, &[Request { prompt, seeds }], &terms)?;
        let mut finish = Finish::Length;
        while self.session.rows() > 0 {
            let ended = self.session.advance(&mut self.cpu, &mut |seen| {
                let shown = visible.push(seen.drawn.id).and_then(|text| {
                    answer += &text;
                    emit(&text)
                });
                match shown {
                    Ok(still) => read = still,
                    Err(error) => failed = Some(error),
                }
                failed.is_none() && read && !interrupt::asked()
            });
            for ended in ended {
                finish = ended.generated?.finish;
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let rest = visible.finish()?;
        let read = read && emit(&rest)? && emit("\n")?;
        self.messages.push(Message::new("assistant", answer + &rest));
        match finish {
            Finish::Cancelled if interrupt::take() => note("(stopped)"),
            Finish::Length => note("(ended at the length allowed: see --max-new-tokens)"),
            _ => {}
        }
        Ok(read)
    }

    /// The conversation's tokens; the oldest turns are forgotten until an answer has room. None when not even
    /// the last message fits, or has tokens, which alone is then forgotten.
    fn fit(&mut self) -> anyhow::Result<Option<Vec<u32>>> {
        let context = self.ready.context();
        let room = (self.args.max_new_tokens as usize).min(context / 4).max(1);
        let first = usize::from(self.args.system.is_some());
        let mut before = self.messages.clone();
        before.pop();
        let mut forgotten = 0;
        loop {
            let ids = match self.ready.model.conversation(&self.messages, None, true) {
                Ok((_, ids)) => ids,
                Err(error @ LmError::Tokenizer(_)) => {
                    self.messages = before;
                    note(&format!("{error}: that message is forgotten"));
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            if ids.len() + room <= context {
                if forgotten > 0 {
                    note(&format!(
                        "the context of {context} tokens is full: the oldest {forgotten} messages are forgotten"
                    ));
                }
                return Ok(Some(ids));
            }
            let turn = self.messages[first..].iter().skip(1).position(|m| m.role == "user");
            let Some(at) = turn else {
                self.messages = before;
                note(&format!(
                    "that message has {} tokens with what frames it, must have at most {}: it is forgotten",
                    ids.len(),
                    context - room
                ));
                return Ok(None);
            };
            self.messages.drain(first..=first + at);
            forgotten += at + 1;
        }
    }
}
