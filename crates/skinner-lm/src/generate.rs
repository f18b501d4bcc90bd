//! Generation: batched decoding with a cache of keys and values.
//!
//! It knows nothing of text but for stop strings. A completion depends on its prompt, its seed, its terms and
//! the model: not on what else is in the batch or when that came, nor on the number of threads.

mod prefix;
mod sampling;
mod score;

use std::collections::BTreeMap;
use std::sync::Arc;

use skinner_core::{Rng, SeedSequence};
use skinner_nn::matrix::{self, Cached, Cpu, Operand, Packed, Source, few_rows};

pub use sampling::{Drawn, Sampling};
pub use score::Scored;

use crate::decoder::{
    Adapter, Batch, Decoder, Heads, Keep, Linear, Model, NormAt, Params, Segment, Tape, rotate,
};
use crate::error::LmError;
use crate::tokenizer::{TextStream, Tokenizer};
use prefix::Kept;

/// Prompt tokens that are run at once.
const PREFILL: usize = 2048;

/// When a completion ends.
#[derive(Clone, Debug, Default)]
pub struct Stop<'a> {
    /// After any of these tokens.
    pub ids: Vec<u32>,
    /// Once the text holds any of these.
    pub strings: Vec<String>,
    /// Who makes the text for `strings`.
    pub tokenizer: Option<&'a Tokenizer>,
    /// After this many tokens.
    pub max_new_tokens: usize,
}

/// How tokens are drawn and when completions end.
#[derive(Clone, Debug, Default)]
pub struct Terms<'a> {
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// When a completion ends.
    pub stop: Stop<'a>,
    /// How many of the most likely tokens are shown in place of each that is drawn.
    pub alternatives: usize,
}

/// A token that was drawn, as who watches sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Which request.
    pub request: usize,
    /// Which of its completions.
    pub completion: usize,
    /// The token.
    pub drawn: Drawn,
    /// The most likely tokens and their log-probabilities, most likely first.
    pub alternatives: &'a [(u32, f32)],
}

/// A completion that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Of which request.
    pub request: usize,
    /// Which of its completions.
    pub completion: usize,
    /// What was generated, or why it cannot go on: logits that are no numbers, or tokens that make no text to
    /// look for stop strings in.
    pub generated: Result<Completion, LmError>,
}

/// A prompt and how to go on.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tokens, at least one.
    pub prompt: Vec<u32>,
    /// One completion for each, all from one run of the prompt.
    pub seeds: Vec<SeedSequence>,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A stop token (its last) or a stop string.
    Stop,
    /// It reached the length asked for, or the model's context.
    Length,
    /// Whoever watched asked for it.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The tokens; a stop token is the last.
    pub ids: Vec<u32>,
    /// What is known of each, see [`Drawn`].
    pub drawn: Vec<Drawn>,
    /// Why it ended.
    pub finish: Finish,
}

impl Completion {
    /// Takes in a token that was drawn, and ends where `stop` says so; `text` is what stop strings are looked
    /// for in.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub(crate) fn take(
        &mut self,
        drawn: Drawn,
        stop: &Stop<'_>,
        text: &mut Option<(TextStream<'_>, String)>,
    ) -> Result<(), LmError> {
        self.ids.push(drawn.id);
        self.drawn.push(drawn);
        if stop.ids.contains(&drawn.id) {
            self.finish = Finish::Stop;
        }
        if let Some((stream, text)) = text
            && stop.tokenizer.is_some_and(|t| t.id_to_token(drawn.id).is_some())
        {
            // A row of the model that is no token has no text.
            text.push_str(&stream.push(drawn.id)?);
            if stop.strings.iter().any(|s| text.contains(s.as_str())) {
                self.finish = Finish::Stop;
            }
        }
        Ok(())
    }

    /// The tokens' log-probabilities.
    pub fn log_probs(&self) -> Vec<f32> {
        self.drawn.iter().map(|drawn| drawn.log_prob).collect()
    }
}

/// Keys and values of some tokens: of each layer, one row a token.
#[derive(Clone, Debug, Default)]
struct Cache {
    ids: Vec<u32>,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Cache {
    fn new(layers: usize) -> Self {
        Self { ids: vec![], keys: vec![Vec::new(); layers], values: vec![Vec::new(); layers] }
    }

    fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds the keys and values of some rows of q, k and v.
    fn extend(&mut self, heads: Heads, layer: usize, qkv: &[f32]) {
        let (key, width) = (heads.queries * heads.dim, heads.keys * heads.dim);
        for qkv in qkv.chunks_exact(heads.row()) {
            self.keys[layer].extend_from_slice(&qkv[key..key + width]);
            self.values[layer].extend_from_slice(&qkv[key + width..]);
        }
    }
}

/// A completion under way.
struct Sequence<'a> {
    /// Which request, and which of its completions.
    place: (usize, usize),
    terms: Arc<Terms<'a>>,
    prefix: Arc<Cache>,
    own: Cache,
    rng: Rng,
    completion: Completion,
    text: Option<(TextStream<'a>, String)>,
    failed: Option<LmError>,
}

/// A decoder's matrices in the form that products read them in; as large as they are in f32.
#[derive(Debug, Default)]
pub struct PackedWeights(BTreeMap<usize, Packed>);

impl PackedWeights {
    /// Packs weights in place of those packed before.
    pub fn pack(&mut self, cpu: &mut Cpu, decoder: &Decoder, params: &[f32]) {
        let (config, layout) = (decoder.config(), decoder.layout());
        let linear = |at: &Linear| (at.weight, at.inputs, at.outputs);
        let blocks = layout
            .blocks
            .iter()
            .flat_map(|block| [&block.qkv, &block.o, &block.up, &block.down].map(linear));
        for (weight, inputs, outputs) in
            blocks.chain([(layout.head, config.hidden_size, config.vocab_size)])
        {
            let matrix = Operand::rows(&params[weight..weight + inputs * outputs], inputs);
            let packed = self.0.entry(weight).or_default();
            packed.pack_on(&mut cpu.team, [inputs, outputs], matrix.flipped());
        }
    }
}

/// Generates with a decoder's weights, lent for its life.
#[derive(Debug)]
pub struct Engine<'a> {
    decoder: &'a Decoder,
    params: Params<'a>,
    /// Adapters beside the weights, if any.
    pub adapter: Option<Adapter<'a>>,
    /// The matrices, packed: with them many completions are decoded faster, and sums are those of training.
    pub packed: Option<&'a PackedWeights>,
    /// Completions decoded at once.
    pub max_batch: usize,
}

/// Completions under way, which requests join and leave; made by [`Engine::session`].
pub struct Session<'a> {
    engine: &'a Engine<'a>,
    active: Vec<Sequence<'a>>,
    /// Of each active completion: what its next token is drawn from.
    logits: Vec<f32>,
    kept: Kept,
}

impl<'a> Session<'a> {
    /// Keeps what prompts left, of at most so many tokens together, the last used ones: what a prompt has in common
    /// with one of them is not run again. Nothing of what is generated depends on it, not a bit.
    pub fn keep_prompts(mut self, tokens: usize) -> Self {
        self.kept.most = tokens;
        self
    }

    /// Completions under way.
    pub fn rows(&self) -> usize {
        self.active.len()
    }

    /// Runs the prompts of further requests, which are numbered from `first` on. Returns how many of their tokens
    /// were known from earlier ones, see [`Session::keep_prompts`].
    ///
    /// # Errors
    /// As [`Engine::check_terms`]; then nothing enters.
    pub fn enter(
        &mut self,
        cpu: &mut Cpu,
        first: usize,
        requests: &[Request],
        terms: &Terms<'a>,
    ) -> Result<usize, LmError> {
        for request in requests {
            self.engine.check_terms(request, terms)?;
        }
        let terms = Arc::new(terms.clone());
        let mut known = 0;
        let prefilled = if self.kept.most == 0 {
            self.engine.prefill(cpu, requests)
        } else {
            requests.iter().flat_map(|request| self.prefill(cpu, request, &mut known)).collect()
        };
        for (i, prefilled) in prefilled.into_iter().enumerate() {
            for (j, seed) in requests[i].seeds.iter().enumerate() {
                let place = (first + i, j);
                self.active.push(self.engine.begin(place, &prefilled, seed, &terms));
                self.logits.extend_from_slice(&prefilled.logits);
            }
        }
        Ok(known)
    }

    /// Runs what is new of a prompt, and keeps it; adds to `known` what is not.
    fn prefill(&mut self, cpu: &mut Cpu, request: &Request, known: &mut usize) -> Vec<Prefilled> {
        let prefilled = match self.kept.take(&request.prompt) {
            Some(cache) => {
                let new = &request.prompt[cache.len()..];
                *known += cache.len();
                vec![self.engine.go_on(cpu, cache, new)]
            }
            None => self.engine.prefill(cpu, std::slice::from_ref(request)),
        };
        prefilled.iter().for_each(|prefilled| self.kept.put(&prefilled.cache));
        prefilled
    }

    /// Draws a token for every completion under way and returns those that ended with it. `watch` sees every
    /// token as it is drawn and returns whether that completion shall go on.
    pub fn advance(
        &mut self,
        cpu: &mut Cpu,
        watch: &mut dyn FnMut(Seen<'_>) -> bool,
    ) -> Vec<Ended> {
        let engine = self.engine;
        engine.draw(cpu, &mut self.active, &mut self.logits, watch);
        let mut ended = Vec::new();
        self.active = std::mem::take(&mut self.active)
            .into_iter()
            .filter_map(|sequence| {
                let goes_on = sequence.failed.is_none()
                    && sequence.completion.finish == Finish::Length
                    && !engine.full(&sequence);
                if goes_on {
                    return Some(sequence);
                }
                let (request, completion) = sequence.place;
                let generated = sequence.failed.map_or(Ok(sequence.completion), Err);
                ended.push(Ended { request, completion, generated });
                None
            })
            .collect();
        engine.step(cpu, &mut self.active, &mut self.logits);
        ended
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("rows", &self.rows()).finish_non_exhaustive()
    }
}

/// A prompt that was run.
struct Prefilled {
    cache: Arc<Cache>,
    logits: Vec<f32>,
}

/// Checks that a prompt can be gone on from.
pub(crate) fn check(decoder: &Decoder, prompt: &[u32]) -> Result<(), LmError> {
    if prompt.is_empty() {
        return Err(LmError::Sampling("the prompt has no tokens: nothing to go on from".into()));
    }
    decoder.check(prompt)
}

/// Checks what is asked for, and returns all its completions, which have no tokens yet.
pub(crate) fn begin_all(
    decoder: &Decoder,
    requests: &[Request],
    sampling: &Sampling,
) -> Result<Vec<Vec<Completion>>, LmError> {
    sampling.validate()?;
    let begin = |request: &Request| {
        check(decoder, &request.prompt)?;
        let empty = Completion { ids: vec![], drawn: vec![], finish: Finish::Length };
        Ok(vec![empty; request.seeds.len()])
    };
    requests.iter().map(begin).collect()
}

impl<'a> Engine<'a> {
    /// An engine of these weights.
    pub fn new(decoder: &'a Decoder, params: Params<'a>) -> Self {
        Self { decoder, params, adapter: None, packed: None, max_batch: 64 }
    }

    /// Completes all requests; `watch` sees every token as it is drawn (request, completion, token) and
    /// returns whether that completion shall go on.
    ///
    /// # Errors
    /// An empty prompt, one with an unknown token or longer than the context leaves room for; a value of
    /// `sampling` out of range; logits that are no numbers; tokens that make no text to look for stop strings in.
    pub fn generate(
        &self,
        cpu: &mut Cpu,
        requests: &[Request],
        sampling: &Sampling,
        stop: &Stop<'_>,
        watch: &mut dyn FnMut(usize, usize, Drawn) -> bool,
    ) -> Result<Vec<Vec<Completion>>, LmError> {
        let mut done = begin_all(self.decoder, requests, sampling)?;
        if stop.max_new_tokens == 0 {
            return Ok(done);
        }
        let terms = Terms { sampling: sampling.clone(), stop: stop.clone(), alternatives: 0 };
        let mut session = self.session();
        let mut waiting = 0;
        while waiting < requests.len() || session.rows() > 0 {
            // Whole requests enter while there is room, so that a prompt is run once.
            let from = waiting;
            let mut rows = session.rows();
            while waiting < requests.len()
                && (rows == 0 || rows + requests[waiting].seeds.len() <= self.max_batch)
            {
                rows += requests[waiting].seeds.len();
                waiting += 1;
            }
            session.enter(cpu, from, &requests[from..waiting], &terms)?;
            let mut each = |seen: Seen<'_>| watch(seen.request, seen.completion, seen.drawn);
            for ended in session.advance(cpu, &mut each) {
                done[ended.request][ended.completion] = ended.generated?;
            }
        }
        Ok(done)
    }

    /// Completions that requests may join at any time.
    pub fn session(&'a self) -> Session<'a> {
        Session { engine: self, active: Vec::new(), logits: Vec::new(), kept: Kept::default() }
    }

    fn check(&self, prompt: &[u32]) -> Result<(), LmError> {
        check(self.decoder, prompt)
    }

    /// Checks that a request can be completed.
    ///
    /// # Errors
    /// As [`Engine::generate`]; also when no token is asked for.
    pub fn check_terms(&self, request: &Request, terms: &Terms<'_>) -> Result<(), LmError> {
        terms.sampling.validate()?;
        if terms.stop.max_new_tokens == 0 {
            return Err(LmError::Sampling("max_new_tokens = 0: must be at least 1".into()));
        }
        self.check(&request.prompt)
    }

    /// Whether a sequence has all the tokens it may have.
    fn full(&self, sequence: &Sequence<'_>) -> bool {
        let drawn = sequence.completion.ids.len();
        let context = self.decoder.config().max_position_embeddings;
        drawn >= sequence.terms.stop.max_new_tokens || sequence.prefix.len() + drawn > context
    }

    fn begin<'s>(
        &self,
        place: (usize, usize),
        prefilled: &Prefilled,
        seed: &SeedSequence,
        terms: &Arc<Terms<'s>>,
    ) -> Sequence<'s> {
        let stop = &terms.stop;
        let text = stop.tokenizer.filter(|_| !stop.strings.is_empty());
        Sequence {
            place,
            terms: Arc::clone(terms),
            prefix: Arc::clone(&prefilled.cache),
            own: Cache::new(self.decoder.config().num_hidden_layers),
            rng: seed.rng(),
            completion: Completion { ids: vec![], drawn: vec![], finish: Finish::Length },
            text: text.map(|tokenizer| (tokenizer.stream(false), String::new())),
            failed: None,
        }
    }

    /// Runs prompts, packed.
    fn prefill(&self, cpu: &mut Cpu, requests: &[Request]) -> Vec<Prefilled> {
        let mut prefilled = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while !rest.is_empty() {
            let mut tokens = 0;
            let count = rest
                .iter()
                .take_while(|request| {
                    let fits = tokens == 0 || tokens + request.prompt.len() <= PREFILL;
                    tokens += request.prompt.len();
                    fits
                })
                .count();
            let (now, later) = rest.split_at(count);
            self.prefill_packed(cpu, now, &mut prefilled);
            rest = later;
        }
        prefilled
    }

    fn prefill_packed(&self, cpu: &mut Cpu, requests: &[Request], out: &mut Vec<Prefilled>) {
        let config = self.decoder.config();
        let (layers, width) = (config.num_hidden_layers, config.hidden_size);
        let heads = self.heads();
        let row = heads.row();
        let mut segments = Vec::with_capacity(requests.len());
        let mut ids = Vec::new();
        for request in requests {
            segments.push(Segment::from((ids.len(), ids.len() + request.prompt.len())));
            ids.extend_from_slice(&request.prompt);
        }
        let mut caches: Vec<Cache> = requests.iter().map(|_| Cache::new(layers)).collect();
        let batch = Batch { ids: &ids, segments: &segments, dropout: None };
        let model = Model { params: self.params, adapter: self.adapter };
        let mut tape = Tape::default();
        self.decoder.forward(cpu, &model, &batch, &mut tape, Keep::LastOnly, |layer, qkv| {
            for (cache, segment) in caches.iter_mut().zip(&segments) {
                cache.extend(heads, layer, &qkv[segment.start * row..segment.end * row]);
            }
        });
        let hidden = tape.hidden.chunks(width);
        for ((mut cache, segment), hidden) in caches.into_iter().zip(&segments).zip(hidden) {
            cache.ids.extend_from_slice(&ids[segment.start..segment.end]);
            let logits = self.logits(cpu, hidden);
            out.push(Prefilled { cache: Arc::new(cache), logits });
        }
    }

    /// Draws the next token of every sequence from its logits, and ends those that are to end.
    fn draw(
        &self,
        cpu: &mut Cpu,
        active: &mut [Sequence<'_>],
        logits: &mut [f32],
        watch: &mut dyn FnMut(Seen<'_>) -> bool,
    ) {
        let vocab = self.decoder.config().vocab_size;
        let mut drawn = vec![None; active.len()];
        let rows = active.iter_mut().zip(logits.chunks_mut(vocab));
        let mut items: Vec<_> = rows.zip(drawn.iter_mut()).collect();
        cpu.team.for_each(&mut items, |((sequence, logits), drawn)| {
            let terms = &sequence.terms;
            let (prompt, before) = (&sequence.prefix.ids, &sequence.completion.ids);
            terms.sampling.penalise(logits, prompt, before);
            let token = terms.sampling.draw(logits, &mut sequence.rng);
            **drawn = token.map(|token| (token, token.alternatives(logits, terms.alternatives)));
        });
        drop(items);
        for (sequence, found) in active.iter_mut().zip(drawn) {
            let (request, place) = sequence.place;
            let completion = &mut sequence.completion;
            let Some((drawn, alternatives)): Option<(Drawn, Vec<(u32, f32)>)> = found else {
                let token = completion.ids.len();
                sequence.failed = Some(LmError::Logits { request, completion: place, token });
                continue;
            };
            let stop = &sequence.terms.stop;
            if let Err(error) = completion.take(drawn, stop, &mut sequence.text) {
                sequence.failed = Some(error);
            }
            let alternatives = &alternatives;
            let go_on = watch(Seen { request, completion: place, drawn, alternatives });
            if !go_on && completion.finish == Finish::Length {
                completion.finish = Finish::Cancelled;
            }
        }
    }

    fn heads(&self) -> Heads {
        let config = self.decoder.config();
        Heads {
            queries: config.num_attention_heads,
            keys: config.num_key_value_heads,
            dim: config.head_dim,
        }
    }

    /// Runs the last token of every sequence; leaves the next tokens' logits.
    fn step(&self, cpu: &mut Cpu, active: &mut [Sequence<'_>], logits: &mut Vec<f32>) {
        logits.clear();
        if active.is_empty() {
            return;
        }
        let config = self.decoder.config();
        let (width, layout) = (config.hidden_size, self.decoder.layout());
        let mut x = vec![0.0; active.len() * width];
        let mut angles = Vec::with_capacity(active.len());
        for (sequence, x) in active.iter().zip(x.chunks_mut(width)) {
            let position = sequence.prefix.len() + sequence.own.len();
            let last = sequence.completion.ids[sequence.completion.ids.len() - 1];
            self.decoder.embed_token(&self.params, last, position, x);
            angles.push(self.decoder.rope().map(|rope| rope.angles(position)));
        }
        let (mut normed, mut qkv, mut attended) = (Vec::new(), Vec::new(), Vec::new());
        let (mut inner, mut active_inner) = (Vec::new(), Vec::new());
        let mut out = Vec::new();
        for (layer, at) in layout.blocks.iter().enumerate() {
            self.norm(at.norm1, &x, &mut normed);
            self.linear(cpu, &at.qkv, &normed, &mut qkv);
            self.attend(cpu, layer, at.head_norms, active, &angles, &mut qkv, &mut attended);
            self.linear(cpu, &at.o, &attended, &mut out);
            matrix::add_scaled(&mut x, 1.0, &out);
            self.norm(at.norm2, &x, &mut normed);
            self.linear(cpu, &at.up, &normed, &mut inner);
            self.activate(&inner, &mut active_inner);
            self.linear(cpu, &at.down, &active_inner, &mut out);
            matrix::add_scaled(&mut x, 1.0, &out);
        }
        for sequence in active.iter_mut() {
            sequence.own.ids.extend(sequence.completion.ids.last());
        }
        self.norm(layout.norm, &x, &mut normed);
        *logits = self.logits(cpu, &normed);
    }

    fn norm(&self, at: NormAt, x: &[f32], y: &mut Vec<f32>) {
        let (width, eps) = (self.decoder.config().hidden_size, self.decoder.config().norm_eps);
        let weight = self.params.vector(at.weight, width);
        y.resize(x.len(), 0.0);
        for (x, y) in x.chunks(width).zip(y.chunks_mut(width)) {
            match at.bias {
                None => matrix::rms_norm(x, weight, eps, y),
                Some(bias) => {
                    let bias = self.params.vector(bias, width);
                    matrix::layer_norm(x, weight, bias, eps, y).1
                }
            };
        }
    }

    fn linear(&self, cpu: &mut Cpu, at: &Linear, x: &[f32], y: &mut Vec<f32>) {
        let (inputs, outputs) = (at.inputs, at.outputs);
        let rows = x.len() / inputs;
        y.resize(rows * outputs, 0.0);
        self.product(cpu, at.weight, x, [rows, outputs, inputs], y);
        if let Some(bias) = at.bias {
            let bias = self.params.vector(bias, outputs);
            y.chunks_mut(outputs).for_each(|y| matrix::add_scaled(y, 1.0, bias));
        }
        let Some(adapter) = self.adapter else { return };
        for part in &at.parts {
            let Some([a, b]) = adapter.of(part.id, inputs, part.len) else { continue };
            let (rank, scale) = (adapter.layout.rank(), adapter.layout.scale());
            let (mut low, mut high) = (vec![0.0; rows * rank], vec![0.0; rows * part.len]);
            few_rows(cpu, x, Source::F32(a), [rows, rank, inputs], &mut low, rank);
            few_rows(cpu, &low, Source::F32(b), [rows, part.len, rank], &mut high, part.len);
            for (y, high) in y.chunks_mut(outputs).zip(high.chunks(part.len)) {
                matrix::add_scaled(&mut y[part.from..part.from + part.len], scale, high);
            }
        }
    }

    fn activate(&self, inner: &[f32], active: &mut Vec<f32>) {
        let config = self.decoder.config();
        let width = config.intermediate_size;
        let gated = config.family != crate::config::Family::Gpt2;
        let row = if gated { 2 * width } else { width };
        active.resize(inner.len() / row * width, 0.0);
        for (inner, active) in inner.chunks(row).zip(active.chunks_mut(width)) {
            if gated {
                matrix::swiglu(&inner[..width], &inner[width..], active);
            } else {
                matrix::gelu(inner, active);
            }
        }
    }

    fn logits(&self, cpu: &mut Cpu, hidden: &[f32]) -> Vec<f32> {
        let config = self.decoder.config();
        let (vocab, width) = (config.vocab_size, config.hidden_size);
        let rows = hidden.len() / width;
        let head = self.decoder.layout().head;
        let mut logits = vec![0.0; rows * vocab];
        self.product(cpu, head, hidden, [rows, vocab, width], &mut logits);
        logits
    }

    /// `y = x Wᵀ` with the matrix that begins at a place of the weights.
    fn product(
        &self,
        cpu: &mut Cpu,
        weight: usize,
        x: &[f32],
        [rows, outputs, inputs]: [usize; 3],
        y: &mut [f32],
    ) {
        if let Some(packed) = self.packed.and_then(|packed| packed.0.get(&weight)) {
            packed.product_on(&mut cpu.team, rows, Operand::rows(x, inputs), y);
        } else {
            let weight = self.params.matrix(weight..weight + inputs * outputs);
            few_rows(cpu, x, weight, [rows, outputs, inputs], y, outputs);
        }
    }

    /// Attention of one new token of every sequence, whose keys and values join its cache.
    fn attend(
        &self,
        cpu: &mut Cpu,
        layer: usize,
        head_norms: Option<(usize, usize)>,
        active: &mut [Sequence<'_>],
        angles: &[Option<Vec<f32>>],
        qkv: &mut [f32],
        attended: &mut Vec<f32>,
    ) {
        let heads = self.heads();
        let width = heads.queries * heads.dim;
        attended.clear();
        attended.resize(active.len() * width, 0.0);
        let rows = active.iter_mut().zip(angles).zip(qkv.chunks_mut(heads.row()));
        let mut items: Vec<_> = rows.zip(attended.chunks_mut(width)).collect();
        cpu.team.for_each(&mut items, |(((sequence, angles), qkv), out)| {
            self.position_heads(heads, head_norms, angles.as_deref(), qkv);
            let (queries, rest) = qkv.split_at(width);
            let (key, value) = rest.split_at(heads.keys * heads.dim);
            sequence.own.keys[layer].extend_from_slice(key);
            sequence.own.values[layer].extend_from_slice(value);
            attend_cached(heads, sequence, layer, queries, out);
        });
    }

    fn position_heads(
        &self,
        heads: Heads,
        norms: Option<(usize, usize)>,
        angles: Option<&[f32]>,
        qkv: &mut [f32],
    ) {
        let dim = heads.dim;
        if let Some((q, k)) = norms {
            for head in 0..heads.queries + heads.keys {
                let norm = if head < heads.queries { q } else { k };
                let weight = self.params.vector(norm, dim);
                let raw = qkv[head * dim..(head + 1) * dim].to_vec();
                let eps = self.decoder.config().norm_eps;
                matrix::rms_norm(&raw, weight, eps, &mut qkv[head * dim..(head + 1) * dim]);
            }
        }
        if let Some(angles) = angles {
            rotate(&mut qkv[..(heads.queries + heads.keys) * dim], dim, angles);
        }
    }
}

/// A head's rows of a layer's cache.
fn cached(heads: Heads, rows: &[f32], head: usize, len: usize) -> Cached<'_> {
    let rows = rows.get(head * heads.dim..).unwrap_or_default();
    Cached { rows, stride: heads.keys * heads.dim, len, dim: heads.dim }
}

/// Attention of a sequence's newest token (its key and value are in the cache) to all before it.
fn attend_cached(
    heads: Heads,
    sequence: &Sequence<'_>,
    layer: usize,
    queries: &[f32],
    out: &mut [f32],
) {
    let dim = heads.dim;
    let group = heads.queries / heads.keys;
    let (before, own) = (sequence.prefix.len(), sequence.own.len() + 1);
    let len = before + own;
    let mut scores = vec![0.0; group * len];
    for head in 0..heads.keys {
        let span = head * group * dim..(head + 1) * group * dim;
        let (queries, out) = (&queries[span.clone()], &mut out[span]);
        let prefix_keys = cached(heads, &sequence.prefix.keys[layer], head, before);
        matrix::attention_scores(queries, prefix_keys, &mut scores, len);
        let own_keys = cached(heads, &sequence.own.keys[layer], head, own);
        matrix::attention_scores(queries, own_keys, &mut scores[before..], len);
        for row in scores.chunks_mut(len) {
            let largest = matrix::max(row) * heads.scale();
            let inverse = 1.0 / matrix::exp_sum(row, heads.scale(), largest);
            row.iter_mut().for_each(|p| *p *= inverse);
        }
        let prefix_values = cached(heads, &sequence.prefix.values[layer], head, before);
        matrix::attention_mix(&scores, len, prefix_values, out);
        let own_values = cached(heads, &sequence.own.values[layer], head, own);
        matrix::attention_mix(&scores[before..], len, own_values, out);
    }
}

#[cfg(test)]
mod tests;
