//! Sizes of a step.

/// The largest head.
pub const MOST_ELEMENTS: usize = 256;

/// Sizes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// New tokens of each sequence: S.
    pub tokens: usize,
    /// Query heads: H.
    pub heads: usize,
    /// Heads of keys and values: KV.
    pub kv_heads: usize,
    /// Elements of a head: D, a multiple of 16.
    pub dim: usize,
    /// Tokens that the cache has room for: M.
    pub room: usize,
    /// Of each sequence, the new tokens included: from S to M.
    pub lengths: Vec<usize>,
    /// Where in the cache each sequence lies. Several may lie in one place, at positions apart: then each sees the new
    /// tokens of those before it, as if they had come one after the other.
    pub slots: Vec<usize>,
}

impl Shape {
    /// Query heads for each head of keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Of a new token.
    pub fn position(&self, sequence: usize, token: usize) -> usize {
        self.lengths[sequence] - self.tokens + token
    }

    /// Row 0 of a head in the cache, counted over all heads of all slots.
    #[inline(always)]
    pub fn first_row(&self, sequence: usize, head: usize) -> usize {
        (self.slots[sequence] * self.kv_heads + head) * self.room
    }
}
