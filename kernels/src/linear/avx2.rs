//! AVX2: eight `vpmaddubsw` of a block fit in i16, so one `vpmaddwd` a block widens them.
//!
//! 8-bit weights are taken as two nibbles, each of which is a 4-bit weight to this arithmetic: products of whole bytes
//! would overflow i16.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{BLOCKS, Bits, ROWS, SCALES};

use super::{PANEL_ROWS, PREFETCH};

/// Multiply a group of 16 output rows with a panel of up to four rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the panel's buffers have the sizes of its rows and the group's columns.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn multiply(group: &[u8], bits: Bits, panel: &Panel, out: &mut [[f32; ROWS]; PANEL_ROWS]) {
    debug_assert_eq!(panel.starts.len(), group.len() / bits.record() * BLOCKS * panel.rows);
    // SAFETY: passed on to the caller.
    unsafe {
        match (bits, panel.rows) {
            (Bits::Four, 1) => four::<1>(group, panel, out),
            (Bits::Four, 2) => four::<2>(group, panel, out),
            (Bits::Four, 3) => four::<3>(group, panel, out),
            (Bits::Four, 4) => four::<4>(group, panel, out),
            (Bits::Eight, 1) => eight::<1>(group, panel, out),
            (Bits::Eight, 2) => eight::<2>(group, panel, out),
            (Bits::Eight, 3) => eight::<3>(group, panel, out),
            (Bits::Eight, 4) => eight::<4>(group, panel, out),
            (_, rows) => unreachable!("a panel of {rows} rows"),
        }
    }
}

/// Add a block's integer sums, `[start, …]` included, to the results of eight rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn accumulate(sums: __m256i, scale: f32, offset: f32, weight_scales: __m256, total: __m256) -> __m256 {
    let part = _mm256_fmadd_ps(_mm256_castsi256_ps(sums), _mm256_set1_ps(scale), _mm256_set1_ps(offset));
    _mm256_fmadd_ps(part, weight_scales, total)
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn four<const M: usize>(group: &[u8], panel: &Panel, out: &mut [[f32; ROWS]; PANEL_ROWS]) {
    let low = _mm256_set1_epi8(15);
    let ones = _mm256_set1_epi16(1);
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[_mm256_setzero_ps(); 2]; M];
    for (r, record) in group.chunks_exact(Bits::Four.record()).enumerate() {
        let record = record.as_ptr();
        // SAFETY: records are 576 bytes; the panel has 8 quads, a start, a scale and an offset per block and row.
        // Prefetching beyond the end is harmless.
        unsafe {
            for line in 0..9 {
                _mm_prefetch::<_MM_HINT_T0>(record.wrapping_add(PREFETCH + line * 64).cast());
            }
            for b in 0..BLOCKS {
                let block = r * BLOCKS + b;
                let bytes = record.add(SCALES + b * 256);
                let quads = values.add(block * 8 * M);
                let mut sums = [[_mm256_setzero_si256(); 2]; M];
                for j in 0..4 {
                    let first = _mm256_loadu_si256(bytes.add(j * 64).cast());
                    let second = _mm256_loadu_si256(bytes.add(j * 64 + 32).cast());
                    let lows = [_mm256_and_si256(first, low), _mm256_and_si256(second, low)];
                    for m in 0..M {
                        let x = _mm256_set1_epi32(quads.add(2 * j * M + m).read_unaligned());
                        sums[m][0] = _mm256_add_epi16(sums[m][0], _mm256_maddubs_epi16(lows[0], x));
                        sums[m][1] = _mm256_add_epi16(sums[m][1], _mm256_maddubs_epi16(lows[1], x));
                    }
                    let highs = [
                        _mm256_and_si256(_mm256_srli_epi16::<4>(first), low),
                        _mm256_and_si256(_mm256_srli_epi16::<4>(second), low),
                    ];
                    for m in 0..M {
                        let x = _mm256_set1_epi32(quads.add((2 * j + 1) * M + m).read_unaligned());
                        sums[m][0] = _mm256_add_epi16(sums[m][0], _mm256_maddubs_epi16(highs[0], x));
                        sums[m][1] = _mm256_add_epi16(sums[m][1], _mm256_maddubs_epi16(highs[1], x));
                    }
                }
                let scales = record.add(b * 32).cast::<__m128i>();
                let weight_scales =
                    [_mm256_cvtph_ps(_mm_loadu_si128(scales)), _mm256_cvtph_ps(_mm_loadu_si128(scales.add(1)))];
                for m in 0..M {
                    let at = block * M + m;
                    let start = _mm256_set1_epi32(*panel.starts.get_unchecked(at));
                    let (scale, offset) = (*panel.scales.get_unchecked(at), *panel.offsets.get_unchecked(at));
                    for half in 0..2 {
                        let wide = _mm256_add_epi32(_mm256_madd_epi16(sums[m][half], ones), start);
                        totals[m][half] = accumulate(wide, scale, offset, weight_scales[half], totals[m][half]);
                    }
                }
            }
        }
    }
    store(&totals, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight<const M: usize>(group: &[u8], panel: &Panel, out: &mut [[f32; ROWS]; PANEL_ROWS]) {
    let low = _mm256_set1_epi8(15);
    let (ones, sixteens) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
    let values = panel.values.as_ptr().cast::<i32>();
    let mut totals = [[_mm256_setzero_ps(); 2]; M];
    for (r, record) in group.chunks_exact(Bits::Eight.record()).enumerate() {
        let record = record.as_ptr();
        // SAFETY: records are 1,088 bytes; the panel has 8 quads, a start, a scale and an offset per block and row.
        // Prefetching beyond the end is harmless.
        unsafe {
            for line in 0..17 {
                _mm_prefetch::<_MM_HINT_T0>(record.wrapping_add(PREFETCH + line * 64).cast());
            }
            for b in 0..BLOCKS {
                let block = r * BLOCKS + b;
                let bytes = record.add(SCALES + b * 512);
                let quads = values.add(block * 8 * M);
                for half in 0..2 {
                    let mut lows = [_mm256_setzero_si256(); M];
                    let mut highs = [_mm256_setzero_si256(); M];
                    for j in 0..8 {
                        let weights = _mm256_loadu_si256(bytes.add(j * 64 + half * 32).cast());
                        let lower = _mm256_and_si256(weights, low);
                        let upper = _mm256_and_si256(_mm256_srli_epi16::<4>(weights), low);
                        for m in 0..M {
                            let x = _mm256_set1_epi32(quads.add(j * M + m).read_unaligned());
                            lows[m] = _mm256_add_epi16(lows[m], _mm256_maddubs_epi16(lower, x));
                            highs[m] = _mm256_add_epi16(highs[m], _mm256_maddubs_epi16(upper, x));
                        }
                    }
                    let scales = _mm_loadu_si128(record.add(b * 32 + half * 16).cast());
                    let weight_scales = _mm256_cvtph_ps(scales);
                    for m in 0..M {
                        let at = block * M + m;
                        let start = _mm256_set1_epi32(*panel.starts.get_unchecked(at));
                        let (scale, offset) = (*panel.scales.get_unchecked(at), *panel.offsets.get_unchecked(at));
                        let wide =
                            _mm256_add_epi32(_mm256_madd_epi16(lows[m], ones), _mm256_madd_epi16(highs[m], sixteens));
                        let sums = _mm256_add_epi32(wide, start);
                        totals[m][half] = accumulate(sums, scale, offset, weight_scales, totals[m][half]);
                    }
                }
            }
        }
    }
    store(&totals, out);
}

#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store<const M: usize>(totals: &[[__m256; 2]; M], out: &mut [[f32; ROWS]; PANEL_ROWS]) {
    for (total, row) in totals.iter().zip(out.iter_mut()) {
        // SAFETY: a row has 16 places.
        unsafe {
            _mm256_storeu_ps(row.as_mut_ptr(), total[0]);
            _mm256_storeu_ps(row.as_mut_ptr().add(8), total[1]);
        }
    }
}
