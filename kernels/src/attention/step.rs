//! A step of one layer: its three phases, each a number of independent tasks.

use super::few::Few;
use super::plan::Plan;
use super::problem::{Inputs, Outputs, Problem};
use super::scratch::{Of, Scratch};
use super::shape::Shape;
use super::tasks::{Attend, Combine, STORED_TOKENS, Store};
use super::vector::run;
use crate::isa::Isa;

/// A step of one layer. Run all `store` tasks, then all `attend` tasks, then all `combine` tasks.
pub struct Step<'a> {
    isa: Isa,
    problem: Problem<'a>,
}

impl<'a> Step<'a> {
    /// Plan it; `isa` is one that this machine has.
    pub fn new(isa: Isa, shape: Shape, inputs: Inputs<'a>) -> Self {
        let plan = Plan::new(shape.tokens, shape.group(), shape.kv_heads, &shape.lengths, inputs.window);
        Self { isa, problem: Problem { shape, inputs, plan } }
    }

    /// Tasks of the three phases.
    pub fn phases(&self) -> [usize; 3] {
        let Problem { shape, plan, .. } = &self.problem;
        let blocks = shape.tokens.div_ceil(STORED_TOKENS);
        [shape.lengths.len() * blocks, plan.tasks.len(), plan.combined.len()]
    }

    /// Floats of scratch that tasks share.
    pub fn parts(&self) -> usize {
        self.problem.parts()
    }

    /// Run a task of a phase.
    ///
    /// # Safety
    /// The outputs have the sizes of the shape; earlier phases are done; no task runs twice.
    pub unsafe fn run<C: Few>(&self, phase: usize, index: usize, outputs: Outputs<C>) {
        let problem = &self.problem;
        match phase {
            0 => run(self.isa, Store { problem, outputs, index }),
            1 => {
                let task = &problem.plan.tasks[index];
                Scratch::with(Of::Block, |block| {
                    Scratch::with(Of::Keys, |inner| run(self.isa, Attend { problem, outputs, task, block, inner }));
                });
            }
            _ => run(self.isa, Combine { problem, outputs, index }),
        }
    }
}
