//! AMX-BF16 for many rows: weights are dequantized to bf16 tiles in the cache and used for all rows at once.
//!
//! Activations stay bf16, so the results aren't those of the integer kernels: they are nearer to the float product.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Source;
use super::avx512;
use crate::amx::Tiles;
use crate::layout::{BLOCK, Form, NIBBLES, ROWS, Weights, blocks};

/// Rows from which on dequantizing pays; below, the integer kernel is faster.
pub const LEAST_ROWS: usize = 48;

/// Rows of a tile.
const TILE_ROWS: usize = 16;
/// Numbers of a tile: 16 rows of 32 bf16.
const TILE: usize = TILE_ROWS * BLOCK;
/// Blocks of 32 columns that are dequantized at a time: 2 × 16 KiB stay in the first cache.
const CHUNK: usize = 16;
/// Groups of 16 output rows that are multiplied together, and row tiles likewise: four sums of tiles.
pub const PAIR: usize = 2;
/// Rows of a pair of row tiles.
pub const PAIR_ROWS: usize = PAIR * TILE_ROWS;

/// Rows as bf16 tiles `[row / 32][block][tile][16 rows][32 columns]`, rows padded to 32, columns to whole records.
#[derive(Debug, Default)]
pub struct Tiled {
    values: Vec<u16>,
    blocks: usize,
    pairs: usize,
}

impl Tiled {
    /// Make room for `rows` rows of `k` columns.
    pub fn resize(&mut self, rows: usize, k: usize) {
        self.blocks = blocks(k);
        self.pairs = rows.div_ceil(PAIR_ROWS);
        self.values.resize(self.pairs * self.blocks * PAIR * TILE, 0);
    }

    /// The parts of each pair, to be filled side by side.
    pub fn parts(&mut self) -> impl Iterator<Item = &mut [u16]> {
        self.values.chunks_exact_mut(self.blocks * PAIR * TILE)
    }
}

/// Convert 32 rows from `first` on, as many as there are, into a pair's part.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub unsafe fn fill(part: &mut [u16], source: Source, first: usize, rows: usize) {
    for (index, tile) in part.chunks_exact_mut(TILE).enumerate() {
        let start = index / PAIR * BLOCK;
        for (row, to) in tile.chunks_exact_mut(BLOCK).enumerate() {
            let row = first + index % PAIR * TILE_ROWS + row;
            let values = if row < rows { source.read(row, start) } else { [0.0; BLOCK] };
            // SAFETY: 32 floats are read and 32 bf16 written.
            unsafe {
                let (low, high) = (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(16)));
                let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
            }
        }
    }
}

/// Room of one thread for the tiles of a pair of groups and the sums of all rows.
#[derive(Debug, Default)]
pub struct Scratch {
    weights: Vec<u16>,
    sums: Vec<f32>,
}

/// Multiply two neighbouring groups of output rows with all rows; gives `[row][32 output rows]`.
///
/// A missing second group counts as zeros.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and BF16, and [`crate::amx::permitted`] is true.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
pub unsafe fn multiply<'s>(weights: &Weights, pair: usize, x: &Tiled, scratch: &'s mut Scratch) -> &'s [f32] {
    const WIDTH: usize = PAIR * ROWS;
    scratch.weights.resize(CHUNK * PAIR * TILE, 0);
    scratch.sums.clear();
    scratch.sums.resize(x.pairs * PAIR * TILE_ROWS * WIDTH, 0.0);
    // SAFETY: the caller saw that they are permitted.
    let _tiles = unsafe { Tiles::new() };
    for first in (0..x.blocks).step_by(CHUNK) {
        let count = CHUNK.min(x.blocks - first);
        for (index, tile) in scratch.weights[..count * PAIR * TILE].chunks_exact_mut(TILE).enumerate() {
            let group = pair * PAIR + index % PAIR;
            if group < weights.groups() {
                // SAFETY: the processor has what is asked for; the block is within the group.
                unsafe { dequantize(weights, group, first + index / PAIR, tile) };
            } else {
                tile.fill(0);
            }
        }
        for (rows, sums) in scratch.sums.chunks_exact_mut(PAIR * TILE_ROWS * WIDTH).enumerate() {
            let at = (rows * x.blocks + first) * PAIR * TILE;
            // SAFETY: `count` blocks of two tiles each are there on both sides, and four tiles of sums.
            unsafe { accumulate(&x.values[at..], &scratch.weights, count, sums) };
        }
    }
    &scratch.sums
}

/// Add the products of `count` blocks to sums float32 `(32, 32)`: tiles 0–3 are sums, 4 and 5 rows, 6 and 7 weights.
unsafe fn accumulate(x: &[u16], weights: &[u16], count: usize, sums: &mut [f32]) {
    assert!(x.len() >= count * PAIR * TILE && weights.len() >= count * PAIR * TILE && sums.len() == 1024);
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
            d = in(reg) sums.as_mut_ptr().add(TILE_ROWS * PAIR * ROWS),
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
unsafe fn dequantize(weights: &Weights, group: usize, block: usize, tile: &mut [u16]) {
    let (group, form) = (weights.some(group, 1), weights.all.form);
    let record = &group.data[form.header() + block / form.record_blocks() * form.record()..];
    let values = form.values(group.data, block);
    let low = group.low.map(|low| &low[block * NIBBLES..][..NIBBLES]);
    assert!(tile.len() == TILE);
    // SAFETY: the slices above hold what is read: 16 scales, and 64 bytes for every eight or four columns.
    unsafe {
        let mut scales = avx512::scales(form, record.as_ptr(), block % form.record_blocks());
        if form == Form::Lean {
            scales = _mm512_mul_ps(scales, _mm512_loadu_ps(group.data.as_ptr().cast()));
        }
        let zero = _mm512_mul_ps(scales, _mm512_set1_ps(-group.zero_point() as f32));
        for quad in 0..BLOCK / 4 {
            let bytes = match (form, low) {
                (Form::Eight, _) => _mm512_loadu_si512(values.as_ptr().add(quad * 64).cast()),
                (_, None) => nibbles(values, quad),
                // No bit leaves its byte.
                (_, Some(low)) => _mm512_or_si512(_mm512_slli_epi16::<4>(nibbles(values, quad)), nibbles(low, quad)),
            };
            let to = tile.as_mut_ptr().add(quad * 64).cast::<__m512i>();
            _mm512_storeu_si512(to, pair::<0, 8>(bytes, scales, zero));
            _mm512_storeu_si512(to.add(1), pair::<16, 24>(bytes, scales, zero));
        }
    }
}

/// Four columns of a block of nibbles.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn nibbles(block: &[u8], quad: usize) -> __m512i {
    // SAFETY: a block has 64 bytes for every eight columns.
    let both = unsafe { _mm512_loadu_si512(block.as_ptr().add(quad / 2 * 64).cast()) };
    let shifted = if quad.is_multiple_of(2) { both } else { _mm512_srli_epi16::<4>(both) };
    _mm512_and_si512(shifted, _mm512_set1_epi8(15))
}

/// The bytes at two places of every lane, dequantized to a pair of bf16, the first one low.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pair<const A: u32, const B: u32>(bytes: __m512i, scales: __m512, zero: __m512) -> __m512i {
    let byte = _mm512_set1_epi32(255);
    let first = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<A>(bytes), byte));
    let second = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32::<B>(bytes), byte));
    let half = _mm512_set1_epi32(0x8000);
    let rounded = |value| {
        let bits = _mm512_castps_si512(_mm512_fmadd_ps(value, scales, zero));
        _mm512_add_epi32(bits, half) // to nearest; ties go up, which is as good
    };
    let upper = _mm512_set1_epi32(0xFFFF_0000_u32 as i32);
    _mm512_or_si512(_mm512_srli_epi32::<16>(rounded(first)), _mm512_and_si512(rounded(second), upper))
}
