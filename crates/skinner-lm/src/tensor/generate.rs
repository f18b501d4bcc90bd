//! Generation on a device: the keys and values of all completions under way lie there, and logits come to the
//! host, where tokens are drawn.
//!
//! The newest tokens of all rows share a column of the cache, so shorter rows begin later; what comes before a
//! row's first token is masked.

use burn_tensor::activation::softmax;
use burn_tensor::{DType, Device, Tensor};
use skinner_core::{Rng, SeedSequence};
use skinner_nn::matrix::Precision;

use super::TensorDevice;
use super::arrays::{Arrays, matrix, numbers, parts_of, places};
use super::batch::{Angles, Placed, UNSEEN, angles};
use super::head::TensorHead;
use super::net::{Net, scale};
use crate::decoder::{Batch, BlockAt, Decoder, Target};
use crate::error::LmError;
use crate::generate::{
    Completion, Drawn, Finish, Request, Sampling, Scored, Stop, begin_all, check,
};
use crate::tokenizer::TextStream;

/// Columns that the cache grows by.
const GROWTH: usize = 64;

/// The weights, owned or a learner's.
#[derive(Debug)]
enum Source<'a> {
    Owned { decoder: &'a Decoder, weights: Box<Arrays>, device: Device, half: bool },
    Lent { net: Net<'a>, device: &'a Device },
}

/// Generates and scores on a device, as [`crate::generate::Engine`] does on the CPU. A completion depends on its
/// prompt, its seed, its terms and the model, and on what is decoded beside it by no more than rounding.
#[derive(Debug)]
pub struct TensorEngine<'a> {
    source: Source<'a>,
    /// Completions decoded at once.
    pub max_batch: usize,
}

/// A completion under way.
struct Row<'a> {
    place: (usize, usize),
    rng: Rng,
    completion: Completion,
    text: Option<(TextStream<'a>, String)>,
    /// Tokens whose keys and values are in the cache.
    len: usize,
}

/// Keys and values of every row: of each layer, `rows × heads × capacity × head_dim`.
struct Cache {
    layers: Vec<[Tensor<4>; 2]>,
    /// Columns in use; every row's newest token is in the last.
    used: usize,
    capacity: usize,
}

impl<'a> TensorEngine<'a> {
    /// Brings a decoder's weights to a device; in bf16 they take half the memory.
    ///
    /// # Errors
    /// A precision that the device does not have.
    pub fn new(
        decoder: &'a Decoder,
        params: &[f32],
        device: &TensorDevice,
        precision: Precision,
    ) -> Result<Self, LmError> {
        let half = device.halves(precision)?;
        let weights = Arrays::upload(&parts_of(decoder.layout()), params, &device.handle);
        let weights = Box::new(if half { weights.rounded() } else { weights });
        let device = device.handle.clone();
        Ok(Self { source: Source::Owned { decoder, weights, device, half }, max_batch: 64 })
    }

    pub(super) fn lent(net: Net<'a>, device: &'a Device) -> Self {
        Self { source: Source::Lent { net, device }, max_batch: 64 }
    }

    fn net(&self) -> Net<'_> {
        match &self.source {
            Source::Owned { decoder, weights, half, .. } => {
                Net { decoder, weights, adapter: None, half: *half }
            }
            Source::Lent { net, .. } => *net,
        }
    }

    fn device(&self) -> &Device {
        match &self.source {
            Source::Owned { device, .. } => device,
            Source::Lent { device, .. } => device,
        }
    }

    /// Completes all requests; `watch` sees every token as it is drawn (request, completion, token) and
    /// returns whether that completion shall go on.
    ///
    /// # Errors
    /// As [`crate::generate::Engine::generate`].
    pub fn generate(
        &self,
        requests: &[Request],
        sampling: &Sampling,
        stop: &Stop<'_>,
        watch: &mut dyn FnMut(usize, usize, Drawn) -> bool,
    ) -> Result<Vec<Vec<Completion>>, LmError> {
        let mut done = begin_all(self.net().decoder, requests, sampling)?;
        if stop.max_new_tokens == 0 {
            return Ok(done);
        }
        let vocab = self.net().decoder.config().vocab_size;
        let (mut rows, mut cache, mut logits) = (Vec::<Row<'_>>::new(), None, Vec::<f32>::new());
        let mut waiting = 0;
        while waiting < requests.len() || !rows.is_empty() {
            // Whole requests enter while there is room, so that a prompt is run once.
            while waiting < requests.len()
                && (rows.is_empty() || rows.len() + requests[waiting].seeds.len() <= self.max_batch)
            {
                let request = &requests[waiting];
                let (entered, first) = self.prefill(request);
                for (j, seed) in request.seeds.iter().enumerate() {
                    let completion = done[waiting][j].clone();
                    rows.push(begin((waiting, j), request.prompt.len(), seed, stop, completion));
                    logits.extend_from_slice(&first);
                }
                cache = join(cache, entered, request.seeds.len());
                waiting += 1;
            }
            let drawn = rows.iter_mut().zip(logits.chunks_mut(vocab));
            for (row, logits) in drawn {
                let prompt = &requests[row.place.0].prompt;
                sampling.penalise(logits, prompt, &row.completion.ids);
                draw(row, logits, sampling, stop, watch)?;
            }
            let context = self.net().decoder.config().max_position_embeddings;
            let goes_on = |row: &Row<'_>| {
                row.completion.finish == Finish::Length
                    && row.completion.ids.len() < stop.max_new_tokens
                    && row.len < context
            };
            let staying: Vec<usize> = (0..rows.len()).filter(|&i| goes_on(&rows[i])).collect();
            if staying.len() < rows.len() {
                cache = cache.filter(|_| !staying.is_empty()).map(|c| keep_rows(c, &staying));
                let (stay, leave): (Vec<_>, Vec<_>) = rows.into_iter().partition(goes_on);
                for Row { place: (request, completion), completion: generated, .. } in leave {
                    done[request][completion] = generated;
                }
                rows = stay;
            }
            logits = match &mut cache {
                Some(cache) => self.step(&mut rows, cache),
                None => Vec::new(),
            };
        }
        Ok(done)
    }

    /// Runs a prompt: its keys and values, and what the next token is drawn from.
    fn prefill(&self, request: &Request) -> (Cache, Vec<f32>) {
        let (net, device) = (self.net(), self.device());
        let used = request.prompt.len();
        let segments = [(0, used).into()];
        let batch = Batch { ids: &request.prompt, segments: &segments, dropout: None };
        let placed = Placed::new(net.decoder, batch, device);
        let mut layers = Vec::new();
        let hidden = net.hidden(&placed, &mut |(k, v)| {
            layers.push([k, v].map(|x| x.clone().swap_dims(0, 1).unsqueeze_dim(0)));
        });
        let logits = numbers(net.logits(hidden.narrow(0, used - 1, 1)));
        (Cache { layers, used, capacity: used }, logits)
    }

    /// Runs the newest token of every row; returns what the next ones are drawn from.
    fn step(&self, rows: &mut [Row<'_>], cache: &mut Cache) -> Vec<f32> {
        let (net, device) = (self.net(), self.device());
        let layout = net.decoder.layout();
        if cache.used == cache.capacity {
            grow(cache);
        }
        let newest = rows.iter().map(|row| row.completion.ids.last().map_or(0, |&id| id as usize));
        let ids = places(newest, device);
        let positions = places(rows.iter().map(|row| row.len), device);
        let angles = angles(net.decoder, rows.iter().map(|row| row.len), device);
        let seen = seen(rows, cache, device);
        let mut x = net.embed(ids, positions);
        for (at, layer) in layout.blocks.iter().zip(&mut cache.layers) {
            x = block(&net, at, x, angles.as_ref(), layer, cache.used, &seen);
        }
        cache.used += 1;
        rows.iter_mut().for_each(|row| row.len += 1);
        numbers(net.logits(net.norm(layout.norm, x)))
    }

    /// Scores every token of a sequence but the first; shows no alternatives.
    ///
    /// # Errors
    /// No tokens, unknown ones, or more than the context holds.
    pub fn score(&self, ids: &[u32]) -> Result<Vec<Scored>, LmError> {
        let (net, segments) = (self.net(), [(0, ids.len()).into()]);
        check(net.decoder, ids)?;
        let batch = Batch { ids, segments: &segments, dropout: None };
        let placed = Placed::new(net.decoder, batch, self.device());
        let hidden = net.hidden(&placed, &mut |_| {});
        let targets: Vec<Target> =
            (1..ids.len()).map(|i| Target { row: i - 1, id: ids[i] }).collect();
        let scores = TensorHead::new(net).scores(&hidden, &targets);
        let scored = ids[1..].iter().zip(scores.log_prob);
        Ok(scored
            .map(|(&id, log_prob)| Scored { id, log_prob, alternatives: Vec::new() })
            .collect())
    }
}

fn begin<'a>(
    place: (usize, usize),
    len: usize,
    seed: &SeedSequence,
    stop: &Stop<'a>,
    completion: Completion,
) -> Row<'a> {
    let text = stop.tokenizer.filter(|_| !stop.strings.is_empty());
    let text = text.map(|tokenizer| (tokenizer.stream(false), String::new()));
    Row { place, rng: seed.rng(), completion, text, len }
}

/// Draws a row's next token, and ends the row if it is to end.
fn draw(
    row: &mut Row<'_>,
    logits: &mut [f32],
    sampling: &Sampling,
    stop: &Stop<'_>,
    watch: &mut dyn FnMut(usize, usize, Drawn) -> bool,
) -> Result<(), LmError> {
    let (request, place) = row.place;
    let completion = &mut row.completion;
    let Some(drawn) = sampling.draw(logits, &mut row.rng) else {
        let token = completion.ids.len();
        return Err(LmError::Logits { request, completion: place, token });
    };
    completion.take(drawn, stop, &mut row.text)?;
    if !watch(request, place, drawn) && completion.finish == Finish::Length {
        completion.finish = Finish::Cancelled;
    }
    Ok(())
}

/// The cache with a prompt's keys and values as so many more rows.
fn join(before: Option<Cache>, entered: Cache, rows: usize) -> Option<Cache> {
    if rows == 0 {
        return before;
    }
    let Some(before) = before else {
        let layers = entered.layers.into_iter();
        let layers = layers.map(|layer| layer.map(|x| x.repeat_dim(0, rows))).collect();
        return Some(Cache { layers, ..entered });
    };
    let used = before.used.max(entered.used);
    // Only what is in use, to the right.
    let fit = |x: Tensor<4>, own: usize| {
        let [count, heads, _, dim] = x.dims();
        let x = x.narrow(2, 0, own);
        if own == used {
            return x;
        }
        let blank = Tensor::zeros([count, heads, used - own, dim], (&x.device(), DType::F32));
        Tensor::cat(vec![blank, x], 2)
    };
    let layers = before.layers.into_iter().zip(entered.layers).map(|(before_layer, layer)| {
        let [k, v] = before_layer.map(|x| fit(x, before.used));
        let [new_k, new_v] = layer.map(|x| fit(x, entered.used).repeat_dim(0, rows));
        [Tensor::cat(vec![k, new_k], 0), Tensor::cat(vec![v, new_v], 0)]
    });
    Some(Cache { layers: layers.collect(), used, capacity: used })
}

fn keep_rows(cache: Cache, rows: &[usize]) -> Cache {
    let layers = cache.layers.into_iter().map(|layer| {
        layer.map(|x| {
            let staying = places(rows.iter().copied(), &x.device());
            x.select(0, staying)
        })
    });
    Cache { layers: layers.collect(), used: cache.used, capacity: cache.capacity }
}

fn grow(cache: &mut Cache) {
    for x in cache.layers.iter_mut().flatten() {
        let [rows, heads, _, dim] = x.dims();
        let more = Tensor::zeros([rows, heads, GROWTH, dim], (&x.device(), DType::F32));
        x.inplace(|x| Tensor::cat(vec![x, more], 2));
    }
    cache.capacity += GROWTH;
}

/// What scores are added to: nothing where a row has a token, its newest (which is to come) too.
fn seen(rows: &[Row<'_>], cache: &Cache, device: &Device) -> Tensor<4> {
    let mut mask = vec![UNSEEN; rows.len() * cache.capacity];
    for (row, mask) in rows.iter().zip(mask.chunks_mut(cache.capacity)) {
        mask[cache.used - row.len..=cache.used].fill(0.0);
    }
    matrix(mask, [rows.len(), cache.capacity], device).reshape([rows.len(), 1, 1, cache.capacity])
}

/// A block's output for one new token of every row, whose keys and values join the cache.
fn block(
    net: &Net<'_>,
    at: &BlockAt,
    x: Tensor<2>,
    angles: Option<&Angles>,
    layer: &mut [Tensor<4>; 2],
    column: usize,
    seen: &Tensor<4>,
) -> Tensor<2> {
    let dropped = |_, _, _| None;
    let qkv = net.linear(&at.qkv, &net.norm(at.norm1, x.clone()), &dropped);
    let [q, k, v] = net.heads(at, &qkv, angles);
    let [rows, queries, dim] = q.dims();
    let keys = k.dims()[1];
    for (cached, new) in layer.iter_mut().zip([k, v]) {
        let new = new.reshape([rows, keys, 1, dim]);
        cached.inplace(|cached| {
            cached.slice_assign([0..rows, 0..keys, column..column + 1, 0..dim], new)
        });
    }
    let [keys_seen, values_seen] = layer.clone();
    let q = q.reshape([rows, keys, queries / keys, dim]);
    let scores = q.matmul(keys_seen.swap_dims(2, 3)) * scale(dim) + seen.clone();
    let mixed = softmax(scores, 3).matmul(values_seen).reshape([rows, queries * dim]);
    let x = x + net.linear(&at.o, &mixed, &dropped);
    let inner = net.linear(&at.up, &net.norm(at.norm2, x.clone()), &dropped);
    x + net.linear(&at.down, &net.activate(inner), &dropped)
}
