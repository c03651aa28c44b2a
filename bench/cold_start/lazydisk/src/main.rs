//! `lazydisk IMAGE TARGET LOG near_us=… far_us=… far_permille=… bytes_per_s=… depth=… threads=…`: IMAGE appears at the
//! file TARGET, in chunks of 512 KiB that take their time when they are touched first. A line `forget` on
//! stdin makes all of them new again, which is answered by `forgotten`. Ends when TARGET is unmounted.

mod disk;
mod fuse;
mod system;

use std::env;
use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::thread;

use disk::{Disk, Profile};

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lazydisk: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let [image, target, log, options @ ..] = arguments else {
        return Err("expected IMAGE TARGET LOG and name=number".to_owned());
    };
    let (profile, threads) = parse(options)?;
    let named = |path: &str| {
        let path = path.to_owned();
        move |error| format!("{path}: {error}")
    };
    let file = File::open(image).map_err(named(image))?;
    let log = File::create(log).map_err(named(log))?;
    let disk: &'static Disk = Box::leak(Box::new(Disk::new(system::map(&file).map_err(named(image))?, profile, log)));
    let device = fuse::mount(target).map_err(named(target))?;
    // The first request is answered alone: the kernel sends no other before.
    fuse::serve(&device, disk, 1).map_err(|error| format!("/dev/fuse: {error}"))?;
    println!("mounted");
    thread::spawn(|| listen(disk)); // nobody waits for it
    thread::scope(|scope| {
        let serving: Vec<_> = (0..threads).map(|_| scope.spawn(|| fuse::serve(&device, disk, usize::MAX))).collect();
        serving.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })
    .map_err(|error| format!("/dev/fuse: {error}"))
}

fn listen(disk: &Disk) {
    for line in io::stdin().lines().map_while(Result::ok) {
        if line == "forget" {
            disk.forget();
            println!("forgotten");
        }
    }
}

fn parse(options: &[String]) -> Result<(Profile, usize), String> {
    let mut profile = Profile { near_us: 0, far_us: 0, far_permille: 0, bytes_per_s: 0, depth: 0 };
    let mut threads = 96;
    for option in options {
        let wrong = || format!("{option}: expected name=number");
        let (name, value) = option.split_once('=').ok_or_else(wrong)?;
        let value: u64 = value.parse().map_err(|_| wrong())?;
        match name {
            "near_us" => profile.near_us = value,
            "far_us" => profile.far_us = value,
            "far_permille" => profile.far_permille = value,
            "bytes_per_s" => profile.bytes_per_s = value,
            "depth" => profile.depth = value,
            "threads" => threads = value.max(1) as usize,
            _ => return Err(format!("{option}: no such option")),
        }
    }
    Ok((profile, threads))
}
