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
}
