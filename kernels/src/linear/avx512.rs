//! AVX-512 VNNI: `vpdpbusd` of 16 output rows at once with a broadcast activation, up to 12 rows a panel.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{BLOCKS, Bits, SCALES};

use super::{Results, dispatch, prefetch, side_by_side};

/// Multiply groups of 16 output rows with a panel of up to twelve rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and VNNI; the panel's buffers have the sizes of its rows and the groups' columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub unsafe fn multiply(groups: &[u8], streams: usize, bits: Bits, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { dispatch!(groups, streams, bits, panel, out; 1: 1 2 3 4 5 6 7 8 9 10 11 12; 4: 1 2;) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
#[inline]
unsafe fn rows<const M: usize, const G: usize, const BITS: usize>(groups: &[u8], panel: &Panel, out: &mut Results) {
    let bits = if BITS == 4 { Bits::Four } else { Bits::Eight };
    let low = _mm512_set1_epi8(15);
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[_mm512_setzero_ps(); M]; G];
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
                    let mut sums: [__m512i; M] =
                        std::array::from_fn(|m| _mm512_set1_epi32(*panel.starts.get_unchecked(block * M + m)));
                    for pair in 0..4 {
                        let weights = if BITS == 4 {
                            let both = _mm512_loadu_si512(bytes.add(pair * 64).cast());
                            [_mm512_and_si512(both, low), _mm512_and_si512(_mm512_srli_epi16::<4>(both), low)]
                        } else {
                            let first = bytes.add(pair * 128).cast::<__m512i>();
                            [_mm512_loadu_si512(first), _mm512_loadu_si512(first.add(1))]
                        };
                        for (quad, weight) in weights.into_iter().enumerate() {
                            for m in 0..M {
                                let x = _mm512_set1_epi32(quads.add((pair * 2 + quad) * M + m).read_unaligned());
                                sums[m] = _mm512_dpbusd_epi32(sums[m], weight, x);
                            }
                        }
                    }
                    let weight_scales = _mm512_cvtph_ps(_mm256_loadu_si256(record.add(b * 32).cast()));
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
    for (total, row) in totals.as_flattened().iter().zip(out.iter_mut()) {
        // SAFETY: a row has 16 places.
        unsafe { _mm512_storeu_ps(row.as_mut_ptr(), *total) };
    }
}
