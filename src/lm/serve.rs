//! `skinner serve`: the routes of the OpenAI API over HTTP.
//!
//! One thread decodes all requests together ([`worker`]); the others only read and write. A request is checked
//! and tokenized ([`ask`]), handed to the worker, and what the worker says of it becomes JSON ([`answer`]).

mod answer;
mod ask;
mod tools;
mod worker;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{self, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_core::Stream;
use serde_json::{Value, json};
use skinner_core::SeedSequence;
use tokio::sync::mpsc;

use super::{ModelArgs, Ready};
use crate::{interrupt, note, out};
use answer::Answer;
use ask::{Ask, Format, Refusal};
use worker::{Event, Job, Load};

/// The largest request.
const MAX_BODY: usize = 8 << 20;

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// What the model is called in requests and answers [default: as it is given by --model]
    #[arg(long)]
    name: Option<String>,
    /// The address to listen on; others than this machine reach it by 0.0.0.0
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on; 0 for any that is free
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Completions that are decoded together at most; further ones wait, and a request for more of one prompt is refused
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_batch: u32,
    /// Tokens of recent prompts that are kept, so that what a prompt has in common with one is not run again; 0 for
    /// none
    #[arg(long, value_name = "TOKENS", default_value_t = 8192)]
    prompt_cache: usize,
    /// Seed of requests that bring none, in the order in which they come
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the address as one JSON object
    #[arg(long)]
    json: bool,
}

/// What every request needs.
struct Server {
    ready: &'static Ready,
    name: String,
    seed: SeedSequence,
    started: u64,
    requests: AtomicU32,
    /// Completions that are decoded together at most.
    max_batch: u32,
    jobs: mpsc::UnboundedSender<Job>,
    load: Arc<Load>,
}

type Shared = Arc<Server>;

/// Runs `skinner serve`.
pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    // The model lives as long as the program.
    let ready: &'static Ready = Box::leak(Box::new(Ready::load(&args.model)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = format!("{}:{}", args.host, args.port);
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind((args.host.as_str(), args.port)))
        .with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    interrupt::listen()?;
    let (jobs, waiting) = mpsc::unbounded_channel();
    let load = Arc::new(Load::default());
    let server = Server {
        ready,
        name: args.name.clone().unwrap_or_else(|| args.model.model.clone()),
        seed: SeedSequence::new(args.seed),
        started: unix_time(),
        requests: AtomicU32::new(0),
        max_batch: args.max_batch,
        jobs,
        load: Arc::clone(&load),
    };
    let room = (args.max_batch as usize, args.prompt_cache);
    let under_way = Arc::clone(&load);
    let worker = std::thread::spawn(move || worker::work(ready, room, waiting, &load));
    announce(args, &server.name, address)?;
    runtime.block_on(async {
        let serving = axum::serve(listener, routes(server)).with_graceful_shutdown(interrupted());
        tokio::select! {
            ended = serving.into_future() => ended,
            () = left_alone(&under_way) => Ok(()),
        }
    })?;
    // With the routes their sender is gone, so the worker ends.
    drop(runtime);
    if worker.join().is_err() {
        bail!("the thread that decodes has ended by a panic: please report it");
    }
    Ok(())
}

fn announce(args: &ServeArgs, name: &str, address: SocketAddr) -> anyhow::Result<()> {
    let url = format!("http://{address}");
    if args.json {
        return out(&json!({"address": url, "port": address.port(), "model": name}).to_string());
    }
    out(&format!("serving {name} at {url}/v1"))?;
    note("Ctrl-C ends it once what is under way is answered; a second one at once");
    Ok(())
}

async fn interrupted() {
    while !interrupt::asked() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Once Ctrl-C was pressed and nothing has been decoded for a while: who is connected still has not sent a whole
/// request, or does not read its answer.
async fn left_alone(load: &Load) {
    const PATIENCE: Duration = Duration::from_secs(2);
    interrupted().await;
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if load.now() != (0, 0) {
            quiet_since = Instant::now();
        }
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn routes(server: Server) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .fallback(async || {
            let known = "/v1/chat/completions, /v1/completions, /v1/models and /health";
            Refusal::new(
                StatusCode::NOT_FOUND,
                format!("there is no such route; there are {known}"),
            )
        })
        .method_not_allowed_fallback(async || {
            let what = "this route has another method: POST for completions, GET for the rest";
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(server))
}

async fn health(State(server): State<Shared>) -> Json<Value> {
    let (active, waiting) = server.load.now();
    Json(json!({"status": "ok", "active": active, "waiting": waiting}))
}

impl Server {
    fn card(&self) -> Value {
        json!({
            "id": self.name,
            "object": "model",
            "created": self.started,
            "owned_by": "skinner",
            "root": self.ready.model.provenance,
            "max_model_len": self.ready.context(),
        })
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        if name == self.name {
            return Ok(());
        }
        let what = format!("there is no model `{name}`; this server has `{}`", self.name);
        Err(Refusal::new(StatusCode::NOT_FOUND, what).of("model").code("model_not_found"))
    }
}

async fn models(State(server): State<Shared>) -> Json<Value> {
    Json(json!({"object": "list", "data": [server.card()]}))
}

async fn model(
    State(server): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refusal> {
    server.check_name(&name)?;
    Ok(Json(server.card()))
}

type Received = Result<Bytes, BytesRejection>;

async fn chat_completions(
    State(server): State<Shared>,
    body: Received,
) -> Result<Response, Refusal> {
    complete(server, body, Format::Chat).await
}

async fn completions(State(server): State<Shared>, body: Received) -> Result<Response, Refusal> {
    complete(server, body, Format::Text).await
}

async fn complete(server: Shared, body: Received, format: Format) -> Result<Response, Refusal> {
    let body = body.map_err(|refused| match refused.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let what = format!("the request is larger than {MAX_BODY} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, what)
        }
        status => Refusal::new(status, refused.body_text()),
    })?;
    let number = server.requests.fetch_add(1, Ordering::Relaxed);
    let reading = Arc::clone(&server);
    // A long text takes a while to tokenize.
    let ask = tokio::task::spawn_blocking(move || Ask::read(&reading, &body, format, number))
        .await
        .map_err(|_| Refusal::internal("reading the request failed"))??;
    let (events, mut received) = mpsc::unbounded_channel();
    let mut answer = Answer::new(&server, &ask, number);
    for job in ask.jobs(&events) {
        server.jobs.send(job).map_err(|_| Refusal::internal("the server is shutting down"))?;
    }
    drop(events);
    if ask.stream {
        let chunks = Chunks { answer, received, last: Some(ask.include_usage) };
        let headers = [
            (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ];
        return Ok((headers, Body::from_stream(chunks)).into_response());
    }
    while let Some(event) = received.recv().await {
        answer.add(event).map_err(Refusal::internal)?;
    }
    Ok(Json(answer.whole()).into_response())
}

/// An answer as it comes, as server-sent events.
struct Chunks {
    answer: Answer,
    received: mpsc::UnboundedReceiver<Event>,
    /// What follows the last event: the mark of the end, and before it the usage if asked for.
    last: Option<bool>,
}

impl Stream for Chunks {
    type Item = Result<String, Infallible>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let line = |value: &Value| format!("data: {value}\n\n");
        loop {
            let Some(include_usage) = self.last else { return Poll::Ready(None) };
            let Some(event) = task::ready!(self.received.poll_recv(context)) else {
                self.last = None;
                let usage = include_usage.then(|| line(&self.answer.usage_chunk()));
                return Poll::Ready(Some(Ok(usage.unwrap_or_default() + "data: [DONE]\n\n")));
            };
            match self.answer.add(event) {
                Ok(place) => {
                    if let Some(chunk) = self.answer.chunk(place, include_usage) {
                        return Poll::Ready(Some(Ok(line(&chunk))));
                    }
                }
                Err(what) => {
                    self.last = None;
                    return Poll::Ready(Some(Ok(line(&Refusal::internal(what).body()))));
                }
            }
        }
    }
}
