//! The generator of every random number: NumPy's `PCG64`, seeded through NumPy's `SeedSequence`.
//!
//! A seed therefore gives the same draws as `numpy.random.default_rng(seed)`, and a Gymnasium seed
//! gives Gymnasium's own reset state. [`SeedSequence`] names streams by *spawn keys* (environment
//! index, episode, shuffling, …), so that a run is a function of its recipe and seed whatever the
//! number of threads.

use serde::{Deserialize, Serialize};

use crate::ziggurat;

const POOL: usize = 4;
const PCG_MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// A seed and a path of spawn keys: the *name* of a stream of random numbers.
///
/// `SeedSequence::new(s).child(i)` is NumPy's `SeedSequence(s).spawn(n)[i]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedSequence {
    entropy: u64,
    spawn_key: Vec<u32>,
}

impl SeedSequence {
    /// The root sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { entropy: seed, spawn_key: Vec::new() }
    }

    /// The sequence named `key` below this one.
    #[must_use]
    pub fn child(&self, key: u32) -> Self {
        let mut child = self.clone();
        child.spawn_key.push(key);
        child
    }

    /// A generator at the start of this stream.
    pub fn rng(&self) -> Rng {
        let words = self.generate_u64();
        let state = (u128::from(words[0]) << 64) | u128::from(words[1]);
        let sequence = (u128::from(words[2]) << 64) | u128::from(words[3]);
        Rng::from_state(state, sequence)
    }

    /// A 64-bit seed drawn from this stream's name, for programs that take a plain seed.
    pub fn seed(&self) -> u64 {
        self.generate_u64()[0]
    }

    fn entropy_words(&self) -> Vec<u32> {
        let mut words = vec![self.entropy as u32];
        if self.entropy >> 32 != 0 {
            words.push((self.entropy >> 32) as u32);
        }
        if !self.spawn_key.is_empty() {
            words.resize(words.len().max(POOL), 0);
            words.extend(&self.spawn_key);
        }
        words
    }

    fn generate_u64(&self) -> [u64; 4] {
        let pool = mix_entropy(&self.entropy_words());
        let mut hash = 0x8b51_f9dd_u32;
        let mut words = [0u32; 8];
        for (i, word) in words.iter_mut().enumerate() {
            let mut value = pool[i % POOL] ^ hash;
            hash = hash.wrapping_mul(0x58f3_8ded);
            value = value.wrapping_mul(hash);
            *word = value ^ (value >> 16);
        }
        std::array::from_fn(|i| u64::from(words[2 * i]) | (u64::from(words[2 * i + 1]) << 32))
    }
}

fn mix_entropy(entropy: &[u32]) -> [u32; POOL] {
    let mut hash = 0x43b0_d7e5_u32;
    let mut hashmix = |value: u32| {
        let value = value ^ hash;
        hash = hash.wrapping_mul(0x931e_8875);
        let value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let r = 0xca01_f9dd_u32.wrapping_mul(x).wrapping_sub(0x4973_f715_u32.wrapping_mul(y));
        r ^ (r >> 16)
    };
    let mut pool: [u32; POOL] =
        std::array::from_fn(|i| hashmix(entropy.get(i).copied().unwrap_or(0)));
    for source in 0..POOL {
        for target in 0..POOL {
            if source != target {
                pool[target] = mix(pool[target], hashmix(pool[source]));
            }
        }
    }
    for &word in entropy.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mix(*slot, hashmix(word));
        }
    }
    pool
}

/// NumPy's `Generator(PCG64)`: PCG XSL-RR 128/64 (O'Neill 2014), with NumPy's own rules for floats,
/// bounded integers, normals and permutations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng {
    state: u128,
    increment: u128,
    /// The upper half of the last 64-bit word, when only its lower half has been handed out.
    half: Option<u32>,
}

impl Rng {
    /// `numpy.random.default_rng(seed)`, which is also what Gymnasium makes of a seed.
    pub fn new(seed: u64) -> Self {
        SeedSequence::new(seed).rng()
    }

    fn from_state(init: u128, sequence: u128) -> Self {
        let mut rng = Self { state: 0, increment: (sequence << 1) | 1, half: None };
        rng.advance();
        rng.state = rng.state.wrapping_add(init);
        rng.advance();
        rng
    }

    /// A new, independent generator seeded by draws from this one.
    #[must_use]
    pub fn split(&mut self) -> Self {
        let mut word = || (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        let (init, sequence) = (word(), word());
        Self::from_state(init, sequence)
    }

    #[inline]
    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(PCG_MULTIPLIER).wrapping_add(self.increment);
    }

    /// 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.advance();
        let folded = (self.state >> 64) as u64 ^ self.state as u64;
        folded.rotate_right((self.state >> 122) as u32)
    }

    /// 32 random bits; two of these share one 64-bit word, lower half first.
    #[inline]
    pub fn next_u32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let word = self.next_u64();
        self.half = Some((word >> 32) as u32);
        word as u32
    }

    /// Uniform on `[0, 1)` with 53 random bits (`Generator.random`).
    #[inline]
    pub fn random(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform on `[low, high)` (`Generator.uniform`).
    #[inline]
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.random()
    }

    /// Uniform on `0..n` without bias (`Generator.integers(n)`; Lemire 2019).
    ///
    /// # Panics
    /// If `n` is zero: there is nothing to draw from.
    #[inline]
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "Rng::below(0): an empty range has no element");
        let range = n as u64;
        if range == 1 {
            return 0;
        }
        if range > 1 << 32 {
            return self.below_u64(range) as usize;
        }
        if range == 1 << 32 {
            return self.next_u32() as usize;
        }
        let mut product = u64::from(self.next_u32()) * range;
        if (product as u32) < range as u32 {
            let threshold = (range as u32).wrapping_neg() % range as u32;
            while (product as u32) < threshold {
                product = u64::from(self.next_u32()) * range;
            }
        }
        (product >> 32) as usize
    }

    #[cold]
    fn below_u64(&mut self, range: u64) -> u64 {
        let threshold = range.wrapping_neg() % range;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(range);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// The index that `random()` selects from cumulative probabilities: Gymnasium's
    /// `categorical_sample`, the first `i` with `cumsum(p)[i] > u`.
    #[inline]
    pub fn categorical(&mut self, probabilities: &[f64]) -> usize {
        let u = self.random();
        let mut sum = 0.0;
        for (i, p) in probabilities.iter().enumerate() {
            sum += p;
            if sum > u {
                return i;
            }
        }
        // NumPy's `argmax` of an all-false array; only reached when the sum falls short of one.
        0
    }

    /// A standard normal (`Generator.standard_normal`; the ziggurat of Marsaglia & Tsang 2000 with
    /// 256 layers).
    #[inline]
    pub fn normal(&mut self) -> f64 {
        loop {
            let word = self.next_u64();
            let layer = (word & 0xff) as usize;
            let negative = word >> 8 & 1 == 1;
            let magnitude = (word >> 9) & 0x000f_ffff_ffff_ffff;
            let x = magnitude as f64 * f64::from_bits(ziggurat::WIDTH_BITS[layer]);
            let x = if negative { -x } else { x };
            if magnitude < ziggurat::ACCEPT[layer] {
                return x;
            }
            if layer == 0 {
                return self.normal_tail(magnitude >> 8 & 1 == 1);
            }
            let density = |layer: usize| f64::from_bits(ziggurat::DENSITY_BITS[layer]);
            let (upper, lower) = (density(layer - 1), density(layer));
            if (upper - lower) * self.random() + lower < (-0.5 * x * x).exp() {
                return x;
            }
        }
    }

    #[cold]
    fn normal_tail(&mut self, negative: bool) -> f64 {
        loop {
            let x = -ZIGGURAT_INV_R * (-self.random()).ln_1p();
            let y = -(-self.random()).ln_1p();
            if y + y > x * x {
                return if negative { -(ZIGGURAT_R + x) } else { ZIGGURAT_R + x };
            }
        }
    }

    /// Shuffles in place (`Generator.shuffle`: Fisher-Yates from the back, masked rejection).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.interval(i));
        }
    }

    /// Uniform on `0..=max` by masked rejection (NumPy's `random_interval`).
    fn interval(&mut self, max: usize) -> usize {
        let mask = usize::MAX >> max.leading_zeros();
        loop {
            let draw = if u32::try_from(max).is_ok() {
                self.next_u32() as usize & mask
            } else {
                self.next_u64() as usize & mask
            };
            if draw <= max {
                return draw;
            }
        }
    }
}

const ZIGGURAT_R: f64 = 3.654_152_885_361_009;
const ZIGGURAT_INV_R: f64 = 0.273_661_237_329_758_27;

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the reference README (NumPy 2): `Generator(PCG64(SeedSequence(42))).random()`.
    #[test]
    fn uniform_draws_are_numpys() {
        let mut rng = Rng::new(42);
        let draws: Vec<f64> = (0..3).map(|_| rng.random()).collect();
        assert_eq!(
            draws,
            [0.773_956_048_555_963_3, 0.438_878_439_752_052_3, 0.858_597_919_911_382_5]
        );
    }

    #[test]
    fn raw_words_are_numpys() {
        let mut rng = Rng::new(0);
        let words: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(
            words,
            [11_749_869_230_777_074_271, 4_976_686_463_289_251_617, 755_828_109_848_996_024]
        );
    }

    #[test]
    fn spawned_streams_are_numpys() {
        let root = SeedSequence::new(42);
        assert_eq!(root.child(0).rng().random(), 0.916_744_157_554_908_5);
        assert_eq!(root.child(1).rng().random(), 0.467_490_779_951_842_4);
    }

    /// `default_rng(123).integers(0, n)`, five from a fresh generator each (NumPy 2.4.6), like all below.
    #[test]
    fn bounded_integers_are_numpys() {
        let cases: [(usize, [usize; 5]); 7] = [
            (2, [0, 1, 1, 0, 1]),
            (3, [0, 2, 1, 0, 2]),
            (10, [0, 6, 5, 0, 9]),
            (1000, [15, 682, 592, 53, 909]),
            (1 << 31, [33_158_374, 1_465_339_468, 1_273_345_681, 115_579_757, 1_952_249_163]),
            (1 << 32, [66_316_749, 2_930_678_937, 2_546_691_363, 231_159_515, 3_904_498_326]),
            (
                1 << 40,
                [
                    750_253_807_875,
                    59_176_835_991,
                    242_288_242_408,
                    202_718_949_697,
                    193_410_583_637,
                ],
            ),
        ];
        for (n, expected) in cases {
            let mut rng = Rng::new(123);
            assert_eq!(std::array::from_fn(|_| rng.below(n)), expected, "below {n}");
        }
    }

    #[test]
    fn normals_are_numpys() {
        let mut rng = Rng::new(123);
        for expected in [
            -0.989_121_350_347_850_9,
            -0.367_786_651_467_883_2,
            1.287_925_261_289_248_7,
            0.193_974_419_132_613_2,
            0.920_230_899_639_856_9,
            0.577_103_791_257_251_3,
            -0.636_463_646_370_980_5,
            0.541_952_220_410_293_3,
        ] {
            assert_eq!(rng.normal(), expected);
        }
        // Twenty thousand draws of seed 0 visit every layer and, six times, the tail beyond 3.65.
        let mut rng = Rng::new(0);
        let draws: Vec<f64> = (0..20_000).map(|_| rng.normal()).collect();
        let tail: Vec<usize> = (0..draws.len()).filter(|&i| draws[i].abs() > ZIGGURAT_R).collect();
        assert_eq!(tail, [303, 478, 10_477, 13_325, 14_920, 17_077]);
        assert_eq!(draws[303], -3.772_275_156_122_734);
        assert_eq!(draws[17_077], 3.822_607_778_038_782);
        assert_eq!(draws[304], 0.260_629_749_066_939_8);
    }

    #[test]
    fn shuffles_are_numpys() {
        let mut items: Vec<usize> = (0..10).collect();
        Rng::new(7).shuffle(&mut items);
        assert_eq!(items, [8, 0, 7, 1, 3, 6, 2, 4, 5, 9]);
        let mut items: Vec<usize> = (0..1000).collect();
        Rng::new(7).shuffle(&mut items);
        assert_eq!(items[..10], [816, 923, 151, 900, 213, 100, 851, 503, 643, 172]);
    }

    #[test]
    fn long_seeds_and_paths_are_numpys() {
        let named = SeedSequence::new((1 << 40) + 3).child(5).child(7);
        assert_eq!(named.rng().random(), 0.373_974_190_531_678_35);
    }

    #[test]
    fn a_saved_generator_continues() {
        let mut rng = Rng::new(7);
        rng.next_u32();
        let bytes = postcard::to_stdvec(&rng).unwrap();
        let mut back: Rng = postcard::from_bytes(&bytes).unwrap();
        for _ in 0..10 {
            assert_eq!(rng.next_u32(), back.next_u32());
            assert_eq!(rng.normal(), back.normal());
        }
    }
}
