//! The replay buffer against a list that forgets nothing, and the invariants of priorities.

use proptest::prelude::*;
use skinner_core::replay::{PriorityTree, Transitions, importance_weights};
use skinner_core::{Episode, ReplayBuffer, Rng, Step, StepBatch};

const WIDTH: usize = 2;

/// One step of one environment, as the list has it.
#[derive(Clone, Debug)]
struct Seen {
    obs: [f32; WIDTH],
    action: f32,
    reward: f32,
    terminated: bool,
    truncated: bool,
    /// The last observation of the episode where it ended.
    next: [f32; WIDTH],
}

/// What an environment shows at a time: a number that is never shown again.
fn shown(env: usize, time: usize, last: bool) -> [f32; WIDTH] {
    [(10 * time + env) as f32 + if last { 0.5 } else { 0.0 }, env as f32]
}

/// Pushes what `ends` says of every step and environment, and returns the list `[time][env]`.
fn fill(buffer: &mut ReplayBuffer, ends: &[Vec<(bool, bool)>]) -> Vec<Vec<Seen>> {
    let num_envs = ends[0].len();
    let mut batch = StepBatch::new(num_envs, WIDTH);
    let mut all = Vec::new();
    for (time, ends) in ends.iter().enumerate() {
        batch.begin();
        let (mut obs, mut actions, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for (env, &(terminated, truncated)) in ends.iter().enumerate() {
            let done = terminated || truncated;
            let next = shown(env, time + 1, done);
            let reward = (time * num_envs + env) as f32 % 7.0;
            let step = Step { obs: &next[..], reward, terminated, truncated };
            let reset = shown(env, time + 1, false);
            let episode = Episode { env, episode_return: 0.0, length: 1 };
            batch.put(env, &step, done.then_some((&reset[..], episode)));
            let row = shown(env, time, false);
            obs.extend(row);
            actions.push(-row[0]);
            seen.push(Seen { obs: row, action: -row[0], reward, terminated, truncated, next });
        }
        buffer.push(&obs, &actions, &batch);
        all.push(seen);
    }
    all
}

/// The transition that begins at `time`, straight from its definition.
fn expected(all: &[Vec<Seen>], time: usize, env: usize, n_steps: usize, gamma: f32) -> Transitions {
    let (mut reward, mut discount, mut last) = (0.0, 1.0, time);
    for (t, row) in all.iter().enumerate().skip(time).take(n_steps) {
        reward += discount * row[env].reward;
        discount *= gamma;
        last = t;
        if row[env].terminated || row[env].truncated {
            break;
        }
    }
    let (first, last) = (&all[time][env], &all[last][env]);
    Transitions {
        obs: first.obs.to_vec(),
        action: vec![first.action],
        reward: vec![reward],
        discount: vec![if last.terminated { 0.0 } else { discount }],
        next_obs: last.next.to_vec(),
    }
}

fn check(buffer: &ReplayBuffer, all: &[Vec<Seen>], capacity: usize, n_steps: usize) {
    let num_envs = all[0].len();
    let held = capacity.min(all.len());
    assert_eq!(buffer.len(), held * num_envs);
    let (mut out, gamma) = (Transitions::default(), 0.5);
    for slot in 0..buffer.len() {
        // Slots are filled in order and then overwritten in order.
        let place = slot / num_envs;
        let time = (all.len() - held..all.len()).find(|t| t % capacity == place).unwrap();
        buffer.gather(&[slot], n_steps, gamma, &mut out);
        assert_eq!(out, expected(all, time, slot % num_envs, n_steps, gamma), "slot {slot}");
    }
}

proptest! {
    #[test]
    fn it_holds_what_happened(
        ends in (1usize..4).prop_flat_map(|envs| proptest::collection::vec(
            proptest::collection::vec((proptest::bool::weighted(0.2), proptest::bool::weighted(0.2)), envs),
            1..40,
        )),
        capacity in 1usize..20,
        n_steps in 1usize..6,
    ) {
        let num_envs = ends[0].len();
        let mut buffer = ReplayBuffer::new(capacity * num_envs, num_envs, WIDTH, 1);
        let all = fill(&mut buffer, &ends);
        check(&buffer, &all, capacity, n_steps);
        let bytes = postcard::to_stdvec(&buffer).unwrap();
        let again: ReplayBuffer = postcard::from_bytes(&bytes).unwrap();
        check(&again, &all, capacity, n_steps);
        prop_assert_eq!(postcard::to_stdvec(&again).unwrap(), bytes);
    }

    #[test]
    fn a_tree_is_the_running_sum_of_its_priorities(
        capacity in 1usize..70,
        sets in proptest::collection::vec((0usize..70, 0u32..1000), 1..200),
        seed in 0u64..1000,
    ) {
        let mut tree = PriorityTree::new(capacity);
        let mut plain = vec![0.0; capacity];
        let mut largest = 1.0f64;
        for (slot, priority) in sets {
            // Whole numbers, so that sums are exact in any order.
            let (slot, priority) = (slot % capacity, f64::from(priority));
            tree.set(slot, priority);
            plain[slot] = priority;
            largest = largest.max(priority);
        }
        let total: f64 = plain.iter().sum();
        prop_assert_eq!(tree.total(), total);
        prop_assert_eq!(tree.max(), largest);
        let bytes = postcard::to_stdvec(&tree).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<PriorityTree>(&bytes).unwrap(), &tree);
        if total > 0.0 {
            let mut rng = Rng::new(seed);
            for _ in 0..50 {
                let mass = rng.random() * total;
                let mut sum = 0.0;
                let found = plain.iter().position(|p| { sum += p; mass < sum }).unwrap();
                prop_assert_eq!(tree.find(mass), found);
            }
            // Even a mass of all there is finds something.
            prop_assert!(plain[tree.find(total)] > 0.0);
        }
    }
}

/// Priorities 1, 0, 3 and 4: an eighth, nothing, three and four eighths of the draws.
#[test]
fn slots_are_drawn_in_proportion() {
    let mut tree = PriorityTree::new(4);
    for (slot, priority) in [1.0, 0.0, 3.0, 4.0].into_iter().enumerate() {
        tree.set(slot, priority);
    }
    let (mut rng, mut counts) = (Rng::new(1), [0.0f64; 4]);
    for _ in 0..5000 {
        let mut slots = [0; 8];
        tree.sample(&mut slots, &mut rng);
        slots.iter().for_each(|&slot| counts[slot] += 1.0 / 40_000.0);
    }
    for (share, expected) in counts.iter().zip([0.125, 0.0, 0.375, 0.5]) {
        assert!((share - expected).abs() < 0.01, "{counts:?}");
    }
    assert_eq!(counts[1], 0.0);
}

/// Weights of priorities 1, 4 and 2 with β = ½: 1, ½ and 1/√2 of the largest.
#[test]
fn importance_weights_by_hand() {
    let mut tree = PriorityTree::new(3);
    for (slot, priority) in [1.0, 4.0, 2.0].into_iter().enumerate() {
        tree.set(slot, priority);
    }
    let mut weights = Vec::new();
    importance_weights(&tree, &[1, 0, 2], 0.5, &mut weights);
    assert_eq!(weights, [0.5, 1.0, std::f32::consts::FRAC_1_SQRT_2]);
    // Those that were drawn alone decide which is the largest.
    importance_weights(&tree, &[1, 2], 0.5, &mut weights);
    assert_eq!(weights, [std::f32::consts::FRAC_1_SQRT_2, 1.0]);
    importance_weights(&tree, &[1, 2], 0.0, &mut weights);
    assert_eq!(weights, [1.0, 1.0]);
}
