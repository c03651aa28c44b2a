//! Which instructions the kernels use: the best that processor and operating system have, or the one that is asked for.

use std::sync::OnceLock;

use crate::fail;
use crate::ort::Result;

/// The variable that forces one.
pub const VARIABLE: &str = "FIREBRICK_ISA";

/// An instruction set that there are kernels for, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust; right on anything.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX2 and the 256-bit dot products of AVX-VNNI.
    AvxVnni,
    /// AVX-512 F, BW, VL and VNNI.
    Avx512,
    /// AVX-512 as above with BF16, and AMX-BF16 for many rows.
    Amx,
}

impl Isa {
    /// All, best first.
    pub const ALL: [Self; 5] = [Self::Amx, Self::Avx512, Self::AvxVnni, Self::Avx2, Self::Portable];

    /// As `FIREBRICK_ISA` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "x86_64")]
    pub fn available(self) -> bool {
        let avx2 =
            || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = || {
            avx2()
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni")
        };
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2(),
            Self::AvxVnni => avx2() && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => avx512(),
            Self::Amx => avx512() && is_x86_feature_detected!("avx512bf16") && crate::amx::permitted(),
        }
    }

    /// Whether this machine has it.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn available(self) -> bool {
        self == Self::Portable
    }

    fn choose(forced: Option<&str>) -> Result<Self> {
        let available = || Self::ALL.into_iter().filter(|isa| isa.available());
        let Some(name) = forced.filter(|name| !name.is_empty()) else {
            return Ok(available().next().unwrap_or(Self::Portable));
        };
        match available().find(|isa| isa.name() == name) {
            Some(isa) => Ok(isa),
            None => {
                let names: Vec<_> = available().map(Self::name).collect();
                fail!("{VARIABLE} is {name:?}; this processor has {}", names.join(", "))
            }
        }
    }
}

/// The instruction set of this process; the variable is read once.
///
/// # Errors
/// The variable names none, or one that this machine lacks.
pub fn chosen() -> Result<Isa> {
    static CHOSEN: OnceLock<std::result::Result<Isa, String>> = OnceLock::new();
    let choose = || Isa::choose(std::env::var(VARIABLE).ok().as_deref()).map_err(|error| error.0);
    CHOSEN.get_or_init(choose).clone().map_err(crate::ort::Error)
}

/// What `firebrick_describe` gives: JSON.
pub fn describe() -> String {
    let quoted = |text: &str| format!("\"{}\"", text.escape_default());
    let available: Vec<_> = Isa::ALL.into_iter().filter(|isa| isa.available()).map(|isa| quoted(isa.name())).collect();
    let forced = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
    let (isa, error) = match chosen() {
        Ok(isa) => (quoted(isa.name()), "null".into()),
        Err(error) => ("null".into(), quoted(&error.0)),
    };
    format!(
        "{{\"version\": \"{}\", \"isa\": {isa}, \"available\": [{}], \"forced\": {}, \"error\": {error}}}",
        env!("CARGO_PKG_VERSION"),
        available.join(", "),
        forced.as_deref().map_or("null".into(), quoted),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_available_is_chosen_by_default() {
        let best = Isa::ALL.into_iter().find(|isa| isa.available()).unwrap();
        assert_eq!(Isa::choose(None).unwrap(), best);
        assert_eq!(Isa::choose(Some("")).unwrap(), best);
    }

    #[test]
    fn a_forced_one_is_obeyed() {
        assert_eq!(Isa::choose(Some("portable")).unwrap(), Isa::Portable);
    }

    #[test]
    fn an_unknown_one_is_refused_with_those_that_there_are() {
        let error = Isa::choose(Some("mmx")).unwrap_err().0;
        assert!(error.starts_with("FIREBRICK_ISA is \"mmx\"") && error.contains("portable"), "{error}");
    }
}
