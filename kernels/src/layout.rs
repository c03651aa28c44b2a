//! How weights lie in the file: records of 16 rows by 64 columns, scales first. docs/kernels.md has a picture.

use crate::fail;
use crate::ort::{F16, Info, Result};

/// Output rows of a record.
pub const ROWS: usize = 16;
/// Columns of a record.
pub const COLUMNS: usize = 64;
/// Columns that share a scale.
pub const BLOCK: usize = 32;
/// Blocks of a record.
pub const BLOCKS: usize = COLUMNS / BLOCK;
/// Bytes of a record's scales: f16 `[block][row]`.
pub const SCALES: usize = BLOCKS * ROWS * 2;
/// What the file's tensors and so every record are aligned to.
pub const ALIGNMENT: usize = 64;

/// Bits of a stored weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// Two columns a byte, value + 8.
    Four,
    /// A column a byte, value + 128.
    Eight,
}

impl Bits {
    /// Bytes of a block's values, all 16 rows.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Four => ROWS * BLOCK / 2,
            Self::Eight => ROWS * BLOCK,
        }
    }

    /// Bytes of a record.
    pub const fn record(self) -> usize {
        SCALES + BLOCKS * self.block_bytes()
    }

    /// The scale of a lane (an output row) in a record's block.
    pub fn scale(record: &[u8], block: usize, lane: usize) -> f32 {
        let at = (block * ROWS + lane) * 2;
        F16(u16::from_le_bytes([record[at], record[at + 1]])).to_f32()
    }

    /// What is stored for a lane and a column of a block: the weight plus the zero point, not yet scaled.
    pub fn stored(self, record: &[u8], block: usize, lane: usize, column: usize) -> i32 {
        let values = &record[SCALES + block * self.block_bytes()..][..self.block_bytes()];
        let value = match self {
            Self::Four => {
                let byte = values[column / 8 * 64 + lane * 4 + column % 4];
                if column % 8 < 4 { byte & 15 } else { byte >> 4 }
            }
            Self::Eight => values[column / 4 * 64 + lane * 4 + column % 4],
        };
        value.into()
    }

    /// What is stored for a zero.
    pub const fn zero_point(self) -> i32 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }
}

/// A weight matrix of `n` output rows and `k` columns in native layout.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// Records, group by group.
    pub data: &'a [u8],
    /// Output rows.
    pub n: usize,
    /// Columns.
    pub k: usize,
    /// Of every weight.
    pub bits: Bits,
}

impl<'a> Weights<'a> {
    /// Check a matrix's size and alignment.
    pub fn new(data: &'a [u8], n: usize, k: usize, bits: Bits) -> Result<Self> {
        let weights = Self { data, n, k, bits };
        let bytes = weights.groups() * weights.group_bytes();
        if data.len() != bytes {
            fail!("weights of {n} × {k} take {bytes} bytes, not {}", data.len());
        }
        if !data.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            fail!("weights aren't aligned to {ALIGNMENT} bytes");
        }
        Ok(weights)
    }

    /// Read a node's attributes n, k and bits and its constant input.
    pub fn of_node(info: &Info, input: usize) -> Result<Weights<'static>> {
        let n = info.size(c"n", 1, 1 << 28)?;
        let k = info.size(c"k", 1, 1 << 24)?;
        let bits = match info.int(c"bits")? {
            4 => Bits::Four,
            8 => Bits::Eight,
            other => fail!("attribute bits is {other}, not 4 or 8"),
        };
        let Some(tensor) = info.constant(input)? else { fail!("the weights must be an initializer") };
        let shape = [n.div_ceil(ROWS), k.div_ceil(COLUMNS), bits.record()];
        if tensor.shape != shape {
            fail!("weights of {n} × {k} in {bits:?} bits have shape {:?} instead of {shape:?}", tensor.shape);
        }
        Weights::new(tensor.slice()?, n, k, bits)
    }

    /// Groups of 16 output rows.
    pub const fn groups(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// Records of a group.
    pub const fn records(&self) -> usize {
        self.k.div_ceil(COLUMNS)
    }

    /// Bytes of a group.
    pub const fn group_bytes(&self) -> usize {
        self.records() * self.bits.record()
    }

    /// Dequantize the columns of one row: `row` is below `n`, `out` holds `k` values.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        let lane = row % ROWS;
        let group = &self.data[row / ROWS * self.group_bytes()..][..self.group_bytes()];
        for (column, block) in out.chunks_mut(BLOCK).enumerate() {
            let record = &group[column / BLOCKS * self.bits.record()..][..self.bits.record()];
            let scale = Bits::scale(record, column % BLOCKS, lane);
            for (index, value) in block.iter_mut().enumerate() {
                let stored = self.bits.stored(record, column % BLOCKS, lane, index);
                *value = (stored - self.bits.zero_point()) as f32 * scale;
            }
        }
    }
}
