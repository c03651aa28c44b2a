//! A step of one layer: its three phases, each a number of independent tasks.

use super::cache::{Cache, Storage};
use super::few::{self, Few};
use super::heads::{Norm, normalize, rotate};
use super::many;
use super::plan::{Plan, Task};
use super::rows::{NOTHING, Rows, Sums};
use super::scratch::{Of, Scratch};
use super::vector::{Job, Vector, run};
use crate::isa::Isa;

/// New tokens whose keys and values are worth a task.
const STORED_TOKENS: usize = 16;

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
}

impl Shape {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn position(&self, sequence: usize, token: usize) -> usize {
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
    shape: Shape,
    inputs: Inputs<'a>,
    plan: Plan,
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

    fn part_size(&self) -> usize {
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
    fn head(&self, sequence: usize, token: usize, head: usize) -> &'a [f32] {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.shape;
        &self.inputs.qkv[((sequence * tokens + token) * (heads + 2 * kv_heads) + head) * dim..][..dim]
    }

    /// Normalize and rotate a head of a token.
    #[inline(always)]
    fn turn(&self, x: &[f32], weight: Option<&[f32]>, position: usize, factor: f32, out: &mut [f32]) {
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
    fn first_row(&self, sequence: usize, head: usize) -> usize {
        (sequence * self.shape.kv_heads + head) * self.shape.room
    }
}

/// The largest head.
pub const MOST_ELEMENTS: usize = 256;

/// Write keys and values of some tokens of a sequence.
struct Store<'a, C> {
    step: &'a Step<'a>,
    outputs: Outputs<C>,
    index: usize,
}

impl<C: Storage> Job for Store<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.step.shape;
        let blocks = tokens.div_ceil(STORED_TOKENS);
        let (sequence, first) = (self.index / blocks, self.index % blocks * STORED_TOKENS);
        let weight = self.step.inputs.norm.map(|norm| norm.key);
        let mut key = [0.0; MOST_ELEMENTS];
        let key = &mut key[..dim];
        for token in first..tokens.min(first + STORED_TOKENS) {
            let position = self.step.shape.position(sequence, token);
            for head in 0..kv_heads {
                self.step.turn(self.step.head(sequence, token, heads + head), weight, position, 1.0, key);
                let value = self.step.head(sequence, token, heads + kv_heads + head);
                // SAFETY: a length isn't above M, so the row is in the cache; no other task has it.
                unsafe {
                    let row = self.outputs.cache.starting_at(self.step.first_row(sequence, head) + position, dim);
                    C::write::<V>(key, row.keys.values, row.keys.scales);
                    C::write::<V>(value, row.values.values, row.values.scales);
                }
            }
        }
    }
}

/// Attention of a block of query rows to a range of keys.
struct Attend<'a, C> {
    step: &'a Step<'a>,
    outputs: Outputs<C>,
    task: &'a Task,
    block: &'a mut Scratch,
    inner: &'a mut Scratch,
}

impl<C: Few> Job for Attend<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (dim, group) = (self.step.shape.dim, self.step.shape.group());
        let Task { sequence, head, .. } = *self.task;
        let count = self.task.tokens.len() * group;
        let [queries, limits, maxima, totals, mixed] =
            self.block.split([count * dim, count, count, count, (count + many::SPARE_ROWS) * dim]);
        fill_rows(self.step, self.task, queries, limits);
        let rows = Rows { dim, queries, limits };
        let mut sums = Sums { maxima, totals, mixed };
        sums.clear();
        // SAFETY: the head's rows are in the cache up to the keys' end, and were written before this phase.
        unsafe {
            let cache = self.outputs.cache.starting_at(self.step.first_row(sequence, head), dim);
            if count <= few::ROWS {
                few::attend::<V, C>(cache, self.task.keys.clone(), rows, &mut sums);
            } else {
                many::attend::<V, C>(cache, self.task.keys.clone(), rows, &mut sums, self.inner);
            }
            match self.task.part {
                Some(part) => save(&sums, count, self.outputs.parts.add(part * self.step.part_size()), dim),
                None => finish(self.step, self.task, &sums, self.outputs.out),
            }
        }
    }
}

/// Query rows of a task, and the last position that each sees.
#[inline(always)]
fn fill_rows(step: &Step, task: &Task, queries: &mut [f32], limits: &mut [f32]) {
    let (dim, group) = (step.shape.dim, step.shape.group());
    let weight = step.inputs.norm.map(|norm| norm.query);
    let factor = step.inputs.scale * std::f32::consts::LOG2_E; // weights are powers of two
    let first = task.tokens.start;
    for token in task.tokens.clone() {
        let position = step.shape.position(task.sequence, token);
        for index in 0..group {
            let row = (token - first) * group + index;
            let x = step.head(task.sequence, token, task.head * group + index);
            step.turn(x, weight, position, factor, &mut queries[row * dim..][..dim]);
            limits[row] = position as f32;
        }
    }
}

/// Keep a part: maxima, totals, weighted values.
#[inline(always)]
unsafe fn save(sums: &Sums, count: usize, to: *mut f32, dim: usize) {
    // SAFETY: the caller gives room for a part of its own.
    unsafe {
        sums.maxima.as_ptr().copy_to_nonoverlapping(to, count);
        sums.totals.as_ptr().copy_to_nonoverlapping(to.add(count), count);
        sums.mixed.as_ptr().copy_to_nonoverlapping(to.add(2 * count), count * dim);
    }
}

/// Divide by the weights' sums and write the result: the heads of a group lie side by side.
#[inline(always)]
unsafe fn finish(step: &Step, task: &Task, sums: &Sums, out: *mut f32) {
    let Shape { tokens, heads, dim, .. } = step.shape;
    let group = step.shape.group();
    for (row, total) in sums.totals.iter().enumerate() {
        let (token, head) = (task.tokens.start + row / group, task.head * group + row % group);
        // SAFETY: the output has a row for every token and head; no other task has this one.
        let to = unsafe {
            let at = ((task.sequence * tokens + token) * heads + head) * dim;
            std::slice::from_raw_parts_mut(out.add(at), dim)
        };
        to.iter_mut().zip(&sums.mixed[row * dim..]).for_each(|(to, x)| *to = x / total);
    }
}

/// Combine the parts of a sequence's head, in order.
struct Combine<'a, C> {
    step: &'a Step<'a>,
    outputs: Outputs<C>,
    index: usize,
}

impl<C: Storage> Job for Combine<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.step.shape;
        let group = self.step.shape.group();
        let (sequence, head) = (self.index / kv_heads, self.index % kv_heads);
        let range = self.step.plan.combined[self.index].clone();
        if range.is_empty() {
            return; // written at once
        }
        let (count, size) = (tokens * group, self.step.part_size());
        for row in 0..count {
            let (token, head) = (row / group, head * group + row % group);
            // SAFETY: the parts were written in the phase before; the output has a row for every token and head, and no
            // other task has this one.
            unsafe {
                let parts = std::slice::from_raw_parts(self.outputs.parts.cast_const(), self.step.parts());
                let at = ((sequence * tokens + token) * heads + head) * dim;
                let out = std::slice::from_raw_parts_mut(self.outputs.out.add(at), dim);
                combine_row::<V>(&parts[range.start * size..range.end * size], size, count, row, out);
            }
        }
    }
}

#[inline(always)]
unsafe fn combine_row<V: Vector>(parts: &[f32], size: usize, count: usize, row: usize, out: &mut [f32]) {
    let dim = out.len();
    let maximum = parts.chunks_exact(size).map(|part| part[row]).fold(NOTHING, f32::max);
    let mut total = 0.0;
    out.fill(0.0);
    for part in parts.chunks_exact(size) {
        // SAFETY: the caller's processor has the instructions.
        let weight = unsafe { few::exp2::<V>(part[row] - maximum) };
        total += part[count + row] * weight;
        let mixed = &part[2 * count + row * dim..][..dim];
        out.iter_mut().zip(mixed).for_each(|(out, x)| *out += x * weight);
    }
    out.iter_mut().for_each(|out| *out /= total);
}
