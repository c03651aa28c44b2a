//! AMX: whether the operating system lets us use its tiles, and how a thread sets them up.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

const ARCH_PRCTL: u64 = 158;
const REQUEST_PERMISSION: u64 = 0x1023; // ARCH_REQ_XCOMP_PERM, Linux 5.16
const TILE_DATA: u64 = 18;

/// Whether the processor has AMX-BF16 and Linux grants this process the tiles' state; asked once.
pub fn permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| supported() && cfg!(target_os = "linux") && request() == 0)
}

fn supported() -> bool {
    const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & BF16_AND_TILE == BF16_AND_TILE
}

fn request() -> i64 {
    let result: i64;
    // SAFETY: a system call that changes nothing but the process's permission; it takes two numbers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL as i64 => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Palette 1 with all eight tiles of 16 rows by 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// The tiles of this thread, as long as it lives.
pub struct Tiles(());

impl Tiles {
    /// Configure eight full tiles.
    ///
    /// # Safety
    /// [`permitted`] is true.
    pub unsafe fn new() -> Self {
        // SAFETY: the configuration is a valid one of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: nobody else on this thread uses tiles while this lives. Unused tiles make context switches cheap again.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
