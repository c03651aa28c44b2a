//! The operator `Embedding`: rows of the same tensors as a tied head, dequantized; no other row is touched.

use std::ffi::CStr;

use crate::fail;
use crate::layout::Weights;
use crate::ort::{Context, Info, Operator, Port, Result};

/// `Y[…, :] = W[ids[…], :]`.
pub struct Embedding {
    weights: Weights<'static>,
}

impl Operator for Embedding {
    const NAME: &'static CStr = c"Embedding";
    const INPUTS: &'static [Port] = &[Port::required::<i64>(), Port::required::<u8>(), Port::optional::<u8>()];
    const OUTPUTS: &'static [Port] = &[Port::required::<f32>()];

    fn new(info: &Info) -> Result<Self> {
        Ok(Self { weights: Weights::of_node(info, 1, Some(2))? })
    }

    fn run(&self, context: &Context) -> Result<()> {
        let ids = context.input(0)?;
        let mut shape = ids.shape.clone();
        shape.push(self.weights.k);
        let out = context.output::<f32>(0, &shape)?;
        for (&id, row) in ids.slice::<i64>()?.iter().zip(out.chunks_exact_mut(self.weights.k)) {
            match usize::try_from(id) {
                Ok(index) if index < self.weights.n => self.weights.read_row(index, row),
                _ => fail!("id {id} isn't in the vocabulary of {}", self.weights.n),
            }
        }
        Ok(())
    }
}
