use super::*;

/// Give eight or sixteen numbers at a time to a vector's function.
struct Exp2<'a>(&'a [f32], &'a mut [f32]);

impl Job for Exp2<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (x, y) in self.0.chunks_exact(V::LANES).zip(self.1.chunks_exact_mut(V::LANES)) {
            // SAFETY: the chunks have the vector's size.
            unsafe { V::load(x.as_ptr()).exp2().store(y.as_mut_ptr()) };
        }
    }
}

struct Softcap<'a>(&'a [f32], f32, &'a mut [f32]);

impl Job for Softcap<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (x, y) in self.0.chunks_exact(V::LANES).zip(self.2.chunks_exact_mut(V::LANES)) {
            // SAFETY: the chunks have the vector's size.
            unsafe { V::load(x.as_ptr()).softcap(self.1).store(y.as_mut_ptr()) };
        }
    }
}

struct Sums<'a>(&'a [f32; 64], &'a mut [f32; 9]);

impl Job for Sums<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        // SAFETY: four vectors are at most 64 floats.
        unsafe {
            let four = std::array::from_fn(|i| V::load(self.0[i * 16..].as_ptr()));
            self.1[..4].copy_from_slice(&V::sum4(four));
            for (out, one) in self.1[4..8].iter_mut().zip(four) {
                *out = one.sum();
            }
            self.1[8] = four[1].largest();
        }
    }
}

struct Halves<'a>(&'a [f32; 16], &'a mut [F16; 16], &'a mut [f32; 16]);

impl Job for Halves<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for at in (0..16).step_by(V::LANES) {
            // SAFETY: 16 is a multiple of the lanes.
            unsafe {
                V::load(self.0.as_ptr().add(at)).to_f16(self.1.as_mut_ptr().add(at));
                V::from_f16(self.1.as_ptr().add(at)).store(self.2.as_mut_ptr().add(at));
            }
        }
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

#[test]
fn softcap_is_near_that_of_tanh() {
    let x: Vec<f32> = (-4096..4096).map(|step| step as f32 * 0.07).collect();
    for isa in isas() {
        for cap in [0.5, 50.0] {
            let mut y = vec![0.0; x.len()];
            run(isa, Softcap(&x, cap, &mut y));
            for (x, y) in x.iter().zip(y) {
                let right = f64::from(cap) * (f64::from(*x) / f64::from(cap)).tanh();
                assert!((f64::from(y) - right).abs() < 3e-7 * f64::from(cap), "{isa:?} {x}");
            }
        }
        let mut y = [0.0; 16];
        run(isa, Softcap(&[f32::NAN; 16], 1.0, &mut y));
        assert!(y.iter().all(|y| y.is_nan()));
    }
}

#[test]
fn exp2_is_within_two_units_in_the_last_place() {
    let x: Vec<f32> = (0..126 * 64).map(|step| step as f32 / -64.0 - 0.003).collect();
    for isa in isas() {
        let mut y = vec![0.0; x.len()];
        run(isa, Exp2(&x, &mut y));
        for (x, y) in x.iter().zip(y) {
            assert!((f64::from(y) / f64::from(*x).exp2() - 1.0).abs() < 2.5e-7, "{isa:?} {x}");
        }
    }
}

#[test]
fn exp2_of_what_is_masked_is_zero_and_of_nan_is_nan() {
    let mut x = [0.0; 16];
    x[..6].copy_from_slice(&[f32::NEG_INFINITY, -1e30, -128.0, f32::NAN, 0.0, -1.0]);
    for isa in isas() {
        let mut y = [9.0; 16];
        run(isa, Exp2(&x, &mut y));
        assert_eq!(y[..3], [0.0; 3], "{isa:?}");
        assert!(y[3].is_nan(), "{isa:?}");
        assert_eq!(y[4..6], [1.0, 0.5], "{isa:?}");
    }
}

#[test]
fn sums_and_the_largest_are_of_all_lanes() {
    let mut x = [0.0; 64];
    x.iter_mut().enumerate().for_each(|(i, x)| *x = (i * i % 37) as f32);
    for isa in isas() {
        let lanes = if isa >= Isa::Avx512 { 16 } else { 8 };
        let part = |i: usize| x[i * 16..][..lanes].iter();
        let mut out = [0.0; 9];
        run(isa, Sums(&x, &mut out));
        for i in 0..4 {
            assert_eq!([out[i], out[4 + i]], [part(i).sum::<f32>(); 2], "{isa:?}");
        }
        assert_eq!(out[8], part(1).copied().fold(0.0, f32::max), "{isa:?}");
    }
}

#[test]
fn halves_are_rounded_to_nearest_even() {
    let x: [f32; 16] = std::array::from_fn(|i| 1.0 + i as f32 / 4096.0);
    for isa in isas() {
        let (mut halves, mut back) = ([F16(0); 16], [0.0; 16]);
        run(isa, Halves(&x, &mut halves, &mut back));
        assert_eq!(halves, x.map(F16::from_f32), "{isa:?}");
        assert_eq!(back, halves.map(F16::to_f32), "{isa:?}");
    }
}
