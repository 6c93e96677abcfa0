//! Activations rounded to int8, row by row.

use super::{
    Activations, Element, Error, Job, Kernel, LANES, RowBlock, Tier, activations::Line,
    check_length, scalar, weights::TILE_K,
};

/// Activations are widened this many at a time: a buffer that stays in the first-level cache.
const CHUNK: usize = 16 * TILE_K;

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

impl Activations {
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
}

impl RowBlock<'_> {
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
        let norm = norm.map(|Norm { eps, gain }| {
            let mut sums = [0.0; LANES];
            x.chunks(CHUNK).for_each(|x| scalar::add_squares(T::widen(x, buffer), &mut sums));
            let mean = sums.iter().sum::<f32>() / x.len() as f32;
            (1.0 / (mean + eps).sqrt(), gain)
        });
        Row { x, norm }
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
        let largest = (0..chunks).map(|i| scalar::max_magnitude(self.chunk(i, buffer))).max();
        let largest = f32::from_bits(largest.unwrap_or_default());
        let g = largest.max(eps);
        let factor = 127.0 / g;
        if !largest.is_finite() || !factor.is_finite() {
            lines.iter_mut().step_by(height).for_each(|line| *line = Line::ZERO);
            return (f32::NAN, 0);
        }
        let lines = lines.chunks_mut(height * CHUNK / TILE_K).enumerate().take(chunks);
        let sums = lines.map(|(i, lines)| tier.round(self.chunk(i, buffer), factor, lines, height));
        (g / 127.0, sums.sum())
    }
}
