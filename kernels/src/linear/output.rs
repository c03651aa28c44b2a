//! Where a linear layer's results go.

use std::sync::atomic::{AtomicPtr, Ordering};

/// Where results go: float32 `(rows, n)`, written by many tasks, each its own columns.
pub struct Output<'a> {
    values: AtomicPtr<f32>,
    n: usize,
    bias: Option<&'a [f32]>,
    places: Option<&'a [usize]>,
}

impl<'a> Output<'a> {
    /// Around memory of `n` columns a row; row `r` of the product goes to row `places[r]`, or to `r`.
    pub fn new(values: &'a mut [f32], n: usize, bias: Option<&'a [f32]>, places: Option<&'a [usize]>) -> Self {
        assert!(places.is_none_or(|places| places.iter().all(|place| (place + 1) * n <= values.len())));
        Self { values: AtomicPtr::new(values.as_mut_ptr()), n, bias, places }
    }

    /// Write the results of neighbouring output rows for one row, the bias added; those beyond `n` are dropped.
    ///
    /// # Safety
    /// The row is one of the output's, and nobody else writes these columns of it.
    pub unsafe fn write(&self, row: usize, first: usize, results: &[f32]) {
        let width = results.len().min(self.n - first);
        let row = self.places.map_or(row, |places| places[row]);
        // SAFETY: the columns are below `n`, so within the row.
        let to = unsafe {
            std::slice::from_raw_parts_mut(self.values.load(Ordering::Relaxed).add(row * self.n + first), width)
        };
        match self.bias {
            None => to.copy_from_slice(&results[..width]),
            Some(bias) => {
                for ((to, result), bias) in to.iter_mut().zip(results).zip(&bias[first..]) {
                    *to = result + bias;
                }
            }
        }
    }
}
