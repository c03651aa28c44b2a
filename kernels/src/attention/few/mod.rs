//! Few query rows, as in decoding: the cache is read once, as fast as memory gives it, and every row of the group uses
//! what was loaded.

mod float;
mod integer;

use std::ops::Range;

use super::cache::{Cache, Side, Storage};
use super::rows::{Rows, Sums};
use super::scratch::Scratch;
use super::vector::{Ahead, Vector};

/// The most rows that are computed at once: registers are few.
const ROWS_AT_ONCE: usize = 4;

/// The most keys of a block.
const KEYS: usize = 64;

/// Scores, then weights, of each row.
type Weights<const R: usize> = [[f32; KEYS]; R];

/// How a kind of cache is multiplied: with floats, or with integers.
///
/// # Safety
/// Of the functions: the processor has the instruction set; there are `count` rows of keys or values, at most [`KEYS`];
/// there are R query rows from `first` on.
pub trait Few: Storage {
    /// Query rows up to which this is faster than [`super::many`].
    const MOST_ROWS: usize;
    /// Keys of a block: few enough that they and their values stay in the first cache.
    const BLOCK_KEYS: usize;
    /// Query rows as they are multiplied.
    type Queries;

    /// Bring them into that form, maybe in scratch that has to live as long.
    unsafe fn prepare<V: Vector>(rows: Rows, scratch: &mut Scratch) -> Self::Queries;

    /// Scores of the keys; fetches what is `ahead` meanwhile.
    unsafe fn score<V: Vector, const R: usize>(
        keys: Side<Self>,
        count: usize,
        rows: Rows,
        queries: &Self::Queries,
        first: usize,
        weights: &mut Weights<R>,
        ahead: Ahead,
    );

    /// `mixed · factors + weights · values`; `mixed` begins with row `first`; fetches what is
    /// `ahead` meanwhile.
    unsafe fn mix<V: Vector, const R: usize>(
        values: Side<Self>,
        count: usize,
        dim: usize,
        weights: &mut Weights<R>,
        factors: [f32; R],
        mixed: &mut [f32],
        ahead: Ahead,
    );
}

/// Let rows attend to a range of keys.
///
/// # Safety
/// The processor has the instruction set; from row 0 of `cache` on there are as many rows as the keys' end, that nobody
/// writes; there are at most [`Few::MOST_ROWS`] query rows, and places for them in `sums`.
#[inline(always)]
pub unsafe fn attend<V: Vector, C: Few>(
    cache: Cache<C>,
    keys: Range<usize>,
    rows: Rows,
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let total = rows.limits.len();
    let at_once = total.div_ceil(total.div_ceil(ROWS_AT_ONCE));
    // SAFETY: passed on to the caller; there are `count` rows from `start` on.
    unsafe {
        let queries = C::prepare::<V>(rows, scratch);
        let mut start = keys.start;
        while start < keys.end {
            let count = C::BLOCK_KEYS.min(keys.end - start);
            let here = cache.starting_at(start, rows.dim);
            let next = Ahead(here.keys.values.wrapping_add(count * rows.dim).cast()); // at the end, the next task's
            let block = Block { cache: here, start, count, next };
            let mut first = 0;
            while first < total {
                match at_once.min(total - first) {
                    1 => attend_rows::<V, C, 1>(block, rows, &queries, first, sums),
                    2 => attend_rows::<V, C, 2>(block, rows, &queries, first, sums),
                    3 => attend_rows::<V, C, 3>(block, rows, &queries, first, sums),
                    _ => attend_rows::<V, C, 4>(block, rows, &queries, first, sums),
                }
                first += at_once;
            }
            start += count;
        }
    }
}

/// Keys and values that all rows attend to before the next are read.
#[derive(Clone, Copy)]
struct Block<C> {
    cache: Cache<C>,
    start: usize,
    count: usize,
    next: Ahead,
}

/// Let R rows attend to a block.
#[inline(always)]
unsafe fn attend_rows<V: Vector, C: Few, const R: usize>(
    block: Block<C>,
    rows: Rows,
    queries: &C::Queries,
    first: usize,
    sums: &mut Sums,
) {
    let Block { cache, start, count, next } = block;
    let mut weights = [[0.0; KEYS]; R];
    let mut factors = [0.0; R];
    // SAFETY: passed on to the caller.
    unsafe {
        C::score::<V, R>(cache.keys, count, rows, queries, first, &mut weights, Ahead(cache.values.values.cast()));
        for (r, (weights, factor)) in weights.iter_mut().zip(&mut factors).enumerate() {
            if let Some(cap) = rows.softcap {
                soften::<V>(weights, count, cap);
            }
            weights[..rows.hidden(first + r, start).min(count)].fill(f32::NEG_INFINITY);
            weights[rows.visible(first + r, start, count)..].fill(f32::NEG_INFINITY);
            *factor = weigh::<V>(weights, count, &mut sums.maxima[first + r], &mut sums.totals[first + r]);
        }
        let mixed = &mut sums.mixed[first * rows.dim..];
        C::mix::<V, R>(cache.values, count, rows.dim, &mut weights, factors, mixed, next);
    }
}

/// Cap scores softly.
#[inline(always)]
unsafe fn soften<V: Vector>(weights: &mut [f32; KEYS], count: usize, cap: f32) {
    let weights = weights.as_mut_ptr();
    for key in (0..count).step_by(V::LANES) {
        // SAFETY: KEYS is a multiple of a vector; the caller's processor has the instructions.
        unsafe { V::load(weights.add(key)).softcap(cap).store(weights.add(key)) };
    }
}

/// Turn a row's scores into weights; gives the factor of what was gathered before.
#[inline(always)]
unsafe fn weigh<V: Vector>(weights: &mut [f32; KEYS], count: usize, maximum: &mut f32, total: &mut f32) -> f32 {
    let weights = weights.as_mut_ptr();
    // SAFETY: KEYS is a multiple of a vector; the caller's processor has the instructions.
    unsafe {
        let mut largest = V::splat(*maximum);
        for key in (0..count).step_by(V::LANES) {
            largest = V::load(weights.add(key)).max(largest);
        }
        let largest = largest.largest();
        let factor = exp2::<V>(*maximum - largest);
        let mut sum = V::splat(0.0);
        for key in (0..count).step_by(V::LANES) {
            let weight = V::load(weights.add(key)).sub(V::splat(largest)).exp2();
            sum = sum.add(weight);
            weight.store(weights.add(key));
        }
        *maximum = largest;
        *total = *total * factor + sum.sum();
        factor
    }
}

/// 2ˣ of one number, as of a vector.
#[inline(always)]
pub unsafe fn exp2<V: Vector>(x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    // SAFETY: there are at most 16 lanes.
    unsafe { V::splat(x).exp2().store(lanes.as_mut_ptr()) };
    lanes[0]
}
