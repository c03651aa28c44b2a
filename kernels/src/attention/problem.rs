//! What the tasks of a step have in common: its sizes, what it computes with, and how it is cut.

use super::cache::Cache;
use super::heads::{Norm, normalize, rotate};
use super::plan::Plan;
use super::shape::{MOST_ELEMENTS, Shape};

/// By what heads are turned at each position.
#[derive(Clone, Copy)]
pub struct Angles<'a> {
    /// float32 `(C, D / 2)`; C is at least every length.
    pub cosines: &'a [f32],
    /// As the cosines.
    pub sines: &'a [f32],
}

/// What a step computes with; sizes fit its shape.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// float32 `(B, S, (H + 2 KV) · D)`.
    pub qkv: &'a [f32],
    /// None where positions aren't told apart.
    pub angles: Option<Angles<'a>>,
    /// Of queries and keys, before the rotation.
    pub norm: Option<Norm<'a>>,
    /// Of the scores.
    pub scale: f32,
    /// Positions that a token sees, its own included; all up to its own if there is none.
    pub window: Option<usize>,
    /// Of the scores, after their scale: softcap · tanh(score / softcap).
    pub softcap: Option<f32>,
}

/// Where a step's results go; nobody else reads or writes there while it runs.
#[derive(Clone, Copy)]
pub struct Outputs<C> {
    /// Past and present.
    pub cache: Cache<C>,
    /// float32 `(B, S, H · D)`.
    pub out: *mut f32,
    /// Room for [`Problem::parts`] floats.
    pub parts: *mut f32,
}

// SAFETY: tasks of a phase write to places apart, and read what earlier phases wrote.
unsafe impl<C> Sync for Outputs<C> {}

/// All that is known before a step runs.
pub struct Problem<'a> {
    /// Its sizes.
    pub shape: Shape,
    /// What it computes with.
    pub inputs: Inputs<'a>,
    /// Its tasks.
    pub plan: Plan,
}

impl<'a> Problem<'a> {
    /// Floats of scratch that tasks share.
    pub fn parts(&self) -> usize {
        self.plan.parts() * self.part_size()
    }

    /// Floats of a part.
    pub fn part_size(&self) -> usize {
        self.shape.tokens * self.shape.group() * (self.shape.dim + 2)
    }

    /// A head of a token in `qkv`.
    #[inline(always)]
    pub fn head(&self, sequence: usize, token: usize, head: usize) -> &'a [f32] {
        let Shape { tokens, heads, kv_heads, dim, .. } = self.shape;
        &self.inputs.qkv[((sequence * tokens + token) * (heads + 2 * kv_heads) + head) * dim..][..dim]
    }

    /// Normalize, rotate and scale a head of a token.
    #[inline(always)]
    pub fn turn(&self, x: &[f32], weight: Option<&[f32]>, position: usize, factor: f32, out: &mut [f32]) {
        let mut normal = [0.0; MOST_ELEMENTS];
        let x = match (weight, self.inputs.norm) {
            (Some(weight), Some(norm)) => {
                let normal = &mut normal[..x.len()];
                normalize(x, weight, norm.epsilon, normal);
                normal
            }
            _ => x,
        };
        let half = self.shape.dim / 2;
        match self.inputs.angles {
            Some(Angles { cosines, sines }) => {
                rotate(x, &cosines[position * half..][..half], &sines[position * half..][..half], factor, out);
            }
            None => out.iter_mut().zip(x).for_each(|(out, x)| *out = x * factor),
        }
    }
}
