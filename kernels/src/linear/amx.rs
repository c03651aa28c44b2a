//! AMX-BF16 for many rows: weights are dequantized to bf16 tiles in the cache and used for all rows at once.
//!
//! Activations stay bf16, so the results aren't those of the integer kernels: they are nearer to the float product.

use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;

use super::Source;
use super::avx512;
use crate::amx::Tiles;
use crate::layout::{BLOCK, Form, ROWS, Weights, blocks};

/// Rows from which on dequantizing pays; below, the integer kernel is faster.
pub const LEAST_ROWS: usize = 48;

/// Rows of a tile.
const TILE_ROWS: usize = 16;
/// Blocks of 32 columns that are dequantized at a time: 16 KiB of a pair of groups, and of rows, stay in the first cache.
const CHUNK: usize = 8;
/// Groups of 16 output rows that are multiplied together, and row tiles likewise: four sums of tiles.
pub const PAIR: usize = 2;
/// Rows of a pair of row tiles.
pub const PAIR_ROWS: usize = PAIR * TILE_ROWS;
/// The most pairs that are multiplied with what is read of the rows, of which many are too large for the second cache.
pub const PAIRS: usize = 8;

/// A row of a tile of bf16: a cache line. A tile that lies across lines takes eight times as long to load.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Row([u16; BLOCK]);

/// Sums of a row and a pair of groups, likewise.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Sums(pub [f32; PAIR * ROWS]);

/// Rows as bf16 tiles `[row / 32][block][tile][16 rows][32 columns]`, rows padded to 32, columns to whole records.
#[derive(Debug, Default)]
pub struct Tiled {
    values: Vec<Row>,
    blocks: usize,
    pairs: usize,
}

impl Tiled {
    /// Rows, with those of the padding.
    pub fn rows(&self) -> usize {
        self.pairs * PAIR_ROWS
    }

    /// Make room for `rows` rows of `k` columns.
    pub fn resize(&mut self, rows: usize, k: usize) {
        self.blocks = blocks(k);
        self.pairs = rows.div_ceil(PAIR_ROWS);
        self.values.resize(self.pairs * self.blocks * PAIR_ROWS, Row([0; BLOCK]));
    }

    /// The parts of each pair, to be filled side by side.
    pub fn parts(&mut self) -> impl Iterator<Item = &mut [Row]> {
        self.values.chunks_exact_mut(self.blocks * PAIR_ROWS)
    }
}

/// Convert 32 rows from `first` on, as many as there are, into a pair's part.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub unsafe fn fill(part: &mut [Row], source: Source, first: usize, rows: usize) {
    for (index, tile) in part.chunks_exact_mut(TILE_ROWS).enumerate() {
        let start = index / PAIR * BLOCK;
        for (row, to) in tile.iter_mut().enumerate() {
            let row = first + index % PAIR * TILE_ROWS + row;
            let values = if row < rows { source.read(row, start) } else { [0.0; BLOCK] };
            // SAFETY: 32 floats are read and 32 bf16 written.
            unsafe {
                let (low, high) = (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(16)));
                let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_store_si512(to.0.as_mut_ptr().cast(), both);
            }
        }
    }
}

/// Room of one thread for tiles of weights and the sums of all rows.
#[derive(Debug, Default)]
pub struct Scratch {
    weights: Vec<Row>,
    sums: Vec<Sums>,
}

/// Multiply pairs of neighbouring groups of output rows with all rows; gives `[pair][row][32 output rows]`, rows padded
/// to 32.
///
/// A missing second group counts as zeros. There are at most [`PAIRS`].
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and BF16, and [`crate::amx::permitted`] is true.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub unsafe fn multiply<'s>(weights: &Weights, pairs: Range<usize>, x: &Tiled, scratch: &'s mut Scratch) -> &'s [Sums] {
    assert!(pairs.len() <= PAIRS);
    scratch.weights.resize(PAIRS * CHUNK * PAIR * TILE_ROWS, Row([0; BLOCK]));
    scratch.sums.clear();
    scratch.sums.resize(pairs.len() * x.rows(), Sums([0.0; PAIR * ROWS]));
    // SAFETY: the caller saw that they are permitted.
    let _tiles = unsafe { Tiles::new() };
    for first in (0..x.blocks).step_by(CHUNK) {
        let count = CHUNK.min(x.blocks - first);
        let size = count * PAIR * TILE_ROWS;
        for (pair, tiles) in pairs.clone().zip(scratch.weights.chunks_exact_mut(size)) {
            for (index, tile) in tiles.chunks_exact_mut(TILE_ROWS).enumerate() {
                let group = pair * PAIR + index % PAIR;
                if group < weights.groups() {
                    // SAFETY: the processor has what is asked for; the block is within the group.
                    unsafe { dequantize(weights, group, first + index / PAIR, tile) };
                } else {
                    tile.fill(Row([0; BLOCK]));
                }
            }
        }
        for rows in 0..x.pairs {
            let x_rows = &x.values[(rows * x.blocks + first) * PAIR_ROWS..][..count * PAIR_ROWS];
            for (pair, tiles) in scratch.weights.chunks_exact(size).take(pairs.len()).enumerate() {
                let sums = &mut scratch.sums[pair * x.rows() + rows * PAIR_ROWS..][..PAIR_ROWS];
                // SAFETY: `count` blocks of two tiles each are there on both sides, and four tiles of sums.
                unsafe { accumulate(x_rows, tiles, count, sums) };
            }
        }
    }
    &scratch.sums
}

/// Add the products of `count` blocks to sums float32 `(32, 32)`: tiles 0–3 are sums, 4 and 5 rows, 6 and 7 weights.
unsafe fn accumulate(x: &[Row], weights: &[Row], count: usize, sums: &mut [Sums]) {
    assert!(x.len() >= count * PAIR_ROWS && weights.len() >= count * PAIR * TILE_ROWS && sums.len() == PAIR_ROWS);
    // SAFETY: each load takes 1,024 bytes, 64 apart for rows and weights, 128 apart for sums; all checked above.
    unsafe {
        asm!(
            "tileloadd tmm0, [{c} + {cs}*1]",
            "tileloadd tmm1, [{c} + {cs}*1 + 64]",
            "tileloadd tmm2, [{d} + {cs}*1]",
            "tileloadd tmm3, [{d} + {cs}*1 + 64]",
            "2:",
            "tileloadd tmm4, [{x} + {s}*1]",
            "tileloadd tmm6, [{w} + {s}*1]",
            "tileloadd tmm7, [{w} + {s}*1 + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{x} + {s}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {x}, 2048",
            "add {w}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {cs}*1], tmm0",
            "tilestored [{c} + {cs}*1 + 64], tmm1",
            "tilestored [{d} + {cs}*1], tmm2",
            "tilestored [{d} + {cs}*1 + 64], tmm3",
            x = inout(reg) x.as_ptr() => _,
            w = inout(reg) weights.as_ptr() => _,
            n = inout(reg) count => _,
            c = in(reg) sums.as_mut_ptr(),
            d = in(reg) sums.as_mut_ptr().add(TILE_ROWS),
            s = in(reg) 64_usize,
            cs = in(reg) 128_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Make a block of 16 output rows a tile: bf16 `[column / 2][output row][column % 2]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn dequantize(weights: &Weights, group: usize, block: usize, tile: &mut [Row]) {
    let (group, form) = (weights.some(group, 1), weights.all.form);
    let record = &group.data[form.header() + block / form.record_blocks() * form.record()..];
    let values = form.values(group.data, block);
    assert!(tile.len() == TILE_ROWS);
    // SAFETY: the slices above hold what is read: 16 scales, and 64 bytes for every eight or four columns.
    unsafe {
        let mut scales = avx512::scales(form, record.as_ptr(), block % form.record_blocks());
        if form == Form::Lean {
            scales = _mm512_mul_ps(scales, _mm512_loadu_ps(group.data.as_ptr().cast()));
        }
        // Weights come out of their bits as 256 and more.
        let zero = _mm512_mul_ps(scales, _mm512_set1_ps(-256.0 - group.zero_point() as f32));
        let to = tile.as_mut_ptr().cast::<__m512i>();
        for eight in 0..BLOCK / 8 {
            let load = |at: usize| _mm512_loadu_si512(values.as_ptr().add(at * 64).cast());
            let pairs = if form == Form::Eight {
                let [first, second] = [load(2 * eight), load(2 * eight + 1)];
                [
                    pair::<0, 8, 255>(first, scales, zero),
                    pair::<16, 24, 255>(first, scales, zero),
                    pair::<0, 8, 255>(second, scales, zero),
                    pair::<16, 24, 255>(second, scales, zero),
                ]
            } else {
                let nibbles = load(eight);
                [
                    pair::<0, 8, 15>(nibbles, scales, zero),
                    pair::<16, 24, 15>(nibbles, scales, zero),
                    pair::<4, 12, 15>(nibbles, scales, zero),
                    pair::<20, 28, 15>(nibbles, scales, zero),
                ]
            };
            for (index, pair) in pairs.into_iter().enumerate() {
                _mm512_store_si512(to.add(4 * eight + index), pair);
            }
        }
    }
}

/// The numbers under a mask at two places of every lane, dequantized to a pair of bf16, the first one low.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pair<const A: u32, const B: u32, const MASK: i32>(bits: __m512i, scales: __m512, zero: __m512) -> __m512i {
    let half = _mm512_set1_epi32(0x8000);
    let rounded = |at| {
        // Bit 15 of a float between 256 and 512 counts 1, so nothing has to be converted.
        let moved = if at <= 15 {
            _mm512_sllv_epi32(bits, _mm512_set1_epi32(15 - at as i32))
        } else {
            _mm512_srlv_epi32(bits, _mm512_set1_epi32(at as i32 - 15))
        };
        let value = _mm512_ternarylogic_epi32::<0xEA>(
            moved,
            _mm512_set1_epi32(MASK << 15),
            _mm512_castps_si512(_mm512_set1_ps(256.0)),
        );
        let value = _mm512_fmadd_ps(_mm512_castsi512_ps(value), scales, zero);
        _mm512_add_epi32(_mm512_castps_si512(value), half) // to nearest; ties go up, which is as good
    };
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    _mm512_ternarylogic_epi32::<0xEA>(rounded(B), upper, _mm512_srli_epi32::<16>(rounded(A)))
}
