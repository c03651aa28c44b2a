//! How weights lie in the file: groups of 16 output rows, each a stream of records. docs/kernels.md has a picture.

use std::ffi::CStr;

use crate::fail;
use crate::ort::{F16, Info, Result, Tensor};

/// Output rows of a group.
pub const ROWS: usize = 16;
/// Columns are padded to a multiple of it.
pub const COLUMNS: usize = 64;
/// Columns that share a scale.
pub const BLOCK: usize = 32;
/// Bytes of a record's scales: f16 `[2 blocks][row]`, or i8 `[4 blocks][row]`.
pub const SCALES: usize = 64;
/// What the file's tensors and so every record are aligned to.
pub const ALIGNMENT: usize = 64;
/// Bytes of a block of nibbles, all 16 rows.
pub const NIBBLES: usize = ROWS * BLOCK / 2;

/// Blocks of so many columns, padded.
pub const fn blocks(k: usize) -> usize {
    k.div_ceil(COLUMNS) * (COLUMNS / BLOCK)
}

/// How the values and scales of a group lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Two columns a byte, value + 8; records of 64 columns, scales in f16.
    Four,
    /// A column a byte, value + 128; otherwise the same.
    Eight,
    /// As `Four`, but with scales in i8, records of 128 columns, and before them what a row's scales are multiples of.
    Lean,
}

impl Form {
    /// Bytes before a group's records: f32 for each row, or nothing.
    pub const fn header(self) -> usize {
        match self {
            Self::Four | Self::Eight => 0,
            Self::Lean => ROWS * 4,
        }
    }

    /// Blocks of a record; the last one of a group may have two less.
    pub const fn record_blocks(self) -> usize {
        match self {
            Self::Four | Self::Eight => 2,
            Self::Lean => 4,
        }
    }

    /// Bytes of a block's values, all 16 rows.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Four | Self::Lean => NIBBLES,
            Self::Eight => 2 * NIBBLES,
        }
    }

    /// Bytes of a whole record.
    pub const fn record(self) -> usize {
        SCALES + self.record_blocks() * self.block_bytes()
    }

    /// Bytes of a group of `k` columns.
    pub const fn group_bytes(self, k: usize) -> usize {
        let blocks = blocks(k);
        self.header() + blocks.div_ceil(self.record_blocks()) * SCALES + blocks * self.block_bytes()
    }

    /// What is stored for a zero.
    pub const fn zero_point(self) -> i32 {
        match self {
            Self::Four | Self::Lean => 8,
            Self::Eight => 128,
        }
    }

    /// The scale of a lane (an output row) in a block of a group; of `Lean` it is yet to be multiplied by the row's.
    pub fn scale(self, group: &[u8], block: usize, lane: usize) -> f32 {
        let scales = &group[self.header() + block / self.record_blocks() * self.record()..][..SCALES];
        let at = block % self.record_blocks() * ROWS + lane;
        match self {
            Self::Four | Self::Eight => F16(u16::from_le_bytes([scales[2 * at], scales[2 * at + 1]])).to_f32(),
            Self::Lean => f32::from(scales[at] as i8),
        }
    }

    /// What a row's scales in a group are multiples of.
    pub fn unit(self, group: &[u8], lane: usize) -> f32 {
        match self {
            Self::Four | Self::Eight => 1.0,
            Self::Lean => f32::from_le_bytes(*group[lane * 4..].first_chunk().expect("a header has 16 of them")),
        }
    }

    /// A block's values in a group.
    pub fn values(self, group: &[u8], block: usize) -> &[u8] {
        let record = &group[self.header() + block / self.record_blocks() * self.record()..];
        &record[SCALES + block % self.record_blocks() * self.block_bytes()..][..self.block_bytes()]
    }

    /// What is stored for a lane and a column of a block.
    pub fn stored(self, group: &[u8], block: usize, lane: usize, column: usize) -> i32 {
        let values = self.values(group, block);
        match self {
            Self::Four | Self::Lean => nibble(values, lane, column),
            Self::Eight => values[column / 4 * 64 + lane * 4 + column % 4].into(),
        }
    }
}

/// The nibble of a lane and a column in a block of them.
fn nibble(values: &[u8], lane: usize, column: usize) -> i32 {
    let byte = values[column / 8 * 64 + lane * 4 + column % 4];
    i32::from(if column % 8 < 4 { byte & 15 } else { byte >> 4 })
}

/// Groups that follow one another, of a weight matrix.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// Their records; of two planes the high one's, `Four` or `Lean`.
    pub data: &'a [u8],
    /// The low plane of values of 8 bits: nibbles `[group][block]`, ordered as in a record.
    pub low: Option<&'a [u8]>,
    /// Of the records.
    pub form: Form,
}

impl Groups<'_> {
    /// What is stored for a zero.
    pub const fn zero_point(&self) -> i32 {
        if self.low.is_some() { 128 } else { self.form.zero_point() }
    }

    /// What is stored for a lane and a column of a block, both planes together; of a single group.
    pub fn stored(&self, block: usize, lane: usize, column: usize) -> i32 {
        let stored = self.form.stored(self.data, block, lane, column);
        match self.low {
            Some(low) => 16 * stored + nibble(&low[block * NIBBLES..][..NIBBLES], lane, column),
            None => stored,
        }
    }
}

/// A weight matrix of `n` output rows and `k` columns in native layout.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// All groups.
    pub all: Groups<'a>,
    /// Output rows.
    pub n: usize,
    /// Columns.
    pub k: usize,
}

impl<'a> Weights<'a> {
    /// Check a matrix's sizes and alignment.
    pub fn new(all: Groups<'a>, n: usize, k: usize) -> Result<Self> {
        let weights = Self { all, n, k };
        if all.low.is_some() && all.form == Form::Eight {
            fail!("weights of 8 bits a byte have no second plane");
        }
        for (data, bytes) in [(Some(all.data), weights.group_bytes()), (all.low, weights.low_bytes())] {
            let Some(data) = data else { continue };
            let bytes = weights.groups() * bytes;
            if data.len() != bytes {
                fail!("weights of {n} × {k} take {bytes} bytes, not {}", data.len());
            }
            if !data.as_ptr().addr().is_multiple_of(ALIGNMENT) {
                fail!("weights aren't aligned to {ALIGNMENT} bytes");
            }
        }
        Ok(weights)
    }

    /// Read a node's attributes n, k, bits and scale_bits and its constant inputs, the second of which is a low plane.
    pub fn of_node(info: &Info, input: usize, low: Option<usize>) -> Result<Weights<'static>> {
        let n = info.size(c"n", 1, 1 << 28)?;
        let k = info.size(c"k", 1, 1 << 24)?;
        let low = match low {
            Some(low) => info.constant(low)?,
            None => None,
        };
        // Graphs of artefacts in format 1 have no scale_bits.
        let form = match (info.int(c"bits")?, info.int_or(c"scale_bits", 16), low.is_some()) {
            (4, 16, false) | (8, 16, true) => Form::Four,
            (4, 8, false) | (8, 8, true) => Form::Lean,
            (8, 16, false) => Form::Eight,
            (bits @ (4 | 8), scales, _) => fail!("attribute scale_bits is {scales} with bits {bits}"),
            (other, ..) => fail!("attribute bits is {other}, not 4 or 8"),
        };
        let groups = n.div_ceil(ROWS);
        let shape = match form {
            Form::Four | Form::Eight => vec![groups, k.div_ceil(COLUMNS), form.record()],
            Form::Lean => vec![groups, form.group_bytes(k)],
        };
        let data = bytes(info.constant(input)?, c"weights", &shape)?;
        let low = match low {
            Some(low) => Some(bytes(Some(low), c"low plane", &[groups, blocks(k) / 2, 2 * NIBBLES])?),
            None => None,
        };
        Weights::new(Groups { data, low, form }, n, k)
    }

    /// Groups of 16 output rows.
    pub const fn groups(&self) -> usize {
        self.n.div_ceil(ROWS)
    }

    /// Bytes of a group.
    pub const fn group_bytes(&self) -> usize {
        self.all.form.group_bytes(self.k)
    }

    /// Bytes of a group in the low plane.
    pub const fn low_bytes(&self) -> usize {
        blocks(self.k) * NIBBLES
    }

    /// Some groups, from `first` on.
    pub fn some(&self, first: usize, count: usize) -> Groups<'a> {
        let part = |data: &'a [u8], bytes: usize| &data[first * bytes..][..count * bytes];
        Groups {
            data: part(self.all.data, self.group_bytes()),
            low: self.all.low.map(|low| part(low, self.low_bytes())),
            form: self.all.form,
        }
    }

    /// The matrix of the high plane alone.
    pub const fn high(&self) -> Self {
        Self { all: Groups { low: None, ..self.all }, ..*self }
    }

    /// Dequantize the columns of one row: `row` is below `n`, `out` holds `k` values.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        let (lane, group) = (row % ROWS, self.some(row / ROWS, 1));
        let unit = group.form.unit(group.data, lane);
        for (block, values) in out.chunks_mut(BLOCK).enumerate() {
            let scale = group.form.scale(group.data, block, lane) * unit;
            for (column, value) in values.iter_mut().enumerate() {
                *value = (group.stored(block, lane, column) - group.zero_point()) as f32 * scale;
            }
        }
    }
}

fn bytes(tensor: Option<Tensor<'static>>, what: &CStr, shape: &[usize]) -> Result<&'static [u8]> {
    let what = what.to_string_lossy();
    let Some(tensor) = tensor else { fail!("the {what} must be an initializer") };
    if tensor.shape != shape {
        fail!("the {what} have shape {:?} instead of {shape:?}", tensor.shape);
    }
    tensor.slice()
}
