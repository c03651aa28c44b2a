//! AVX-512 VNNI: `vpdpbusd` of 16 output rows at once with a broadcast activation, up to 12 rows a panel.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{Form, Groups, NIBBLES, ROWS, SCALES};

use super::{BYTE, NIBBLE, PLANES, Results, dispatch, prefetch, side_by_side, units};

/// Multiply groups of 16 output rows with a panel of up to twelve rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI; the panel's buffers have the sizes of its rows and the groups' columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn multiply(groups: &Groups, streams: usize, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { dispatch!(groups, streams, panel, out; 1: 1 2 3 4 5 6 7 8 9 10 11 12; 6: 1 2;) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn rows<const M: usize, const G: usize, const KIND: usize>(groups: &Groups, panel: &Panel, out: &mut Results) {
    let (form, block_bytes) = (groups.form, if KIND == BYTE { 2 * NIBBLES } else { NIBBLES });
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[_mm512_setzero_ps(); M]; G];
    for records in side_by_side::<G>(groups, panel) {
        for g in 0..G {
            let ((record, low), totals) = (records.places[g], &mut totals[g]);
            // SAFETY: `bytes` stays within the record; the panel has 8 quads, a start, a scale and an offset per block
            // and row.
            unsafe {
                prefetch::<KIND>(records.later[g], records.blocks);
                for b in 0..records.blocks {
                    let block = records.first + b;
                    let bytes = record.add(SCALES + b * block_bytes);
                    let quads = values.add(block * 8 * M);
                    let starts = std::array::from_fn(|m| _mm512_set1_epi32(*panel.starts.get_unchecked(block * M + m)));
                    let sums: [__m512i; M] = if KIND == PLANES {
                        let upper = add_products::<M>([_mm512_setzero_si512(); M], quads, |at| nibbles(bytes, at));
                        let shifted =
                            std::array::from_fn(|m| _mm512_add_epi32(starts[m], _mm512_slli_epi32::<4>(upper[m])));
                        add_products::<M>(shifted, quads, |at| nibbles(low.add(b * NIBBLES), at))
                    } else if KIND == BYTE {
                        add_products::<M>(starts, quads, |at| {
                            let first = bytes.add(at * 128).cast::<__m512i>();
                            [_mm512_loadu_si512(first), _mm512_loadu_si512(first.add(1))]
                        })
                    } else {
                        add_products::<M>(starts, quads, |at| nibbles(bytes, at))
                    };
                    let weight_scales = scales(form, record, b);
                    for m in 0..M {
                        let at = block * M + m;
                        let scale = _mm512_set1_ps(*panel.scales.get_unchecked(at));
                        let offset = _mm512_set1_ps(*panel.offsets.get_unchecked(at));
                        let part = _mm512_fmadd_ps(_mm512_castsi512_ps(sums[m]), scale, offset);
                        totals[m] = _mm512_fmadd_ps(part, weight_scales, totals[m]);
                    }
                }
            }
        }
    }
    for (g, totals) in totals.iter_mut().enumerate() {
        if form == Form::Lean {
            // SAFETY: a group begins with 16 of them.
            let units = unsafe { _mm512_loadu_ps(units::<G>(groups, g)) };
            totals.iter_mut().for_each(|total| *total = _mm512_mul_ps(*total, units));
        }
        for (total, row) in totals.iter().zip(&mut out[g * M..]) {
            // SAFETY: a row has 16 places.
            unsafe { _mm512_storeu_ps(row.as_mut_ptr(), *total) };
        }
    }
}

/// Add the products of a block's 32 columns, of which `weights` gives eight at a time, four and four.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn add_products<const M: usize>(
    mut sums: [__m512i; M],
    quads: *const i32,
    weights: impl Fn(usize) -> [__m512i; 2],
) -> [__m512i; M] {
    for pair in 0..4 {
        for (quad, weight) in weights(pair).into_iter().enumerate() {
            for m in 0..M {
                // SAFETY: the caller's block has 8 quads of every row.
                let x = unsafe { _mm512_set1_epi32(quads.add((pair * 2 + quad) * M + m).read_unaligned()) };
                sums[m] = _mm512_dpbusd_epi32(sums[m], weight, x);
            }
        }
    }
    sums
}

/// Both nibbles of a line of a block.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn nibbles(block: *const u8, line: usize) -> [__m512i; 2] {
    let low = _mm512_set1_epi8(15);
    // SAFETY: the caller's block has four lines.
    let both = unsafe { _mm512_loadu_si512(block.add(line * 64).cast()) };
    [_mm512_and_si512(both, low), _mm512_and_si512(_mm512_srli_epi16::<4>(both), low)]
}

/// The scales of a record's block.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn scales(form: Form, record: *const u8, block: usize) -> __m512 {
    // SAFETY: passed on to the caller.
    unsafe {
        match form {
            Form::Four | Form::Eight => _mm512_cvtph_ps(_mm256_loadu_si256(record.add(block * ROWS * 2).cast())),
            Form::Lean => _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(record.add(block * ROWS).cast()))),
        }
    }
}
