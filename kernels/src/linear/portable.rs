//! The plain kernel: what every other one must equal, bit for bit.

use crate::activations::Panel;
use crate::layout::{BLOCK, Groups, ROWS};

use super::Results;

/// Multiply groups of 16 output rows with a panel; see [`super::Kernel`].
pub fn multiply(groups: &Groups, streams: usize, panel: &Panel, out: &mut Results) {
    for (g, out) in out.chunks_exact_mut(panel.rows).take(streams).enumerate() {
        fn part(data: &[u8], streams: usize, g: usize) -> &[u8] {
            &data[g * (data.len() / streams)..][..data.len() / streams]
        }
        let data = part(groups.data, streams, g);
        let low = groups.low.map(|low| part(low, streams, g));
        multiply_group(&Groups { data, low, ..*groups }, panel, out);
    }
}

fn multiply_group(group: &Groups, panel: &Panel, out: &mut [[f32; ROWS]]) {
    let rows = panel.rows;
    out.fill([0.0; ROWS]);
    for block in 0..panel.scales.len() / rows {
        for lane in 0..ROWS {
            let weight_scale = group.form.scale(group.data, block, lane);
            for row in 0..rows {
                let mut accumulator = panel.starts[block * rows + row];
                for column in 0..BLOCK {
                    let value = panel.values[((block * BLOCK + column) / 4 * rows + row) * 4 + column % 4];
                    accumulator += group.stored(block, lane, column) * i32::from(value);
                }
                let at = block * rows + row;
                let part = f32::from_bits(accumulator as u32).mul_add(panel.scales[at], panel.offsets[at]);
                out[row][lane] = part.mul_add(weight_scale, out[row][lane]);
            }
        }
    }
    for results in out {
        for (lane, result) in results.iter_mut().enumerate() {
            *result *= group.form.unit(group.data, lane);
        }
    }
}
