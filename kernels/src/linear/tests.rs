use super::*;
use crate::activations::{Gate, silu};
use crate::layout::{COLUMNS, Weights};
use crate::ort::F16;
use crate::random::Random;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

fn random_weights(random: &mut Random, n: usize, k: usize, bits: Bits) -> Vec<Line> {
    let records = n.div_ceil(ROWS) * k.div_ceil(COLUMNS);
    let mut lines = vec![Line([0; 64]); records * bits.record() / 64];
    for record in lines.chunks_exact_mut(bits.record() / 64) {
        let (scales, values) = record.split_first_mut().unwrap();
        for two in scales.0.chunks_exact_mut(2) {
            two.copy_from_slice(&F16::from_f32(random.float() * 0.1).0.to_le_bytes());
        }
        values.iter_mut().flat_map(|line| &mut line.0).for_each(|byte| *byte = random.bits() as u8);
    }
    lines
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: lines are bytes without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.available())
}

fn product(kernel: Kernel, weights: &Weights, source: Source, first: usize, rows: usize) -> Vec<[f32; ROWS]> {
    let mut panel = Panel::default();
    panel.resize(rows, weights.k);
    kernel.fill(&mut panel, source, first, weights.bits.zero_point());
    let mut out = Results::default();
    kernel.multiply(&weights.data[..weights.group_bytes()], 1, weights.bits, &panel, &mut out);
    out[..rows].to_vec()
}

#[test]
fn every_isa_gives_the_bits_of_the_portable_kernel() {
    let mut random = Random(1);
    for bits in [Bits::Four, Bits::Eight] {
        for (k, gate) in [(64, Gate::None), (65, Gate::Silu), (200, Gate::Gelu), (320, Gate::Silu), (1024, Gate::None)]
        {
            let lines = random_weights(&mut random, ROWS, k, bits);
            let weights = Weights::new(bytes(&lines), ROWS, k, bits).unwrap();
            let x: Vec<f32> = (0..PANEL_ROWS * k * 2).map(|_| random.float() * 8.0).collect();
            let source = Source { x: &x, k, gate };
            for isa in isas() {
                let kernel = Kernel::new(isa);
                for rows in 1..=kernel.panel_rows {
                    let plain: Vec<_> = (0..rows)
                        .flat_map(|row| product(Kernel::new(Isa::Portable), &weights, source, row, 1))
                        .collect();
                    let got = product(kernel, &weights, source, 0, rows);
                    let same =
                        plain.iter().flatten().zip(got.iter().flatten()).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{isa:?} {bits:?} k={k} rows={rows} {gate:?}:\n{plain:?}\n{got:?}");
                }
            }
        }
    }
}

#[test]
fn groups_side_by_side_give_the_bits_of_each_alone() {
    let mut random = Random(6);
    for bits in [Bits::Four, Bits::Eight] {
        let (n, k) = (ROWS * STREAMS, 200);
        let lines = random_weights(&mut random, n, k, bits);
        let weights = Weights::new(bytes(&lines), n, k, bits).unwrap();
        let x: Vec<f32> = (0..STREAMED_ROWS * k).map(|_| random.float() * 8.0).collect();
        let source = Source { x: &x, k, gate: Gate::None };
        for isa in isas() {
            for rows in 1..=STREAMED_ROWS {
                let kernel = Kernel::new(isa);
                let mut panel = Panel::default();
                panel.resize(rows, k);
                kernel.fill(&mut panel, source, 0, bits.zero_point());
                let (mut together, mut alone) = (Results::default(), Results::default());
                kernel.multiply(weights.data, kernel.streams(rows), bits, &panel, &mut together);
                for (group, together) in weights.data.chunks(weights.group_bytes()).zip(together.chunks(rows)) {
                    kernel.multiply(group, 1, bits, &panel, &mut alone);
                    assert_eq!(together, &alone[..rows], "{isa:?} {bits:?}");
                }
            }
        }
    }
}

#[test]
fn the_product_is_that_of_dequantized_weights_within_the_activations_rounding() {
    let mut random = Random(2);
    let k = 512;
    for bits in [Bits::Four, Bits::Eight] {
        let lines = random_weights(&mut random, ROWS, k, bits);
        let weights = Weights::new(bytes(&lines), ROWS, k, bits).unwrap();
        let x: Vec<f32> = (0..k).map(|_| random.float()).collect();
        for isa in isas() {
            let got = product(Kernel::new(isa), &weights, Source { x: &x, k, gate: Gate::None }, 0, 1);
            for (row, value) in got[0].iter().enumerate() {
                let mut w = vec![0.0; k];
                weights.read_row(row, &mut w);
                let terms = || w.iter().zip(&x).map(|(w, x)| f64::from(w * x));
                let size = terms().map(|t| t * t).sum::<f64>().sqrt();
                assert!((terms().sum::<f64>() - f64::from(*value)).abs() < 0.03 * size, "{isa:?} {bits:?}");
            }
        }
    }
}

#[test]
fn extreme_values_neither_overflow_nor_saturate() {
    let k = 64;
    for bits in [Bits::Four, Bits::Eight] {
        for byte in [0x00, 0xFF] {
            let mut lines = random_weights(&mut Random(3), ROWS, k, bits);
            lines[1..].iter_mut().for_each(|line| line.0 = [byte; 64]);
            let weights = Weights::new(bytes(&lines), ROWS, k, bits).unwrap();
            for sign in [1.0, -1.0] {
                let x = vec![sign * 3.0; k];
                let source = Source { x: &x, k, gate: Gate::None };
                let plain = product(Kernel::new(Isa::Portable), &weights, source, 0, 1);
                for isa in isas() {
                    assert_eq!(product(Kernel::new(isa), &weights, source, 0, 1), plain, "{isa:?} {bits:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_the_result() {
    let k = 64;
    let lines = random_weights(&mut Random(4), ROWS, k, Bits::Four);
    let weights = Weights::new(bytes(&lines), ROWS, k, Bits::Four).unwrap();
    let mut x = vec![1.0; k];
    x[40] = f32::INFINITY;
    for isa in isas() {
        let got = product(Kernel::new(isa), &weights, Source { x: &x, k, gate: Gate::None }, 0, 1);
        assert!(got[0].iter().all(|value| value.is_nan()), "{isa:?}");
    }
}

#[test]
fn wrong_sizes_and_misaligned_weights_are_refused() {
    let lines = vec![Line([0; 64]); 9];
    assert!(Weights::new(bytes(&lines), 16, 64, Bits::Four).is_ok());
    assert!(Weights::new(&bytes(&lines)[..575], 16, 64, Bits::Four).is_err());
    assert!(Weights::new(bytes(&lines), 17, 64, Bits::Four).is_err());
    assert!(Weights::new(bytes(&lines), 16, 65, Bits::Four).is_err());
    let longer = vec![Line([0; 64]); 10];
    assert!(Weights::new(&bytes(&longer)[32..32 + 576], 16, 64, Bits::Four).is_err());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn tiles_give_the_product_of_dequantized_weights_within_the_rounding_to_bf16() {
    use super::amx::{PAIR, PAIR_ROWS, Scratch, Tiled, fill, multiply};

    if !Isa::Amx.available() {
        return;
    }
    let mut random = Random(5);
    for (bits, n, k, rows, gate) in [
        (Bits::Four, 16, 64, 48, Gate::None),
        (Bits::Four, 40, 1100, 50, Gate::Silu),
        (Bits::Eight, 72, 130, 97, Gate::None),
    ] {
        let lines = random_weights(&mut random, n, k, bits);
        let weights = Weights::new(bytes(&lines), n, k, bits).unwrap();
        let x: Vec<f32> = (0..rows * k * 2).map(|_| random.float()).collect();
        let source = Source { x: &x, k, gate };
        let mut tiled = Tiled::default();
        tiled.resize(rows, k);
        for (index, part) in tiled.parts().enumerate() {
            // SAFETY: AMX is available, and so is AVX-512.
            unsafe { fill(part, source, index * PAIR_ROWS, rows) };
        }
        let mut scratch = Scratch::default();
        for pair in 0..weights.groups().div_ceil(PAIR) {
            // SAFETY: as above.
            let sums = unsafe { multiply(&weights, pair, &tiled, &mut scratch) };
            for row in 0..rows {
                for column in 0..(PAIR * ROWS).min(n - pair * PAIR * ROWS) {
                    let mut w = vec![0.0; k];
                    weights.read_row(pair * PAIR * ROWS + column, &mut w);
                    let terms = || {
                        w.iter().enumerate().map(|(at, w)| {
                            let x = if gate == Gate::Silu {
                                silu(x[row * 2 * k + at]) * x[(row * 2 + 1) * k + at]
                            } else {
                                x[row * k + at]
                            };
                            f64::from(w * x)
                        })
                    };
                    let size = terms().map(|t| t * t).sum::<f64>().sqrt();
                    let got = f64::from(sums[row * PAIR * ROWS + column]);
                    let right = terms().sum::<f64>();
                    assert!((right - got).abs() < 0.02 * size, "{bits:?} {row} {column}: {got} instead of {right}");
                }
            }
        }
    }
}
