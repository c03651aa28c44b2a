//! A mapped file, read ahead: from the disk into the page cache and from there into the page tables.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const PAGE: usize = 4096;
/// Bytes that are asked for at a time: a chunk of Lambda's. Linux cuts longer advice to a disk's largest request, 1.25 MB
/// with most.
const PIECE: usize = 512 << 10;
/// Pieces that are on their way at a time: enough for a slow disk, and few enough for whoever else reads from it and has
/// to wait behind them. Asking doesn't wait, so few threads do. docs/cold-start.md has the measurement.
const DEPTH: usize = 48;
const THREADS: usize = 4;
const POSIX_FADV_WILLNEED: c_int = 3;

unsafe extern "C" {
    fn posix_fadvise(handle: c_int, offset: i64, length: i64, advice: c_int) -> c_int;
}

/// Read a mapped file ahead, in file order; returns when all of it is in memory.
///
/// The system is told of a piece that it will be needed, and nobody waits for that; then each page of the piece `DEPTH`
/// before is touched. So a disk has many requests at a time, whatever the system's own idea of reading ahead. The system
/// enters sixteen pages a fault where they are cached, which takes less time than MADV_POPULATE_READ (144 instead of 163
/// ms for 2 GB on Zen 3), and Linux before 5.14 does so too.
///
/// # Safety
/// `address` … `address + length` is a readable mapping of the file `handle` from its start, and stays so meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn firebrick_populate(handle: c_int, address: *const u8, length: usize) {
    // SAFETY: the caller's promise.
    let mapped = unsafe { std::slice::from_raw_parts(address, length) };
    let pieces: Vec<&[u8]> = mapped.chunks(PIECE).collect();
    let next = AtomicUsize::new(0);
    let read = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= pieces.len() + DEPTH {
                break;
            }
            if let Some(piece) = pieces.get(number) {
                // SAFETY: an advice changes nothing; a system that refuses it costs only time.
                unsafe { posix_fadvise(handle, (number * PIECE) as i64, piece.len() as i64, POSIX_FADV_WILLNEED) };
            }
            let earlier = number.checked_sub(DEPTH).and_then(|earlier| pieces.get(earlier));
            for page in earlier.into_iter().flat_map(|piece| piece.chunks(PAGE)) {
                // SAFETY: a reference is readable; volatile, because nobody uses the value.
                unsafe { (&raw const page[0]).read_volatile() };
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..THREADS {
            // Where no more threads can be had, this one does it all.
            let _ = thread::Builder::new().spawn_scoped(scope, read);
        }
        read();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_beyond_the_length_is_read() {
        for length in [1, PAGE, PAGE + 1, 3 * PIECE + 1] {
            let memory = vec![1u8; length]; // the address sanitizer would see a read behind it
            // SAFETY: the memory is as long as said; advice on no file is refused.
            unsafe { firebrick_populate(-1, memory.as_ptr(), length) };
        }
    }
}
