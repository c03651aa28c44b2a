//! The operator `Head`: a linear layer of 8 bits in two planes, the low one read only where it can matter.

use std::ffi::CStr;

use super::candidates::{Choice, groups};
use super::output::Output;
use super::{Kernel, Results, Source, product};
use crate::activations::{Gate, Panel};
use crate::fail;
use crate::isa;
use crate::layout::{ROWS, Weights};
use crate::ort::{Context, Info, Operator, Port, Result, Tensor};

/// Groups of candidates that are worth a task of their own.
const TASK_GROUPS: usize = 4;

/// `Y = X · Wᵀ`, exact for what a choice is made among and coarse for the rest; see [`Choice`].
pub struct Head {
    weights: Weights<'static>,
    spreads: &'static [f32],
    widest: f32,
    kernel: Kernel,
}

impl Operator for Head {
    const NAME: &'static CStr = c"Head";
    /// X, both planes, the spreads of their rows, and choices float32 `(rows or 1, 4)`.
    const INPUTS: &'static [Port] = &[
        Port::required::<f32>(),
        Port::required::<u8>(),
        Port::required::<u8>(),
        Port::required::<f32>(),
        Port::required::<f32>(),
    ];
    const OUTPUTS: &'static [Port] = &[Port::required::<f32>()];

    fn new(info: &Info) -> Result<Self> {
        let weights = Weights::of_node(info, 1, Some(2))?;
        if weights.all.low.is_none() {
            fail!("the low plane must be an initializer");
        }
        let Some(spreads) = info.constant(3)? else { fail!("the spreads must be an initializer") };
        let spreads = spreads.slice::<f32>()?;
        if spreads.len() != weights.n || !spreads.iter().all(|spread| *spread >= 0.0 && spread.is_finite()) {
            fail!("the spreads aren't {} numbers, none below 0", weights.n);
        }
        let widest = spreads.iter().copied().fold(0.0, f32::max);
        Ok(Self { weights, spreads, widest, kernel: Kernel::new(isa::chosen()?) })
    }

    fn run(&self, context: &Context) -> Result<()> {
        let (x, rows) = (context.input(0)?, context.input(0)?.rows());
        if x.columns() != self.weights.k {
            fail!("the input has {} columns, the weights take {}", x.columns(), self.weights.k);
        }
        let choices = read_choices(&context.input(4)?, rows)?;
        let mut shape = x.shape.clone();
        *shape.last_mut().expect("it has columns") = self.weights.n;
        let out = context.output::<f32>(0, &shape)?;
        let (chosen, whole): (Vec<_>, Vec<_>) = (0..rows).partition(|&row| choices[row % choices.len()].is_some());
        self.exact(context, x.slice()?, &whole, out)?;
        let choices: Vec<_> = chosen.iter().filter_map(|&row| choices[row % choices.len()]).collect();
        self.coarse_then_exact(context, x.slice()?, &chosen, &choices, out)
    }
}

/// A choice for each row, or one for all.
fn read_choices(values: &Tensor, rows: usize) -> Result<Vec<Option<Choice>>> {
    if values.columns() != 4 || (values.rows() != rows && values.rows() != 1) {
        fail!("the choices have shape {:?} instead of {:?}", values.shape, [rows, 4]);
    }
    values.slice::<f32>()?.chunks_exact(4).map(Choice::read).collect()
}

/// Rows of `k` columns, one behind the other.
fn gather(x: &[f32], k: usize, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|row| &x[row * k..][..k]).copied().collect()
}

impl Head {
    /// Give some rows all of their logits exactly: by panels on AMX too, for tiles would give them other bits from
    /// 48 rows on, and a row's depend on no other.
    fn exact(&self, context: &Context, x: &[f32], rows: &[usize], out: &mut [f32]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let x = gather(x, self.weights.k, rows);
        let source = Source { x: &x, k: self.weights.k, gate: Gate::None };
        let out = Output::new(out, self.weights.n, None, Some(rows));
        product::with_panels(context, self.kernel, self.weights.all.zero_point(), source, rows.len(), |panels| {
            product::multiply(context, self.kernel, &self.weights, panels, &out)
        })
    }

    /// Give rows coarse logits, and exact ones wherever it can matter. A row's depend on no other row.
    fn coarse_then_exact(
        &self,
        context: &Context,
        x: &[f32],
        rows: &[usize],
        choices: &[Choice],
        out: &mut [f32],
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let (n, k, zero_point) = (self.weights.n, self.weights.k, self.weights.all.zero_point());
        let x = gather(x, k, rows);
        let source = Source { x: &x, k, gate: Gate::None };
        product::with_panels(context, self.kernel, zero_point, source, rows.len(), |panels| {
            let coarse: Vec<Panel> = panels.iter().map(Panel::coarse).collect();
            let to = Output::new(out, n, None, Some(rows));
            product::multiply(context, self.kernel, &self.weights.high(), &coarse, &to)?;
            let mut first = 0;
            for panel in panels {
                let range = first..first + panel.rows;
                let wanted = self.wanted(panel, &rows[range.clone()], &choices[range.clone()], out);
                self.refine(context, panel, &rows[range], &wanted, out)?;
                first += panel.rows;
            }
            Ok(())
        })
    }

    /// For each group, which rows of a panel want it to be exact, a bit each; groups that none wants are left out.
    fn wanted(&self, panel: &Panel, rows: &[usize], choices: &[Choice], out: &[f32]) -> Vec<(usize, u16)> {
        let mut masks = vec![0_u16; self.weights.groups()];
        for (m, (row, choice)) in rows.iter().zip(choices).enumerate() {
            let logits = &out[row * self.weights.n..][..self.weights.n];
            for group in groups(choice, logits, panel.norm(m), self.spreads, self.widest) {
                masks[group as usize] |= 1 << m;
            }
        }
        masks.into_iter().enumerate().filter(|(_, mask)| *mask != 0).collect()
    }

    /// Compute groups exactly, for the rows that want them.
    fn refine(
        &self,
        context: &Context,
        panel: &Panel,
        rows: &[usize],
        wanted: &[(usize, u16)],
        out: &mut [f32],
    ) -> Result<()> {
        let out = Output::new(out, self.weights.n, None, Some(rows));
        context.parallel_for(wanted.len().div_ceil(TASK_GROUPS), |task| {
            let mut results = Results::default();
            for &(group, mask) in &wanted[task * TASK_GROUPS..wanted.len().min((task + 1) * TASK_GROUPS)] {
                self.kernel.multiply(&self.weights.some(group, 1), 1, panel, &mut results);
                for m in (0..panel.rows).filter(|m| mask >> m & 1 == 1) {
                    // SAFETY: the row is one of the panel's, and a group is in one task.
                    unsafe { out.write(m, group * ROWS, &results[m]) };
                }
            }
        })
    }
}
