//! Eight lanes in plain Rust: right on anything, and what the others are compared with.

use super::Vector;
use crate::ort::F16;

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Lanes([f32; 8]);

#[inline(always)]
fn each(of: impl Fn(usize) -> f32) -> Lanes {
    Lanes(std::array::from_fn(of))
}

impl Vector for Lanes {
    const LANES: usize = 8;
    type Integers = [i32; 8];
    type Pairs = [i16; 16];

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives eight floats.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for eight floats.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn from_f16(from: *const F16) -> Self {
        // SAFETY: the caller gives eight halves.
        let halves = unsafe { from.cast::<[F16; 8]>().read_unaligned() };
        each(|i| halves[i].to_f32())
    }

    #[inline(always)]
    unsafe fn to_f16(self, to: *mut F16) {
        // SAFETY: the caller gives room for eight halves.
        unsafe { to.cast::<[F16; 8]>().write_unaligned(self.0.map(F16::from_f32)) }
    }

    #[inline(always)]
    unsafe fn from_i8(from: *const i8) -> Self {
        // SAFETY: the caller gives eight integers.
        let integers = unsafe { from.cast::<[i8; 8]>().read_unaligned() };
        each(|i| f32::from(integers[i]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        each(|i| self.0[i] + other.0[i])
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        each(|i| self.0[i] - other.0[i])
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        each(|i| self.0[i] * other.0[i])
    }

    #[inline(always)]
    unsafe fn div(self, by: Self) -> Self {
        each(|i| self.0[i] / by.0[i])
    }

    #[inline(always)]
    unsafe fn signed_as(self, other: Self) -> Self {
        each(|i| self.0[i].copysign(other.0[i]))
    }

    #[inline(always)]
    unsafe fn mul_add(self, by: Self, to: Self) -> Self {
        each(|i| self.0[i] * by.0[i] + to.0[i]) // f32::mul_add is a call where there is no instruction
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        each(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] })
    }

    #[inline(always)]
    unsafe fn unless_above(self, index: Self, limit: Self) -> Self {
        each(|i| if index.0[i] > limit.0[i] { f32::NEG_INFINITY } else { self.0[i] })
    }

    #[inline(always)]
    unsafe fn shift_to_exponent(self) -> Self {
        each(|i| f32::from_bits(self.0[i].to_bits() << 23))
    }

    #[inline(always)]
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4] {
        // SAFETY: plain Rust.
        four.map(|one| unsafe { one.sum() })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |most, x| if x > most { x } else { most })
    }

    #[inline(always)]
    unsafe fn magnitude(self) -> Self {
        each(|i| self.0[i].abs())
    }

    #[inline(always)]
    unsafe fn to_i16(self, to: *mut i16) {
        // SAFETY: the caller gives room for eight integers.
        unsafe { to.cast::<[i16; 8]>().write_unaligned(self.0.map(|x| x.round_ties_even() as i16)) }
    }

    #[inline(always)]
    unsafe fn no_integers() -> Self::Integers {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn no_pairs() -> Self::Pairs {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn from_integers(integers: Self::Integers) -> Self {
        each(|i| integers[i] as f32)
    }

    #[inline(always)]
    unsafe fn load_pairs(from: *const i16) -> Self::Pairs {
        // SAFETY: the caller gives sixteen integers.
        unsafe { from.cast::<[i16; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_pair(from: *const i16) -> Self::Pairs {
        // SAFETY: the caller gives two integers.
        let pair = unsafe { from.cast::<[i16; 2]>().read_unaligned() };
        std::array::from_fn(|i| pair[i % 2])
    }

    #[inline(always)]
    unsafe fn widen(from: *const i8) -> Self::Pairs {
        // SAFETY: the caller gives sixteen integers.
        unsafe { from.cast::<[i8; 16]>().read_unaligned() }.map(i16::from)
    }

    #[inline(always)]
    unsafe fn widen_half(from: *const i8) -> Self::Pairs {
        // SAFETY: the caller gives sixteen integers, which are all that there is place for.
        unsafe { Self::widen(from) }
    }

    #[inline(always)]
    unsafe fn interleave(one: Self::Pairs, other: Self::Pairs) -> [Self::Pairs; 2] {
        [0, 8].map(|first| std::array::from_fn(|i| [one, other][i % 2][first + i / 2]))
    }

    #[inline(always)]
    unsafe fn in_order(sums: [Self::Integers; 2]) -> [Self::Integers; 2] {
        sums
    }

    #[inline(always)]
    unsafe fn add_products(to: Self::Integers, pairs: Self::Pairs, others: Self::Pairs) -> Self::Integers {
        let product = |i: usize| i32::from(pairs[i]) * i32::from(others[i]);
        std::array::from_fn(|i| to[i] + product(2 * i) + product(2 * i + 1))
    }

    #[inline(always)]
    unsafe fn sum4_integers(four: [Self::Integers; 4]) -> [i32; 4] {
        four.map(|one| one.iter().sum())
    }
}
