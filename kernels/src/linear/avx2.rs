//! AVX2: eight `vpmaddubsw` of a block fit in i16, so one `vpmaddwd` a block widens them.
//!
//! 8-bit weights are taken as two nibbles, each of which is a 4-bit weight to this arithmetic: products of whole bytes
//! would overflow i16.

use std::arch::x86_64::*;

use crate::activations::Panel;
use crate::layout::{Form, Groups, NIBBLES, ROWS, SCALES};

use super::{BYTE, NIBBLE, PLANES, Results, dispatch, prefetch, side_by_side, units};

/// Multiply groups of 16 output rows with a panel of up to six rows; see [`super::Kernel`].
///
/// # Safety
/// The processor has AVX2, FMA and F16C; the panel's buffers have the sizes of its rows and the groups' columns.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn multiply(groups: &Groups, streams: usize, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { dispatch!(groups, streams, panel, out; 1: 1 2 3 4 5 6; 6: 1 2;) }
}

/// Add a block's integer sums, `[start, …]` included, to the results of eight rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn accumulate(sums: __m256i, scale: f32, offset: f32, weight_scales: __m256, total: __m256) -> __m256 {
    let part = _mm256_fmadd_ps(_mm256_castsi256_ps(sums), _mm256_set1_ps(scale), _mm256_set1_ps(offset));
    _mm256_fmadd_ps(part, weight_scales, total)
}

/// Assembly of one row's share of four columns: weights of all 16 output rows in ymm12 and ymm13.
macro_rules! row {
    (first, $row:literal of $rows:literal, $quad:literal, $a:literal, $b:literal) => {
        concat!(
            "vpbroadcastd ymm14, dword ptr [{x} + 4*(",
            $quad,
            "*",
            $rows,
            "+",
            $row,
            ")]\n",
            "vpmaddubsw ymm",
            $a,
            ", ymm12, ymm14\n",
            "vpmaddubsw ymm",
            $b,
            ", ymm13, ymm14\n",
        )
    };
    (next, $row:literal of $rows:literal, $quad:literal, $a:literal, $b:literal) => {
        concat!(
            "vpbroadcastd ymm14, dword ptr [{x} + 4*(",
            $quad,
            "*",
            $rows,
            "+",
            $row,
            ")]\n",
            "vpmaddubsw ymm15, ymm12, ymm14\n",
            "vpmaddubsw ymm14, ymm13, ymm14\n",
            "vpaddw ymm",
            $a,
            ", ymm",
            $a,
            ", ymm15\n",
            "vpaddw ymm",
            $b,
            ", ymm",
            $b,
            ", ymm14\n",
        )
    };
}

/// Assembly of all rows' share of four columns.
macro_rules! quad {
    ($turn:ident, 1, $quad:literal) => { row!($turn, 0 of 1, $quad, 0, 1) };
    ($turn:ident, 2, $quad:literal) => { concat!(row!($turn, 0 of 2, $quad, 0, 1), row!($turn, 1 of 2, $quad, 2, 3)) };
    ($turn:ident, 3, $quad:literal) => {
        concat!(row!($turn, 0 of 3, $quad, 0, 1), row!($turn, 1 of 3, $quad, 2, 3), row!($turn, 2 of 3, $quad, 4, 5))
    };
    ($turn:ident, 4, $quad:literal) => {
        concat!(
            row!($turn, 0 of 4, $quad, 0, 1), row!($turn, 1 of 4, $quad, 2, 3),
            row!($turn, 2 of 4, $quad, 4, 5), row!($turn, 3 of 4, $quad, 6, 7),
        )
    };
    ($turn:ident, 5, $quad:literal) => {
        concat!(
            row!($turn, 0 of 5, $quad, 0, 1), row!($turn, 1 of 5, $quad, 2, 3), row!($turn, 2 of 5, $quad, 4, 5),
            row!($turn, 3 of 5, $quad, 6, 7), row!($turn, 4 of 5, $quad, 8, 9),
        )
    };
    ($turn:ident, 6, $quad:literal) => {
        concat!(
            row!($turn, 0 of 6, $quad, 0, 1), row!($turn, 1 of 6, $quad, 2, 3), row!($turn, 2 of 6, $quad, 4, 5),
            row!($turn, 3 of 6, $quad, 6, 7), row!($turn, 4 of 6, $quad, 8, 9), row!($turn, 5 of 6, $quad, 10, 11),
        )
    };
}

/// Assembly of eight columns, 64 bytes from `at` on: `few` rows leave registers for weights and mask, with `many` both
/// are read again.
macro_rules! octet {
    (few, $turn:ident, $rows:tt, $at:literal, $low:tt, $high:tt) => {
        concat!(
            "vmovdqu ymm8, ymmword ptr [{w} + ",
            $at,
            "]\n",
            "vmovdqu ymm9, ymmword ptr [{w} + ",
            $at,
            " + 32]\n",
            "vpand ymm12, ymm8, ymm10\n",
            "vpand ymm13, ymm9, ymm10\n",
            quad!($turn, $rows, $low),
            "vpsrlw ymm8, ymm8, 4\n",
            "vpsrlw ymm9, ymm9, 4\n",
            "vpand ymm12, ymm8, ymm10\n",
            "vpand ymm13, ymm9, ymm10\n",
            quad!(next, $rows, $high),
        )
    };
    (many, $turn:ident, $rows:tt, $at:literal, $low:tt, $high:tt) => {
        concat!(
            "vmovdqa ymm14, ymmword ptr [{low}]\n",
            "vpand ymm12, ymm14, ymmword ptr [{w} + ",
            $at,
            "]\n",
            "vpand ymm13, ymm14, ymmword ptr [{w} + ",
            $at,
            " + 32]\n",
            quad!($turn, $rows, $low),
            "vmovdqu ymm12, ymmword ptr [{w} + ",
            $at,
            "]\n",
            "vmovdqu ymm13, ymmword ptr [{w} + ",
            $at,
            " + 32]\n",
            "vpsrlw ymm12, ymm12, 4\n",
            "vpsrlw ymm13, ymm13, 4\n",
            "vpand ymm12, ymm12, ymmword ptr [{low}]\n",
            "vpand ymm13, ymm13, ymmword ptr [{low}]\n",
            quad!(next, $rows, $high),
        )
    };
}

#[repr(align(32))]
struct Mask([u8; 32]);

/// The low nibble of every byte.
static LOW: Mask = Mask([15; 32]);

/// A function that gives a block's sums, i16 `[row][half]`, of a panel of so many rows.
///
/// In assembly because the compiler reorders the additions until half of the registers are spilled; docs/kernels.md has
/// the difference.
macro_rules! block_sums {
    (few, $name:ident, $rows:tt) => {
        #[target_feature(enable = "avx2")]
        #[inline]
        unsafe fn $name(weights: *const u8, x: *const i32) -> [__m256i; 12] {
            let mut s = [_mm256_setzero_si256(); 12];
            let [s0, s1, s2, s3, s4, s5, s6, s7, ..] = &mut s;
            // SAFETY: it reads 256 bytes of weights and 8 quads of every row, which the caller vouches for.
            unsafe {
                std::arch::asm!(
                    octet!(few, first, $rows, 0, 0, 1),
                    octet!(few, next, $rows, 64, 2, 3),
                    octet!(few, next, $rows, 128, 4, 5),
                    octet!(few, next, $rows, 192, 6, 7),
                    w = in(reg) weights, x = in(reg) x, in("ymm10") _mm256_set1_epi8(15),
                    out("ymm0") *s0, out("ymm1") *s1, out("ymm2") *s2, out("ymm3") *s3,
                    out("ymm4") *s4, out("ymm5") *s5, out("ymm6") *s6, out("ymm7") *s7,
                    out("ymm8") _, out("ymm9") _,
                    out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            s
        }
    };
    (many, $name:ident, $rows:tt) => {
        #[target_feature(enable = "avx2")]
        #[inline]
        unsafe fn $name(weights: *const u8, x: *const i32) -> [__m256i; 12] {
            let mut s = [_mm256_setzero_si256(); 12];
            let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11] = &mut s;
            // SAFETY: it reads 256 bytes of weights and 8 quads of every row, which the caller vouches for.
            unsafe {
                std::arch::asm!(
                    octet!(many, first, $rows, 0, 0, 1),
                    octet!(many, next, $rows, 64, 2, 3),
                    octet!(many, next, $rows, 128, 4, 5),
                    octet!(many, next, $rows, 192, 6, 7),
                    w = in(reg) weights, x = in(reg) x, low = in(reg) LOW.0.as_ptr(),
                    out("ymm0") *s0, out("ymm1") *s1, out("ymm2") *s2, out("ymm3") *s3,
                    out("ymm4") *s4, out("ymm5") *s5, out("ymm6") *s6, out("ymm7") *s7,
                    out("ymm8") *s8, out("ymm9") *s9, out("ymm10") *s10, out("ymm11") *s11,
                    out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                    options(pure, readonly, nostack, preserves_flags),
                );
            }
            s
        }
    };
}

block_sums!(few, sums_of_1, 1);
block_sums!(few, sums_of_2, 2);
block_sums!(few, sums_of_3, 3);
block_sums!(few, sums_of_4, 4);
block_sums!(many, sums_of_5, 5);
block_sums!(many, sums_of_6, 6);

/// Sums of a block of nibbles, i16 `[row][half]`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn sums<const M: usize>(weights: *const u8, x: *const i32) -> [__m256i; 12] {
    // SAFETY: passed on to the caller.
    unsafe {
        match M {
            1 => sums_of_1(weights, x),
            2 => sums_of_2(weights, x),
            3 => sums_of_3(weights, x),
            4 => sums_of_4(weights, x),
            5 => sums_of_5(weights, x),
            _ => sums_of_6(weights, x),
        }
    }
}

/// The scales of a record's block for eight of the 16 rows.
#[target_feature(enable = "avx2,f16c")]
#[inline]
pub(super) unsafe fn scales(form: Form, record: *const u8, block: usize, half: usize) -> __m256 {
    let at = block * ROWS + half * 8;
    // SAFETY: the record has as many.
    unsafe {
        match form {
            Form::Four | Form::Eight => _mm256_cvtph_ps(_mm_loadu_si128(record.add(at * 2).cast())),
            Form::Lean => _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(record.add(at).cast()))),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn rows<const M: usize, const G: usize, const KIND: usize>(groups: &Groups, panel: &Panel, out: &mut Results) {
    // SAFETY: passed on to the caller.
    unsafe { if KIND == BYTE { eight::<M, G>(groups, panel, out) } else { nibbles::<M, G, KIND>(groups, panel, out) } }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn nibbles<const M: usize, const G: usize, const KIND: usize>(
    groups: &Groups,
    panel: &Panel,
    out: &mut Results,
) {
    let (ones, sixteens) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
    let values = panel.values.as_ptr().cast::<i32>();
    let (form, mut totals) = (groups.form, [[[_mm256_setzero_ps(); 2]; M]; G]);
    for records in side_by_side::<G>(groups, panel) {
        for g in 0..G {
            let ((record, low), totals) = (records.places[g], &mut totals[g]);
            // SAFETY: records have so many blocks; the panel has 8 quads, a start, a scale and an offset per block and
            // row.
            unsafe {
                prefetch::<KIND>(records.later[g], records.blocks);
                for b in 0..records.blocks {
                    let block = records.first + b;
                    let x = values.add(block * 8 * M);
                    let upper = sums::<M>(record.add(SCALES + b * NIBBLES), x);
                    let lower = if KIND == PLANES { sums::<M>(low.add(b * NIBBLES), x) } else { upper };
                    let weight_scales = [scales(form, record, b, 0), scales(form, record, b, 1)];
                    for m in 0..M {
                        let at = block * M + m;
                        let start = _mm256_set1_epi32(*panel.starts.get_unchecked(at));
                        let (scale, offset) = (*panel.scales.get_unchecked(at), *panel.offsets.get_unchecked(at));
                        for half in 0..2 {
                            let mut wide = _mm256_add_epi32(_mm256_madd_epi16(lower[m * 2 + half], ones), start);
                            if KIND == PLANES {
                                wide = _mm256_add_epi32(wide, _mm256_madd_epi16(upper[m * 2 + half], sixteens));
                            }
                            totals[m][half] = accumulate(wide, scale, offset, weight_scales[half], totals[m][half]);
                        }
                    }
                }
            }
        }
    }
    store::<M, G>(groups, &mut totals, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn eight<const M: usize, const G: usize>(groups: &Groups, panel: &Panel, out: &mut Results) {
    let low = _mm256_set1_epi8(15);
    let (ones, sixteens) = (_mm256_set1_epi16(1), _mm256_set1_epi16(16));
    let values = panel.values.as_ptr().cast::<i32>();
    let (form, mut totals) = (groups.form, [[[_mm256_setzero_ps(); 2]; M]; G]);
    for records in side_by_side::<G>(groups, panel) {
        for g in 0..G {
            let ((record, _), totals) = (records.places[g], &mut totals[g]);
            // SAFETY: records are 1,088 bytes; the panel has 8 quads, a start, a scale and an offset per block and row.
            unsafe {
                prefetch::<BYTE>(records.later[g], records.blocks);
                for b in 0..records.blocks {
                    let block = records.first + b;
                    let bytes = record.add(SCALES + b * 2 * NIBBLES);
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
                        let weight_scales = scales(form, record, b, half);
                        for m in 0..M {
                            let at = block * M + m;
                            let start = _mm256_set1_epi32(*panel.starts.get_unchecked(at));
                            let (scale, offset) = (*panel.scales.get_unchecked(at), *panel.offsets.get_unchecked(at));
                            let wide = _mm256_add_epi32(
                                _mm256_madd_epi16(lows[m], ones),
                                _mm256_madd_epi16(highs[m], sixteens),
                            );
                            let sums = _mm256_add_epi32(wide, start);
                            totals[m][half] = accumulate(sums, scale, offset, weight_scales, totals[m][half]);
                        }
                    }
                }
            }
        }
    }
    store::<M, G>(groups, &mut totals, out);
}

/// Write what `G` groups gave, first multiplied by what their scales are multiples of.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn store<const M: usize, const G: usize>(
    groups: &Groups,
    totals: &mut [[[__m256; 2]; M]; G],
    out: &mut Results,
) {
    if groups.form == Form::Lean {
        for (g, totals) in totals.iter_mut().enumerate() {
            for half in 0..2 {
                // SAFETY: a group begins with 16 of them.
                let units = unsafe { _mm256_loadu_ps(units::<G>(groups, g).add(half * 8)) };
                totals.iter_mut().for_each(|total| total[half] = _mm256_mul_ps(total[half], units));
            }
        }
    }
    for (total, row) in totals.as_flattened().iter().zip(out.iter_mut()) {
        // SAFETY: a row has 16 places.
        unsafe {
            _mm256_storeu_ps(row.as_mut_ptr(), total[0]);
            _mm256_storeu_ps(row.as_mut_ptr().add(8), total[1]);
        }
    }
}
