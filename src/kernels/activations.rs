//! Activations as int8, in the order in which products read them.

use super::{BLOCK, weights::TILE_K};

/// 64 consecutive rounded activations of one row.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Line(pub [i8; TILE_K]);

impl Line {
    pub const ZERO: Line = Line([0; TILE_K]);
}

/// A matrix `[m, k]` of activations as int8, each row with a step of its own. Made to be reused.
///
/// Rows are kept in blocks of `height = min(m, 16)`. A block's lines are ordered by input, then by row, so
/// that 64 inputs of all its rows are neighbours: a single row is contiguous, and 16 are an AMX tile.
#[derive(Debug, Clone, Default)]
pub struct Activations {
    m: usize,
    k: usize,
    lines: Vec<Line>,
    /// `g / 127` of each row; NaN for a row that holds a NaN or an infinity.
    step: Vec<f32>,
    /// Sum of each row's codes.
    sum: Vec<i32>,
}

impl Activations {
    /// No rows.
    pub fn new() -> Activations {
        Activations::default()
    }

    /// Makes room for `m` rows of `k` and gives their blocks, in order, to be filled on any thread. What
    /// a block holds before it is filled is unspecified.
    pub fn resize(&mut self, m: usize, k: usize) -> impl Iterator<Item = RowBlock<'_>> {
        let (height, lines_a_row) = (m.clamp(1, BLOCK), k.div_ceil(TILE_K));
        (self.m, self.k) = (m, k);
        self.lines.resize(m.next_multiple_of(height) * lines_a_row, Line::ZERO);
        self.step.resize(m, 0.0);
        self.sum.resize(m, 0);
        let lines = self.lines.chunks_mut((height * lines_a_row).max(1));
        let rows = self.step.chunks_mut(height).zip(self.sum.chunks_mut(height));
        lines.zip(rows).map(move |(lines, (step, sum))| RowBlock { k, height, lines, step, sum })
    }

    /// Rows.
    pub fn m(&self) -> usize {
        self.m
    }

    /// Elements of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The code of one element.
    pub fn code(&self, row: usize, k: usize) -> i8 {
        let rows = self.block(row / self.height());
        rows.line(k / TILE_K, row % self.height()).0[k % TILE_K]
    }

    /// Per row, what a code of one stands for: `g / 127`, NaN where the row held a NaN or an infinity.
    pub fn steps(&self) -> &[f32] {
        &self.step
    }

    /// Rows in each block but the last.
    pub(super) fn height(&self) -> usize {
        self.m.clamp(1, BLOCK)
    }

    pub(super) fn block(&self, block: usize) -> Rows<'_> {
        let (height, lines_a_row) = (self.height(), self.k.div_ceil(TILE_K));
        let first = block * height;
        let end = self.m.min(first + height);
        Rows {
            height,
            lines: &self.lines[first * lines_a_row..][..height * lines_a_row],
            step: &self.step[first..end],
            sum: &self.sum[first..end],
        }
    }
}

/// Up to 16 rows, to be read.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// Lines from one row's to its next.
    pub height: usize,
    pub lines: &'a [Line],
    pub step: &'a [f32],
    pub sum: &'a [i32],
}

impl Rows<'_> {
    /// The 64 codes of a row from input `64·tile` on.
    pub fn line(&self, tile: usize, row: usize) -> &Line {
        &self.lines[tile * self.height + row]
    }
}

/// Up to 16 rows of [`Activations`], to be filled.
pub struct RowBlock<'a> {
    pub(super) k: usize,
    pub(super) height: usize,
    pub(super) lines: &'a mut [Line],
    pub(super) step: &'a mut [f32],
    pub(super) sum: &'a mut [i32],
}

impl RowBlock<'_> {
    /// Rows in this block.
    pub fn rows(&self) -> usize {
        self.step.len()
    }
}
