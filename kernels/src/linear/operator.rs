//! The operator `Linear`.

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::output::Output;
use super::{Kernel, Results, Source};
use crate::activations::{Gate, Panel};
use crate::fail;
use crate::isa;
use crate::layout::{ROWS, Weights};
use crate::ort::{Context, Info, Operator, Port, Result};

/// Bytes of weights that are worth a task of their own.
const TASK_BYTES: usize = 96 * 1024;

/// `Y = X · Wᵀ + bias`, or with `gated` of `silu(X₁) · X₂` (1) or `gelu(X₁) · X₂` (2).
pub struct Linear {
    weights: Weights<'static>,
    gate: Gate,
    kernel: Kernel,
}

thread_local! {
    /// Panels are kept from run to run: they are as large as the activations, and fresh memory costs page faults.
    static PANELS: Cell<Vec<Panel>> = const { Cell::new(Vec::new()) };
}

impl Operator for Linear {
    const NAME: &'static CStr = c"Linear";
    const INPUTS: &'static [Port] = &[Port::required::<f32>(), Port::required::<u8>(), Port::optional::<f32>()];
    const OUTPUTS: &'static [Port] = &[Port::required::<f32>()];

    fn new(info: &Info) -> Result<Self> {
        let weights = Weights::of_node(info, 1)?;
        Ok(Self { weights, gate: Gate::of(info.size(c"gated", 0, 2)?), kernel: Kernel::new(isa::chosen()?) })
    }

    fn run(&self, context: &Context) -> Result<()> {
        let x = context.input(0)?;
        let columns = self.weights.k * if self.gate == Gate::None { 1 } else { 2 };
        if x.columns() != columns {
            fail!("the input has {} columns, the weights take {columns}", x.columns());
        }
        let bias = context.optional_input(2)?;
        let bias = bias.as_ref().map(|bias| bias.slice::<f32>()).transpose()?;
        if bias.is_some_and(|bias| bias.len() != self.weights.n) {
            fail!("the bias doesn't have {} values", self.weights.n);
        }
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("it has columns") = self.weights.n;
        let rows = x.rows();
        let out = context.output::<f32>(0, &shape)?;
        if rows == 0 {
            return Ok(());
        }
        let source = Source { x: x.slice()?, k: self.weights.k, gate: self.gate };
        let out = Output::new(out, self.weights.n, bias);
        #[cfg(target_arch = "x86_64")]
        if self.kernel.tiles(rows) {
            return super::tiles::run(context, &self.weights, source, rows, &out);
        }
        let mut panels = PANELS.take();
        let result = self
            .quantize(context, source, rows, &mut panels)
            .and_then(|()| self.multiply(context, &panels[..rows.div_ceil(self.kernel.panel_rows)], &out));
        PANELS.set(panels);
        result
    }
}

impl Linear {
    /// Fill as few panels as possible, of nearly equal numbers of rows.
    fn quantize(&self, context: &Context, source: Source, rows: usize, panels: &mut Vec<Panel>) -> Result<()> {
        let count = rows.div_ceil(self.kernel.panel_rows);
        if panels.len() < count {
            panels.resize_with(count, Panel::default);
        }
        let first = |panel: usize| panel * rows / count;
        for (index, panel) in panels[..count].iter_mut().enumerate() {
            panel.resize(first(index + 1) - first(index), self.weights.k);
        }
        let zero_point = self.weights.bits.zero_point();
        let start = AtomicPtr::new(panels.as_mut_ptr());
        context.parallel_for(count, |index| {
            // SAFETY: each task has a panel of its own, below `count`.
            let panel = unsafe { &mut *start.load(Ordering::Relaxed).add(index) };
            self.kernel.fill(panel, source, first(index), zero_point);
        })
    }

    /// Multiply a few groups at a time; their weights stay in the cache while the panels pass by.
    fn multiply(&self, context: &Context, panels: &[Panel], out: &Output) -> Result<()> {
        let weights = self.weights;
        let (groups, group_bytes) = (weights.groups(), weights.group_bytes());
        let streams = if let [only] = panels { self.kernel.streams(only.rows) } else { 1 };
        let units = groups.div_ceil(streams);
        let tasks = units.min((groups * group_bytes).div_ceil(TASK_BYTES));
        context.parallel_for(tasks, |task| {
            let mut results = Results::default();
            let mut group = task * units / tasks * streams;
            let end = groups.min((task + 1) * units / tasks * streams);
            while group < end {
                let streams = if end - group < streams { 1 } else { streams };
                let data = &weights.data[group * group_bytes..][..streams * group_bytes];
                let mut row = 0;
                for panel in panels {
                    self.kernel.multiply(data, streams, weights.bits, panel, &mut results);
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
}
