//! The three kinds of task of a step.

use std::f32::consts::LOG2_E;

use super::cache::Storage;
use super::few::{self, Few};
use super::many;
use super::plan::Task;
use super::problem::{Inputs, Outputs, Problem};
use super::rows::{NOTHING, Rows, Sums};
use super::scratch::Scratch;
use super::shape::{MOST_ELEMENTS, Shape};
use super::vector::{Job, Vector};

/// New tokens whose keys and values are worth a task.
pub const STORED_TOKENS: usize = 16;

/// Write keys and values of some tokens of a sequence.
pub struct Store<'a, C> {
    pub problem: &'a Problem<'a>,
    pub outputs: Outputs<C>,
    pub index: usize,
}

impl<C: Storage> Job for Store<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.problem.shape;
        let blocks = tokens.div_ceil(STORED_TOKENS);
        let (sequence, first) = (self.index / blocks, self.index % blocks * STORED_TOKENS);
        let weight = self.problem.inputs.norm.map(|norm| norm.key);
        let mut key = [0.0; MOST_ELEMENTS];
        let key = &mut key[..dim];
        for token in first..tokens.min(first + STORED_TOKENS) {
            let position = self.problem.shape.position(sequence, token);
            for head in 0..kv_heads {
                self.problem.turn(self.problem.head(sequence, token, heads + head), weight, position, 1.0, key);
                let value = self.problem.head(sequence, token, heads + kv_heads + head);
                // SAFETY: a length isn't above M, so the row is in the cache; no other task has it.
                unsafe {
                    let row =
                        self.outputs.cache.starting_at(self.problem.shape.first_row(sequence, head) + position, dim);
                    C::write::<V>(key, row.keys.values, row.keys.scales);
                    C::write::<V>(value, row.values.values, row.values.scales);
                }
            }
        }
    }
}

/// Attention of a block of query rows to a range of keys.
pub struct Attend<'a, C> {
    pub problem: &'a Problem<'a>,
    pub outputs: Outputs<C>,
    pub task: &'a Task,
    pub block: &'a mut Scratch,
    pub inner: &'a mut Scratch,
}

impl<C: Few> Job for Attend<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (dim, group) = (self.problem.shape.dim, self.problem.shape.group());
        let Task { sequence, head, .. } = *self.task;
        let count = self.task.tokens.len() * group;
        let [queries, limits, maxima, totals, mixed] =
            self.block.split([count * dim, count, count, count, (count + many::SPARE_ROWS) * dim]);
        fill_rows(self.problem, self.task, queries, limits);
        let Inputs { window, softcap, .. } = self.problem.inputs;
        let rows = Rows { dim, queries, limits, window, softcap: softcap.map(|cap| cap * LOG2_E) };
        let mut sums = Sums { maxima, totals, mixed };
        sums.clear();
        // SAFETY: the head's rows are in the cache up to the keys' end, and were written before this phase.
        unsafe {
            let cache = self.outputs.cache.starting_at(self.problem.shape.first_row(sequence, head), dim);
            if count <= C::MOST_ROWS {
                few::attend::<V, C>(cache, self.task.keys.clone(), rows, &mut sums, self.inner);
            } else {
                many::attend::<V, C>(cache, self.task.keys.clone(), rows, &mut sums, self.inner);
            }
            match self.task.part {
                Some(part) => save(&sums, count, self.outputs.parts.add(part * self.problem.part_size()), dim),
                None => finish(self.problem, self.task, &sums, self.outputs.out),
            }
        }
    }
}

/// Query rows of a task, and the last position that each sees.
#[inline(always)]
fn fill_rows(problem: &Problem, task: &Task, queries: &mut [f32], limits: &mut [f32]) {
    let (dim, group) = (problem.shape.dim, problem.shape.group());
    let weight = problem.inputs.norm.map(|norm| norm.query);
    let factor = problem.inputs.scale * LOG2_E; // weights are powers of two
    let first = task.tokens.start;
    for token in task.tokens.clone() {
        let position = problem.shape.position(task.sequence, token);
        for index in 0..group {
            let row = (token - first) * group + index;
            let x = problem.head(task.sequence, token, task.head * group + index);
            problem.turn(x, weight, position, factor, &mut queries[row * dim..][..dim]);
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
unsafe fn finish(problem: &Problem, task: &Task, sums: &Sums, out: *mut f32) {
    let Shape { tokens, heads, dim, .. } = problem.shape;
    let group = problem.shape.group();
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
pub struct Combine<'a, C> {
    pub problem: &'a Problem<'a>,
    pub outputs: Outputs<C>,
    pub index: usize,
}

impl<C: Storage> Job for Combine<'_, C> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.problem.shape;
        let group = self.problem.shape.group();
        let (sequence, head) = (self.index / kv_heads, self.index % kv_heads);
        let range = self.problem.plan.combined[self.index].clone();
        if range.is_empty() {
            return; // written at once
        }
        let (count, size) = (tokens * group, self.problem.part_size());
        for row in 0..count {
            let (token, head) = (row / group, head * group + row % group);
            // SAFETY: the parts were written in the phase before; the output has a row for every token and head, and no
            // other task has this one.
            unsafe {
                let parts = std::slice::from_raw_parts(self.outputs.parts.cast_const(), self.problem.parts());
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
