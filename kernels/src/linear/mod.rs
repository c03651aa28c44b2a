//! Linear layers on Int4 and Int8 weights: `Y = X · Wᵀ + bias`.

mod operator;
mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use operator::Linear;

use crate::activations::{Columns, Panel, silu};
use crate::isa::Isa;
use crate::layout::{Bits, ROWS};

/// The most rows of a panel, on any instruction set.
pub const PANEL_ROWS: usize = 12;

/// How far ahead weights are fetched, in bytes: about eight records.
const PREFETCH: usize = 4608;

/// The part of an instruction set in a linear layer.
#[derive(Clone, Copy)]
pub struct Kernel {
    /// The most rows of a panel.
    pub panel_rows: usize,
    isa: Isa,
}

/// Where a panel's rows come from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// float32 `(rows, k)`, or `(rows, 2 k)` when gated.
    pub x: &'a [f32],
    /// Columns of the product.
    pub k: usize,
    /// Whether the product's input is `silu(first half) · second half`.
    pub gated: bool,
}

impl Kernel {
    /// The kernel of an instruction set that this machine has.
    pub fn new(isa: Isa) -> Self {
        assert!(isa.available(), "{} isn't available here", isa.name());
        let panel_rows = match isa {
            Isa::Amx | Isa::Avx512 => PANEL_ROWS,
            Isa::Avx2 => 6,
            Isa::AvxVnni | Isa::Portable => 4,
        };
        Self { panel_rows, isa }
    }

    /// Whether so many rows are multiplied by tiles rather than by panels.
    pub fn tiles(&self, rows: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.isa == Isa::Amx && rows >= amx::LEAST_ROWS;
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// Multiply a group of 16 output rows, its records one after another, with a panel: results of the panel's
    /// row `m` are `out[m]`.
    pub fn multiply(&self, group: &[u8], bits: Bits, panel: &Panel, out: &mut [[f32; ROWS]; PANEL_ROWS]) {
        assert!(panel.rows <= self.panel_rows);
        assert_eq!(panel.values.len(), group.len() / bits.record() * crate::layout::COLUMNS * panel.rows);
        match self.isa {
            Isa::Portable => portable::multiply(group, bits, panel, out),
            // SAFETY: the constructor saw that the processor has it, and the panel's size fits the group's.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::multiply(group, bits, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => unsafe { avxvnni::multiply(group, bits, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => unsafe { avx512::multiply(group, bits, panel, out) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("no other is available"),
        }
    }

    /// Quantize rows of the source, from `first` on, into the panel, which has their number.
    pub fn fill(&self, panel: &mut Panel, source: Source, first: usize, zero_point: i32) {
        match self.isa {
            Isa::Portable => fill(panel, source, first, zero_point),
            // SAFETY: the constructor saw that the processor has it.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::AvxVnni => unsafe { fill_avx2(panel, source, first, zero_point) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => unsafe { fill_avx512(panel, source, first, zero_point) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("no other is available"),
        }
    }
}

/// A row that is multiplied as it is.
struct Plain<'a>(&'a [f32]);

impl Columns for Plain<'_> {
    #[inline(always)]
    fn read(&self, start: usize, block: &mut [f32]) {
        block.copy_from_slice(&self.0[start..][..block.len()]);
    }
}

/// A row that is gated on the way in.
struct Gated<'a> {
    gate: &'a [f32],
    up: &'a [f32],
}

impl Columns for Gated<'_> {
    #[inline(always)]
    fn read(&self, start: usize, block: &mut [f32]) {
        let (gate, up) = (&self.gate[start..][..block.len()], &self.up[start..][..block.len()]);
        for ((value, gate), up) in block.iter_mut().zip(gate).zip(up) {
            *value = silu(*gate) * up;
        }
    }
}

#[inline(always)]
fn fill(panel: &mut Panel, source: Source, first: usize, zero_point: i32) {
    let Source { x, k, gated } = source;
    for row in 0..panel.rows {
        if gated {
            let (gate, up) = x[(first + row) * 2 * k..][..2 * k].split_at(k);
            panel.quantize_row(row, k, zero_point, Gated { gate, up });
        } else {
            panel.quantize_row(row, k, zero_point, Plain(&x[(first + row) * k..][..k]));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn fill_avx2(panel: &mut Panel, source: Source, first: usize, zero_point: i32) {
    fill(panel, source, first, zero_point);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn fill_avx512(panel: &mut Panel, source: Source, first: usize, zero_point: i32) {
    fill(panel, source, first, zero_point);
}

#[cfg(test)]
mod tests;
