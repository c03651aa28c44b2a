//! Linear layers on Int4 and Int8 weights: `Y = X · Wᵀ + bias`.

mod operator;
mod output;
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

/// Groups of 16 output rows that are read side by side where memory is what limits: the processor fetches ahead in each
/// of them, and memory gives more to many streams than to one.
const STREAMS: usize = 4;

/// The most rows of a panel for which it does.
const STREAMED_ROWS: usize = 2;

/// How far ahead weights are fetched in a stream, in bytes: two records of each of several, or eight of a single one.
const fn ahead(streams: usize) -> usize {
    if streams > 1 { 1152 } else { 4608 }
}

/// Results of a multiplication, by group and row of the panel: as many as the largest has.
pub type Results = [[f32; ROWS]; PANEL_ROWS];

const _: () = assert!(STREAMS * STREAMED_ROWS <= PANEL_ROWS);

/// Call what is compiled for so many rows, groups and bits: `rows::<rows, groups, bits>`.
#[cfg(target_arch = "x86_64")]
macro_rules! dispatch {
    ($groups:ident, $streams:ident, $bits:ident, $panel:ident, $out:ident; $($count:literal: $($rows:literal)*;)*) => {
        match ($bits, $streams, $panel.rows) {
            $($((Bits::Four, $count, $rows) => rows::<$rows, $count, 4>($groups, $panel, $out),
            (Bits::Eight, $count, $rows) => rows::<$rows, $count, 8>($groups, $panel, $out),)*)*
            (_, streams, rows) => unreachable!("{streams} groups and a panel of {rows} rows"),
        }
    };
}
#[cfg(target_arch = "x86_64")]
use dispatch;

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

    /// How many groups [`Self::multiply`] takes at once when that many rows are all there are.
    pub fn streams(&self, rows: usize) -> usize {
        if rows <= STREAMED_ROWS { STREAMS } else { 1 }
    }

    /// Multiply groups of 16 output rows, each group's records one after another, with a panel: results of group `g`
    /// and the panel's row `m` are `out[g * rows + m]`.
    ///
    /// `streams`, the number of groups, is 1 or, for a few rows, what [`Self::streams`] says.
    pub fn multiply(&self, groups: &[u8], streams: usize, bits: Bits, panel: &Panel, out: &mut Results) {
        assert!(panel.rows <= self.panel_rows && (streams == 1 || streams == self.streams(panel.rows)));
        assert_eq!(panel.values.len() * streams, groups.len() / bits.record() * COLUMNS * panel.rows);
        match self.isa {
            Isa::Portable => portable::multiply(groups, streams, bits, panel, out),
            // SAFETY: the constructor saw that the processor has it, and the panel's size fits the group's.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::multiply(groups, streams, bits, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => unsafe { avxvnni::multiply(groups, streams, bits, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => unsafe { avx512::multiply(groups, streams, bits, panel, out) },
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

/// Give the groups' records with their number in the group, those of the same number together.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn side_by_side<const G: usize>(groups: &[u8], bits: Bits) -> impl Iterator<Item = (usize, [*const u8; G])> {
    let (start, group) = (groups.as_ptr(), groups.len() / G);
    (0..group / bits.record())
        .map(move |r| (r, std::array::from_fn(|g| start.wrapping_add(g * group + r * bits.record()))))
}

/// Fetch what lies [`ahead`] of a record.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch<const G: usize>(record: *const u8, bits: Bits) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    for line in 0..bits.record() / 64 {
        // SAFETY: fetching from any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(record.wrapping_add(ahead(G) + line * 64).cast()) };
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
