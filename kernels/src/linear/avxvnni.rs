//! AVX-VNNI: `vpdpbusd` on 256 bits, bytes straight into i32.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{Form, Groups, NIBBLES, SCALES};

use super::avx2::{accumulate, scales, store};
use super::{BYTE, NIBBLE, PLANES, Results, dispatch, prefetch, side_by_side};

/// Multiply groups of 16 output rows with a panel of up to four rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX-VNNI, AVX2, FMA and F16C; the panel's buffers have the sizes of its rows and the groups'
/// columns.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub unsafe fn multiply(groups: &Groups, streams: usize, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { dispatch!(groups, streams, panel, out; 1: 1 2 3 4; 6: 1 2;) }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
unsafe fn rows<const M: usize, const G: usize, const KIND: usize>(groups: &Groups, panel: &Panel, out: &mut Results) {
    let (form, block_bytes) = (groups.form, if KIND == BYTE { 2 * NIBBLES } else { NIBBLES });
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[[_mm256_setzero_ps(); 2]; M]; G];
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
                    let starts: [[__m256i; 2]; M] =
                        std::array::from_fn(|m| [_mm256_set1_epi32(*panel.starts.get_unchecked(block * M + m)); 2]);
                    let sums = if KIND == PLANES {
                        let upper = add_products::<M>([[_mm256_setzero_si256(); 2]; M], quads, |quad, half| {
                            nibbles(bytes, quad, half)
                        });
                        let shifted = std::array::from_fn(|m| {
                            std::array::from_fn(|half| {
                                _mm256_add_epi32(starts[m][half], _mm256_slli_epi32::<4>(upper[m][half]))
                            })
                        });
                        add_products::<M>(shifted, quads, |quad, half| nibbles(low.add(b * NIBBLES), quad, half))
                    } else if KIND == BYTE {
                        add_products::<M>(starts, quads, |quad, half| {
                            _mm256_loadu_si256(bytes.add(quad * 64 + half * 32).cast())
                        })
                    } else {
                        add_products::<M>(starts, quads, |quad, half| nibbles(bytes, quad, half))
                    };
                    for half in 0..2 {
                        let weight_scales = scales(form, record, b, half);
                        for m in 0..M {
                            let at = block * M + m;
                            let (scale, offset) = (*panel.scales.get_unchecked(at), *panel.offsets.get_unchecked(at));
                            totals[m][half] = accumulate(sums[m][half], scale, offset, weight_scales, totals[m][half]);
                        }
                    }
                }
            }
        }
    }
    store::<M, G>(groups, &mut totals, out);
}

/// Add the products of a block's 32 columns, of which `weights` gives four at a time, of eight of the 16 rows.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
unsafe fn add_products<const M: usize>(
    mut sums: [[__m256i; 2]; M],
    quads: *const i32,
    weights: impl Fn(usize, usize) -> __m256i,
) -> [[__m256i; 2]; M] {
    for quad in 0..8 {
        let weights = [weights(quad, 0), weights(quad, 1)];
        for m in 0..M {
            // SAFETY: the caller's block has 8 quads of every row.
            let x = unsafe { _mm256_set1_epi32(quads.add(quad * M + m).read_unaligned()) };
            sums[m][0] = _mm256_dpbusd_avx_epi32(sums[m][0], weights[0], x);
            sums[m][1] = _mm256_dpbusd_avx_epi32(sums[m][1], weights[1], x);
        }
    }
    sums
}

/// Four columns of a block of nibbles, of eight of the 16 rows.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn nibbles(block: *const u8, quad: usize, half: usize) -> __m256i {
    // SAFETY: the caller's block has four lines.
    let pair = unsafe { _mm256_loadu_si256(block.add(quad / 2 * 64 + half * 32).cast()) };
    let shifted = if quad.is_multiple_of(2) { pair } else { _mm256_srli_epi16::<4>(pair) };
    _mm256_and_si256(shifted, _mm256_set1_epi8(15))
}
