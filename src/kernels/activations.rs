//! Activations rounded to int8, row by row.

use super::{
    BLOCK, Element, Error, Job, Kernel, LANES, Tier, check_length, scalar, weights::TILE_K,
};

/// Activations are widened this many at a time: a buffer that stays in the first-level cache.
const CHUNK: usize = 16 * TILE_K;

/// 64 consecutive rounded activations of one row.
#[repr(C, align(64))]
#[derive(Debug, Clone, Copy)]
pub(super) struct Line(pub [i8; TILE_K]);

impl Line {
    pub const ZERO: Line = Line([0; TILE_K]);
}

/// A root mean square normalisation of each row, before it is rounded: `x · 1/sqrt(mean(x²) + eps) · gain`.
///
/// Computed in f32. What a narrower type's nodes would round to that type, `x · 1/sqrt(…)` and its product
/// with the gain, is rounded to it here too.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Added to the mean of squares.
    pub eps: f32,
    /// One factor for each element of a row.
    pub gain: &'a [f32],
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

    /// Replaces the content by `x`, rows of `k` elements: see [`RowBlock::quantize`].
    ///
    /// Refuses a length that is no multiple of `k`, and a gain that is not `k` long.
    pub fn quantize<T: Element>(
        &mut self,
        kernel: Kernel,
        x: &[T],
        k: usize,
        norm: Option<Norm>,
        eps: f32,
    ) -> Result<(), Error> {
        let m = x.len() / k.max(1);
        check_length("activations", m * k, x.len())?;
        let mut rest = x;
        for block in self.resize(m, k) {
            let (rows, after) = rest.split_at(block.rows() * k);
            block.quantize(kernel, rows, norm, eps)?;
            rest = after;
        }
        Ok(())
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
    k: usize,
    height: usize,
    lines: &'a mut [Line],
    step: &'a mut [f32],
    sum: &'a mut [i32],
}

impl RowBlock<'_> {
    /// Rows in this block.
    pub fn rows(&self) -> usize {
        self.step.len()
    }

    /// Fills the block from `x [rows, k]`, normalised where a norm is given: `g = max(max |x|, eps)`,
    /// `q = rne(x · (127 / g))` for each row, which lies within ±127. A row with a NaN or an infinity, or
    /// whose `127 / g` is infinite, makes NaN of all its outputs.
    ///
    /// Refuses an `x` of another length, and a gain that is not `k` long.
    pub fn quantize<T: Element>(
        self,
        kernel: Kernel,
        x: &[T],
        norm: Option<Norm>,
        eps: f32,
    ) -> Result<(), Error> {
        check_length("rows of activations", self.rows() * self.k, x.len())?;
        if let Some(norm) = norm {
            check_length("gain", self.k, norm.gain.len())?;
        }
        kernel.tier.run(Quantize { block: self, x, norm, eps });
        Ok(())
    }
}

/// [`RowBlock::quantize`], compiled for each tier.
struct Quantize<'a, 'b, T> {
    block: RowBlock<'a>,
    x: &'b [T],
    norm: Option<Norm<'b>>,
    eps: f32,
}

impl<T: Element> Job for Quantize<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn on<I: Tier>(self, tier: I) {
        let Quantize { block, x, norm, eps } = self;
        let mut buffer = [0.0; CHUNK];
        for (row, x) in x.chunks_exact(block.k.max(1)).enumerate() {
            let x = Row::new(x, norm, &mut buffer);
            let lines = &mut block.lines[row..];
            let (step, sum) = x.quantize(tier, eps, lines, block.height, &mut buffer);
            (block.step[row], block.sum[row]) = (step, sum);
        }
    }
}

/// A row as it is to be rounded, [`CHUNK`] numbers at a time.
struct Row<'a, T> {
    x: &'a [T],
    /// What all of the row is multiplied with, and each element's gain.
    norm: Option<(f32, &'a [f32])>,
}

impl<'a, T: Element> Row<'a, T> {
    #[inline(always)]
    fn new(x: &'a [T], norm: Option<Norm<'a>>, buffer: &mut [f32; CHUNK]) -> Row<'a, T> {
        let Some(Norm { eps, gain }) = norm else { return Row { x, norm: None } };
        let mut sums = [0.0; LANES];
        for x in x.chunks(CHUNK) {
            scalar::add_squares(T::widen(x, buffer), &mut sums);
        }
        let mean = sums.iter().sum::<f32>() / x.len() as f32;
        Row { x, norm: Some((1.0 / (mean + eps).sqrt(), gain)) }
    }

    #[inline(always)]
    fn chunk<'b>(&self, index: usize, buffer: &'b mut [f32; CHUNK]) -> &'b [f32]
    where
        'a: 'b,
    {
        let range = index * CHUNK..self.x.len().min((index + 1) * CHUNK);
        let x = &self.x[range.clone()];
        let Some((factor, gain)) = self.norm else { return T::widen(x, buffer) };
        let buffer = &mut buffer[..x.len()];
        T::widen_into(x, buffer);
        scalar::scale(buffer, factor);
        T::round(buffer);
        scalar::multiply(buffer, &gain[range]);
        T::round(buffer);
        buffer
    }

    /// Rounds the row into every `height`-th line; gives its step and the sum of its codes.
    #[inline(always)]
    fn quantize<I: Tier>(
        &self,
        tier: I,
        eps: f32,
        lines: &mut [Line],
        height: usize,
        buffer: &mut [f32; CHUNK],
    ) -> (f32, i32) {
        let chunks = self.x.len().div_ceil(CHUNK);
        let mut largest = 0;
        for index in 0..chunks {
            largest = largest.max(scalar::max_magnitude(self.chunk(index, buffer)));
        }
        let largest = f32::from_bits(largest);
        let g = largest.max(eps);
        let factor = 127.0 / g;
        if !largest.is_finite() || !factor.is_finite() {
            lines.iter_mut().step_by(height).for_each(|line| *line = Line::ZERO);
            return (f32::NAN, 0);
        }
        let mut sum = 0;
        for (index, lines) in lines.chunks_mut(height * CHUNK / TILE_K).enumerate().take(chunks) {
            sum += tier.round(self.chunk(index, buffer), factor, lines, height);
        }
        (g / 127.0, sum)
    }
}
