//! A vector of floats, as wide as an instruction set makes it: the kernels are written once, over this.

mod portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::fetch::fetch;
use crate::isa::Isa;
use crate::ort::F16;

/// 1.5 · 2²³: adding it rounds to an integer, which is then in the lowest bits of the sum.
const MAGIC: f32 = 12_582_912.0;

/// Floats that are computed with at once.
///
/// Everything here is inlined into the function that [`run`] compiles for an instruction set.
///
/// # Safety
/// Of every function: the processor has the instruction set of the type, and pointers are good for [`Self::LANES`]
/// elements, of any alignment that the element allows.
pub trait Vector: Copy {
    /// How many; 8 or 16.
    const LANES: usize;
    /// As many i32.
    type Integers: Copy;
    /// Twice as many i16.
    type Pairs: Copy;

    /// The same value everywhere.
    unsafe fn splat(value: f32) -> Self;
    /// Read floats.
    unsafe fn load(from: *const f32) -> Self;
    /// Write floats.
    unsafe fn store(self, to: *mut f32);
    /// Read halves.
    unsafe fn from_f16(from: *const F16) -> Self;
    /// Write halves, to nearest even.
    unsafe fn to_f16(self, to: *mut F16);
    /// Read integers.
    unsafe fn from_i8(from: *const i8) -> Self;
    /// `self + other`
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`
    unsafe fn sub(self, other: Self) -> Self;
    /// `self · other`
    unsafe fn mul(self, other: Self) -> Self;
    /// `self / by`
    unsafe fn div(self, by: Self) -> Self;
    /// `self`, which isn't negative, with the sign of `other`.
    unsafe fn signed_as(self, other: Self) -> Self;
    /// `self · by + to`, rounded once where there is an instruction for it.
    unsafe fn mul_add(self, by: Self, to: Self) -> Self;
    /// The larger; `other` where one is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where `index` isn't above `limit`, and −∞ elsewhere.
    unsafe fn unless_above(self, index: Self, limit: Self) -> Self;
    /// The bits of each lane, shifted into the exponent's place.
    unsafe fn shift_to_exponent(self) -> Self;
    /// The sums of four vectors' lanes.
    unsafe fn sum4(four: [Self; 4]) -> [f32; 4];
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;

    /// The largest lane; any number where one is none.
    unsafe fn largest(self) -> f32;
    /// The magnitudes.
    unsafe fn magnitude(self) -> Self;
    /// Write the nearest 16-bit integers.
    unsafe fn to_i16(self, to: *mut i16);

    /// Zeros.
    unsafe fn no_integers() -> Self::Integers;
    /// Zeros.
    unsafe fn no_pairs() -> Self::Pairs;
    /// As floats.
    unsafe fn from_integers(integers: Self::Integers) -> Self;
    /// Read `2 · LANES` integers.
    unsafe fn load_pairs(from: *const i16) -> Self::Pairs;
    /// Two integers, again and again.
    unsafe fn splat_pair(from: *const i16) -> Self::Pairs;
    /// Read `2 · LANES` integers.
    unsafe fn widen(from: *const i8) -> Self::Pairs;
    /// Read 16 integers into a vector's first lanes; zeros after them.
    unsafe fn widen_half(from: *const i8) -> Self::Pairs;
    /// Elements of two vectors in turn; which lanes they come to is settled by [`Self::in_order`].
    unsafe fn interleave(one: Self::Pairs, other: Self::Pairs) -> [Self::Pairs; 2];
    /// Sums of products with what was interleaved, in the order of its elements.
    unsafe fn in_order(sums: [Self::Integers; 2]) -> [Self::Integers; 2];
    /// `to`, and in each lane the two products of the pairs' elements there.
    unsafe fn add_products(to: Self::Integers, pairs: Self::Pairs, others: Self::Pairs) -> Self::Integers;
    /// The sums of four vectors' lanes.
    unsafe fn sum4_integers(four: [Self::Integers; 4]) -> [i32; 4];

    /// 2ˣ for x ≤ 0 within two units in the last place; exactly 0 below −127, NaN for NaN.
    ///
    /// The polynomial is that of Cephes' `exp2f`.
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        // SAFETY: passed on to the caller.
        unsafe {
            let x = Self::splat(-127.0).max(self);
            let n = x.add(Self::splat(MAGIC)).sub(Self::splat(MAGIC));
            let f = x.sub(n);
            let mut p = Self::splat(1.535_336_2e-4);
            for c in [1.339_887_5e-3, 9.618_437e-3, 5.550_332_5e-2, 2.402_264_8e-1, 6.931_472e-1, 1.0] {
                p = p.mul_add(f, Self::splat(c));
            }
            p.mul(n.add(Self::splat(MAGIC + 127.0)).shift_to_exponent())
        }
    }

    /// `cap · tanh(self / cap)` within a few 10⁻⁷ of the cap; NaN for NaN.
    #[inline(always)]
    unsafe fn softcap(self, cap: f32) -> Self {
        // SAFETY: passed on to the caller.
        unsafe {
            // tanh(x) = (1 − e⁻²ˣ) / (1 + e⁻²ˣ) for x ≥ 0
            let power = self.magnitude().mul(Self::splat(-2.0 * std::f32::consts::LOG2_E / cap)).exp2();
            let one = Self::splat(1.0);
            one.sub(power).div(one.add(power)).mul(Self::splat(cap)).signed_as(self)
        }
    }
}

/// Memory that will be read while, or after, as much is read elsewhere.
#[derive(Clone, Copy)]
pub struct Ahead(pub *const u8);

impl Ahead {
    /// Fetch these bytes of it.
    #[inline(always)]
    pub fn fetch(self, start: usize, bytes: usize) {
        fetch(self.0.wrapping_add(start), bytes.div_ceil(64));
    }
}

/// Work that is compiled once for each instruction set.
pub trait Job {
    /// Do it; must be `#[inline(always)]`, as must be all that it calls.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`.
    unsafe fn run<V: Vector>(self);
}

/// Do a job with an instruction set, which this machine must have.
pub fn run<J: Job>(isa: Isa, job: J) {
    debug_assert!(isa.available());
    match isa {
        // SAFETY: this needs no instruction beyond those that everything is compiled for.
        Isa::Portable => unsafe { job.run::<portable::Lanes>() },
        // SAFETY: the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { run_avx2(job) },
        // SAFETY: the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => unsafe { run_avx512(job) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("no other is available"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<J: Job>(job: J) {
    // SAFETY: the caller's processor has it.
    unsafe { job.run::<avx2::Lanes>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
unsafe fn run_avx512<J: Job>(job: J) {
    // SAFETY: the caller's processor has it.
    unsafe { job.run::<avx512::Lanes>() }
}

#[cfg(test)]
mod tests;
