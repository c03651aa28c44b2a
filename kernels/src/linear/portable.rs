//! The plain kernel: what every other one must equal, bit for bit.

use crate::activations::Panel;
use crate::layout::{BLOCK, BLOCKS, Bits, ROWS, SCALES};
use crate::ort::F16;

use super::PANEL_ROWS;

/// Multiply a group of 16 output rows with a panel; see [`super::Kernel`].
pub fn multiply(group: &[u8], bits: Bits, panel: &Panel, out: &mut [[f32; ROWS]; PANEL_ROWS]) {
    let rows = panel.rows;
    for sums in &mut out[..rows] {
        *sums = [0.0; ROWS];
    }
    for (r, record) in group.chunks_exact(bits.record()).enumerate() {
        for b in 0..BLOCKS {
            let block = r * BLOCKS + b;
            let values = &record[SCALES + b * bits.block_bytes()..][..bits.block_bytes()];
            for lane in 0..ROWS {
                let at = (b * ROWS + lane) * 2;
                let weight_scale = F16(u16::from_le_bytes([record[at], record[at + 1]])).to_f32();
                for row in 0..rows {
                    let activation = |column: usize| {
                        i32::from(panel.values[((block * BLOCK + column) / 4 * rows + row) * 4 + column % 4])
                    };
                    let mut accumulator = panel.starts[block * rows + row];
                    for column in 0..BLOCK {
                        let stored = match bits {
                            Bits::Four => {
                                let byte = values[column / 8 * 64 + lane * 4 + column % 4];
                                if column % 8 < 4 { byte & 15 } else { byte >> 4 }
                            }
                            Bits::Eight => values[column / 4 * 64 + lane * 4 + column % 4],
                        };
                        accumulator += i32::from(stored) * activation(column);
                    }
                    let at = block * rows + row;
                    let part = f32::from_bits(accumulator as u32).mul_add(panel.scales[at], panel.offsets[at]);
                    out[row][lane] = part.mul_add(weight_scale, out[row][lane]);
                }
            }
        }
    }
}
