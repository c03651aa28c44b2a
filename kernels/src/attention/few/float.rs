//! Halves, multiplied as floats.

use super::{Few, Weights};
use crate::attention::cache::Side;
use crate::attention::rows::Rows;
use crate::attention::scratch::Scratch;
use crate::attention::vector::{Ahead, Vector};
use crate::ort::F16;

impl Few for F16 {
    const MOST_ROWS: usize = 12;
    const BLOCK_KEYS: usize = 32;
    type Queries = ();

    #[inline(always)]
    unsafe fn prepare<V: Vector>(_: Rows, _: &mut Scratch) {}

    #[inline(always)]
    unsafe fn score<V: Vector, const R: usize>(
        keys: Side<Self>,
        count: usize,
        rows: Rows,
        (): &(),
        first: usize,
        weights: &mut Weights<R>,
        ahead: Ahead,
    ) {
        let queries = rows.queries[first * rows.dim..].as_ptr();
        let mut key = 0;
        // SAFETY: all keys are below `count`.
        unsafe {
            if R < 4 {
                while key + 4 <= count {
                    ahead.fetch(key * rows.dim * 2, 4 * rows.dim * 2);
                    let sums = dot::<V, R, 4>(keys.values.add(key * rows.dim), queries, rows.dim);
                    for r in 0..R {
                        weights[r][key..key + 4].copy_from_slice(&V::sum4(sums[r]));
                    }
                    key += 4;
                }
            }
            while key < count {
                ahead.fetch(key * rows.dim * 2, rows.dim * 2);
                let sums = dot::<V, R, 1>(keys.values.add(key * rows.dim), queries, rows.dim);
                if R == 4 {
                    let four = V::sum4([sums[0][0], sums[1 % R][0], sums[2 % R][0], sums[3 % R][0]]);
                    for r in 0..R {
                        weights[r][key] = four[r];
                    }
                } else {
                    for r in 0..R {
                        weights[r][key] = sums[r][0].sum();
                    }
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
        let columns = Columns { values, count, dim, weights, factors, ahead };
        let mut at = 0;
        // SAFETY: columns stay below `dim`.
        unsafe {
            if R < 3 || V::LANES == 16 {
                while at + 4 * V::LANES <= dim {
                    columns.add::<V, 4>(at, mixed);
                    at += 4 * V::LANES;
                }
            }
            while at + 2 * V::LANES <= dim {
                columns.add::<V, 2>(at, mixed);
                at += 2 * V::LANES;
            }
            if at < dim {
                columns.add::<V, 1>(at, mixed);
            }
        }
    }
}

/// Products of N keys with R queries, not yet summed across lanes.
#[inline(always)]
unsafe fn dot<V: Vector, const R: usize, const N: usize>(
    keys: *const F16,
    queries: *const f32,
    dim: usize,
) -> [[V; N]; R] {
    // SAFETY: the keys are N rows of the cache, the queries R rows; both have `dim` elements, whole vectors.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; R];
        for at in (0..dim).step_by(V::LANES) {
            let mut q = [V::splat(0.0); R];
            for r in 0..R {
                q[r] = V::load(queries.add(r * dim + at));
            }
            for n in 0..N {
                let k = V::from_f16(keys.add(n * dim + at));
                for r in 0..R {
                    sums[r][n] = q[r].mul_add(k, sums[r][n]);
                }
            }
        }
        sums
    }
}

/// What adding weighted values needs.
struct Columns<'a, const R: usize> {
    values: Side<F16>,
    count: usize,
    dim: usize,
    weights: &'a Weights<R>,
    factors: [f32; R],
    ahead: Ahead,
}

impl<const R: usize> Columns<'_, R> {
    /// Add them in N vectors of columns from `at` on.
    #[inline(always)]
    unsafe fn add<V: Vector, const N: usize>(&self, at: usize, mixed: &mut [f32]) {
        let dim = self.dim;
        let mixed = mixed.as_mut_ptr();
        // SAFETY: `mixed` has R rows, the values have `count` rows; the columns are inside both.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; R];
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = V::load(mixed.add(r * dim + at + n * V::LANES)).mul(V::splat(self.factors[r]));
                }
            }
            for key in 0..self.count {
                self.ahead.fetch((at * self.count + key * N * V::LANES) * 2, N * V::LANES * 2);
                let row = self.values.values.add(key * dim + at).cast_const();
                let mut w = [V::splat(0.0); R];
                for r in 0..R {
                    w[r] = V::splat(*self.weights[r].get_unchecked(key));
                }
                for n in 0..N {
                    let v = V::from_f16(row.add(n * V::LANES));
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
}
