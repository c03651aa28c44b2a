//! Sixteen lanes on AVX-512 F and DQ.
#![allow(unsafe_op_in_unsafe_fn)] // every function is a few instructions that the caller's processor has

use std::arch::x86_64::*;

use super::Vector;
use crate::ort::F16;

/// Sixteen floats.
#[derive(Clone, Copy)]
pub struct Lanes(__m512);

#[inline(always)]
unsafe fn folded(value: Lanes) -> __m256 {
    _mm256_add_ps(_mm512_castps512_ps256(value.0), _mm512_extractf32x8_ps::<1>(value.0))
}

impl Vector for Lanes {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(_mm512_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm512_storeu_ps(to, self.0);
    }

    #[inline(always)]
    unsafe fn from_f16(from: *const F16) -> Self {
        Self(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }

    #[inline(always)]
    unsafe fn to_f16(self, to: *mut F16) {
        _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
    }

    #[inline(always)]
    unsafe fn from_i8(from: *const i8) -> Self {
        Self(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, by.0, to.0))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm512_max_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn unless_above(self, index: Self, limit: Self) -> Self {
        let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(index.0, limit.0);
        Self(_mm512_mask_mov_ps(self.0, above, _mm512_set1_ps(f32::NEG_INFINITY)))
    }

    #[inline(always)]
    unsafe fn shift_to_exponent(self) -> Self {
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))))
    }

    #[inline(always)]
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
        let pairs =
            [_mm256_hadd_ps(folded(four[0]), folded(four[1])), _mm256_hadd_ps(folded(four[2]), folded(four[3]))];
        let quads = _mm256_hadd_ps(pairs[0], pairs[1]);
        let sums = _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps::<1>(quads));
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), sums);
        out
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let eight = folded(self);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}
