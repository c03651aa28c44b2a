//! AVX-VNNI: `vpdpbusd` on 256 bits, bytes straight into i32.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{BLOCKS, Bits, SCALES};

use super::avx2::{accumulate, store};
use super::{Results, dispatch, prefetch, side_by_side};

/// Multiply groups of 16 output rows with a panel of up to four rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX-VNNI, AVX2, FMA and F16C; the panel's buffers have the sizes of its rows and the groups'
/// columns.
#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
pub unsafe fn multiply(groups: &[u8], streams: usize, bits: Bits, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { dispatch!(groups, streams, bits, panel, out; 1: 1 2 3 4; 4: 1 2;) }
}

#[target_feature(enable = "avx2,fma,f16c,avxvnni")]
#[inline]
unsafe fn rows<const M: usize, const G: usize, const BITS: usize>(groups: &[u8], panel: &Panel, out: &mut Results) {
    let bits = if BITS == 4 { Bits::Four } else { Bits::Eight };
    let low = _mm256_set1_epi8(15);
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[[_mm256_setzero_ps(); 2]; M]; G];
    for (r, records) in side_by_side::<G>(groups, bits) {
        for (record, totals) in records.into_iter().zip(&mut totals) {
            // SAFETY: `bytes` stays within the record; the panel has 8 quads, a start, a scale and an offset per block
            // and row.
            unsafe {
                prefetch::<G>(record, bits);
                for b in 0..BLOCKS {
                    let block = r * BLOCKS + b;
                    let bytes = record.add(SCALES + b * bits.block_bytes());
                    let quads = values.add(block * 8 * M);
                    let mut sums: [[__m256i; 2]; M] =
                        std::array::from_fn(|m| [_mm256_set1_epi32(*panel.starts.get_unchecked(block * M + m)); 2]);
                    for quad in 0..8 {
                        let weights: [__m256i; 2] = std::array::from_fn(|half| {
                            if BITS == 8 {
                                return _mm256_loadu_si256(bytes.add(quad * 64 + half * 32).cast());
                            }
                            let pair = _mm256_loadu_si256(bytes.add(quad / 2 * 64 + half * 32).cast());
                            let shifted = if quad % 2 == 0 { pair } else { _mm256_srli_epi16::<4>(pair) };
                            _mm256_and_si256(shifted, low)
                        });
                        for m in 0..M {
                            let x = _mm256_set1_epi32(quads.add(quad * M + m).read_unaligned());
                            sums[m][0] = _mm256_dpbusd_avx_epi32(sums[m][0], weights[0], x);
                            sums[m][1] = _mm256_dpbusd_avx_epi32(sums[m][1], weights[1], x);
                        }
                    }
                    let scales = record.add(b * 32).cast::<__m128i>();
                    for half in 0..2 {
                        let weight_scales = _mm256_cvtph_ps(_mm_loadu_si128(scales.add(half)));
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
    store(&totals, out);
}
