//! Sixteen lanes on AVX-512 F, BW, DQ and VNNI.
#![allow(unsafe_op_in_unsafe_fn)] // every function is a few instructions that the caller's processor has

use std::arch::x86_64::*;

use super::{Vector, avx2};
use crate::ort::F16;

/// Sixteen floats.
#[derive(Clone, Copy)]
pub struct Lanes(__m512);

#[inline(always)]
unsafe fn folded(value: Lanes) -> __m256 {
    _mm256_add_ps(_mm512_castps512_ps256(value.0), _mm512_extractf32x8_ps::<1>(value.0))
}

#[inline(always)]
unsafe fn folded_integers(value: __m512i) -> __m256i {
    _mm256_add_epi32(_mm512_castsi512_si256(value), _mm512_extracti64x4_epi64::<1>(value))
}

impl Vector for Lanes {
    const LANES: usize = 16;
    type Integers = __m512i;
    type Pairs = __m512i;

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
    unsafe fn div(self, by: Self) -> Self {
        Self(_mm512_div_ps(self.0, by.0))
    }

    #[inline(always)]
    unsafe fn signed_as(self, other: Self) -> Self {
        Self(_mm512_or_ps(self.0, _mm512_and_ps(_mm512_set1_ps(-0.0), other.0)))
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
    unsafe fn sum4([a, b, c, d]: [Self; 4]) -> [f32; 4] {
        avx2::sum4([folded(a), folded(b), folded(c), folded(d)])
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let eight = folded(self);
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        avx2::largest(_mm256_max_ps(_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0)))
    }

    #[inline(always)]
    unsafe fn magnitude(self) -> Self {
        Self(_mm512_abs_ps(self.0))
    }

    #[inline(always)]
    unsafe fn to_i16(self, to: *mut i16) {
        _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(self.0)));
    }

    #[inline(always)]
    unsafe fn no_integers() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline(always)]
    unsafe fn no_pairs() -> __m512i {
        _mm512_setzero_si512()
    }

    #[inline(always)]
    unsafe fn from_integers(integers: __m512i) -> Self {
        Self(_mm512_cvtepi32_ps(integers))
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const i16) -> __m512i {
        _mm512_loadu_si512(from.cast())
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const i16) -> __m512i {
        _mm512_set1_epi32(from.cast::<i32>().read_unaligned())
    }

    #[inline(always)]
    unsafe fn widen(from: *const i8) -> __m512i {
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast()))
    }

    #[inline(always)]
    unsafe fn widen_half(from: *const i8) -> __m512i {
        _mm512_cvtepi8_epi16(_mm256_zextsi128_si256(_mm_loadu_si128(from.cast())))
    }

    #[inline(always)]
    unsafe fn interleave(one: __m512i, other: __m512i) -> [__m512i; 2] {
        [_mm512_unpacklo_epi16(one, other), _mm512_unpackhi_epi16(one, other)]
    }

    #[inline(always)]
    unsafe fn in_order([low, high]: [__m512i; 2]) -> [__m512i; 2] {
        let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11); // quarters of `low` and `high` in turn
        let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        [_mm512_permutex2var_epi64(low, first, high), _mm512_permutex2var_epi64(low, second, high)]
    }

    #[inline(always)]
    unsafe fn add_products(to: __m512i, pairs: __m512i, others: __m512i) -> __m512i {
        _mm512_dpwssd_epi32(to, pairs, others)
    }

    #[inline(always)]
    unsafe fn sum4_integers([a, b, c, d]: [__m512i; 4]) -> [i32; 4] {
        avx2::sum4_integers([folded_integers(a), folded_integers(b), folded_integers(c), folded_integers(d)])
    }
}
