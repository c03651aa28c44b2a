//! Query rows, and what attention has gathered for them so far (online softmax; Milakov and Gimelshein, 2018).

/// Below every score: a row that has seen no key yet.
pub const NOTHING: f32 = -1e30;

/// Query rows of a block: the heads of a group for token after token.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Elements of a row, a multiple of 16.
    pub dim: usize,
    /// float32 `(rows, dim)`: rotated, times scale and log₂ e.
    pub queries: &'a [f32],
    /// float32 `(rows,)`: the last position that a row sees; never decreasing.
    pub limits: &'a [f32],
    /// Positions that a row sees.
    pub window: Option<usize>,
    /// Of the scores, which are times log₂ e, as it is.
    pub softcap: Option<f32>,
}

impl Rows<'_> {
    /// How many of `count` keys from position `start` on a row sees.
    #[inline(always)]
    pub fn visible(&self, row: usize, start: usize, count: usize) -> usize {
        (self.limits[row] as usize + 1).saturating_sub(start).min(count)
    }

    /// How many of the keys from position `start` on come before the first that a row sees.
    #[inline(always)]
    pub fn hidden(&self, row: usize, start: usize) -> usize {
        let window = self.window.unwrap_or(usize::MAX);
        (self.limits[row] as usize + 1).saturating_sub(window).saturating_sub(start)
    }
}

/// Of each row: its largest score, the sum of its weights relative to that, and the weighted values.
pub struct Sums<'a> {
    /// float32 `(rows,)`, [`NOTHING`] at first.
    pub maxima: &'a mut [f32],
    /// float32 `(rows,)`.
    pub totals: &'a mut [f32],
    /// float32 `(rows, dim)`.
    pub mixed: &'a mut [f32],
}

impl Sums<'_> {
    /// Forget everything.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.maxima.fill(NOTHING);
        self.totals.fill(0.0);
        self.mixed.fill(0.0);
    }
}
