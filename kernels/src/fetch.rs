//! Asking memory for what will be read soon.

/// Fetch cache lines into the second cache. Any address is harmless.
///
/// Not into the first: it has room for too few requests to keep memory busy. docs/kernels.md has the difference.
#[inline(always)]
pub fn fetch(_from: *const u8, _lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0.._lines {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every processor has this; an address that isn't mapped does no harm.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(_from.wrapping_add(line * 64).cast()) };
    }
}
