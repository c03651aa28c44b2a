//! The first product: keys times queries, and the softmax over it.

use super::{KEYS, TALL_TILE, TILE, Work};
use crate::attention::cache::Storage;
use crate::attention::vector::Vector;

impl Work<'_> {
    /// Weights of `count` keys, panel after panel.
    #[inline(always)]
    pub(super) unsafe fn score<V: Vector, C: Storage>(&mut self, start: usize, count: usize, dim: usize) {
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
            let mut firsts = [V::splat(0.0); N];
            let mut old = [V::splat(0.0); N];
            for n in 0..N {
                limits[n] = V::load(self.limits.as_ptr().add(first + n * V::LANES));
                old[n] = V::load(self.maxima.as_ptr().add(first + n * V::LANES));
                if let Some(rows) = &self.firsts {
                    firsts[n] = V::load(rows.as_ptr().add(first + n * V::LANES));
                }
            }
            // The last lane's is the largest.
            let hidden = self.firsts.as_ref().map_or(0, |rows| rows[last] as usize);
            let mut largest = old;
            for key in (0..visible).step_by(T) {
                let mut scores = product::<V, T, N>(self.keys.as_ptr().add(key * dim), dim, queries);
                let masked = start + key + T - 1 > self.limits[first] as usize;
                for t in 0..T {
                    for n in 0..N {
                        if C::SCALED {
                            scores[t][n] = scores[t][n].mul(V::splat(*self.scales.as_ptr().add(key + t)));
                        }
                        if let Some(cap) = self.softcap {
                            scores[t][n] = scores[t][n].softcap(cap);
                        }
                        if start + key + t < hidden {
                            scores[t][n] = scores[t][n].unless_above(firsts[n], V::splat((start + key + t) as f32));
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
