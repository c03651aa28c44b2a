//! What Rust's library doesn't have of Linux: mount, mmap, the monotonic clock as a number.

use std::ffi::{CString, c_char, c_int, c_ulong, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::slice;

const MS_RDONLY_NOSUID_NODEV: c_ulong = 1 | 2 | 4;
const PROT_READ: c_int = 1;
const MAP_PRIVATE: c_int = 2;
const CLOCK_MONOTONIC: c_int = 1;
const TIMER_ABSTIME: c_int = 1;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    #[link_name = "mount"]
    fn mount_(
        source: *const c_char,
        target: *const c_char,
        kind: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn mmap(at: *mut c_void, length: usize, protection: c_int, flags: c_int, handle: c_int, offset: i64)
    -> *mut c_void;
    fn clock_gettime(clock: c_int, time: *mut Timespec) -> c_int;
    fn clock_nanosleep(clock: c_int, flags: c_int, until: *const Timespec, rest: *mut Timespec) -> c_int;
}

/// Mount a FUSE file system.
pub fn mount(target: &str, options: &str) -> io::Result<()> {
    let (target, options) = (CString::new(target)?, CString::new(options)?);
    // SAFETY: all strings are zero-terminated and outlive the call.
    let code = unsafe {
        mount_(c"lazydisk".as_ptr(), target.as_ptr(), c"fuse".as_ptr(), MS_RDONLY_NOSUID_NODEV, options.as_ptr().cast())
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Map a whole file, for as long as the process lives.
pub fn map(file: &File) -> io::Result<&'static [u8]> {
    let length = file.metadata()?.len() as usize;
    // SAFETY: a new mapping, of which nobody else knows.
    let address = unsafe { mmap(ptr::null_mut(), length, PROT_READ, MAP_PRIVATE, file.as_raw_fd(), 0) };
    if address as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is as long as the file, readable, and never unmapped; nobody changes the image meanwhile.
    Ok(unsafe { slice::from_raw_parts(address.cast(), length) })
}

/// Nanoseconds of the monotonic clock, which Python's `time.monotonic_ns` reads too.
pub fn now() -> u64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the structure is the kernel's.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// Sleep until the monotonic clock shows a time.
pub fn sleep_until(nanoseconds: u64) {
    let until =
        Timespec { seconds: (nanoseconds / 1_000_000_000) as i64, nanoseconds: (nanoseconds % 1_000_000_000) as i64 };
    // SAFETY: the structure is the kernel's; an interrupted sleep is slept again.
    while unsafe { clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, ptr::null_mut()) } == 4 {}
}
