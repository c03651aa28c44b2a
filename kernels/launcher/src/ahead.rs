//! Asking for files: the system is told what will be needed, and nobody waits for it.

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// Lambda's chunk. Linux answers no longer advice than a disk's largest request, 1.25 MB with most.
const PIECE: u64 = 512 << 10;
/// Pieces of the weights that are on their way at a time: enough for a slow disk, and few enough for what the program
/// reads meanwhile, which waits behind them. docs/cold-start.md has the measurement.
const DEPTH: u64 = 48;
/// Advice doesn't wait, but opening a file does.
const THREADS: usize = 16;
const STACK: usize = 64 << 10;
const POSIX_FADV_WILLNEED: c_int = 3;

unsafe extern "C" {
    fn posix_fadvise(handle: c_int, offset: i64, length: i64, advice: c_int) -> c_int;
}

/// A file, or the first bytes of it.
pub struct Wanted {
    /// Where it is.
    pub path: PathBuf,
    /// How many bytes of it.
    pub length: u64,
}

/// Ask for files, in this order; returns when all have been asked for. What isn't there doesn't matter.
pub fn ask(files: &[Wanted]) {
    let next = AtomicUsize::new(0);
    in_threads(|| {
        while let Some(wanted) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let _ = ask_one(&wanted.path, wanted.length);
        }
    });
}

fn ask_one(path: &Path, length: u64) -> io::Result<()> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        path.read_dir()?.for_each(drop);
    }
    let end = metadata.len().min(length);
    for start in (0..end).step_by(PIECE as usize) {
        advise(&file, start, PIECE.min(end - start)); // what lies behind it may be another chunk
    }
    Ok(())
}

/// Ask for a file that is longer than a disk's queue, all threads together, `DEPTH` pieces at a time.
pub fn ask_for_large(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let Ok(length) = file.metadata().map(|metadata| metadata.len()) else { return };
    let next = AtomicU64::new(0);
    in_threads(|| {
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece * PIECE >= length {
                break;
            }
            if let Some(earlier) = piece.checked_sub(DEPTH) {
                let _ = file.read_at(&mut [0], earlier * PIECE); // waits until it is there
            }
            advise(&file, piece * PIECE, PIECE);
        }
    });
}

fn advise(file: &File, start: u64, length: u64) {
    // SAFETY: an advice changes nothing; a system that refuses it costs only time.
    unsafe { posix_fadvise(file.as_raw_fd(), start as i64, length as i64, POSIX_FADV_WILLNEED) };
}

fn in_threads(work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..THREADS {
            // Where no more threads can be had, this one does it all.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, &work);
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_missing_are_passed_over_and_nothing_is_waited_for_in_vain() {
        let path = std::env::temp_dir().join(format!("firebrick-launcher-{}", std::process::id()));
        std::fs::write(&path, vec![1; (DEPTH + 3) as usize * PIECE as usize + 1]).unwrap();
        let files = [PathBuf::from("/nowhere"), path.clone(), std::env::temp_dir()];
        ask(&files.map(|path| Wanted { path, length: PIECE + 1 }));
        ask(&[]);
        ask_for_large(&path);
        ask_for_large(Path::new("/nowhere"));
        std::fs::remove_file(path).unwrap();
    }
}
