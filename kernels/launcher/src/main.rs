//! `firebrick-launcher program arguments…`: asks the system for the files that a start is known to need, many at a time,
//! then for the weights, and becomes the program meanwhile. On a disk that fetches what is touched, a program that
//! touches one thing after another waits for each.
//!
//! It never stands in the way: without a list, or where the system refuses, it only becomes the program.

mod ahead;

use ahead::Wanted;
use std::env;
use std::ffi::c_int;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Written when the image is built: a path a line, in the order of their use; behind a tab, how many bytes of it.
const LIST: &str = "/opt/firebrick/start/files";
const WEIGHTS: &str = "model.safetensors";
const NOT_FOUND: u8 = 127; // as shells say it

unsafe extern "C" {
    fn fork() -> c_int;
    fn waitpid(process: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(code: c_int) -> !;
}

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("firebrick-launcher: expected a program and its arguments");
        return ExitCode::from(2);
    };
    let weights = env::var_os("FIREBRICK_MODEL_DIR").map(|directory| Path::new(&directory).join(WEIGHTS));
    let weights = weights.filter(|_| env::var_os("FIREBRICK_POPULATE").is_none_or(|switch| switch != "0"));
    beside(|| {
        ahead::ask(&listed(Path::new(LIST)));
        if let Some(path) = weights {
            ahead::ask_for_large(&path);
        }
    });
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("firebrick-launcher: {}: {error}", program.display());
    ExitCode::from(NOT_FOUND)
}

fn listed(list: &Path) -> Vec<Wanted> {
    std::fs::read_to_string(list).unwrap_or_default().lines().map(wanted).collect()
}

fn wanted(line: &str) -> Wanted {
    let (path, length) = line.split_once('\t').unwrap_or((line, ""));
    Wanted { path: path.into(), length: length.parse().unwrap_or(u64::MAX) }
}

/// Run something in a process that is nobody's child, so that the program never has to wait for it.
fn beside(work: impl FnOnce()) {
    // SAFETY: there is one thread; the child's child goes on as if it were this process, and ends without its handlers.
    unsafe {
        match fork() {
            0 => {
                if fork() == 0 {
                    work();
                }
                _exit(0)
            }
            child if child > 0 => {
                waitpid(child, std::ptr::null_mut(), 0);
            }
            _ => {} // no process can be had: the program reads for itself
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_path_and_perhaps_a_length() {
        let of = |line| {
            let wanted = wanted(line);
            (wanted.path.to_str().unwrap().to_owned(), wanted.length)
        };
        assert_eq!(of("/usr/lib/a b.so"), ("/usr/lib/a b.so".to_owned(), u64::MAX));
        assert_eq!(of("/usr/lib/b.so\t4096"), ("/usr/lib/b.so".to_owned(), 4096));
    }
}
