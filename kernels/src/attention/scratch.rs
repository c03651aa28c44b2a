//! Buffers of a thread, kept from task to task: the operator is shared by concurrent runs, and fresh memory costs page
//! faults.

use std::cell::Cell;

/// A cache line.
#[expect(dead_code, reason = "it is used as floats")]
#[repr(align(64))]
#[derive(Clone, Copy, Default)]
struct Line([f32; 16]);

/// Floats, aligned to cache lines.
#[derive(Default)]
pub struct Scratch(Vec<Line>);

/// What there is one of for each thread.
#[derive(Clone, Copy)]
pub enum Of {
    /// Parts that the tasks of a step share; the thread is the one that runs the step.
    Step,
    /// A block of query rows.
    Block,
    /// What is computed on the way to it.
    Keys,
}

thread_local! {
    static KEPT: [Cell<Scratch>; 3] = const { [const { Cell::new(Scratch(Vec::new())) }; 3] };
}

impl Scratch {
    /// Use this thread's.
    pub fn with<R>(of: Of, operation: impl FnOnce(&mut Self) -> R) -> R {
        let mut scratch = KEPT.with(|kept| kept[of as usize].take());
        let result = operation(&mut scratch);
        KEPT.with(|kept| kept[of as usize].set(scratch));
        result
    }

    /// Buffers of these sizes, side by side; what is in them is arbitrary.
    #[inline(always)]
    pub fn split<const N: usize>(&mut self, sizes: [usize; N]) -> [&mut [f32]; N] {
        let lines = sizes.map(|size| size.div_ceil(16));
        let total = lines.iter().sum();
        if self.0.len() < total {
            self.0.resize(total, Line::default());
        }
        let mut rest = &mut self.0[..];
        let mut index = 0;
        lines.map(|count| {
            let (here, after) = std::mem::take(&mut rest).split_at_mut(count);
            rest = after;
            // SAFETY: lines are floats without padding, and the size isn't larger than them.
            let floats = unsafe { std::slice::from_raw_parts_mut(here.as_mut_ptr().cast(), sizes[index]) };
            index += 1;
            floats
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_apart() {
        Scratch::with(Of::Step, |scratch| {
            let [a, b] = scratch.split([3, 17]);
            a.fill(1.0);
            b.fill(2.0);
            assert_eq!((a.len(), b.len()), (3, 17));
            assert!(a.iter().all(|x| *x == 1.0));
            assert_eq!(a.as_ptr().align_offset(64) + b.as_ptr().align_offset(64), 0);
        });
    }
}
