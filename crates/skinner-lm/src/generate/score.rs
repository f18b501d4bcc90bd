//! Log-probabilities of tokens that are given.

use skinner_nn::matrix::{Cpu, exp_sum, max};

use super::Engine;
use super::sampling::most_likely;
use crate::decoder::{Batch, Head, Keep, Model, Tape, Target};
use crate::error::LmError;

/// Rows whose logits are held at once, where alternatives are looked for.
const CHUNK: usize = 64;

/// A token that was given, from what precedes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// Its log-probability at temperature 1.
    pub log_prob: f32,
    /// The most likely tokens in its place and their log-probabilities, most likely first.
    pub alternatives: Vec<(u32, f32)>,
}

impl Engine<'_> {
    /// Scores every token of a sequence but the first.
    ///
    /// # Errors
    /// No tokens, unknown ones, or more than the context holds.
    pub fn score(
        &self,
        cpu: &mut Cpu,
        ids: &[u32],
        alternatives: usize,
    ) -> Result<Vec<Scored>, LmError> {
        self.check(ids)?;
        let segments = [(0, ids.len()).into()];
        let batch = Batch { ids, segments: &segments, dropout: None };
        let model = Model { params: self.params, adapter: self.adapter };
        let mut tape = Tape::default();
        self.decoder.forward(cpu, &model, &batch, &mut tape, Keep::Nothing, |_, _| {});
        let head = Head::new(self.decoder);
        let targets: Vec<Target> =
            (1..ids.len()).map(|i| Target { row: i - 1, id: ids[i] }).collect();
        let scores = head.scores(cpu, &self.params, &tape.hidden, &targets, false);
        let mut scored: Vec<Scored> = ids[1..]
            .iter()
            .zip(scores.log_prob)
            .map(|(&id, log_prob)| Scored { id, log_prob, alternatives: Vec::new() })
            .collect();
        if alternatives > 0 {
            let config = self.decoder.config();
            let (vocab, width) = (config.vocab_size, config.hidden_size);
            for (scored, hidden) in scored.chunks_mut(CHUNK).zip(tape.hidden.chunks(CHUNK * width))
            {
                let hidden = &hidden[..scored.len() * width];
                let mut logits = head.logits(cpu, &self.params, hidden);
                for (scored, row) in scored.iter_mut().zip(logits.chunks_mut(vocab)) {
                    let largest = max(row);
                    let log_sum = exp_sum(row, 1.0, largest).ln();
                    let most = most_likely(row, alternatives).into_iter();
                    scored.alternatives =
                        most.map(|id| (id, row[id as usize].ln() - log_sum)).collect();
                }
            }
        }
        Ok(scored)
    }
}
