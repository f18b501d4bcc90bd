//! The thread that decodes: requests join the batch as they come and leave it as they end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use skinner_lm::LmError;
use skinner_lm::generate::{Drawn, Engine, Finish, Request, Scored, Seen, Session, Terms};
use skinner_nn::matrix::Cpu;
use tokio::sync::mpsc;

use crate::lm::Ready;

/// A prompt to complete.
pub(super) struct Job {
    /// The prompt, and a seed for each of its completions.
    pub request: Request,
    /// How.
    pub terms: Terms<'static>,
    /// Score the prompt too, with this many alternatives for each token.
    pub score: Option<usize>,
    /// The number of its first completion among those of the same answer.
    pub first: usize,
    /// Where what happens is told. Once it is closed, nobody waits for the answer.
    pub events: mpsc::UnboundedSender<Event>,
}

/// What happens to a job.
pub(super) enum Event {
    /// Its prompt was run. Of each of its completions, the first event.
    Began {
        /// Which completions.
        choices: std::ops::Range<usize>,
        /// Of the prompt's tokens but the first, if asked for.
        scored: Vec<Scored>,
        /// How many of the prompt's tokens were known from an earlier one.
        known: usize,
    },
    /// A completion has another token.
    Token {
        /// Which completion.
        choice: usize,
        /// The token.
        drawn: Drawn,
        /// The most likely tokens, if asked for.
        alternatives: Vec<(u32, f32)>,
    },
    /// A completion ended.
    Ended {
        /// Which completion.
        choice: usize,
        /// Why.
        finish: Finish,
    },
    /// It cannot be completed.
    Failed(String),
}

/// How much there is to do.
#[derive(Default)]
pub(super) struct Load {
    active: AtomicUsize,
    waiting: AtomicUsize,
}

impl Load {
    /// Completions under way and prompts that wait.
    pub(super) fn now(&self) -> (usize, usize) {
        (self.active.load(Ordering::Relaxed), self.waiting.load(Ordering::Relaxed))
    }
}

/// A job in the batch.
struct Active {
    number: usize,
    first: usize,
    left: usize,
    events: mpsc::UnboundedSender<Event>,
}

struct Worker<'a> {
    session: Session<'a>,
    cpu: Cpu,
    max_batch: usize,
    waiting: VecDeque<Job>,
    active: Vec<Active>,
    entered: usize,
}

/// Ends the process if its thread panics: requests would otherwise end as if they were whole, or never be answered.
struct NoServerWithoutIt;

impl Drop for NoServerWithoutIt {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Completes jobs until no more can come, so many completions together; keeps so many tokens of prompts.
pub(super) fn work(
    ready: &'static Ready,
    (max_batch, prompt_cache): (usize, usize),
    mut jobs: mpsc::UnboundedReceiver<Job>,
    load: &Load,
) {
    let engine = ready.engine();
    let mut worker = Worker {
        session: engine.session().keep_prompts(prompt_cache),
        cpu: ready.cpu(),
        max_batch,
        waiting: VecDeque::new(),
        active: Vec::new(),
        entered: 0,
    };
    // Dropped before the worker and the channels that it answers through.
    let _guard = NoServerWithoutIt;
    loop {
        if worker.active.is_empty() && worker.waiting.is_empty() {
            match jobs.blocking_recv() {
                Some(job) => worker.waiting.push_back(job),
                None => return,
            }
        }
        while let Ok(job) = jobs.try_recv() {
            worker.waiting.push_back(job);
        }
        worker.waiting.retain(|job| !job.events.is_closed());
        worker.admit(&engine);
        worker.tell(load);
        worker.advance();
        worker.tell(load);
    }
}

impl Worker<'_> {
    fn tell(&self, load: &Load) {
        load.active.store(self.session.rows(), Ordering::Relaxed);
        load.waiting.store(self.waiting.len(), Ordering::Relaxed);
    }

    /// Lets jobs in while there is room, in the order in which they came.
    fn admit(&mut self, engine: &Engine<'_>) {
        while let Some(job) = self.waiting.front() {
            let rows = self.session.rows();
            if rows > 0 && rows + job.request.seeds.len() > self.max_batch {
                return;
            }
            if let Some(job) = self.waiting.pop_front()
                && let Err(error) = self.begin(engine, &job)
            {
                // If nobody listens, nobody is to be told.
                let _ = job.events.send(Event::Failed(error.to_string()));
            }
        }
    }

    fn begin(&mut self, engine: &Engine<'_>, job: &Job) -> Result<(), LmError> {
        let scored = match job.score {
            Some(alternatives) => engine.score(&mut self.cpu, &job.request.prompt, alternatives)?,
            None => Vec::new(),
        };
        let choices = job.first..job.first + job.request.seeds.len();
        let tell = |event| job.events.send(event).is_ok();
        if job.terms.stop.max_new_tokens == 0 {
            tell(Event::Began { choices: choices.clone(), scored, known: 0 });
            choices.into_iter().all(|choice| tell(Event::Ended { choice, finish: Finish::Length }));
            return Ok(());
        }
        let number = self.entered;
        let known = self.session.enter(
            &mut self.cpu,
            number,
            std::slice::from_ref(&job.request),
            &job.terms,
        )?;
        self.entered += 1;
        let (first, left) = (job.first, choices.len());
        tell(Event::Began { choices, scored, known });
        self.active.push(Active { number, first, left, events: job.events.clone() });
        Ok(())
    }

    /// One token for all.
    fn advance(&mut self) {
        let active = &self.active;
        let place = |number| active.iter().position(|job: &Active| job.number == number);
        let mut watch = |seen: Seen<'_>| {
            let Some(job) = place(seen.request) else { return false };
            let (job, alternatives) = (&active[job], seen.alternatives.to_vec());
            let choice = job.first + seen.completion;
            job.events.send(Event::Token { choice, drawn: seen.drawn, alternatives }).is_ok()
        };
        for ended in self.session.advance(&mut self.cpu, &mut watch) {
            let place = self.active.iter().position(|job| job.number == ended.request);
            let Some(place) = place else { continue };
            let job = &mut self.active[place];
            job.left -= 1;
            let choice = job.first + ended.completion;
            let event = match ended.generated {
                Ok(completion) => Event::Ended { choice, finish: completion.finish },
                Err(error) => Event::Failed(error.to_string()),
            };
            // If nobody listens, nobody is to be told.
            let _ = job.events.send(event);
            if job.left == 0 {
                self.active.swap_remove(place);
            }
        }
    }
}
