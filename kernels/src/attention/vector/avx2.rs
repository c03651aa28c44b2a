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
    type Integers = __m256i;
    type Pairs = __m256i;

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
    unsafe fn div(self, by: Self) -> Self {
        Self(_mm256_div_ps(self.0, by.0))
    }

    #[inline(always)]
    unsafe fn signed_as(self, other: Self) -> Self {
        Self(_mm256_or_ps(self.0, _mm256_and_ps(_mm256_set1_ps(-0.0), other.0)))
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
        sum4(four.map(|one| one.0))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        largest(self.0)
    }

    #[inline(always)]
    unsafe fn magnitude(self) -> Self {
        Self(_mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0))
    }

    #[inline(always)]
    unsafe fn to_i16(self, to: *mut i16) {
        let integers = _mm256_cvtps_epi32(self.0);
        let (low, high) = (_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
        _mm_storeu_si128(to.cast(), _mm_packs_epi32(low, high));
    }

    #[inline(always)]
    unsafe fn no_integers() -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline(always)]
    unsafe fn no_pairs() -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline(always)]
    unsafe fn from_integers(integers: __m256i) -> Self {
        Self(_mm256_cvtepi32_ps(integers))
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const i16) -> __m256i {
        _mm256_loadu_si256(from.cast())
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const i16) -> __m256i {
        _mm256_set1_epi32(from.cast::<i32>().read_unaligned())
    }

    #[inline(always)]
    unsafe fn widen(from: *const i8) -> __m256i {
        _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast()))
    }

    #[inline(always)]
    unsafe fn widen_half(from: *const i8) -> __m256i {
        Self::widen(from) // sixteen are all that there is place for
    }

    #[inline(always)]
    unsafe fn interleave(one: __m256i, other: __m256i) -> [__m256i; 2] {
        [_mm256_unpacklo_epi16(one, other), _mm256_unpackhi_epi16(one, other)]
    }

    #[inline(always)]
    unsafe fn in_order([low, high]: [__m256i; 2]) -> [__m256i; 2] {
        [_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high)]
    }

    #[inline(always)]
    unsafe fn add_products(to: __m256i, pairs: __m256i, others: __m256i) -> __m256i {
        _mm256_add_epi32(to, _mm256_madd_epi16(pairs, others))
    }

    #[inline(always)]
    unsafe fn sum4_integers(four: [__m256i; 4]) -> [i32; 4] {
        sum4_integers(four)
    }
}

/// The sums of four vectors' lanes: half of what horizontal additions cost.
#[inline(always)]
pub unsafe fn sum4([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
    let ab = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
    let cd = _mm256_castps_pd(_mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
    let (low, high) = (_mm256_unpacklo_pd(ab, cd), _mm256_unpackhi_pd(ab, cd));
    let both = _mm256_add_ps(_mm256_castpd_ps(low), _mm256_castpd_ps(high));
    let mut out = [0.0; 4];
    _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps::<1>(both)));
    out
}

/// The largest lane.
#[inline(always)]
pub unsafe fn largest(eight: __m256) -> f32 {
    let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// The sums of four vectors of integers.
#[inline(always)]
pub unsafe fn sum4_integers([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    let both = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256::<1>(both));
    let mut out = [0; 4];
    _mm_storeu_si128(out.as_mut_ptr().cast(), sums);
    out
}
