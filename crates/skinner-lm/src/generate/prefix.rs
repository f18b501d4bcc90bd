//! Going on from a prompt that was run before.
//!
//! What a prompt has in common with an earlier one is not run again: its keys and values are there. The rest goes
//! through the same products in the same order as a whole prompt would, so the result has the same bits.

use std::sync::Arc;

use skinner_nn::matrix::{self, Cpu, Operand};

use super::{Cache, Engine, Prefilled};
use crate::decoder::{Group, Heads, Model};

/// Prompts that were run, the last used last.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Tokens of all of them together, at most.
    pub most: usize,
    prompts: Vec<Arc<Cache>>,
}

impl Kept {
    /// What is known of the longest beginning of `prompt`, its last token excepted: from that the next is drawn.
    pub fn take(&mut self, prompt: &[u32]) -> Option<Cache> {
        let usable = &prompt[..prompt.len().saturating_sub(1)];
        let common = |kept: &Cache| {
            kept.ids.iter().zip(usable).take_while(|(kept, asked)| kept == asked).count()
        };
        let lengths = self.prompts.iter().map(|kept| common(kept)).enumerate();
        let (place, len) = lengths.max_by_key(|(_, len)| *len).filter(|(_, len)| *len > 0)?;
        if self.prompts[place].len() > len {
            return Some(self.prompts[place].beginning(len));
        }
        // The prompt that goes on from it holds all of it.
        let whole = self.prompts.remove(place);
        Some(Arc::try_unwrap(whole).unwrap_or_else(|shared| (*shared).clone()))
    }

    /// Keeps a prompt, and forgets those used least recently where there is no room.
    pub fn put(&mut self, prompt: &Arc<Cache>) {
        self.prompts.retain(|kept| !prompt.ids.starts_with(&kept.ids));
        self.prompts.push(Arc::clone(prompt));
        while self.prompts.iter().map(|kept| kept.len()).sum::<usize>() > self.most {
            self.prompts.remove(0);
        }
    }
}

impl Cache {
    /// The first `len` tokens of it.
    fn beginning(&self, len: usize) -> Self {
        let cut = |layers: &[Vec<f32>]| -> Vec<Vec<f32>> {
            layers.iter().map(|rows| rows[..rows.len() / self.len() * len].to_vec()).collect()
        };
        let (keys, values) = (cut(&self.keys), cut(&self.values));
        Self { ids: self.ids[..len].to_vec(), keys, values }
    }
}

impl Engine<'_> {
    /// Runs `ids` behind the tokens of `cache`.
    pub(super) fn go_on(&self, cpu: &mut Cpu, mut cache: Cache, ids: &[u32]) -> Prefilled {
        let (width, layout) = (self.decoder.config().hidden_size, self.decoder.layout());
        let (before, heads) = (cache.len(), self.heads());
        let model = Model { params: self.params, adapter: self.adapter };
        cache.ids.extend_from_slice(ids);
        let mut x = vec![0.0; ids.len() * width];
        for (i, (&id, x)) in ids.iter().zip(x.chunks_mut(width)).enumerate() {
            self.decoder.embed_token(&self.params, id, before + i, x);
        }
        let angles = |i: usize| self.decoder.rope().map(|rope| rope.angles(before + i));
        let angles: Vec<Option<Vec<f32>>> = (0..ids.len()).map(angles).collect();
        let (mut normed, mut qkv, mut attended) = (Vec::new(), Vec::new(), Vec::new());
        let (mut inner, mut active, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for (layer, at) in layout.blocks.iter().enumerate() {
            self.norm(at.norm1, &x, &mut normed);
            at.qkv.forward(cpu, &model, &normed, &mut qkv, None);
            for (qkv, angles) in qkv.chunks_mut(heads.row()).zip(&angles) {
                self.position_heads(heads, at.head_norms, angles.as_deref(), qkv);
            }
            cache.extend(heads, layer, &qkv);
            attend(cpu, heads, &cache, layer, &qkv, &mut attended);
            at.o.forward(cpu, &model, &attended, &mut out, None);
            matrix::add_scaled(&mut x, 1.0, &out);
            self.norm(at.norm2, &x, &mut normed);
            at.up.forward(cpu, &model, &normed, &mut inner, None);
            self.activate(&inner, &mut active);
            at.down.forward(cpu, &model, &active, &mut out, None);
            matrix::add_scaled(&mut x, 1.0, &out);
        }
        self.norm(layout.norm, &x[x.len() - width..], &mut normed);
        let logits = self.logits(cpu, &normed);
        Prefilled { cache: Arc::new(cache), logits }
    }
}

/// Attention of the cache's last tokens, whose queries are in `qkv`, to all before them: as the decoder computes
/// that of a whole sequence, for each head of keys with the queries that share it.
fn attend(
    cpu: &mut Cpu,
    heads: Heads,
    cache: &Cache,
    layer: usize,
    qkv: &[f32],
    attended: &mut Vec<f32>,
) {
    let (dim, row, key_row) = (heads.dim, heads.row(), heads.keys * heads.dim);
    let (group, tokens) = (heads.queries / heads.keys, qkv.len() / heads.row());
    let mut units: Vec<Vec<f32>> = vec![vec![0.0; group * tokens * dim]; heads.keys];
    let mut items: Vec<_> = units.iter_mut().enumerate().collect();
    cpu.team.for_each(&mut items, |(head, out)| {
        let heads_of_key = Group {
            heads,
            len: cache.len(),
            keys: Operand::rows(&cache.keys[layer][*head * dim..], key_row),
            values: Operand::rows(&cache.values[layer][*head * dim..], key_row),
            queries: &qkv[*head * group * dim..],
            row,
            tokens,
        };
        heads_of_key.attend(out, &mut vec![0.0; group * tokens]);
    });
    let width = heads.queries * dim;
    attended.resize(tokens * width, 0.0);
    for (head, unit) in units.iter().enumerate() {
        for (place, part) in unit.chunks(dim).enumerate() {
            let (g, token) = (place / tokens, place % tokens);
            let to = token * width + (head * group + g) * dim;
            attended[to..to + dim].copy_from_slice(part);
        }
    }
}
