//! Up to four query rows, as in decoding: the cache is read once, as fast as memory gives it, and every row of the group
//! uses what was loaded.

use std::ops::Range;

use super::cache::{Cache, Side, Storage};
use super::rows::{Rows, Sums};
use super::vector::Vector;

/// The most rows.
pub const ROWS: usize = 4;

/// Keys between two looks at the largest score: few enough that their values stay in the first cache.
const KEYS: usize = 64;

/// Scores, then weights, of each row.
type Weights<const R: usize> = [[f32; KEYS]; R];

/// Let rows attend to a range of keys.
///
/// # Safety
/// The processor has the instruction set; from row 0 of `cache` on there are as many rows as the keys' end, that nobody
/// writes; there are at most [`ROWS`] query rows, and places for them in `sums`.
#[inline(always)]
pub unsafe fn attend<V: Vector, C: Storage>(cache: Cache<C>, keys: Range<usize>, rows: Rows, sums: &mut Sums) {
    // SAFETY: passed on to the caller.
    unsafe {
        match rows.limits.len() {
            1 => attend_rows::<V, C, 1>(cache, keys, rows, sums),
            2 => attend_rows::<V, C, 2>(cache, keys, rows, sums),
            3 => attend_rows::<V, C, 3>(cache, keys, rows, sums),
            4 => attend_rows::<V, C, 4>(cache, keys, rows, sums),
            count => unreachable!("{count} rows"),
        }
    }
}

#[inline(always)]
unsafe fn attend_rows<V: Vector, C: Storage, const R: usize>(
    cache: Cache<C>,
    keys: Range<usize>,
    rows: Rows,
    sums: &mut Sums,
) {
    let mut weights = [[0.0; KEYS]; R];
    let mut start = keys.start;
    while start < keys.end {
        let count = KEYS.min(keys.end - start);
        // SAFETY: there are `count` rows from `start` on; the rest is the caller's promise.
        unsafe {
            let here = cache.starting_at(start, rows.dim);
            score::<V, C, R>(here.keys, count, rows, &mut weights);
            let factors = weigh::<V, C, R>(here.values, start, count, rows, &mut weights, sums);
            mix::<V, C, R>(here.values, count, rows.dim, &weights, factors, sums.mixed);
        }
        start += count;
    }
}

/// Scores of `count` keys for each row.
#[inline(always)]
unsafe fn score<V: Vector, C: Storage, const R: usize>(
    keys: Side<C>,
    count: usize,
    rows: Rows,
    weights: &mut Weights<R>,
) {
    let mut key = 0;
    // SAFETY: all keys are below `count`.
    unsafe {
        if R < 4 {
            while key + 4 <= count {
                dot::<V, C, R, 4>(keys, key, rows, weights);
                key += 4;
            }
        } else {
            while key + 2 <= count {
                dot::<V, C, R, 2>(keys, key, rows, weights);
                key += 2;
            }
        }
        while key < count {
            dot::<V, C, R, 1>(keys, key, rows, weights);
            key += 1;
        }
    }
}

/// Scores of N keys.
#[inline(always)]
unsafe fn dot<V: Vector, C: Storage, const R: usize, const N: usize>(
    keys: Side<C>,
    key: usize,
    rows: Rows,
    weights: &mut Weights<R>,
) {
    let dim = rows.dim;
    let query = rows.queries.as_ptr();
    // SAFETY: the keys are N rows of the cache, the queries R rows; both have `dim` elements, whole vectors.
    unsafe {
        let first = keys.values.add(key * dim).cast_const();
        let mut sums = [[V::splat(0.0); N]; R];
        for at in (0..dim).step_by(V::LANES) {
            let mut q = [V::splat(0.0); R];
            for (r, q) in q.iter_mut().enumerate() {
                *q = V::load(query.add(r * dim + at));
            }
            for n in 0..N {
                let k = C::load::<V>(first.add(n * dim + at));
                for r in 0..R {
                    sums[r][n] = q[r].mul_add(k, sums[r][n]);
                }
            }
        }
        if N == 4 {
            for (weights, sums) in weights.iter_mut().zip(sums) {
                let four = V::sum4([sums[0], sums[1 % N], sums[2 % N], sums[3 % N]]);
                for (n, sum) in four.into_iter().enumerate() {
                    weights[key + n] = sum * keys.scale(key + n);
                }
            }
        } else if R == 4 {
            for n in 0..N {
                let four = V::sum4([sums[0][n], sums[1 % R][n], sums[2 % R][n], sums[3 % R][n]]);
                for (weights, sum) in weights.iter_mut().zip(four) {
                    weights[key + n] = sum * keys.scale(key + n);
                }
            }
        } else {
            for (weights, sums) in weights.iter_mut().zip(sums) {
                for (n, sum) in sums.into_iter().enumerate() {
                    weights[key + n] = sum.sum() * keys.scale(key + n);
                }
            }
        }
    }
}

/// Turn scores into weights, the values' scales included; gives the factors of what was gathered before.
#[inline(always)]
unsafe fn weigh<V: Vector, C: Storage, const R: usize>(
    values: Side<C>,
    start: usize,
    count: usize,
    rows: Rows,
    weights: &mut Weights<R>,
    sums: &mut Sums,
) -> [f32; R] {
    let mut factors = [0.0; R];
    for (r, weights) in weights.iter_mut().enumerate() {
        weights[rows.visible(r, start, count)..].fill(f32::NEG_INFINITY);
        let vectors = count.next_multiple_of(V::LANES);
        // SAFETY: KEYS is a multiple of a vector; scales are those of `count` keys.
        unsafe {
            let weights = weights.as_mut_ptr();
            let mut largest = V::splat(sums.maxima[r]);
            for key in (0..vectors).step_by(V::LANES) {
                largest = V::load(weights.add(key)).max(largest);
            }
            let largest = largest.largest();
            factors[r] = exp2::<V>(sums.maxima[r] - largest);
            let mut total = V::splat(0.0);
            for key in (0..vectors).step_by(V::LANES) {
                let weight = V::load(weights.add(key)).sub(V::splat(largest)).exp2();
                total = total.add(weight);
                weight.store(weights.add(key));
            }
            sums.maxima[r] = largest;
            sums.totals[r] = sums.totals[r] * factors[r] + total.sum();
            if C::SCALED {
                for key in 0..count {
                    *weights.add(key) *= values.scale(key);
                }
            }
        }
    }
    factors
}

/// 2ˣ of one number, as of a vector.
#[inline(always)]
pub unsafe fn exp2<V: Vector>(x: f32) -> f32 {
    let mut lanes = [0.0; 16];
    // SAFETY: there are at most 16 lanes.
    unsafe { V::splat(x).exp2().store(lanes.as_mut_ptr()) };
    lanes[0]
}

/// Add the weighted values, as many columns at a time as registers hold.
#[inline(always)]
unsafe fn mix<V: Vector, C: Storage, const R: usize>(
    values: Side<C>,
    count: usize,
    dim: usize,
    weights: &Weights<R>,
    factors: [f32; R],
    mixed: &mut [f32],
) {
    let mut at = 0;
    // SAFETY: columns stay below `dim`.
    unsafe {
        if R == 1 {
            while at + 8 * V::LANES <= dim {
                add_columns::<V, C, R, 8>(values, count, dim, at, weights, factors, mixed);
                at += 8 * V::LANES;
            }
        }
        if R < 4 || V::LANES == 16 {
            while at + 4 * V::LANES <= dim {
                add_columns::<V, C, R, 4>(values, count, dim, at, weights, factors, mixed);
                at += 4 * V::LANES;
            }
        }
        while at + 2 * V::LANES <= dim {
            add_columns::<V, C, R, 2>(values, count, dim, at, weights, factors, mixed);
            at += 2 * V::LANES;
        }
        if at < dim {
            add_columns::<V, C, R, 1>(values, count, dim, at, weights, factors, mixed);
        }
    }
}

/// The same for N vectors of columns.
#[inline(always)]
unsafe fn add_columns<V: Vector, C: Storage, const R: usize, const N: usize>(
    values: Side<C>,
    count: usize,
    dim: usize,
    at: usize,
    weights: &Weights<R>,
    factors: [f32; R],
    mixed: &mut [f32],
) {
    let mixed = mixed.as_mut_ptr();
    // SAFETY: `mixed` has R rows, the values have `count` rows; the columns are inside both.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for r in 0..R {
            for n in 0..N {
                sums[r][n] = V::load(mixed.add(r * dim + at + n * V::LANES)).mul(V::splat(factors[r]));
            }
        }
        for key in 0..count {
            let row = values.values.add(key * dim + at).cast_const();
            let mut w = [V::splat(0.0); R];
            for r in 0..R {
                w[r] = V::splat(*weights[r].get_unchecked(key));
            }
            for n in 0..N {
                let v = C::load::<V>(row.add(n * V::LANES));
                for r in 0..R {
                    sums[r][n] = w[r].mul_add(v, sums[r][n]);
                }
            }
        }
        for r in 0..R {
            for n in 0..N {
                sums[r][n].store(mixed.add(r * dim + at + n * V::LANES));
            }
        }
    }
}
