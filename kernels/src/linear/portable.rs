//! The plain kernel: what every other one must equal, bit for bit.

use crate::activations::Panel;
use crate::layout::{BLOCK, BLOCKS, Bits, ROWS};

use super::Results;

/// Multiply groups of 16 output rows with a panel; see [`super::Kernel`].
pub fn multiply(groups: &[u8], streams: usize, bits: Bits, panel: &Panel, out: &mut Results) {
    for (group, out) in groups.chunks_exact(groups.len() / streams).zip(out.chunks_exact_mut(panel.rows)) {
        multiply_group(group, bits, panel, out);
    }
}

fn multiply_group(group: &[u8], bits: Bits, panel: &Panel, out: &mut [[f32; ROWS]]) {
    let rows = panel.rows;
    out.fill([0.0; ROWS]);
    for (r, record) in group.chunks_exact(bits.record()).enumerate() {
        for b in 0..BLOCKS {
            let block = r * BLOCKS + b;
            for lane in 0..ROWS {
                let weight_scale = Bits::scale(record, b, lane);
                for row in 0..rows {
                    let mut accumulator = panel.starts[block * rows + row];
                    for column in 0..BLOCK {
                        let value = panel.values[((block * BLOCK + column) / 4 * rows + row) * 4 + column % 4];
                        accumulator += bits.stored(record, b, lane, column) * i32::from(value);
                    }
                    let at = block * rows + row;
                    let part = f32::from_bits(accumulator as u32).mul_add(panel.scales[at], panel.offsets[at]);
                    out[row][lane] = part.mul_add(weight_scale, out[row][lane]);
                }
            }
        }
    }
}
