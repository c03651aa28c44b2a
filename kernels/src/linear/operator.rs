//! The operator `Linear`.

use std::ffi::CStr;

use super::output::Output;
use super::{Kernel, Source, product};
use crate::fail;
use crate::isa;
use crate::layout::Weights;
use crate::ort::{Context, Info, Operator, Port, Result};

/// `Y = X · Wᵀ + bias`, or with `gated` of `silu(X₁) · X₂`.
pub struct Linear {
    weights: Weights<'static>,
    gated: bool,
    kernel: Kernel,
}

impl Operator for Linear {
    const NAME: &'static CStr = c"Linear";
    const INPUTS: &'static [Port] = &[Port::required::<f32>(), Port::required::<u8>(), Port::optional::<f32>()];
    const OUTPUTS: &'static [Port] = &[Port::required::<f32>()];

    fn new(info: &Info) -> Result<Self> {
        let weights = Weights::of_node(info, 1, None)?;
        Ok(Self { weights, gated: info.size(c"gated", 0, 1)? == 1, kernel: Kernel::new(isa::chosen()?) })
    }

    fn run(&self, context: &Context) -> Result<()> {
        let x = context.input(0)?;
        let columns = self.weights.k * if self.gated { 2 } else { 1 };
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
        let source = Source { x: x.slice()?, k: self.weights.k, gated: self.gated };
        let out = Output::new(out, self.weights.n, bias, None);
        product::run(context, self.kernel, &self.weights, source, rows, &out)
    }
}
