//! int8, multiplied as 16-bit integers: half the work of floats, so that one core keeps up with memory.
//!
//! Queries get a scale per row, weights one per row and block of keys; 16 bits are 1/256 of the cache's own step.
//! Products of i16 and i8 are summed in i32, which no sum here fills: 256 · 2¹⁵ · 2⁷ = 2³⁰.

use super::{Few, KEYS, Weights};
use crate::attention::cache::{Side, TINY};
use crate::attention::rows::Rows;
use crate::attention::scratch::Scratch;
use crate::attention::shape::MOST_ELEMENTS;
use crate::attention::vector::{Ahead, Vector};

/// The largest magnitude.
const MOST: f32 = 32767.0;

/// The most rows.
const ROWS: usize = 24;

/// Query rows, [`MOST_ELEMENTS`] apart, and their scales.
pub struct Quantized {
    rows: *const i16,
    scales: [f32; ROWS],
}

impl Few for i8 {
    const MOST_ROWS: usize = ROWS;
    const BLOCK_KEYS: usize = 64;
    type Queries = Quantized;

    #[inline(always)]
    unsafe fn prepare<V: Vector>(rows: Rows, scratch: &mut Scratch) -> Quantized {
        let [places] = scratch.split([ROWS * MOST_ELEMENTS / 2]);
        let places = places.as_mut_ptr().cast::<i16>();
        let mut scales = [0.0; ROWS];
        for (r, row) in rows.queries.chunks_exact(rows.dim).enumerate() {
            // SAFETY: a row is a multiple of a vector, and there are places for ROWS of them.
            unsafe { scales[r] = quantize::<V>(row.as_ptr(), row.len(), places.add(r * MOST_ELEMENTS)) };
        }
        Quantized { rows: places, scales }
    }

    #[inline(always)]
    unsafe fn score<V: Vector, const R: usize>(
        keys: Side<Self>,
        count: usize,
        rows: Rows,
        queries: &Quantized,
        first: usize,
        weights: &mut Weights<R>,
        ahead: Ahead,
    ) {
        let dim = rows.dim;
        let scales = &queries.scales[first..first + R];
        let queries = queries.rows.wrapping_add(first * MOST_ELEMENTS);
        let mut key = 0;
        // SAFETY: all keys are below `count`.
        unsafe {
            while key + 4 <= count {
                ahead.fetch(key * dim, 4 * dim);
                let row = keys.values.add(key * dim).cast_const();
                let [left, right] = [dot::<V, R, 2>(row, queries, dim), dot::<V, R, 2>(row.add(2 * dim), queries, dim)];
                for r in 0..R {
                    let four = V::sum4_integers([left[r][0], left[r][1], right[r][0], right[r][1]]);
                    for n in 0..4 {
                        weights[r][key + n] = four[n] as f32 * (scales[r] * keys.scale(key + n));
                    }
                }
                key += 4;
            }
            while key < count {
                let sums = dot::<V, R, 1>(keys.values.add(key * dim), queries, dim);
                for r in 0..R {
                    let zero = V::no_integers();
                    let sum = V::sum4_integers([sums[r][0], zero, zero, zero])[0];
                    weights[r][key] = sum as f32 * (scales[r] * keys.scale(key));
                }
                key += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn mix<V: Vector, const R: usize>(
        values: Side<Self>,
        count: usize,
        dim: usize,
        weights: &mut Weights<R>,
        factors: [f32; R],
        mixed: &mut [f32],
        ahead: Ahead,
    ) {
        let mut integers = [[0; KEYS]; R];
        let mut scales = [0.0; R];
        // SAFETY: KEYS is a multiple of a vector; columns stay below `dim`.
        unsafe {
            for r in 0..R {
                for key in 0..count {
                    weights[r][key] *= values.scale(key);
                }
                weights[r][count..].fill(0.0);
                let size = count.next_multiple_of(16);
                scales[r] = quantize::<V>(weights[r].as_ptr(), size, integers[r].as_mut_ptr());
            }
            let columns = Columns { values, count, dim, weights: &integers, scales, factors, ahead };
            let mut at = 0;
            while V::LANES == 16 && R < 4 && at + 4 * V::LANES <= dim {
                columns.add::<V, 2>(at, mixed);
                at += 4 * V::LANES;
            }
            while at < dim {
                columns.add::<V, 1>(at, mixed);
                at += 2 * V::LANES;
            }
        }
    }
}

/// Round `count` floats, whole vectors, to 16 bits; gives their scale, which isn't a number if one of them isn't finite.
#[inline(always)]
unsafe fn quantize<V: Vector>(from: *const f32, count: usize, to: *mut i16) -> f32 {
    // SAFETY: the caller gives `count` floats and room for as many integers.
    unsafe {
        let (mut largest, mut sum) = (V::splat(0.0), V::splat(0.0));
        for at in (0..count).step_by(V::LANES) {
            let x = V::load(from.add(at)).magnitude();
            largest = x.max(largest);
            sum = sum.add(x);
        }
        let (largest, sum) = (largest.largest(), sum.sum());
        let factor = V::splat(if largest > TINY { MOST / largest } else { 0.0 });
        for at in (0..count).step_by(V::LANES) {
            V::load(from.add(at)).mul(factor).to_i16(to.add(at));
        }
        if sum.is_finite() { largest / MOST } else { f32::NAN }
    }
}

/// Products of N keys with R queries, not yet summed across lanes.
#[inline(always)]
unsafe fn dot<V: Vector, const R: usize, const N: usize>(
    keys: *const i8,
    queries: *const i16,
    dim: usize,
) -> [[V::Integers; N]; R] {
    // SAFETY: the keys are N rows of the cache, the queries R rows that are MOST_ELEMENTS apart; a pair of vectors that
    // is only half inside a row is cut.
    unsafe {
        let mut sums = [[V::no_integers(); N]; R];
        for at in (0..dim).step_by(2 * V::LANES) {
            let whole = at + 2 * V::LANES <= dim;
            let mut q = [V::no_pairs(); R];
            for r in 0..R {
                q[r] = V::load_pairs(queries.add(r * MOST_ELEMENTS + at)); // what is beyond a row is multiplied by zeros
            }
            for n in 0..N {
                let key = keys.add(n * dim + at);
                let k = if whole { V::widen(key) } else { V::widen_half(key) };
                for r in 0..R {
                    sums[r][n] = V::add_products(sums[r][n], q[r], k);
                }
            }
        }
        sums
    }
}

/// What adding weighted values needs.
struct Columns<'a, const R: usize> {
    values: Side<i8>,
    count: usize,
    dim: usize,
    weights: &'a [[i16; KEYS]; R],
    scales: [f32; R],
    factors: [f32; R],
    ahead: Ahead,
}

impl<const R: usize> Columns<'_, R> {
    /// Add them in `2 · N` vectors of columns from `at` on, two keys at a time; the last vector may be outside a row.
    #[inline(always)]
    unsafe fn add<V: Vector, const N: usize>(&self, at: usize, mixed: &mut [f32]) {
        let (dim, count) = (self.dim, self.count);
        let whole = at + 2 * N * V::LANES <= dim;

        // SAFETY: the values have `count` rows, `mixed` R rows; the columns are inside both. The weight after an odd count
        // is zero.
        unsafe {
            let mut sums = [[[V::no_integers(); 2]; N]; R];
            let first = self.values.values.add(at).cast_const();
            if whole {
                for key in (0..count & !1).step_by(2) {
                    let row = first.add(key * dim);
                    self.ahead.fetch(at * count + key * 2 * N * V::LANES, 4 * N * V::LANES);
                    self.add_pair::<V, N, true>(row, row.add(dim), key, &mut sums);
                }
                if count % 2 == 1 {
                    let row = first.add((count - 1) * dim);
                    self.add_pair::<V, N, true>(row, row, count - 1, &mut sums);
                }
            } else {
                for key in (0..count).step_by(2) {
                    let row = first.add(key * dim);
                    let next = if key + 1 < count { row.add(dim) } else { row };
                    self.add_pair::<V, N, false>(row, next, key, &mut sums);
                }
            }
            for r in 0..R {
                for n in 0..N {
                    for (half, sum) in V::in_order(sums[r][n]).into_iter().enumerate() {
                        let column = at + (2 * n + half) * V::LANES;
                        if column < dim {
                            let to = mixed.as_mut_ptr().add(r * dim + column);
                            let before = V::load(to).mul(V::splat(self.factors[r]));
                            V::from_integers(sum).mul_add(V::splat(self.scales[r]), before).store(to);
                        }
                    }
                }
            }
        }
    }

    /// Add those of two keys.
    #[inline(always)]
    unsafe fn add_pair<V: Vector, const N: usize, const WHOLE: bool>(
        &self,
        row: *const i8,
        next: *const i8,
        key: usize,
        sums: &mut [[[V::Integers; 2]; N]; R],
    ) {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut w = [V::no_pairs(); R];
            for r in 0..R {
                w[r] = V::splat_pair(self.weights[r].as_ptr().add(key));
            }
            for n in 0..N {
                let [row, next] = [row.add(2 * n * V::LANES), next.add(2 * n * V::LANES)];
                let [a, b] =
                    if WHOLE { [V::widen(row), V::widen(next)] } else { [V::widen_half(row), V::widen_half(next)] };
                let [low, high] = V::interleave(a, b);
                for r in 0..R {
                    sums[r][n][0] = V::add_products(sums[r][n][0], w[r], low);
                    sums[r][n][1] = V::add_products(sums[r][n][1], w[r], high);
                }
            }
        }
    }
}
