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
use crate::fetch::fetch;
use crate::isa::Isa;
use crate::layout::{BLOCK, Groups, ROWS};
#[cfg(target_arch = "x86_64")]
use crate::layout::{NIBBLES, SCALES};

/// The most rows of a panel, on any instruction set.
pub const PANEL_ROWS: usize = 12;

/// Groups of 16 output rows that are read side by side where memory is what limits: the processor fetches ahead in each
/// of them, and memory gives more to many streams than to one.
const STREAMS: usize = 6;

/// The most rows of a panel for which it does.
const STREAMED_ROWS: usize = 2;

/// How far ahead weights are fetched in a stream, in bytes: a few records of each of several, or more of a single one.
const fn ahead(streams: usize) -> usize {
    if streams > 1 { 2304 } else { 4608 }
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

    /// Fetch the beginnings of groups that [`Self::multiply`] is about to take at once: it looks ahead, so they would come
    /// late.
    pub fn begin(&self, groups: &Groups, streams: usize) {
        for group in groups.data.chunks_exact(groups.data.len() / streams) {
            fetch(group.as_ptr(), ahead(streams) / 64);
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
    /// What lies [`ahead`] of either.
    later: [(*const u8, *const u8); G],
}

/// Give the groups' records, those of the same number together.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn side_by_side<const G: usize>(groups: &Groups, panel: &Panel) -> impl Iterator<Item = Records<G>> {
    let (form, blocks) = (groups.form, panel.scales.len() / panel.rows);
    let (data, group) = (groups.data.as_ptr(), groups.data.len() / G);
    let (low, low_group) = (groups.low.map_or(data, <[u8]>::as_ptr), blocks * NIBBLES);
    (0..blocks.div_ceil(form.record_blocks())).map(move |r| {
        let first = r * form.record_blocks();
        let (at, low_at) = (form.header() + r * form.record(), first * NIBBLES);
        let of_each = |at, low_at| {
            std::array::from_fn(|g| (data.wrapping_add(g * group + at), low.wrapping_add(g * low_group + low_at)))
        };
        let later = of_each(later::<G>(at, group), later::<G>(low_at, low_group));
        let blocks = form.record_blocks().min(blocks - first);
        Records { first, blocks, places: of_each(at, low_at), later }
    })
}

/// What is read [`ahead`] bytes after a place in a group: behind its end, that is the group so many further on.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
const fn later<const G: usize>(at: usize, group: usize) -> usize {
    let later = at + ahead(G);
    if later < group { later } else { later + (G - 1) * group }
}

/// Fetch a record that will be read, and what the low plane has of it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch<const KIND: usize>((record, low): (*const u8, *const u8), blocks: usize) {
    let values = if KIND == BYTE { 2 * NIBBLES } else { NIBBLES };
    fetch(record, (SCALES + blocks * values) / 64);
    if KIND == PLANES {
        fetch(low, blocks * NIBBLES / 64);
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
