//! Many query rows, as in prefill: two matrix products a block of keys, with query rows in the lanes of the
//! first, so that its softmax needs no sum across lanes, and nothing but the queries is ever transposed.

mod mix;
mod score;

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
    /// The first position that a row sees, if that isn't 0 for all, and what caps scores.
    firsts: Option<&'a mut [f32]>,
    softcap: Option<f32>,
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
    let [queries, firsts, limits, maxima, totals, factors, weights, keys_, values, scales] = scratch.split([
        stride * dim,
        stride,
        stride,
        stride,
        stride,
        stride + SPARE_ROWS,
        KEYS * stride + SPARE_ROWS,
        KEYS * dim,
        KEYS * dim,
        2 * KEYS,
    ]);
    let (firsts, softcap) = (rows.window.map(|_| firsts), rows.softcap);
    let mut work = Work {
        stride,
        queries,
        firsts,
        softcap,
        limits,
        maxima,
        totals,
        factors,
        weights,
        keys: keys_,
        values,
        scales,
    };
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
        if let Some(firsts) = &mut self.firsts {
            firsts.iter_mut().enumerate().for_each(|(lane, first)| *first = rows.hidden(lane.min(count - 1), 0) as f32);
        }
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
}

const _: () = assert!(KEYS.is_multiple_of(TILE) && KEYS.is_multiple_of(TALL_TILE));
