//! A service that is asked over HTTP.

use std::time::Duration;

use ureq::http::Uri;
use ureq::{Agent, Error};

use super::{ExternalConfig, ExternalError};

pub(super) struct Service {
    agent: Agent,
    url: String,
    headers: Vec<(String, String)>,
    retries: u32,
}

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// How much of an answer's body a reason shows, in characters.
const SHOWN: usize = 200;

/// What went wrong, and whether it may go better the next time.
struct Problem {
    text: String,
    again: bool,
}

impl Service {
    pub(super) fn new(url: &str, config: &ExternalConfig) -> Result<Self, ExternalError> {
        url.parse::<Uri>().map_err(|_| ExternalError::Config {
            field: "url",
            value: url.to_owned(),
            right: "an address",
        })?;
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(config.batch_seconds)))
            .http_status_as_error(false)
            .build()
            .into();
        let headers = config.headers.clone().into_iter().collect();
        Ok(Self { agent, url: url.to_owned(), headers, retries: config.retries })
    }

    /// Sends a request, again where that may help, and returns the answer's body.
    pub(super) fn exchange(&self, request: &str) -> Result<String, String> {
        let mut left = self.retries;
        loop {
            match self.post(request) {
                Ok(body) => return Ok(body),
                Err(problem) if problem.again && left > 0 => left -= 1,
                Err(problem) => return Err(problem.text),
            }
        }
    }

    fn post(&self, request: &str) -> Result<String, Problem> {
        let mut post = self.agent.post(&self.url).header("Content-Type", "application/json");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let mut response = post.send(request).map_err(|error| self.problem(&error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| self.problem(&error))?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let shown: String = body.trim().chars().take(SHOWN).collect();
        let text = format!("{} answered with status {status}: {shown}", self.url);
        Err(Problem { text, again: status >= 500 })
    }

    fn problem(&self, error: &Error) -> Problem {
        Problem { text: format!("{}: {error}", self.url), again: true }
    }
}
