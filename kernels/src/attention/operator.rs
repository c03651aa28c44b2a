//! The operators `AttentionF16` and `AttentionInt8`.

use std::ffi::CStr;
use std::marker::PhantomData;

use super::cache::{Cache, Side, Storage};
use super::few::Few;
use super::heads::Norm;
use super::problem::{Angles, Inputs, Outputs};
use super::scratch::{Of, Scratch};
use super::shape::{MOST_ELEMENTS, Shape};
use super::step::Step;
use crate::fail;
use crate::isa::{self, Isa};
use crate::ort::{Context, Element, F16, Info, Operator, Port, Result, Tensor};

/// More tokens than that aren't told apart by the f32 that masks them.
const MOST_TOKENS: usize = 1 << 24;

/// Grouped-query attention over a cache of `C`.
pub struct Attention<C> {
    heads: usize,
    kv_heads: usize,
    scale: f32,
    epsilon: f32,
    window: Option<usize>,
    softcap: Option<f32>,
    isa: Isa,
    cache: PhantomData<fn() -> C>,
}

/// Attention over a cache of halves.
pub type AttentionF16 = Attention<F16>;
/// Attention over a cache of int8 with a scale per token and head.
pub type AttentionInt8 = Attention<i8>;

impl Operator for AttentionF16 {
    const NAME: &'static CStr = c"AttentionF16";
    const INPUTS: &'static [Port] = &[
        Port::required::<f32>(), // qkv
        Port::required::<F16>(), // past_key
        Port::required::<F16>(), // past_value
        Port::required::<i32>(), // seqlens_k
        Port::optional::<f32>(), // cos
        Port::optional::<f32>(), // sin
        Port::optional::<f32>(), // q_norm
        Port::optional::<f32>(), // k_norm
        Port::optional::<i32>(), // slots
    ];
    const OUTPUTS: &'static [Port] = &[Port::required::<f32>(), Port::required::<F16>(), Port::required::<F16>()];

    fn new(info: &Info) -> Result<Self> {
        Self::of_node(info)
    }

    fn run(&self, context: &Context) -> Result<()> {
        self.attend(context)
    }
}

impl Operator for AttentionInt8 {
    const NAME: &'static CStr = c"AttentionInt8";
    const INPUTS: &'static [Port] = &[
        Port::required::<f32>(), // qkv
        Port::required::<i8>(),  // past_key
        Port::required::<i8>(),  // past_value
        Port::required::<f32>(), // past_key_scale
        Port::required::<f32>(), // past_value_scale
        Port::required::<i32>(), // seqlens_k
        Port::optional::<f32>(), // cos
        Port::optional::<f32>(), // sin
        Port::optional::<f32>(), // q_norm
        Port::optional::<f32>(), // k_norm
        Port::optional::<i32>(), // slots
    ];
    const OUTPUTS: &'static [Port] = &[
        Port::required::<f32>(),
        Port::required::<i8>(),
        Port::required::<i8>(),
        Port::required::<f32>(),
        Port::required::<f32>(),
    ];

    fn new(info: &Info) -> Result<Self> {
        Self::of_node(info)
    }

    fn run(&self, context: &Context) -> Result<()> {
        self.attend(context)
    }
}

impl<C: Few> Attention<C> {
    /// The first input after the cache's.
    const AFTER_CACHE: usize = if C::SCALED { 5 } else { 3 };

    fn of_node(info: &Info) -> Result<Self> {
        let heads = info.size(c"num_heads", 1, 1 << 16)?;
        let kv_heads = info.size(c"kv_num_heads", 1, heads)?;
        if !heads.is_multiple_of(kv_heads) {
            fail!("num_heads is {heads}, no multiple of kv_num_heads, {kv_heads}");
        }
        let (scale, epsilon) = (info.float(c"scale")?, info.float(c"epsilon")?);
        let (window, softcap) = (info.optional_size(c"window", MOST_TOKENS)?, info.optional_float(c"softcap")?);
        Ok(Self { heads, kv_heads, scale, epsilon, window, softcap, isa: isa::chosen()?, cache: PhantomData })
    }

    fn attend(&self, context: &Context) -> Result<()> {
        let qkv = context.input(0)?;
        let past = context.input(1)?;
        let slots = context.optional_input(Self::AFTER_CACHE + 5)?;
        let shape = self.shape(&qkv, &past, &context.input(Self::AFTER_CACHE)?, slots.as_ref())?;
        let (batch, dim) = (shape.lengths.len(), shape.dim);
        let inputs = Inputs {
            qkv: qkv.slice()?,
            angles: self.angles(context, &shape)?,
            norm: self.norm(context, dim)?,
            scale: self.scale,
            window: self.window,
            softcap: self.softcap,
        };
        let out = context.output::<f32>(0, &[batch, shape.tokens, shape.heads * dim])?.as_mut_ptr();
        let cache = present(context, &past.shape)?;
        let step = Step::new(self.isa, shape, inputs);
        Scratch::with(Of::Step, |scratch| {
            let [parts] = scratch.split([step.parts()]);
            let outputs = Outputs::<C> { cache, out, parts: parts.as_mut_ptr() };
            for (phase, count) in step.phases().into_iter().enumerate() {
                // SAFETY: all sizes were checked against the shape, and phases follow each other.
                context.parallel_for(count, |index| unsafe { step.run(phase, index, outputs) })?;
            }
            Ok(())
        })
    }

    /// Sizes, from those of qkv `(B, S, (H + 2 KV) · D)` and the cache `(slots, KV, M, D)`, and the sequences' lengths
    /// and slots; without slots, each sequence has that of its number.
    fn shape(&self, qkv: &Tensor, past: &Tensor, lengths: &Tensor, slots: Option<&Tensor>) -> Result<Shape> {
        let &[batch, tokens, columns] = qkv.shape.as_slice() else {
            fail!("qkv has {} axes instead of 3", qkv.shape.len());
        };
        let &[places, kv_heads, room, dim] = past.shape.as_slice() else {
            fail!("past_key has {} axes instead of 4", past.shape.len());
        };
        if dim == 0 || !dim.is_multiple_of(16) || dim > MOST_ELEMENTS {
            fail!("heads have {dim} elements: no multiple of 16 up to {MOST_ELEMENTS}");
        }
        if columns != (self.heads + 2 * self.kv_heads) * dim {
            fail!("qkv has {columns} columns instead of ({} + 2 · {}) · {dim}", self.heads, self.kv_heads);
        }
        if kv_heads != self.kv_heads || room > MOST_TOKENS || (slots.is_none() && places != batch) {
            fail!("past_key is {:?} instead of ({batch}, {}, M, {dim})", past.shape, self.kv_heads);
        }
        if lengths.shape != [batch] {
            fail!("seqlens_k is {:?} instead of ({batch},)", lengths.shape);
        }
        let lengths: Vec<_> =
            lengths.slice::<i32>()?.iter().map(|&last| length(last, tokens, room)).collect::<Result<_>>()?;
        let slots = match slots {
            None => (0..batch).collect(),
            Some(slots) if slots.shape == [batch] => slots_of(slots.slice()?, places, &lengths, tokens)?,
            Some(slots) => fail!("slots is {:?} instead of ({batch},)", slots.shape),
        };
        Ok(Shape { tokens, heads: self.heads, kv_heads: self.kv_heads, dim, room, lengths, slots })
    }

    /// Both tables, or none.
    fn angles<'a>(&self, context: &'a Context, shape: &Shape) -> Result<Option<Angles<'a>>> {
        let cosines = context.optional_input(Self::AFTER_CACHE + 1)?;
        let sines = context.optional_input(Self::AFTER_CACHE + 2)?;
        match (cosines, sines) {
            (None, None) => Ok(None),
            (Some(cosines), Some(sines)) => {
                Ok(Some(Angles { cosines: table("cos", &cosines, shape)?, sines: table("sin", &sines, shape)? }))
            }
            _ => fail!("there is one of cos and sin, not both"),
        }
    }

    /// The weights of both norms, or of none.
    fn norm<'a>(&self, context: &'a Context, dim: usize) -> Result<Option<Norm<'a>>> {
        let query = context.optional_input(Self::AFTER_CACHE + 3)?;
        let key = context.optional_input(Self::AFTER_CACHE + 4)?;
        match (query, key) {
            (None, None) => Ok(None),
            (Some(query), Some(key)) if query.shape == [dim] && key.shape == [dim] => {
                Ok(Some(Norm { query: query.slice()?, key: key.slice()?, epsilon: self.epsilon }))
            }
            (Some(query), Some(key)) => fail!("q_norm is {:?}, k_norm {:?}, not ({dim},)", query.shape, key.shape),
            _ => fail!("there is one of q_norm and k_norm, not both"),
        }
    }
}

/// A sequence's length from its element of seqlens_k.
fn length(last: i32, tokens: usize, room: usize) -> Result<usize> {
    match usize::try_from(i64::from(last) + 1) {
        Ok(length) if (tokens..=room).contains(&length) => Ok(length),
        _ => fail!("seqlens_k has {last}: not from {tokens} new tokens to a cache of {room}, minus one"),
    }
}

/// The sequences' slots; those in the same one have new tokens at positions apart, or they would write the same rows.
fn slots_of(slots: &[i32], places: usize, lengths: &[usize], tokens: usize) -> Result<Vec<usize>> {
    let slots = slots.iter().map(|&slot| match usize::try_from(slot) {
        Ok(index) if index < places => Ok(index),
        _ => fail!("slots has {slot}: not from 0 to below the cache's {places}"),
    });
    let slots = slots.collect::<Result<Vec<_>>>()?;
    let mut ends: Vec<_> = slots.iter().copied().zip(lengths.iter().copied()).collect();
    ends.sort_unstable();
    for pair in ends.windows(2) {
        let [(slot, end), (next_slot, next_end)] = [pair[0], pair[1]];
        if slot == next_slot && next_end - end < tokens {
            fail!("two sequences of slot {slot} have new tokens at the same positions");
        }
    }
    Ok(slots)
}

/// Cosines or sines `(C, D / 2)`, for every position of the longest sequence.
fn table<'a>(name: &str, table: &Tensor<'a>, shape: &Shape) -> Result<&'a [f32]> {
    let longest = shape.lengths.iter().max().copied().unwrap_or(0);
    match table.shape[..] {
        [rows, columns] if rows >= longest && columns == shape.dim / 2 => table.slice(),
        _ => fail!("{name} is {:?}: not at least {longest} rows of {}", table.shape, shape.dim / 2),
    }
}

/// The cache as it is after the step, and where it is written: past and present are normally the same memory; if not,
/// what is past is copied.
fn present<C: Storage>(context: &Context, shape: &[usize]) -> Result<Cache<C>> {
    let rows = &shape[..3];
    let (key_scales, value_scales) = if C::SCALED {
        (carry_over(context, 3, 3, rows)?, carry_over(context, 4, 4, rows)?)
    } else {
        (std::ptr::null_mut(), std::ptr::null_mut())
    };
    Ok(Cache {
        keys: Side { values: carry_over(context, 1, 1, shape)?, scales: key_scales },
        values: Side { values: carry_over(context, 2, 2, shape)?, scales: value_scales },
    })
}

/// Output `to`, with what input `from` has.
fn carry_over<T: Element>(context: &Context, from: usize, to: usize, shape: &[usize]) -> Result<*mut T> {
    let past = context.input(from)?;
    if past.shape != shape {
        fail!("input {from} is {:?} instead of {shape:?}", past.shape);
    }
    let source = past.pointer::<T>()?;
    let target = context.output_pointer::<T>(to, shape)?;
    if source != target.cast_const() {
        // SAFETY: both have the shape's elements; if they overlap, this is still right.
        unsafe { std::ptr::copy(source, target, shape.iter().product()) };
    }
    Ok(target)
}
