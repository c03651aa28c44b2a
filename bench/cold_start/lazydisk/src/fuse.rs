//! As much of the kernel's FUSE protocol (linux/fuse.h) as one file needs, which is the root itself.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsRawFd;

use crate::disk::Disk;
use crate::system;

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const DESTROY: u32 = 38;
const BATCH_FORGET: u32 = 42;

const ASYNC_READ: u32 = 1;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;
const MODE: u32 = 0o100_444;
const MAX_READ: u32 = 1 << 20;
const MAX_BACKGROUND: u32 = 512;
const PAGE: u32 = 4096;
const BLOCK: u64 = 512;
const BUFFER: usize = 64 << 10; // the kernel wants room for 8 kB, and for a write of the length that INIT allows
const IN_HEADER: usize = 40;
const OUT_HEADER: usize = 16;
const ENOSYS: i32 = 38;
const ENODEV: i32 = 19;
const ENOENT: i32 = 2;

/// Mount a file system whose root is a file, on a file.
pub fn mount(target: &str) -> io::Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode={MODE:o},user_id=0,group_id=0,max_read={MAX_READ}", device.as_raw_fd());
    system::mount(target, &options)?;
    Ok(device)
}

/// Answer so many requests, or all until the file is unmounted.
pub fn serve(mut device: &File, disk: &Disk, requests: usize) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    for _ in 0..requests {
        let length = match device.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.raw_os_error() == Some(ENODEV) => return Ok(()),
            // A request was interrupted before it could be read.
            Err(error) if error.kind() == io::ErrorKind::Interrupted || error.raw_os_error() == Some(ENOENT) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let (head, body) = buffer[..length].split_at(IN_HEADER);
        let (opcode, unique) = (u32_at(head, 4), u64_at(head, 8));
        let answer = match opcode {
            FORGET | BATCH_FORGET | INTERRUPT => continue,
            INIT => Ok(init(body)),
            GETATTR => Ok(attributes(disk.len() as u64)),
            OPEN => Ok(vec![0; 16]),
            STATFS => Ok(vec![0; 80]),
            RELEASE | FLUSH | DESTROY => Ok(Vec::new()),
            READ => {
                reply(device, unique, 0, disk.read(u64_at(body, 8) as usize, u32_at(body, 16) as usize))?;
                continue;
            }
            _ => Err(ENOSYS),
        };
        match answer {
            Ok(bytes) => reply(device, unique, 0, &bytes)?,
            Err(code) => reply(device, unique, -code, &[])?,
        }
    }
    Ok(())
}

fn reply(mut device: &File, unique: u64, code: i32, bytes: &[u8]) -> io::Result<()> {
    let mut head = [0; OUT_HEADER];
    head[..4].copy_from_slice(&((OUT_HEADER + bytes.len()) as u32).to_ne_bytes());
    head[4..8].copy_from_slice(&code.to_ne_bytes());
    head[8..].copy_from_slice(&unique.to_ne_bytes());
    match device.write_vectored(&[IoSlice::new(&head), IoSlice::new(bytes)]) {
        // Whoever asked has gone, or the file is unmounted, which the next read tells.
        Err(error) if matches!(error.raw_os_error(), Some(ENOENT | ENODEV)) => Ok(()),
        done => done.map(|_| ()),
    }
}

fn init(body: &[u8]) -> Vec<u8> {
    let flags = u32_at(body, 12) & (ASYNC_READ | ASYNC_DIO | MAX_PAGES);
    let pages = MAX_READ / PAGE;
    let words = [7, 31, MAX_READ, flags, MAX_BACKGROUND | MAX_BACKGROUND << 16, PAGE, 1, pages];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    bytes.resize(64, 0);
    bytes
}

fn attributes(size: u64) -> Vec<u8> {
    const FOR_EVER_S: u64 = 1 << 30;
    let longs = [FOR_EVER_S, 0, 1, size, size.div_ceil(BLOCK), 0, 0, 0];
    let words = [0, 0, 0, MODE, 1, 0, 0, 0, PAGE, 0];
    let longs = longs.iter().flat_map(|long: &u64| long.to_ne_bytes());
    longs.chain(words.iter().flat_map(|word: &u32| word.to_ne_bytes())).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
