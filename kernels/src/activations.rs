//! Activations as int8 with a scale per row and block of 32, packed for the kernels.
//!
//! A panel holds a few rows: for every four columns, four bytes of each row. Beside it lie, for every block and row,
//! the numbers that turn an integer sum into its share of the result: see [`Block`].

use crate::layout::{BLOCK, COLUMNS};

/// 1.5 · 2²³: an i32 added to its bits is added to the float, as long as it is smaller than 2²².
pub const MAGIC: f32 = 12_582_912.0;

/// Of the high plane, in 32nds: (128 − 7.5) / 16.
const COARSE_ZERO: i32 = 241;

/// Blocks whose largest magnitude is below this count as zeros: its inverse is far from infinite.
const TINY: f32 = 1e-30;

/// What comes before a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing.
    None,
    /// `silu(first half) · second half`.
    Silu,
    /// `gelu(first half) · second half`, by tanh.
    Gelu,
}

impl Gate {
    /// Of a node's attribute `gated`.
    pub fn of(gated: usize) -> Self {
        [Self::None, Self::Silu, Self::Gelu][gated]
    }
}

/// Where rows come from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// float32 `(rows, k)`, or `(rows, 2 k)` with a gate.
    pub x: &'a [f32],
    /// Columns of the product.
    pub k: usize,
    /// What comes before.
    pub gate: Gate,
}

impl Source<'_> {
    /// Read a block of a row, zeros beyond its end. Inlined, and no closure: so it is compiled for the instructions of
    /// the function around it.
    #[inline(always)]
    pub fn read(&self, row: usize, start: usize) -> [f32; BLOCK] {
        let Self { x, k, gate } = *self;
        let mut block = [0.0; BLOCK];
        let width = k.saturating_sub(start).min(BLOCK);
        let start = start.min(k);
        match gate {
            Gate::None => block[..width].copy_from_slice(&x[row * k..][..k][start..][..width]),
            Gate::Silu => gated(&x[row * 2 * k..][..2 * k], start, &mut block[..width], silu),
            Gate::Gelu => gated(&x[row * 2 * k..][..2 * k], start, &mut block[..width], gelu),
        }
        block
    }
}

/// Read a part of `activation(first half) · second half` of a row, from column `start` on.
#[inline(always)]
fn gated(row: &[f32], start: usize, to: &mut [f32], activation: impl Fn(f32) -> f32) {
    let (gate, up) = row.split_at(row.len() / 2);
    for ((value, gate), up) in to.iter_mut().zip(&gate[start..]).zip(&up[start..]) {
        *value = activation(*gate) * up;
    }
}

/// A few rows, ready to be multiplied.
#[derive(Debug, Default)]
pub struct Panel {
    /// Rows in it.
    pub rows: usize,
    /// int8 `[column / 4][row][column % 4]`, columns padded to whole records.
    pub values: Vec<i8>,
    /// f32 `[block][row]`: the scales.
    pub scales: Vec<f32>,
    /// f32 `[block][row]`: −[`MAGIC`] · scale, exactly.
    pub offsets: Vec<f32>,
    /// i32 `[block][row]`: what an accumulator starts with: the bits of [`MAGIC`], minus the zero point times the
    /// sum of the block's values.
    pub starts: Vec<i32>,
}

impl Panel {
    /// Make room for `rows` rows of `k` columns; what was in it is lost.
    pub fn resize(&mut self, rows: usize, k: usize) {
        let columns = k.next_multiple_of(COLUMNS);
        let blocks = columns / BLOCK * rows;
        self.rows = rows;
        self.values.resize(columns * rows, 0);
        self.scales.resize(blocks, 0.0);
        self.offsets.resize(blocks, 0.0);
        self.starts.resize(blocks, 0);
    }

    /// The same rows for the high plane of weights of 8 bits, each of whose nibbles counts 16: what the low plane has
    /// is taken to be the mean of its values, 7.5. Made of a panel that is filled for the zero point 128.
    pub fn coarse(&self) -> Self {
        let scales: Vec<f32> = self.scales.iter().map(|scale| scale * 16.0).collect();
        let offsets = scales.iter().map(|scale| -MAGIC * scale).collect();
        let starts = self.starts.iter().map(|start| {
            let sum = (MAGIC.to_bits() as i32 - start) / 128;
            MAGIC.to_bits() as i32 - ((sum * COARSE_ZERO + 16) >> 5)
        });
        Self { rows: self.rows, values: self.values.clone(), offsets, starts: starts.collect(), scales }
    }

    /// The norm of a row as it was rounded.
    pub fn norm(&self, row: usize) -> f32 {
        let mut total = 0.0;
        for (block, scale) in self.scales.chunks_exact(self.rows).map(|scales| scales[row]).enumerate() {
            let quads = self.values[block * BLOCK * self.rows..][..BLOCK * self.rows].chunks_exact(4 * self.rows);
            let values = quads.flat_map(|quad| &quad[row * 4..][..4]);
            let square: i32 = values.map(|&value| i32::from(value) * i32::from(value)).sum();
            total += square as f32 * scale * scale;
        }
        total.sqrt()
    }

    /// Quantize a source's row `from` into the panel's row `row`.
    #[inline(always)]
    pub fn quantize_row(&mut self, row: usize, source: &Source, from: usize, zero_point: i32) {
        let rows = self.rows;
        for block in 0..source.k.next_multiple_of(COLUMNS) / BLOCK {
            let start = block * BLOCK;
            let (values, scale) = quantize(&source.read(from, start));
            let sum: i32 = values.iter().map(|&v| i32::from(v)).sum();
            let at = block * rows + row;
            self.scales[at] = scale;
            self.offsets[at] = -MAGIC * scale;
            self.starts[at] = MAGIC.to_bits() as i32 - zero_point * sum;
            for (quad, four) in values.chunks_exact(4).enumerate() {
                let to = ((start / 4 + quad) * rows + row) * 4;
                self.values[to..to + 4].copy_from_slice(four);
            }
        }
    }
}

/// Round a block to int8; gives the values and their scale.
///
/// The scale has 16 significant bits, so that products with [`MAGIC`] are exact. What isn't finite gives a scale that
/// is not a number, and so does every result that depends on it.
#[inline(always)]
pub fn quantize(x: &[f32; BLOCK]) -> ([i8; BLOCK], f32) {
    // As integers, magnitudes of floats are ordered, infinity and NaN above all numbers.
    let largest = f32::from_bits(x.iter().fold(0, |most, v| most.max(v.to_bits() & 0x7FFF_FFFF)));
    if largest < TINY {
        return ([0; BLOCK], 0.0);
    }
    if !largest.is_finite() {
        return ([0; BLOCK], f32::NAN);
    }
    let inverse = 127.0 / largest;
    let mut values = [0; BLOCK];
    for (value, v) in values.iter_mut().zip(x) {
        *value = (v * inverse + MAGIC).to_bits() as i8; // the sum rounds to an integer, ties to even
    }
    (values, f32::from_bits((largest / 127.0).to_bits() & 0xFFFF_FF00))
}

/// `x · σ(x)`, the same bits wherever it runs.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// `x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`, which is `x · σ(2 √(2/π) (x + 0.044715 x³))`; the same bits wherever
/// it runs (Hendrycks and Gimpel, 2016).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.595_769 * (x + 0.044_715 * x * x * x)))
}

/// eˣ within two units in the last place, by Cody and Waite's reduction and a polynomial of degree 6.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // f32::clamp keeps NaN. Beyond these the result is 0 or infinite for every use here.
    let x = x.clamp(-87.0, 88.0);
    let n = x.mul_add(std::f32::consts::LOG2_E, MAGIC) - MAGIC;
    let r = n.mul_add(-1.428_606_8e-6, n.mul_add(-0.693_145_75, x));
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = f32::mul_add(p, r, c);
    }
    p * f32::from_bits((n + (MAGIC + 127.0)).to_bits() << 23) // 2ⁿ: the upper bits of the sum are shifted out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantized_values_are_within_half_a_step() {
        let x: [f32; BLOCK] = std::array::from_fn(|i| (i as f32 - 11.3) * 0.37);
        let (values, scale) = quantize(&x);
        for (value, x) in values.iter().zip(x) {
            assert!((f32::from(*value) * scale - x).abs() <= 0.51 * scale + 0.001 * x.abs());
        }
    }

    #[test]
    fn products_of_a_scale_with_the_magic_number_are_exact() {
        let mut x = [0.0; BLOCK];
        for step in 0..1000 {
            x[3] = 1.0 + step as f32 * 0.013_579;
            let scale = quantize(&x).1;
            assert_eq!(f64::from(MAGIC * scale), f64::from(MAGIC) * f64::from(scale));
        }
    }

    #[test]
    fn zeros_and_the_tiniest_give_zero() {
        assert_eq!(quantize(&[0.0; BLOCK]), ([0; BLOCK], 0.0));
        assert_eq!(quantize(&[f32::MIN_POSITIVE; BLOCK]), ([0; BLOCK], 0.0));
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[7] = bad;
            assert!(quantize(&x).1.is_nan());
        }
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for step in -8700..8800 {
            let x = step as f32 * 0.01;
            let right = f64::from(x).exp();
            assert!((f64::from(exp(x)) / right - 1.0).abs() < 2.5e-7, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_that_of_tanh() {
        for step in -1000..1000 {
            let x = step as f32 * 0.01;
            let wide = f64::from(x);
            let right = 0.5 * wide * (1.0 + (0.797_884_560_802_865_4 * (wide + 0.044_715 * wide.powi(3))).tanh());
            assert!((f64::from(gelu(x)) - right).abs() < 1e-6 * wide.abs().max(1.0), "{x}");
        }
        assert_eq!((gelu(100.0), gelu(0.0)), (100.0, 0.0));
        assert!(gelu(f32::NAN).is_nan());
    }

    #[test]
    fn silu_is_right_far_from_zero() {
        assert_eq!(silu(100.0), 100.0);
        assert!(silu(-100.0).abs() < 1e-35);
        assert_eq!(silu(0.0), 0.0);
    }
}
