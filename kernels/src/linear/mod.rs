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

use crate::activations::Panel;
pub use crate::activations::Source;
use crate::isa::Isa;
use crate::layout::{Bits, COLUMNS, ROWS};

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
        assert_eq!(panel.values.len(), group.len() / bits.record() * COLUMNS * panel.rows);
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

/// Fetch what lies [`PREFETCH`] behind a record.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(record: *const u8, bits: Bits) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    for line in 0..bits.record() / 64 {
        // SAFETY: fetching from any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(record.wrapping_add(PREFETCH + line * 64).cast()) };
    }
}

#[inline(always)]
fn fill(panel: &mut Panel, source: Source, first: usize, zero_point: i32) {
    for row in 0..panel.rows {
        panel.quantize_row(row, &source, first + row, zero_point);
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
