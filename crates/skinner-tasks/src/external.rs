//! Rewards of a program or a service of the user's own, in any language.
//!
//! # Protocol
//!
//! One request for each batch. Its fields are those of TRL's reward functions; every list has one item for each sample:
//!
//! ```json
//! {"prompts": ["2+2="], "completions": ["4"], "answer": ["4"], "any_other_column": ["…"]}
//! ```
//!
//! Where a prompt is a list of messages, its completion is one too. A column that a task lacks is `null`. The answer is
//! a list of rewards, or an object with reasons beside them:
//!
//! ```json
//! {"rewards": [1.0], "reasons": ["equal"]}
//! ```
//!
//! A **program** reads requests from standard input and writes answers to standard output, each in one line, and is
//! kept for the next batch. What it writes to standard error is kept for reasons. An **HTTP service** gets the request
//! as the body of a POST.
//!
//! # Failures
//!
//! A batch that gets no answer in time, or one that cannot be read or has the wrong length, is [`Failed`] with all of its
//! samples; a program is then killed, and started again for the next batch. A reward that is `null`, NaN or infinite
//! fails its sample alone. Nothing of this ends a run.
//!
//! The program and the service are the user's: they are not sandboxed.

mod error;
#[cfg(feature = "http")]
mod http;
mod message;
mod process;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use error::ExternalError;

use crate::{Failed, Graded, Task, Trace};
use process::Process;

/// Where rewards come from: a command or an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExternalConfig {
    /// A program with its arguments, or none.
    pub command: Vec<String>,
    /// The address of an HTTP service, or none.
    pub url: Option<String>,
    /// Headers of requests to a service.
    pub headers: BTreeMap<String, String>,
    /// Time for one batch, in seconds. A program's start is part of its first.
    pub batch_seconds: f64,
    /// How often a batch is sent again to a service that cannot be reached, is late, or answers with a status of 500
    /// or more.
    pub retries: u32,
}

impl Default for ExternalConfig {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            url: None,
            headers: BTreeMap::new(),
            batch_seconds: 60.0,
            retries: 1,
        }
    }
}

/// The longest time that may be asked for, in seconds: a day.
const BATCH_SECONDS_MAX: f64 = 86_400.0;

impl ExternalConfig {
    /// Says what is wrong with the values.
    ///
    /// # Errors
    /// Names the field, its value and what would be right.
    pub fn validate(&self) -> Result<(), ExternalError> {
        let wrong =
            |field, value: String, right| Err(ExternalError::Config { field, value, right });
        if !(self.batch_seconds > 0.0 && self.batch_seconds <= BATCH_SECONDS_MAX) {
            return wrong(
                "batch_seconds",
                self.batch_seconds.to_string(),
                "above 0, at most 86400",
            );
        }
        match (&self.url, self.command.is_empty()) {
            (None, true) => wrong("command", "[]".to_owned(), "a program, or `url` an address"),
            (Some(url), false) => wrong("url", url.clone(), "left out where there is a `command`"),
            (Some(url), true) if !url.starts_with("http://") && !url.starts_with("https://") => {
                wrong("url", url.clone(), "an address that starts with http:// or https://")
            }
            _ => Ok(()),
        }
    }
}

/// Asks for rewards. It may be used by several threads; a program takes one batch at a time.
pub struct ExternalReward {
    config: ExternalConfig,
    source: Source,
}

enum Source {
    Program(Mutex<Process>),
    #[cfg(feature = "http")]
    Service(http::Service),
}

impl ExternalReward {
    /// Takes the configuration; nothing is started or asked yet.
    ///
    /// # Errors
    /// A wrong configuration, or an address where this build has no HTTP.
    pub fn new(config: ExternalConfig) -> Result<Self, ExternalError> {
        config.validate()?;
        let source = match &config.url {
            None => Source::Program(Mutex::new(Process::new(config.command.clone()))),
            #[cfg(feature = "http")]
            Some(url) => Source::Service(http::Service::new(url, &config)?),
            #[cfg(not(feature = "http"))]
            Some(_) => return Err(ExternalError::NoHttp),
        };
        Ok(Self { config, source })
    }

    /// Grades one batch, in one request. The rewards are in the order of the samples.
    pub fn grade_batch(&self, samples: &[(&Task, &Trace)]) -> Vec<Graded> {
        if samples.is_empty() {
            return Vec::new();
        }
        let request = message::request(samples);
        let time = Duration::from_secs_f64(self.config.batch_seconds);
        let answer = match &self.source {
            Source::Program(process) => {
                let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
                process.exchange(&request, time, |line| message::rewards(line, samples.len()))
            }
            #[cfg(feature = "http")]
            Source::Service(service) => service
                .exchange(&request)
                .and_then(|answer| message::rewards(&answer, samples.len())),
        };
        answer.unwrap_or_else(|problem| vec![Err(Failed(problem)); samples.len()])
    }
}
