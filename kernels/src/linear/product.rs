//! Products of many rows, spread over threads.

use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::output::Output;
use super::{Kernel, Results, Source};
use crate::activations::Panel;
use crate::layout::{ROWS, Weights};
use crate::ort::{Context, Result};

/// Bytes of weights that are worth a task of their own.
const TASK_BYTES: usize = 96 * 1024;

thread_local! {
    /// Panels are kept from run to run: they are as large as the activations, and fresh memory costs page faults.
    static PANELS: Cell<Vec<Panel>> = const { Cell::new(Vec::new()) };
}

/// Multiply all weights with rows of a source.
pub(super) fn run(
    context: &Context,
    kernel: Kernel,
    weights: &Weights,
    source: Source,
    rows: usize,
    out: &Output,
) -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    if kernel.tiles(rows) {
        return super::tiles::run(context, weights, source, rows, out);
    }
    with_panels(context, kernel, weights.all.zero_point(), source, rows, |panels| {
        multiply(context, kernel, weights, panels, out)
    })
}

/// Round a source's rows to int8 and use them.
pub(super) fn with_panels(
    context: &Context,
    kernel: Kernel,
    zero_point: i32,
    source: Source,
    rows: usize,
    action: impl FnOnce(&[Panel]) -> Result<()>,
) -> Result<()> {
    let mut panels = PANELS.take();
    let count = rows.div_ceil(kernel.panel_rows);
    let result =
        quantize(context, kernel, zero_point, source, rows, &mut panels).and_then(|()| action(&panels[..count]));
    PANELS.set(panels);
    result
}

/// Fill as few panels as possible, of nearly equal numbers of rows.
fn quantize(
    context: &Context,
    kernel: Kernel,
    zero_point: i32,
    source: Source,
    rows: usize,
    panels: &mut Vec<Panel>,
) -> Result<()> {
    let count = rows.div_ceil(kernel.panel_rows);
    if panels.len() < count {
        panels.resize_with(count, Panel::default);
    }
    let first = |panel: usize| panel * rows / count;
    for (index, panel) in panels[..count].iter_mut().enumerate() {
        panel.resize(first(index + 1) - first(index), source.k);
    }
    let start = AtomicPtr::new(panels.as_mut_ptr());
    context.parallel_for(count, |index| {
        // SAFETY: each task has a panel of its own, below `count`.
        let panel = unsafe { &mut *start.load(Ordering::Relaxed).add(index) };
        kernel.fill(panel, source, first(index), zero_point);
    })
}

/// Multiply a few groups at a time; their weights stay in the cache while the panels pass by.
pub(super) fn multiply(
    context: &Context,
    kernel: Kernel,
    weights: &Weights,
    panels: &[Panel],
    out: &Output,
) -> Result<()> {
    let groups = weights.groups();
    let streams = if let [only] = panels { kernel.streams(only.rows) } else { 1 };
    let units = groups.div_ceil(streams);
    let bytes = weights.group_bytes() + weights.all.low.map_or(0, |_| weights.low_bytes());
    let tasks = units.min((groups * bytes).div_ceil(TASK_BYTES));
    context.parallel_for(tasks, |task| {
        let mut results = Results::default();
        let mut group = task * units / tasks * streams;
        let end = groups.min((task + 1) * units / tasks * streams);
        let at_once = |group| if end - group < streams { 1 } else { streams };
        kernel.begin(&weights.some(group, at_once(group)), at_once(group));
        while group < end {
            let streams = at_once(group);
            let some = weights.some(group, streams);
            let mut row = 0;
            for panel in panels {
                kernel.multiply(&some, streams, panel, &mut results);
                for (index, result) in results[..streams * panel.rows].iter().enumerate() {
                    let (stream, m) = (index / panel.rows, index % panel.rows);
                    // SAFETY: the output has as many rows as all panels, and a task writes its own groups' columns.
                    unsafe { out.write(row + m, (group + stream) * ROWS, result) };
                }
                row += panel.rows;
            }
            group += streams;
        }
    })
}
