//! Keys and values of past tokens, as f16 or as int8 with a scale per token and head.
//!
//! Everything goes through raw pointers: past and present are normally the same memory, and tasks that write
//! neighbouring heads run at once.

use super::vector::Vector;
use crate::ort::{Element, F16};

/// Rows whose largest magnitude is below this are stored as zeros: its inverse is far from infinite.
pub const TINY: f32 = 1e-30;

/// What an element of the cache is.
pub trait Storage: Element {
    /// Whether a row has a scale.
    const SCALED: bool;

    /// Read a vector of elements, without the row's scale.
    ///
    /// # Safety
    /// As for all of [`Vector`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;

    /// Write a row of `row.len()` elements, a multiple of 16, and its scale where there is one.
    ///
    /// # Safety
    /// There is room for them, that nobody else reads or writes now.
    unsafe fn write<V: Vector>(row: &[f32], to: *mut Self, scale: *mut f32);
}

impl Storage for F16 {
    const SCALED: bool = false;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on to the caller.
        unsafe { V::from_f16(from) }
    }

    #[inline(always)]
    unsafe fn write<V: Vector>(row: &[f32], to: *mut Self, _: *mut f32) {
        for at in (0..row.len()).step_by(V::LANES) {
            // SAFETY: the row is a multiple of a vector, and the caller gives room for it.
            unsafe { V::load(row.as_ptr().add(at)).to_f16(to.add(at)) };
        }
    }
}

impl Storage for i8 {
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: passed on to the caller.
        unsafe { V::from_i8(from) }
    }

    #[inline(always)]
    unsafe fn write<V: Vector>(row: &[f32], to: *mut Self, scale: *mut f32) {
        let (quantum, divisor) = step(row);
        // SAFETY: the caller gives room for the row and its scale.
        unsafe {
            scale.write(quantum);
            let to = std::slice::from_raw_parts_mut(to, row.len());
            for (to, x) in to.iter_mut().zip(row) {
                *to = round(x / divisor);
            }
        }
    }
}

/// The scale to be stored and what to divide by: they differ where the row is stored as zeros.
///
/// What isn't finite gives a scale that is not a number, and so does every result that depends on it.
#[inline(always)]
fn step(row: &[f32]) -> (f32, f32) {
    // As integers, magnitudes of floats are ordered, infinity and NaN above all numbers.
    let largest = f32::from_bits(row.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7FFF_FFFF)));
    if largest < TINY {
        (0.0, f32::INFINITY)
    } else if largest.is_finite() {
        (largest / 127.0, largest / 127.0)
    } else {
        (f32::NAN, f32::INFINITY)
    }
}

/// To the nearest integer, ties to even; |x| ≤ 127.4.
#[inline(always)]
fn round(x: f32) -> i8 {
    (x + 12_582_912.0).to_bits() as i8 // 1.5 · 2²³: the sum has no fraction, and the integer in its lowest bits
}

/// Where keys or values lie: elements `(B, KV, M, D)`, and with [`Storage::SCALED`] scales `(B, KV, M)`.
#[derive(Debug, Clone, Copy)]
pub struct Side<C> {
    /// The elements.
    pub values: *mut C,
    /// The scales; null where there are none.
    pub scales: *mut f32,
}

impl<C: Storage> Side<C> {
    /// The row of a token: `at` counts all tokens of all heads.
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    pub unsafe fn row(self, at: usize, dim: usize) -> Self {
        // SAFETY: the caller says that it is inside.
        unsafe {
            Self {
                values: self.values.add(at * dim),
                scales: if C::SCALED { self.scales.add(at) } else { self.scales },
            }
        }
    }

    /// The scale of the row that is `key` rows on.
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    pub unsafe fn scale(self, key: usize) -> f32 {
        // SAFETY: the caller says that it is inside.
        if C::SCALED { unsafe { *self.scales.add(key) } } else { 1.0 }
    }
}

// SAFETY: who writes and who reads through it is settled by `Problem`'s phases.
unsafe impl<C> Sync for Side<C> {}
// SAFETY: as above.
unsafe impl<C> Send for Side<C> {}

/// Keys and values, of all heads or from a row of one head on.
#[derive(Debug, Clone, Copy)]
pub struct Cache<C> {
    /// Keys, rotated.
    pub keys: Side<C>,
    /// Values.
    pub values: Side<C>,
}

impl<C: Storage> Cache<C> {
    /// From the row of a token on; see [`Side::row`].
    ///
    /// # Safety
    /// There is such a row.
    #[inline(always)]
    pub unsafe fn starting_at(self, at: usize, dim: usize) -> Self {
        // SAFETY: the caller says that it is inside.
        unsafe { Self { keys: self.keys.row(at, dim), values: self.values.row(at, dim) } }
    }
}
