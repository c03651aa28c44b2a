//! Five or more query rows, as in prefill: two matrix products a block of keys, with query rows in the lanes of the
//! first, so that its softmax needs no sum across lanes, and nothing but the queries is ever transposed.

use std::ops::Range;

use super::cache::{Cache, Storage};
use super::rows::{NOTHING, Rows, Sums};
use super::scratch::Scratch;
use super::vector::Vector;

/// Keys that are converted at once; a multiple of all tiles.
const KEYS: usize = 96;

/// Rows of a tile of registers that is two vectors wide, and of one that is one wide.
const TILE: usize = 6;
const TALL_TILE: usize = 12;

/// What a block of query rows needs beside its sums.
struct Work<'a> {
    /// The next multiple of a vector above the number of query rows.
    stride: usize,
    /// Queries, `[panel][dim][lanes]`: panels are two vectors wide, the last one may be one.
    queries: &'a mut [f32],
    /// Of each lane.
    limits: &'a mut [f32],
    maxima: &'a mut [f32],
    totals: &'a mut [f32],
    factors: &'a mut [f32],
    /// Scores, then weights: `[key][lane]`.
    weights: &'a mut [f32],
    /// Keys `[key][dim]`.
    keys: &'a mut [f32],
    /// Values `[panel of columns][key][columns]`, two vectors wide, the last panel maybe one.
    values: &'a mut [f32],
    /// Scales of the keys, then of the values.
    scales: &'a mut [f32],
}

/// Let rows attend to a range of keys.
///
/// # Safety
/// The processor has the instruction set; from row 0 of `cache` on there are as many rows as the keys' end, that nobody
/// writes; in `sums.mixed` there is room for [`SPARE_ROWS`] more than there are query rows.
#[inline(always)]
pub unsafe fn attend<V: Vector, C: Storage>(
    cache: Cache<C>,
    keys: Range<usize>,
    rows: Rows,
    sums: &mut Sums,
    scratch: &mut Scratch,
) {
    let (dim, count) = (rows.dim, rows.limits.len());
    let stride = count.next_multiple_of(V::LANES);
    let [queries, limits, maxima, totals, factors, weights, keys_, values, scales] = scratch.split([
        stride * dim,
        stride,
        stride,
        stride,
        stride + SPARE_ROWS,
        KEYS * stride + SPARE_ROWS,
        KEYS * dim,
        KEYS * dim,
        2 * KEYS,
    ]);
    let mut work = Work { stride, queries, limits, maxima, totals, factors, weights, keys: keys_, values, scales };
    work.pack::<V>(rows);
    let mut start = keys.start;
    while start < keys.end {
        let count = KEYS.min(keys.end - start);
        // SAFETY: there are `count` rows from `start` on; the rest is the caller's promise.
        unsafe {
            work.convert::<V, C>(cache.starting_at(start, dim), count, dim);
            work.score::<V, C>(start, count, dim);
            work.mix::<V>(start, count, rows, sums);
        }
        start += count;
    }
    sums.maxima.copy_from_slice(&work.maxima[..count]);
    sums.totals.copy_from_slice(&work.totals[..count]);
}

/// Rows that a tile may compute beyond the last; nobody looks at them.
pub const SPARE_ROWS: usize = TILE;

impl Work<'_> {
    /// Put query rows into lanes; lanes beyond the last row are zeros.
    #[inline(always)]
    fn pack<V: Vector>(&mut self, rows: Rows) {
        let (dim, count) = (rows.dim, rows.limits.len());
        let panel = 2 * V::LANES;
        self.limits.fill(rows.limits[count - 1]);
        self.limits[..count].copy_from_slice(rows.limits);
        self.maxima.fill(NOTHING);
        self.totals.fill(0.0);
        self.factors.fill(0.0);
        for lane in 0..self.stride {
            let first = lane / panel * panel;
            let width = panel.min(self.stride - first);
            let to = self.queries[first * dim + lane - first..].iter_mut().step_by(width);
            match rows.queries.get(lane * dim..(lane + 1) * dim).filter(|_| lane < count) {
                Some(row) => to.zip(row).for_each(|(to, x)| *to = *x),
                None => to.take(dim).for_each(|to| *to = 0.0),
            }
        }
    }

    /// Convert `count` keys and values.
    #[inline(always)]
    unsafe fn convert<V: Vector, C: Storage>(&mut self, cache: Cache<C>, count: usize, dim: usize) {
        let panel = 2 * V::LANES;
        let (keys, values) = (self.keys.as_mut_ptr(), self.values.as_mut_ptr());
        for key in 0..count {
            for at in (0..dim).step_by(V::LANES) {
                let first = at / panel * panel;
                let width = panel.min(dim - first);
                // SAFETY: the row is inside the cache, the places inside buffers of KEYS · dim.
                unsafe {
                    C::load::<V>(cache.keys.values.add(key * dim + at)).store(keys.add(key * dim + at));
                    C::load::<V>(cache.values.values.add(key * dim + at))
                        .store(values.add(first * KEYS + key * width + at - first));
                }
            }
            if C::SCALED {
                // SAFETY: as above.
                unsafe {
                    self.scales[key] = cache.keys.scale(key);
                    self.scales[KEYS + key] = cache.values.scale(key);
                }
            }
        }
    }

    /// Weights of `count` keys, panel after panel.
    #[inline(always)]
    unsafe fn score<V: Vector, C: Storage>(&mut self, start: usize, count: usize, dim: usize) {
        let mut first = 0;
        // SAFETY: panels are inside the lanes.
        unsafe {
            while first + 2 * V::LANES <= self.stride {
                self.score_panel::<V, C, TILE, 2>(first, start, count, dim);
                first += 2 * V::LANES;
            }
            if first < self.stride {
                self.score_panel::<V, C, TALL_TILE, 1>(first, start, count, dim);
            }
        }
    }

    /// Weights of the panel that begins with lane `first`, N vectors wide.
    #[inline(always)]
    unsafe fn score_panel<V: Vector, C: Storage, const T: usize, const N: usize>(
        &mut self,
        first: usize,
        start: usize,
        count: usize,
        dim: usize,
    ) {
        let last = first + N * V::LANES - 1;
        let visible = (self.limits[last] as usize + 1).saturating_sub(start).min(count);
        let stride = self.stride;
        // SAFETY: lanes first..=last are inside `stride`, keys inside KEYS, which is a multiple of T; keys of the last
        // tile that aren't `visible` hold what was there before, and their scores are masked, because no lane sees them.
        unsafe {
            let queries = self.queries.as_ptr().add(first * dim);
            let weights = self.weights.as_mut_ptr().add(first);
            let mut limits = [V::splat(0.0); N];
            let mut old = [V::splat(0.0); N];
            for n in 0..N {
                limits[n] = V::load(self.limits.as_ptr().add(first + n * V::LANES));
                old[n] = V::load(self.maxima.as_ptr().add(first + n * V::LANES));
            }
            let mut largest = old;
            for key in (0..visible).step_by(T) {
                let mut scores = product::<V, T, N>(self.keys.as_ptr().add(key * dim), dim, queries);
                let masked = start + key + T - 1 > self.limits[first] as usize;
                for t in 0..T {
                    for n in 0..N {
                        if C::SCALED {
                            scores[t][n] = scores[t][n].mul(V::splat(*self.scales.as_ptr().add(key + t)));
                        }
                        if masked {
                            scores[t][n] = scores[t][n].unless_above(V::splat((start + key + t) as f32), limits[n]);
                        }
                        largest[n] = scores[t][n].max(largest[n]);
                        scores[t][n].store(weights.add((key + t) * stride + n * V::LANES));
                    }
                }
            }
            let mut totals = [V::splat(0.0); N];
            for key in 0..visible {
                for n in 0..N {
                    let at = weights.add(key * stride + n * V::LANES);
                    let mut weight = V::load(at).sub(largest[n]).exp2();
                    totals[n] = totals[n].add(weight);
                    if C::SCALED {
                        weight = weight.mul(V::splat(*self.scales.as_ptr().add(KEYS + key)));
                    }
                    weight.store(at);
                }
            }
            for key in visible..count {
                for n in 0..N {
                    V::splat(0.0).store(weights.add(key * stride + n * V::LANES));
                }
            }
            for n in 0..N {
                let at = first + n * V::LANES;
                let factor = old[n].sub(largest[n]).exp2();
                factor.store(self.factors.as_mut_ptr().add(at));
                largest[n].store(self.maxima.as_mut_ptr().add(at));
                let total = self.totals.as_mut_ptr().add(at);
                V::load(total).mul_add(factor, totals[n]).store(total);
            }
        }
    }

    /// Add the weighted values, a few rows at a time, each with the keys that one of them sees.
    #[inline(always)]
    unsafe fn mix<V: Vector>(&mut self, start: usize, count: usize, rows: Rows, sums: &mut Sums) {
        let total = rows.limits.len();
        let mut row = 0;
        while row < total {
            let left = total - row;
            let tile = if left > 4 {
                TILE
            } else if left > 2 {
                4
            } else {
                2
            };
            let visible = rows.visible((row + tile).min(total) - 1, start, count);
            // SAFETY: there are SPARE_ROWS more places than rows.
            unsafe {
                match tile {
                    TILE => self.mix_rows::<V, TILE>(row, visible, rows.dim, sums.mixed),
                    4 => self.mix_rows::<V, 4>(row, visible, rows.dim, sums.mixed),
                    _ => self.mix_rows::<V, 2>(row, visible, rows.dim, sums.mixed),
                }
            }
            row += tile;
        }
    }

    #[inline(always)]
    unsafe fn mix_rows<V: Vector, const T: usize>(&self, row: usize, visible: usize, dim: usize, mixed: &mut [f32]) {
        let mut at = 0;
        // SAFETY: columns stay below `dim`.
        unsafe {
            while at + 2 * V::LANES <= dim {
                self.mix_tile::<V, T, 2>(row, at, visible, dim, mixed);
                at += 2 * V::LANES;
            }
            if at < dim {
                self.mix_tile::<V, T, 1>(row, at, visible, dim, mixed);
            }
        }
    }

    /// T rows, N vectors of columns.
    #[inline(always)]
    unsafe fn mix_tile<V: Vector, const T: usize, const N: usize>(
        &self,
        row: usize,
        at: usize,
        visible: usize,
        dim: usize,
        mixed: &mut [f32],
    ) {
        let (stride, width) = (self.stride, N * V::LANES);
        // SAFETY: all buffers have SPARE_ROWS more places than rows; keys are below KEYS and columns below `dim`.
        unsafe {
            let weights = self.weights.as_ptr().add(row);
            let values = self.values.as_ptr().add(at * KEYS);
            let mixed = mixed.as_mut_ptr().add(row * dim + at);
            let mut sums = [[V::splat(0.0); N]; T];
            for t in 0..T {
                let factor = V::splat(*self.factors.as_ptr().add(row + t));
                for n in 0..N {
                    sums[t][n] = V::load(mixed.add(t * dim + n * V::LANES)).mul(factor);
                }
            }
            for key in 0..visible {
                let mut v = [V::splat(0.0); N];
                for n in 0..N {
                    v[n] = V::load(values.add(key * width + n * V::LANES));
                }
                for t in 0..T {
                    let weight = V::splat(*weights.add(key * stride + t));
                    for n in 0..N {
                        sums[t][n] = weight.mul_add(v[n], sums[t][n]);
                    }
                }
            }
            for t in 0..T {
                for n in 0..N {
                    sums[t][n].store(mixed.add(t * dim + n * V::LANES));
                }
            }
        }
    }
}

/// T rows of keys times a panel of queries.
#[inline(always)]
unsafe fn product<V: Vector, const T: usize, const N: usize>(
    keys: *const f32,
    dim: usize,
    queries: *const f32,
) -> [[V; N]; T] {
    // SAFETY: keys are T rows of `dim`, queries `dim` rows of N vectors.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; T];
        for at in 0..dim {
            let mut q = [V::splat(0.0); N];
            for n in 0..N {
                q[n] = V::load(queries.add((at * N + n) * V::LANES));
            }
            for t in 0..T {
                let k = V::splat(*keys.add(t * dim + at));
                for n in 0..N {
                    sums[t][n] = k.mul_add(q[n], sums[t][n]);
                }
            }
        }
        sums
    }
}

const _: () = assert!(KEYS.is_multiple_of(TILE) && KEYS.is_multiple_of(TALL_TILE));
