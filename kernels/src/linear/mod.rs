//! Linear layers on Int4 and Int8 weights: `Y = X · Wᵀ + bias`.

mod candidates;
mod head;
mod operator;
mod output;
mod portable;
mod product;

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

pub use head::Head;
pub use operator::Linear;

use crate::activations::Panel;
pub use crate::activations::Source;
use crate::isa::Isa;
use crate::layout::{BLOCK, Groups, ROWS};
#[cfg(target_arch = "x86_64")]
use crate::layout::{NIBBLES, SCALES};

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

/// What kernels are compiled for: nibbles, whose scales are told apart block by block, bytes, or nibbles in two planes.
#[cfg(target_arch = "x86_64")]
const NIBBLE: usize = 0;
#[cfg(target_arch = "x86_64")]
const BYTE: usize = 1;
#[cfg(target_arch = "x86_64")]
const PLANES: usize = 2;

/// Call what is compiled for so many rows, groups and a kind: `rows::<rows, groups, kind>`.
#[cfg(target_arch = "x86_64")]
macro_rules! dispatch {
    ($groups:ident, $streams:ident, $panel:ident, $out:ident; $($count:literal: $($rows:literal)*;)*) => {
        match ($groups.low.is_some(), $groups.form, $streams, $panel.rows) {
            $($((false, Form::Four | Form::Lean, $count, $rows) => rows::<$rows, $count, NIBBLE>($groups, $panel, $out),
            (false, Form::Eight, $count, $rows) => rows::<$rows, $count, BYTE>($groups, $panel, $out),
            (true, _, $count, $rows) => rows::<$rows, $count, PLANES>($groups, $panel, $out),)*)*
            (_, form, streams, rows) => unreachable!("{form:?}, {streams} groups and a panel of {rows} rows"),
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
    pub fn multiply(&self, groups: &Groups, streams: usize, panel: &Panel, out: &mut Results) {
        assert!(panel.rows <= self.panel_rows && (streams == 1 || streams == self.streams(panel.rows)));
        let columns = panel.values.len() / panel.rows;
        assert_eq!(groups.data.len(), groups.form.group_bytes(columns) * streams);
        assert_eq!(panel.scales.len() * BLOCK, panel.values.len());
        assert!(groups.low.is_none_or(|low| low.len() * 2 == columns * ROWS * streams));
        match self.isa {
            Isa::Portable => portable::multiply(groups, streams, panel, out),
            // SAFETY: the constructor saw that the processor has it, and the panel's size fits the group's.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2::multiply(groups, streams, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => unsafe { avxvnni::multiply(groups, streams, panel, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Amx | Isa::Avx512 => unsafe { avx512::multiply(groups, streams, panel, out) },
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

/// Records of the same number in several groups.
#[cfg(target_arch = "x86_64")]
struct Records<const G: usize> {
    /// The number of their first block, and how many they have.
    first: usize,
    blocks: usize,
    /// Of each group, the record and what the low plane has of it; without one, nothing that may be read.
    places: [(*const u8, *const u8); G],
}

/// Give the groups' records, those of the same number together.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn side_by_side<const G: usize>(groups: &Groups, panel: &Panel) -> impl Iterator<Item = Records<G>> {
    let (form, blocks) = (groups.form, panel.scales.len() / panel.rows);
    let (start, group) = (groups.data.as_ptr().wrapping_add(form.header()), groups.data.len() / G);
    let low = groups.low.map_or(start, <[u8]>::as_ptr);
    (0..blocks.div_ceil(form.record_blocks())).map(move |r| {
        let first = r * form.record_blocks();
        let place = |g| {
            let record = start.wrapping_add(g * group + r * form.record());
            (record, low.wrapping_add((g * blocks + first) * NIBBLES))
        };
        let blocks = form.record_blocks().min(blocks - first);
        Records { first, blocks, places: std::array::from_fn(place) }
    })
}

/// Fetch what lies [`ahead`] of a record.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch<const G: usize, const KIND: usize>(record: *const u8, low: *const u8, blocks: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    let values = if KIND == BYTE { 2 * NIBBLES } else { NIBBLES };
    for line in 0..(SCALES + blocks * values) / 64 {
        // SAFETY: fetching from any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(record.wrapping_add(ahead(G) + line * 64).cast()) };
    }
    for line in 0..if KIND == PLANES { blocks * NIBBLES / 64 } else { 0 } {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(low.wrapping_add(ahead(G) + line * 64).cast()) };
    }
}

/// What the scales of a group's rows are multiples of; of a form that has such.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn units<const G: usize>(groups: &Groups, g: usize) -> *const f32 {
    groups.data.as_ptr().wrapping_add(g * (groups.data.len() / G)).cast()
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
