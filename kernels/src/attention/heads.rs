//! What happens to one head of one token before attention: RMSNorm, rotation, scale. The same bits on every
//! instruction set.

/// RMSNorm of each head of queries and keys (Qwen3).
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// float32 `(D,)`.
    pub query: &'a [f32],
    /// float32 `(D,)`.
    pub key: &'a [f32],
    /// Added to the mean square.
    pub epsilon: f32,
}

/// `x · weight / √(mean(x²) + ε)`
#[inline(always)]
pub fn normalize(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let mut squares = [0.0; 16]; // sixteen sums side by side are as fast as the widest vector, and the same everywhere
    for part in x.chunks_exact(16) {
        squares.iter_mut().zip(part).for_each(|(sum, x)| *sum += x * x);
    }
    let factor = 1.0 / (squares.iter().sum::<f32>() / x.len() as f32 + epsilon).sqrt();
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * factor * weight;
    }
}

/// Turn pairs `(x[i], x[i + D/2])` by the angles of a position, and scale them (Su et al., RoFormer, 2021).
#[inline(always)]
pub fn rotate(x: &[f32], cosines: &[f32], sines: &[f32], factor: f32, out: &mut [f32]) {
    let half = x.len() / 2;
    let (x, y) = x.split_at(half);
    let (out_x, out_y) = out.split_at_mut(half);
    for i in 0..half {
        out_x[i] = (x[i] * cosines[i] - y[i] * sines[i]) * factor;
        out_y[i] = (y[i] * cosines[i] + x[i] * sines[i]) * factor;
    }
}
