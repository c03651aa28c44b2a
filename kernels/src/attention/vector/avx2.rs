//! Eight lanes on AVX2, FMA and F16C.
#![allow(unsafe_op_in_unsafe_fn)] // every function is a few instructions that the caller's processor has

use std::arch::x86_64::*;

use super::Vector;
use crate::ort::F16;

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Lanes(__m256);

impl Vector for Lanes {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(_mm256_loadu_ps(from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        _mm256_storeu_ps(to, self.0);
    }

    #[inline(always)]
    unsafe fn from_f16(from: *const F16) -> Self {
        Self(_mm256_cvtph_ps(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn to_f16(self, to: *mut F16) {
        _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self.0));
    }

    #[inline(always)]
    unsafe fn from_i8(from: *const i8) -> Self {
        Self(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, by.0, to.0))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm256_max_ps(self.0, other.0))
    }

    #[inline(always)]
    unsafe fn unless_above(self, index: Self, limit: Self) -> Self {
        let above = _mm256_cmp_ps::<_CMP_GT_OQ>(index.0, limit.0);
        Self(_mm256_blendv_ps(self.0, _mm256_set1_ps(f32::NEG_INFINITY), above))
    }

    #[inline(always)]
    unsafe fn shift_to_exponent(self) -> Self {
        Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))))
    }

    #[inline(always)]
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
        let pairs = [_mm256_hadd_ps(four[0].0, four[1].0), _mm256_hadd_ps(four[2].0, four[3].0)];
        let quads = _mm256_hadd_ps(pairs[0], pairs[1]);
        let sums = _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps::<1>(quads));
        let mut out = [0.0; 4];
        _mm_storeu_ps(out.as_mut_ptr(), sums);
        out
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}
