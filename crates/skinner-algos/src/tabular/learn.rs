//! What values are moved towards, in the order of the book.

use skinner_core::vec_env::Moved;

use super::greedy::{best, first_best};
use super::{Method, TableLearner, Trace};

/// Traces smaller than this are forgotten.
const SMALLEST_TRACE: f64 = 1e-6;

impl TableLearner {
    /// One-step targets r + γ V(s') (Sutton & Barto 2018, chapter 6).
    #[inline]
    pub(super) fn learn_from_step(&mut self, moved: &Moved) -> Option<usize> {
        let pair = self.pair();
        let (second, value, chosen) = match self.config.method {
            // Nothing follows the end of a task; what follows a time limit has a value.
            _ if moved.terminated => (self.coin(), 0.0, None),
            Method::DoubleQLearning => {
                let second = self.coin();
                (second, self.double_value(moved.obs, second), None)
            }
            _ => {
                let (value, chosen) = self.value_after(moved.obs);
                (false, value, chosen)
            }
        };
        let target = f64::from(moved.reward) + self.config.gamma * value;
        self.update(pair, second, target);
        chosen
    }

    /// What the present method takes a next observation to be worth, and the action where that needs one.
    #[inline]
    fn value_after(&mut self, obs: usize) -> (f64, Option<usize>) {
        match self.config.method {
            Method::Sarsa => {
                let action = self.choose(obs);
                (self.state.q[obs * self.num_actions + action], Some(action))
            }
            Method::ExpectedSarsa | Method::MonteCarlo => (self.expected_value(obs), None),
            Method::QLearning | Method::DoubleQLearning => (best(self.values(obs)), None),
        }
    }

    /// Σ π(a|s) Q(s, a) under the policy of exploration.
    fn expected_value(&mut self, obs: usize) -> f64 {
        let row = obs * self.num_actions..(obs + 1) * self.num_actions;
        let (q, counts) = (&self.state.q[row.clone()], &self.state.counts[row]);
        self.exploration.probabilities(q, counts, &mut self.scratch);
        self.scratch.iter().zip(q).map(|(p, value)| p * value).sum()
    }

    /// Which of the two tables learns (van Hasselt 2010, algorithm 1).
    #[inline]
    fn coin(&mut self) -> bool {
        self.config.method == Method::DoubleQLearning && self.state.rng.random() < 0.5
    }

    /// The learning table's best action as the other table values it.
    fn double_value(&self, obs: usize, second: bool) -> f64 {
        let row = obs * self.num_actions..(obs + 1) * self.num_actions;
        let (first, other) = (&self.state.q[row.clone()], &self.state.second[row]);
        let (learning, judge) = if second { (other, first) } else { (first, other) };
        judge[first_best(learning)]
    }

    /// n-step returns (Sutton & Barto 2018, section 7.2). Q-learning follows the greedy policy, so its return
    /// goes on only through greedy actions: tree backup (section 7.5).
    pub(super) fn learn_from_steps(&mut self, moved: &Moved, n: usize) -> Option<usize> {
        self.state.pending.push_back((self.pair(), f64::from(moved.reward)));
        let done = moved.ended.is_some();
        if !done && self.state.pending.len() < n {
            return None;
        }
        let (value, chosen) =
            if moved.terminated { (0.0, None) } else { self.value_after(moved.obs) };
        loop {
            let target = self.pending_return(value);
            let Some((pair, _)) = self.state.pending.pop_front() else { break };
            self.update(pair, false, target);
            if !done {
                break;
            }
        }
        chosen
    }

    /// The return of the oldest pending pair, when what follows the newest is worth `value`.
    fn pending_return(&self, value: f64) -> f64 {
        let mut target = value;
        let mut later: Option<usize> = None;
        for &(pair, reward) in self.state.pending.iter().rev() {
            if let (Some(later), Method::QLearning) = (later, self.config.method) {
                let greedy = best(self.values(later / self.num_actions));
                if self.state.q[later] < greedy {
                    target = greedy;
                }
            }
            target = reward + self.config.gamma * target;
            later = Some(pair);
        }
        target
    }

    /// SARSA(λ) (Sutton & Barto 2018, section 12.7) and Watkins's Q(λ) (section 12.10), whose traces end
    /// where the action was not greedy.
    pub(super) fn learn_through_traces(&mut self, moved: &Moved) -> Option<usize> {
        let pair = self.pair();
        let watkins = self.config.method == Method::QLearning;
        let (value, mut chosen) =
            if moved.terminated { (0.0, None) } else { self.value_after(moved.obs) };
        if moved.ended.is_none() && watkins {
            chosen = Some(self.choose(moved.obs));
        }
        let next = chosen.map(|action| self.state.q[moved.obs * self.num_actions + action]);
        let goes_on = moved.ended.is_none() && next.is_some_and(|next| !watkins || next >= value);

        let target = f64::from(moved.reward) + self.config.gamma * value;
        let error = target - self.state.q[pair];
        let state = &mut self.state;
        state.counts[pair] = state.counts[pair].saturating_add(1);
        if state.traces[pair] == 0.0 {
            state.traced.push(pair);
        }
        let before = if self.config.trace == Trace::Replacing { 0.0 } else { state.traces[pair] };
        state.traces[pair] = before + 1.0;
        let fade = if goes_on { self.config.gamma * self.config.lambda } else { 0.0 };
        let (q, traces, counts) = (&mut state.q, &mut state.traces, &state.counts);
        state.traced.retain(|&pair| {
            q[pair] += self.step_size.at(counts[pair]) * error * traces[pair];
            traces[pair] *= fade;
            let stays = traces[pair] > SMALLEST_TRACE;
            if !stays {
                traces[pair] = 0.0;
            }
            stays
        });
        self.errors.0 += error.abs();
        self.errors.1 += 1;
        chosen
    }

    /// On-policy Monte Carlo control (Sutton & Barto 2018, section 5.4). What a time limit cut off counts as
    /// the present policy's value of the last observation.
    pub(super) fn learn_from_episode(&mut self, moved: &Moved) -> Option<usize> {
        self.state.pending.push_back((self.pair(), f64::from(moved.reward)));
        moved.ended?;
        let mut value = if moved.terminated { 0.0 } else { self.expected_value(moved.obs) };
        let mut pending = std::mem::take(&mut self.state.pending);
        // Rewards become returns.
        for (_, reward) in pending.iter_mut().rev() {
            value = *reward + self.config.gamma * value;
            *reward = value;
        }
        let episode = self.state.episodes.count + 1;
        for (pair, target) in pending.drain(..) {
            let before = std::mem::replace(&mut self.visited_in[pair], episode);
            if before != episode || !self.config.first_visit {
                self.update(pair, false, target);
            }
        }
        self.state.pending = pending;
        None
    }

    /// Q(s, a) ← Q(s, a) + α (target − Q(s, a)).
    #[inline]
    fn update(&mut self, pair: usize, second: bool, target: f64) {
        let state = &mut self.state;
        let count = state.counts[pair].saturating_add(1);
        state.counts[pair] = count;
        // Each of two tables learns from every other update.
        let double = self.config.method == Method::DoubleQLearning;
        let count = if double { count.div_ceil(2) } else { count };
        let value = if second { &mut state.second[pair] } else { &mut state.q[pair] };
        let error = target - *value;
        *value += self.step_size.at(count) * error;
        self.errors.0 += error.abs();
        self.errors.1 += 1;
    }
}
