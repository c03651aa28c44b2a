//! Linear layers of many rows on AMX, spread over threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Source;
use super::amx::{PAIR, PAIR_ROWS, PAIRS, Scratch, Tiled, fill, multiply};
use super::output::Output;
use crate::layout::{ROWS, Weights};
use crate::ort::{Context, Result};

/// Tasks that keep all threads busy to the end.
const LEAST_TASKS: usize = 24;

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
    let at_once = (pairs / LEAST_TASKS).clamp(1, PAIRS);
    let result = filled.and_then(|()| {
        context.parallel_for(pairs.div_ceil(at_once), |task| {
            let mut scratch = SCRATCH.take();
            let pairs = task * at_once..pairs.min((task + 1) * at_once);
            // SAFETY: the processor has what AMX needs, and the system permitted it.
            let sums = unsafe { multiply(weights, pairs.clone(), &tiled, &mut scratch) };
            for (pair, sums) in pairs.zip(sums.chunks_exact(tiled.rows())) {
                for (row, sums) in sums.iter().take(rows).enumerate() {
                    // SAFETY: the row is below `rows`, and a task writes its own groups' columns.
                    unsafe { out.write(row, pair * PAIR * ROWS, &sums.0) };
                }
            }
            SCRATCH.set(scratch);
        })
    });
    TILED.set(tiled);
    result
}
