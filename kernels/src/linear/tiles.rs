//! Linear layers of many rows on AMX, spread over threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Source;
use super::amx::{PAIR, PAIR_ROWS, Scratch, Tiled, fill, multiply};
use super::output::Output;
use crate::layout::{ROWS, Weights};
use crate::ort::{Context, Result};

thread_local! {
    /// Kept from run to run: fresh memory costs page faults.
    static TILED: Cell<Tiled> = Cell::default();
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Multiply; the kernel said that tiles are to be used, so the processor has them.
pub(super) fn run(context: &Context, weights: &Weights, source: Source, rows: usize, out: &Output) -> Result<()> {
    let mut tiled = TILED.take();
    tiled.resize(rows, weights.k);
    let parts: Vec<_> = tiled.parts().map(|part| (AtomicPtr::new(part.as_mut_ptr()), part.len())).collect();
    let filled = context.parallel_for(parts.len(), |index| {
        let (part, length) = &parts[index];
        // SAFETY: each task has a part of its own; the processor has what AMX needs.
        unsafe {
            let part = std::slice::from_raw_parts_mut(part.load(Ordering::Relaxed), *length);
            fill(part, source, index * PAIR_ROWS, rows);
        }
    });
    let pairs = weights.groups().div_ceil(PAIR);
    let result = filled.and_then(|()| {
        context.parallel_for(pairs, |pair| {
            let mut scratch = SCRATCH.take();
            // SAFETY: the processor has what AMX needs, and the system permitted it.
            let sums = unsafe { multiply(weights, pair, &tiled, &mut scratch) };
            for (row, sums) in sums.chunks_exact(PAIR * ROWS).take(rows).enumerate() {
                let first = pair * PAIR * ROWS;
                // SAFETY: the row is below `rows`, and a task writes its own groups' columns.
                unsafe { out.write(row, first, &sums[..sums.len().min(weights.n - first)]) };
            }
            SCRATCH.set(scratch);
        })
    });
    TILED.set(tiled);
    result
}
