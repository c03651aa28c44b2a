//! The disk: a state for each chunk, a latency for each that is fetched, one clock for the bandwidth, a log.

use std::fs::File;
use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crate::system;

/// As Lambda cuts its images.
pub const CHUNK: usize = 512 << 10;
const COLD: u8 = 0;
const COMING: u8 = 1;
const HERE: u8 = 2;
const NS_PER_S: u64 = 1_000_000_000;

/// How long fetching takes.
pub struct Profile {
    /// Microseconds of most chunks.
    pub near_us: u64,
    /// Microseconds of the others.
    pub far_us: u64,
    /// How many of a thousand are far; a hash of the chunk's number says which.
    pub far_permille: u64,
    /// Of all fetches together; 0 for no limit.
    pub bytes_per_s: u64,
    /// Fetches at a time; 0 for no limit.
    pub depth: u64,
}

struct State {
    chunks: Vec<u8>,
    in_flight: u64,
    /// When the line is free again, in nanoseconds of the monotonic clock.
    free_at: u64,
}

/// An image behind a slow line.
pub struct Disk {
    image: &'static [u8],
    profile: Profile,
    state: Mutex<State>,
    changed: Condvar,
    log: File,
}

impl Disk {
    /// No chunk of the image is here yet.
    pub fn new(image: &'static [u8], profile: Profile, log: File) -> Self {
        let state = State { chunks: vec![COLD; image.len().div_ceil(CHUNK)], in_flight: 0, free_at: 0 };
        Self { image, profile, state: Mutex::new(state), changed: Condvar::new(), log }
    }

    /// Bytes of the image.
    pub fn len(&self) -> usize {
        self.image.len()
    }

    /// Bytes of the image, as soon as their chunks are here; fewer at its end.
    pub fn read(&self, offset: usize, length: usize) -> &'static [u8] {
        let end = (offset + length).min(self.image.len());
        let Some(bytes) = self.image.get(offset..end).filter(|bytes| !bytes.is_empty()) else {
            return &[];
        };
        let (first, last) = (offset / CHUNK, (end - 1) / CHUNK);
        thread::scope(|scope| {
            for chunk in first + 1..=last {
                if self.lock().chunks[chunk] != HERE {
                    scope.spawn(move || self.fetch(chunk, chunk * CHUNK));
                }
            }
            self.fetch(first, offset);
        });
        bytes
    }

    /// Let all chunks that are here be fetched again when they are touched.
    pub fn forget(&self) {
        self.lock().chunks.iter_mut().filter(|chunk| **chunk == HERE).for_each(|chunk| *chunk = COLD);
    }

    /// Wait for a chunk; whoever touches it first fetches it.
    fn fetch(&self, chunk: usize, offset: usize) {
        let mut state = self.lock();
        let depth = self.profile.depth;
        while state.chunks[chunk] == COMING || (state.chunks[chunk] == COLD && depth != 0 && state.in_flight >= depth) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.chunks[chunk] == HERE {
            return;
        }
        state.chunks[chunk] = COMING;
        state.in_flight += 1;
        let (begun, in_flight) = (system::now(), state.in_flight);
        drop(state);
        system::sleep_until(begun + self.latency_us(chunk) * 1000);
        system::sleep_until(self.reserve());
        let mut state = self.lock();
        state.chunks[chunk] = HERE;
        state.in_flight -= 1;
        drop(state);
        self.changed.notify_all();
        // One write a line, so that lines stay whole; a log that can't be written is noticed by its reader.
        let line = format!("{begun} {} {chunk} {offset} {in_flight}\n", system::now());
        let _ = (&self.log).write_all(line.as_bytes());
    }

    /// When a chunk that is at the line now has come through it.
    fn reserve(&self) -> u64 {
        let now = system::now();
        if self.profile.bytes_per_s == 0 {
            return now;
        }
        let mut state = self.lock();
        state.free_at = state.free_at.max(now) + CHUNK as u64 * NS_PER_S / self.profile.bytes_per_s;
        state.free_at
    }

    fn latency_us(&self, chunk: usize) -> u64 {
        if hash(chunk as u64) % 1000 < self.profile.far_permille { self.profile.far_us } else { self.profile.near_us }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SplitMix64's last step: neighbours have nothing in common.
fn hash(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_fetched_once_and_again_when_it_is_forgotten() {
        let path = std::env::temp_dir().join(format!("lazydisk-{}", std::process::id()));
        let profile = Profile { near_us: 0, far_us: 0, far_permille: 0, bytes_per_s: 0, depth: 0 };
        let disk = Disk::new(vec![7; CHUNK + 9].leak(), profile, File::create(&path).unwrap());
        for _ in 0..2 {
            assert_eq!(disk.read(CHUNK - 1, 100), [7; 10]);
            assert_eq!(disk.read(0, 3), [7; 3]);
            disk.forget();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        std::fs::remove_file(path).unwrap();
    }
}
