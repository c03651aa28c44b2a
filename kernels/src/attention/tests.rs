use super::cache::{Cache, Side};
use super::few::Few;
use super::heads::Norm;
use super::problem::{Angles, Inputs, Outputs};
use super::shape::Shape;
use super::step::Step;
use crate::isa::Isa;
use crate::ort::F16;
use crate::random::Random;

/// What the tests need to know of a cache's element.
trait Stored: Few + PartialEq + std::fmt::Debug {
    /// Recognisable, and not a number if used.
    const UNTOUCHED: Self;
    /// How far a result, of values up to 2, may be from the book's: weights over int8 have 16 bits.
    const TOLERANCE: f64;
    fn value(self, scale: f32) -> f64;
}

impl Stored for F16 {
    const UNTOUCHED: Self = F16(0x7E55);
    const TOLERANCE: f64 = 2e-5;

    fn value(self, _: f32) -> f64 {
        self.to_f32().into()
    }
}

impl Stored for i8 {
    const UNTOUCHED: Self = -77;
    const TOLERANCE: f64 = 5e-4;

    fn value(self, scale: f32) -> f64 {
        f64::from(self) * f64::from(scale)
    }
}

/// Keys and values that belong to a test.
#[derive(Clone)]
struct Memory<C> {
    elements: [Vec<C>; 2],
    scales: [Vec<f32>; 2],
}

impl<C: Stored> Memory<C> {
    fn new(shape: &Shape) -> Self {
        let rows = shape.lengths.len() * shape.kv_heads * shape.room;
        let elements = [(); 2].map(|()| vec![C::UNTOUCHED; rows * shape.dim]);
        Self { elements, scales: [(); 2].map(|()| vec![f32::NAN; rows]) }
    }

    fn cache(&mut self) -> Cache<C> {
        let [keys, values] = &mut self.elements;
        let [key_scales, value_scales] = &mut self.scales;
        Cache {
            keys: Side { values: keys.as_mut_ptr(), scales: key_scales.as_mut_ptr() },
            values: Side { values: values.as_mut_ptr(), scales: value_scales.as_mut_ptr() },
        }
    }

    fn row(&self, side: usize, at: usize, dim: usize) -> Vec<f64> {
        self.elements[side][at * dim..][..dim].iter().map(|x| x.value(self.scales[side][at])).collect()
    }
}

/// Everything about a step but the cache.
struct Case {
    shape: Shape,
    qkv: Vec<f32>,
    cosines: Vec<f32>,
    sines: Vec<f32>,
    norms: Option<[Vec<f32>; 2]>,
    turned: bool,
    window: Option<usize>,
    softcap: Option<f32>,
}

const SCALE: f32 = 0.3;
const EPSILON: f32 = 1e-5;

impl Case {
    fn new(seed: u64, tokens: usize, heads: [usize; 2], dim: usize, lengths: &[usize], with_norm: bool) -> Self {
        let mut random = Random(seed + 1);
        let [heads, kv_heads] = heads;
        let room = lengths.iter().max().unwrap() + 3;
        let slots = (0..lengths.len()).collect();
        let shape = Shape { tokens, heads, kv_heads, dim, room, lengths: lengths.to_vec(), slots };
        let angles: Vec<f32> = random.floats(room * dim / 2, 3.2);
        Self {
            qkv: random.floats(lengths.len() * tokens * (heads + 2 * kv_heads) * dim, 2.0),
            cosines: angles.iter().map(|angle| angle.cos()).collect(),
            sines: angles.iter().map(|angle| angle.sin()).collect(),
            norms: with_norm.then(|| [random.floats(dim, 2.0), random.floats(dim, 2.0)]),
            turned: true,
            window: None,
            softcap: None,
            shape,
        }
    }

    fn window(self, window: usize) -> Self {
        Self { window: Some(window), ..self }
    }

    fn softcap(self, softcap: f32) -> Self {
        Self { softcap: Some(softcap), ..self }
    }

    fn unturned(self) -> Self {
        Self { turned: false, ..self }
    }

    /// The step in which tokens `first..first + count` of one sequence come.
    fn part(&self, first: usize, count: usize) -> Self {
        let columns = (self.shape.heads + 2 * self.shape.kv_heads) * self.shape.dim;
        let before = self.shape.lengths[0] - self.shape.tokens;
        Self {
            shape: Shape { tokens: count, lengths: vec![before + first + count], ..self.shape.clone() },
            qkv: self.qkv[first * columns..(first + count) * columns].to_vec(),
            cosines: self.cosines.clone(),
            sines: self.sines.clone(),
            norms: self.norms.clone(),
            ..*self
        }
    }

    fn run<C: Stored>(&self, isa: Isa, memory: &mut Memory<C>) -> Vec<f32> {
        self.run_phases(isa, memory, usize::MAX)
    }

    /// The step's first phases; the result is right after all of them only.
    fn run_phases<C: Stored>(&self, isa: Isa, memory: &mut Memory<C>, phases: usize) -> Vec<f32> {
        let norm = self.norms.as_ref().map(|[query, key]| Norm { query, key, epsilon: EPSILON });
        let angles = self.turned.then_some(Angles { cosines: &self.cosines, sines: &self.sines });
        let Self { window, softcap, .. } = *self;
        let inputs = Inputs { qkv: &self.qkv, angles, norm, scale: SCALE, window, softcap };
        let step = Step::new(isa, self.shape.clone(), inputs);
        let mut out = vec![f32::NAN; self.shape.lengths.len() * self.shape.tokens * self.shape.heads * self.shape.dim];
        let mut parts = vec![f32::NAN; step.parts()];
        let outputs = Outputs { cache: memory.cache(), out: out.as_mut_ptr(), parts: parts.as_mut_ptr() };
        for (phase, count) in step.phases().into_iter().enumerate().take(phases) {
            for index in (0..count).rev() {
                // SAFETY: all buffers have the shape's sizes; phases follow each other.
                unsafe { step.run(phase, index, outputs) };
            }
        }
        out
    }

    /// A head of a new token, normalized and rotated, in f64.
    fn turned(&self, sequence: usize, token: usize, head: usize, norm: Option<&[f32]>) -> Vec<f64> {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.shape;
        let at = ((sequence * tokens + token) * (heads + 2 * kv_heads) + head) * dim;
        let mut x: Vec<f64> = self.qkv[at..at + dim].iter().map(|&x| x.into()).collect();
        if let Some(weight) = norm {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / dim as f64;
            x.iter_mut().zip(weight).for_each(|(x, w)| *x *= f64::from(*w) / (mean + f64::from(EPSILON)).sqrt());
        }
        if !self.turned {
            return x;
        }
        let position = self.shape.lengths[sequence] - tokens + token;
        let angle = |i: usize| {
            let at = position * dim / 2 + i % (dim / 2);
            (f64::from(self.cosines[at]), f64::from(self.sines[at]))
        };
        let half = dim / 2;
        (0..dim)
            .map(|i| {
                if i < half {
                    x[i] * angle(i).0 - x[i + half] * angle(i).1
                } else {
                    x[i] * angle(i).0 + x[i - half] * angle(i).1
                }
            })
            .collect()
    }

    /// The result by the book, over what is in the cache after the step.
    fn naive<C: Stored>(&self, memory: &Memory<C>) -> Vec<f64> {
        let Shape { tokens, heads, kv_heads, dim, room, .. } = self.shape;
        let mut out = vec![];
        for (sequence, length) in self.shape.lengths.iter().enumerate() {
            for token in 0..tokens {
                for head in 0..heads {
                    let norm = self.norms.as_ref().map(|[query, _]| query.as_slice());
                    let query = self.turned(sequence, token, head, norm);
                    let first = (sequence * kv_heads + head / (heads / kv_heads)) * room;
                    let end = length - tokens + token + 1;
                    let seen = first + end.saturating_sub(self.window.unwrap_or(end))..first + end;
                    let score = |at| memory.row(0, at, dim).iter().zip(&query).map(|(k, q)| k * q).sum::<f64>();
                    let soft = |x: f64| self.softcap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh());
                    let scores: Vec<f64> = seen.clone().map(|at| soft(score(at) * f64::from(SCALE))).collect();
                    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                    let mut mixed = vec![0.0; dim];
                    for (at, weight) in seen.zip(&weights) {
                        mixed.iter_mut().zip(memory.row(1, at, dim)).for_each(|(sum, v)| *sum += v * weight);
                    }
                    let total: f64 = weights.iter().sum();
                    out.extend(mixed.iter().map(|sum| sum / total));
                }
            }
        }
        out
    }

    /// A cache that holds a past of random tokens.
    fn past<C: Stored>(&self) -> Memory<C> {
        let mut memory = Memory::new(&self.shape);
        let Shape { tokens, heads, kv_heads, dim, .. } = self.shape;
        let longest = self.shape.lengths.iter().max().unwrap() - tokens;
        if longest > 0 {
            let mut before =
                Self::new(99, longest, [heads, kv_heads], dim, &vec![longest; self.shape.lengths.len()], false);
            before.shape.room = self.shape.room;
            before.run_phases(Isa::Portable, &mut memory, 1); // writes the cache; what the past attends to, nobody asks
        }
        memory
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

fn assert_near<C: Stored>(got: &[f32], right: &[f64], what: &str) {
    assert_eq!(got.len(), right.len());
    for (index, (got, right)) in got.iter().zip(right).enumerate() {
        assert!((f64::from(*got) - right).abs() < C::TOLERANCE, "{what}, element {index}: {got} instead of {right}");
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(1, 1, [1, 1], 16, &[1], false),
        Case::new(2, 1, [6, 2], 128, &[700], false),
        Case::new(3, 1, [4, 4], 80, &[65, 3], true),
        Case::new(4, 1, [8, 4], 48, &[130], false),
        Case::new(5, 1, [4, 1], 256, &[200, 1, 64], true),
        Case::new(6, 1, [8, 1], 64, &[901], false),
        Case::new(7, 1, [5, 1], 112, &[33], false),
        Case::new(8, 2, [2, 1], 64, &[900, 2], false),
        Case::new(9, 3, [14, 2], 64, &[500, 3], true),
        Case::new(10, 50, [6, 2], 128, &[50], false),
        Case::new(11, 70, [6, 2], 80, &[120, 170], true),
        Case::new(12, 130, [2, 2], 32, &[333], false),
        Case::new(13, 7, [7, 1], 16, &[1500], false),
        Case::new(15, 8, [3, 1], 48, &[200], true),
        Case::new(16, 5, [5, 1], 64, &[100], false),
        Case::new(14, 3, [100, 1], 16, &[130], false),
        Case::new(31, 1, [4, 2], 64, &[900, 20], false).window(512),
        Case::new(32, 3, [6, 2], 32, &[1700, 40], true).window(33).softcap(2.0),
        Case::new(33, 140, [6, 2], 48, &[400, 150], false).window(20),
        Case::new(34, 100, [2, 1], 256, &[100], true).window(1).softcap(0.7),
        Case::new(35, 130, [8, 4], 64, &[200], false).softcap(1.5).unturned(),
        Case::new(36, 5, [6, 1], 80, &[777], true).window(64).unturned(),
    ]
}

fn every_isa_computes_attention_by_the_book<C: Stored>() {
    for (number, case) in cases().iter().enumerate() {
        let past = case.past::<C>();
        for isa in isas() {
            let mut memory = past.clone();
            let out = case.run(isa, &mut memory);
            assert_near::<C>(&out, &case.naive(&memory), &format!("{isa:?}, case {number}"));
        }
    }
}

#[test]
fn every_isa_computes_attention_by_the_book_over_halves() {
    every_isa_computes_attention_by_the_book::<F16>();
}

#[test]
fn every_isa_computes_attention_by_the_book_over_int8() {
    every_isa_computes_attention_by_the_book::<i8>();
}

fn every_isa_writes_the_same<C: Stored>() {
    for case in cases() {
        let mut plain = case.past::<C>();
        let past = plain.clone();
        case.run(Isa::Portable, &mut plain);
        for isa in isas() {
            let mut memory = past.clone();
            case.run(isa, &mut memory);
            assert_eq!(memory.elements, plain.elements, "{isa:?}");
            let bits =
                |memory: &Memory<C>| memory.scales.clone().map(|s| s.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            assert_eq!(bits(&memory), bits(&plain), "{isa:?}");
        }
    }
}

#[test]
fn every_isa_writes_the_same_halves() {
    every_isa_writes_the_same::<F16>();
}

#[test]
fn every_isa_writes_the_same_int8() {
    every_isa_writes_the_same::<i8>();
}

#[test]
fn stored_keys_are_normalized_and_rotated_and_values_are_not() {
    let case = Case::new(21, 5, [2, 2], 32, &[9, 7], true);
    let mut memory = case.past::<i8>();
    case.run(Isa::Portable, &mut memory);
    let weight = case.norms.as_ref().map(|[_, key]| key.as_slice());
    for (sequence, length) in case.shape.lengths.iter().enumerate() {
        for token in 0..5 {
            for head in 0..2 {
                let at = (sequence * 2 + head) * case.shape.room + length - 5 + token;
                let key = case.turned(sequence, token, 2 + head, weight);
                let value: Vec<f64> =
                    case.qkv[((sequence * 5 + token) * 6 + 4 + head) * 32..][..32].iter().map(|&x| x.into()).collect();
                for (side, right) in [key, value].iter().enumerate() {
                    let step = f64::from(memory.scales[side][at]);
                    let largest = right.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                    assert!((step - largest / 127.0).abs() < 1e-6 * step);
                    let near = memory.row(side, at, 32).iter().zip(right).all(|(x, y)| (x - y).abs() < 0.501 * step);
                    assert!(near);
                }
            }
        }
    }
}

#[test]
fn nothing_but_the_new_tokens_is_written() {
    let case = Case::new(22, 2, [2, 1], 16, &[5, 9], false);
    for isa in isas() {
        let past = case.past::<F16>();
        let mut memory = past.clone();
        case.run(isa, &mut memory);
        for row in 0..2 * case.shape.room {
            let (sequence, position) = (row / case.shape.room, row % case.shape.room);
            let length = case.shape.lengths[sequence];
            for side in 0..2 {
                let same = memory.elements[side][row * 16..][..16] == past.elements[side][row * 16..][..16];
                assert_eq!(same, !(length - 2..length).contains(&position));
            }
        }
    }
}

#[test]
fn a_prompt_in_chunks_gives_the_same() {
    let whole = Case::new(23, 140, [6, 2], 64, &[400], true).window(90).softcap(3.0);
    for isa in isas() {
        let mut memory = whole.past::<i8>();
        let mut chunked = memory.clone();
        let out = whole.run(isa, &mut memory);
        let mut parts = vec![];
        for (first, count) in [(0, 97), (97, 1), (98, 4), (102, 38)] {
            parts.extend(whole.part(first, count).run(isa, &mut chunked));
        }
        assert_eq!(memory.elements, chunked.elements);
        assert_near::<i8>(&parts, &out.iter().map(|&x| x.into()).collect::<Vec<_>>(), &format!("{isa:?}"));
    }
}

#[test]
fn the_same_step_gives_the_same_bits() {
    for case in cases() {
        for isa in isas() {
            let past = case.past::<F16>();
            let [first, second] = [(); 2].map(|()| case.run(isa, &mut past.clone()));
            assert_eq!(first, second);
        }
    }
}

#[test]
fn scores_that_are_far_apart_give_the_value_of_the_largest() {
    let mut case = Case::new(24, 1, [1, 1], 16, &[300], false);
    case.cosines.fill(1.0);
    case.sines.fill(0.0);
    for isa in isas() {
        let mut memory = case.past::<F16>();
        case.qkv[..32].fill(60.0); // its own key is the nearest by far
        let out = case.run(isa, &mut memory);
        let value: Vec<f64> = memory.row(1, 299, 16);
        assert_near::<F16>(&out, &value, &format!("{isa:?}"));
    }
}

#[test]
fn what_is_not_finite_reaches_its_token() {
    for tokens in [1, 4] {
        let mut case = Case::new(25, tokens, [2, 1], 16, &[200], false);
        let last = case.qkv.len() - 20; // in the last token's key
        case.qkv[last] = f32::INFINITY;
        for isa in isas() {
            let out = case.run(isa, &mut case.past::<i8>());
            assert!(out[out.len() - 32..].iter().all(|x| x.is_nan()), "{isa:?}");
        }
    }
}

#[test]
fn a_head_of_zeros_is_stored_as_zeros() {
    let mut case = Case::new(26, 1, [1, 1], 16, &[1], false);
    case.qkv.fill(0.0);
    for isa in isas() {
        let mut memory = Memory::<i8>::new(&case.shape);
        assert_eq!(case.run(isa, &mut memory), [0.0; 16]);
        assert_eq!((memory.scales[0][0], &memory.elements[0][..16]), (0.0, &[0; 16][..]));
    }
}
