use super::*;
use crate::activations::{Gate, gelu, silu};
use crate::layout::{Form, Weights, blocks};
use crate::ort::F16;
use crate::random::Random;

#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

/// Weights as they would be stored, with memory of their own.
struct Stored {
    form: Form,
    data: Vec<Line>,
    low: Option<Vec<Line>>,
    n: usize,
    k: usize,
}

impl Stored {
    fn weights(&self) -> Weights<'_> {
        let all = Groups { data: bytes(&self.data), low: self.low.as_deref().map(bytes), form: self.form };
        Weights::new(all, self.n, self.k).unwrap()
    }
}

/// Every form, and both that can have a low plane with one.
const KINDS: [(Form, bool); 5] =
    [(Form::Four, false), (Form::Eight, false), (Form::Lean, false), (Form::Four, true), (Form::Lean, true)];

fn random_lines(random: &mut Random, bytes: usize) -> Vec<Line> {
    let mut lines = vec![Line([0; 64]); bytes / 64];
    lines.iter_mut().flat_map(|line| &mut line.0).for_each(|byte| *byte = random.bits() as u8);
    lines
}

fn random_weights(random: &mut Random, n: usize, k: usize, (form, planes): (Form, bool)) -> Stored {
    let groups = n.div_ceil(ROWS);
    let low = planes.then(|| random_lines(random, groups * blocks(k) * NIBBLES));
    let mut data = random_lines(random, groups * form.group_bytes(k));
    for group in data.chunks_exact_mut(form.group_bytes(k) / 64) {
        let (header, records) = group.split_at_mut(form.header() / 64);
        for line in header {
            for four in line.0.chunks_exact_mut(4) {
                four.copy_from_slice(&(random.float() * 0.001).to_le_bytes());
            }
        }
        for record in records.chunks_mut(form.record() / 64).filter(|_| form != Form::Lean) {
            for two in record[0].0.chunks_exact_mut(2) {
                two.copy_from_slice(&F16::from_f32(random.float() * 0.1).0.to_le_bytes());
            }
        }
    }
    Stored { form, data, low, n, k }
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
    kernel.fill(&mut panel, source, first, weights.all.zero_point());
    let mut out = Results::default();
    kernel.multiply(&weights.some(0, 1), 1, &panel, &mut out);
    out[..rows].to_vec()
}

#[test]
fn every_isa_gives_the_bits_of_the_portable_kernel() {
    let mut random = Random(1);
    for kind in KINDS {
        for (k, gate) in [(64, Gate::None), (65, Gate::Silu), (200, Gate::Gelu), (320, Gate::Silu), (1024, Gate::None)]
        {
            let stored = random_weights(&mut random, ROWS, k, kind);
            let weights = stored.weights();
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
                    assert!(same, "{isa:?} {kind:?} k={k} rows={rows} {gate:?}:\n{plain:?}\n{got:?}");
                }
            }
        }
    }
}

#[test]
fn groups_side_by_side_give_the_bits_of_each_alone() {
    let mut random = Random(6);
    for kind in KINDS {
        let (n, k) = (ROWS * STREAMS, 200);
        let stored = random_weights(&mut random, n, k, kind);
        let weights = stored.weights();
        let x: Vec<f32> = (0..STREAMED_ROWS * k).map(|_| random.float() * 8.0).collect();
        let source = Source { x: &x, k, gate: Gate::None };
        for isa in isas() {
            for rows in 1..=STREAMED_ROWS {
                let kernel = Kernel::new(isa);
                let mut panel = Panel::default();
                panel.resize(rows, k);
                kernel.fill(&mut panel, source, 0, weights.all.zero_point());
                let (mut together, mut alone) = (Results::default(), Results::default());
                kernel.multiply(&weights.all, kernel.streams(rows), &panel, &mut together);
                for (group, together) in together.chunks(rows).take(kernel.streams(rows)).enumerate() {
                    kernel.multiply(&weights.some(group, 1), 1, &panel, &mut alone);
                    assert_eq!(together, &alone[..rows], "{isa:?} {kind:?}");
                }
            }
        }
    }
}

#[test]
fn the_product_is_that_of_dequantized_weights_within_the_activations_rounding() {
    let mut random = Random(2);
    let k = 512;
    for kind in KINDS {
        let stored = random_weights(&mut random, ROWS, k, kind);
        let weights = stored.weights();
        let x: Vec<f32> = (0..k).map(|_| random.float()).collect();
        for isa in isas() {
            let got = product(Kernel::new(isa), &weights, Source { x: &x, k, gate: Gate::None }, 0, 1);
            for (row, value) in got[0].iter().enumerate() {
                let mut w = vec![0.0; k];
                weights.read_row(row, &mut w);
                let terms = || w.iter().zip(&x).map(|(w, x)| f64::from(w * x));
                let size = terms().map(|t| t * t).sum::<f64>().sqrt();
                assert!((terms().sum::<f64>() - f64::from(*value)).abs() < 0.03 * size, "{isa:?} {kind:?}");
            }
        }
    }
}

#[test]
fn extreme_values_neither_overflow_nor_saturate() {
    let k = 64;
    for kind in KINDS {
        for byte in [0x00, 0xFF] {
            let mut stored = random_weights(&mut Random(3), ROWS, k, kind);
            let scales = 1 + kind.0.header() / 64;
            stored.data[scales..].iter_mut().for_each(|line| line.0 = [byte; 64]);
            stored.low.iter_mut().flatten().for_each(|line| line.0 = [byte; 64]);
            let weights = stored.weights();
            for sign in [1.0, -1.0] {
                let x = vec![sign * 3.0; k];
                let source = Source { x: &x, k, gate: Gate::None };
                let plain = product(Kernel::new(Isa::Portable), &weights, source, 0, 1);
                for isa in isas() {
                    assert_eq!(product(Kernel::new(isa), &weights, source, 0, 1), plain, "{isa:?} {kind:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_the_result() {
    let k = 64;
    let stored = random_weights(&mut Random(4), ROWS, k, (Form::Four, false));
    let weights = stored.weights();
    let mut x = vec![1.0; k];
    x[40] = f32::INFINITY;
    for isa in isas() {
        let got = product(Kernel::new(isa), &weights, Source { x: &x, k, gate: Gate::None }, 0, 1);
        assert!(got[0].iter().all(|value| value.is_nan()), "{isa:?}");
    }
}

#[test]
fn two_planes_give_the_bits_of_whole_bytes() {
    let (mut random, k) = (Random(8), 200);
    let planes = random_weights(&mut random, ROWS, k, (Form::Four, true));
    let mut whole = random_weights(&mut random, ROWS, k, (Form::Eight, false));
    for block in 0..blocks(k) {
        let record = Form::Eight.record() / 64 * (block / 2);
        whole.data[record] = planes.data[Form::Four.record() / 64 * (block / 2)];
        for (lane, column) in (0..ROWS).flat_map(|lane| (0..BLOCK).map(move |column| (lane, column))) {
            let line = record + 1 + block % 2 * 8 + column / 4;
            whole.data[line].0[lane * 4 + column % 4] = planes.weights().all.stored(block, lane, column) as u8;
        }
    }
    let x = random.floats(4 * k, 8.0);
    let source = Source { x: &x, k, gate: Gate::None };
    for isa in isas() {
        let (got, right) = [&planes, &whole].map(|s| product(Kernel::new(isa), &s.weights(), source, 0, 4)).into();
        assert_eq!(got, right, "{isa:?}");
    }
}

#[test]
fn coarse_results_are_off_by_what_the_low_plane_holds() {
    let (mut random, k, zero) = (Random(9), 1024, 128);
    for kind in [(Form::Four, true), (Form::Lean, true)] {
        let stored = random_weights(&mut random, ROWS, k, kind);
        let (weights, x) = (stored.weights(), random.floats(4 * k, 8.0));
        for isa in isas() {
            let (kernel, mut panel) = (Kernel::new(isa), Panel::default());
            panel.resize(4, k);
            kernel.fill(&mut panel, Source { x: &x, k, gate: Gate::None }, 0, zero);
            let (mut exact, mut coarse) = (Results::default(), Results::default());
            kernel.multiply(&weights.some(0, 1), 1, &panel, &mut exact);
            kernel.multiply(&weights.high().some(0, 1), 1, &panel.coarse(), &mut coarse);
            for (row, lane) in (0..4).flat_map(|row| (0..ROWS).map(move |lane| (row, lane))) {
                let unit = kind.0.unit(weights.all.data, lane);
                let mean = |block: usize| kind.0.scale(weights.all.data, block, lane).powi(2) / blocks(k) as f32;
                let spread = 4.61 * unit.abs() * (0..blocks(k)).map(mean).sum::<f32>().sqrt();
                let error = exact[row][lane] - coarse[row][lane];
                assert!(error.abs() < 4.5 * spread * panel.norm(row), "{isa:?} {kind:?} {error} {spread}");
                assert!(error != 0.0);
            }
        }
    }
}

#[test]
fn wrong_sizes_and_misaligned_weights_are_refused() {
    let lines = vec![Line([0; 64]); 18];
    let refused = |bytes_of: std::ops::Range<usize>, low: Option<usize>, n, k, form| {
        let low = low.map(|length| &bytes(&lines)[..length]);
        Weights::new(Groups { data: &bytes(&lines)[bytes_of], low, form }, n, k).is_err()
    };
    assert!(!refused(0..576, None, 16, 64, Form::Four));
    assert!(refused(0..575, None, 16, 64, Form::Four));
    assert!(refused(0..576, None, 17, 64, Form::Four));
    assert!(refused(0..576, None, 16, 65, Form::Four));
    assert!(refused(32..608, None, 16, 64, Form::Four));
    assert!(!refused(0..640, None, 16, 64, Form::Lean));
    assert!(!refused(0..1152, None, 16, 65, Form::Lean));
    assert!(refused(0..640, None, 16, 65, Form::Lean));
    assert!(!refused(0..576, Some(512), 16, 64, Form::Four));
    assert!(refused(0..576, Some(576), 16, 64, Form::Four));
    assert!(refused(0..1088, Some(512), 16, 64, Form::Eight));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn tiles_give_the_product_of_dequantized_weights_within_the_rounding_to_bf16() {
    use super::amx::{PAIR, PAIR_ROWS, Scratch, Tiled, fill, multiply};

    if !Isa::Amx.available() {
        return;
    }
    let mut random = Random(5);
    for (kind, n, k, rows, gate) in [
        (0, 16, 64, 48, Gate::None),
        (0, 40, 1100, 50, Gate::Silu),
        (1, 72, 130, 97, Gate::None),
        (2, 40, 1100, 50, Gate::Gelu),
    ] {
        let stored = random_weights(&mut random, n, k, KINDS[kind]);
        let weights = stored.weights();
        let x: Vec<f32> = (0..rows * k * 2).map(|_| random.float()).collect();
        let source = Source { x: &x, k, gate };
        let mut tiled = Tiled::default();
        tiled.resize(rows, k);
        for (index, part) in tiled.parts().enumerate() {
            // SAFETY: AMX is available, and so is AVX-512.
            unsafe { fill(part, source, index * PAIR_ROWS, rows) };
        }
        let mut scratch = Scratch::default();
        let pairs = weights.groups().div_ceil(PAIR);
        // SAFETY: as above.
        let sums = unsafe { multiply(&weights, 0..pairs, &tiled, &mut scratch) };
        for (pair, sums) in sums.chunks_exact(tiled.rows()).enumerate() {
            for row in 0..rows {
                for column in 0..(PAIR * ROWS).min(n - pair * PAIR * ROWS) {
                    let mut w = vec![0.0; k];
                    weights.read_row(pair * PAIR * ROWS + column, &mut w);
                    let terms = || {
                        w.iter().enumerate().map(|(at, w)| {
                            let (first, second) = (row * 2 * k + at, (row * 2 + 1) * k + at);
                            let x = match gate {
                                Gate::None => x[row * k + at],
                                Gate::Silu => silu(x[first]) * x[second],
                                Gate::Gelu => gelu(x[first]) * x[second],
                            };
                            f64::from(w * x)
                        })
                    };
                    let size = terms().map(|t| t * t).sum::<f64>().sqrt();
                    let got = f64::from(sums[row].0[column]);
                    let right = terms().sum::<f64>();
                    assert!((right - got).abs() < 0.02 * size, "{kind:?} {row} {column}: {got} instead of {right}");
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn behind_the_end_of_a_group_the_one_that_is_read_next_is_fetched() {
    assert_eq!(later::<6>(0, 10_000), ahead(6));
    assert_eq!(later::<6>(9_000, 10_000), 6 * 10_000 + 9_000 + ahead(6) - 10_000);
    assert_eq!(later::<1>(9_000, 10_000), 9_000 + ahead(1));
}
