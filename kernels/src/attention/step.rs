//! A step of one layer: its three phases, each a number of independent tasks.

use super::cache::Cache;
use super::few::Few;
use super::heads::{Norm, normalize, rotate};
use super::plan::Plan;
use super::scratch::{Of, Scratch};
use super::tasks::{Attend, Combine, Store};
use super::vector::run;
use crate::isa::Isa;

/// New tokens whose keys and values are worth a task.
pub const STORED_TOKENS: usize = 16;

/// The largest head.
pub const MOST_ELEMENTS: usize = 256;

/// Sizes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// New tokens of each sequence: S.
    pub tokens: usize,
    /// Query heads: H.
    pub heads: usize,
    /// Heads of keys and values: KV.
    pub kv_heads: usize,
    /// Elements of a head: D, a multiple of 16.
    pub dim: usize,
    /// Tokens that the cache has room for: M.
    pub room: usize,
    /// Of each sequence, the new tokens included: from S to M.
    pub lengths: Vec<usize>,
    /// Where in the cache each sequence lies. Several may lie in one place, at positions apart: then each sees the new
    /// tokens of those before it, as if they had come one after the other.
    pub slots: Vec<usize>,
}

impl Shape {
    /// Query heads for each head of keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Of a new token.
    pub fn position(&self, sequence: usize, token: usize) -> usize {
        self.lengths[sequence] - self.tokens + token
    }
}

/// What a step computes with; sizes fit its shape.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// float32 `(B, S, (H + 2 KV) · D)`.
    pub qkv: &'a [f32],
    /// float32 `(C, D / 2)`; C is at least every length.
    pub cosines: &'a [f32],
    /// As the cosines.
    pub sines: &'a [f32],
    /// Of queries and keys, before the rotation.
    pub norm: Option<Norm<'a>>,
    /// Of the scores.
    pub scale: f32,
}

/// Where a step's results go; nobody else reads or writes there while it runs.
#[derive(Clone, Copy)]
pub struct Outputs<C> {
    /// Past and present.
    pub cache: Cache<C>,
    /// float32 `(B, S, H · D)`.
    pub out: *mut f32,
    /// Room for [`Step::parts`] floats.
    pub parts: *mut f32,
}

// SAFETY: tasks of a phase write to places apart, and read what earlier phases wrote.
unsafe impl<C> Sync for Outputs<C> {}

/// A step of one layer. Run all `store` tasks, then all `attend` tasks, then all `combine` tasks.
pub struct Step<'a> {
    isa: Isa,
    /// Its sizes.
    pub shape: Shape,
    /// What it computes with.
    pub inputs: Inputs<'a>,
    /// Its tasks.
    pub plan: Plan,
}

impl<'a> Step<'a> {
    /// Plan it; `isa` is one that this machine has.
    pub fn new(isa: Isa, shape: Shape, inputs: Inputs<'a>) -> Self {
        let plan = Plan::new(shape.tokens, shape.group(), shape.kv_heads, &shape.lengths);
        Self { isa, shape, inputs, plan }
    }

    /// Tasks of the three phases.
    pub fn phases(&self) -> [usize; 3] {
        let blocks = self.shape.tokens.div_ceil(STORED_TOKENS);
        [self.shape.lengths.len() * blocks, self.plan.tasks.len(), self.plan.combined.len()]
    }

    /// Floats of scratch that tasks share.
    pub fn parts(&self) -> usize {
        self.plan.parts() * self.part_size()
    }

    /// Floats of a part.
    pub fn part_size(&self) -> usize {
        self.shape.tokens * self.shape.group() * (self.shape.dim + 2)
    }

    /// Run a task of a phase.
    ///
    /// # Safety
    /// The outputs have the sizes of the shape; earlier phases are done; no task runs twice.
    pub unsafe fn run<C: Few>(&self, phase: usize, index: usize, outputs: Outputs<C>) {
        match phase {
            0 => run(self.isa, Store { step: self, outputs, index }),
            1 => {
                let task = &self.plan.tasks[index];
                Scratch::with(Of::Block, |block| {
                    Scratch::with(Of::Keys, |inner| run(self.isa, Attend { step: self, outputs, task, block, inner }));
                });
            }
            _ => run(self.isa, Combine { step: self, outputs, index }),
        }
    }

    /// A head of a token in `qkv`.
    #[inline(always)]
    pub fn head(&self, sequence: usize, token: usize, head: usize) -> &'a [f32] {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.shape;
        &self.inputs.qkv[((sequence * tokens + token) * (heads + 2 * kv_heads) + head) * dim..][..dim]
    }

    /// Normalize and rotate a head of a token.
    #[inline(always)]
    pub fn turn(&self, x: &[f32], weight: Option<&[f32]>, position: usize, factor: f32, out: &mut [f32]) {
        let half = self.shape.dim / 2;
        let cosines = &self.inputs.cosines[position * half..][..half];
        let sines = &self.inputs.sines[position * half..][..half];
        let mut normal = [0.0; MOST_ELEMENTS];
        let x = match (weight, self.inputs.norm) {
            (Some(weight), Some(norm)) => {
                let normal = &mut normal[..x.len()];
                normalize(x, weight, norm.epsilon, normal);
                normal
            }
            _ => x,
        };
        rotate(x, cosines, sines, factor, out);
    }

    /// Row 0 of a head in the cache, counted over all heads.
    #[inline(always)]
    pub fn first_row(&self, sequence: usize, head: usize) -> usize {
        (self.shape.slots[sequence] * self.shape.kv_heads + head) * self.shape.room
    }
}
