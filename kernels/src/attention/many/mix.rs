//! The second product: weights times values.

use super::{KEYS, TILE, Work};
use crate::attention::rows::{Rows, Sums};
use crate::attention::vector::Vector;

impl Work<'_> {
    /// Add the weighted values, a few rows at a time, each with the keys that one of them sees.
    #[inline(always)]
    pub(super) unsafe fn mix<V: Vector>(&mut self, start: usize, count: usize, rows: Rows, sums: &mut Sums) {
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
