//! The product of activations and weights, and its parts for threads.

use super::{Activations, BLOCK, Element, Error, Kernel, Weights, check_length, weights::TILE_K};
use std::ops::Range;

/// Bytes of activations that one pass over the weights works on: they stay in a first-level cache, or nearly.
const PASS_BYTES: usize = 32 * 1024;

/// `y[m, n] = float(Σₖ q[m, k]·t[n, k]) · (scale[n] · step[m])`, plus a bias; shapes are checked once.
///
/// With the output type `T` narrower than f32, the product is rounded to `T` *before* the bias is added,
/// and the sum is rounded again: what a BitLinear followed by an `Add` computes. A sum of two f16 or bf16
/// numbers in f32, rounded once, is the correctly rounded sum. So fusing the bias never changes a bit.
#[derive(Clone, Copy)]
pub struct Product<'a, T> {
    kernel: Kernel,
    x: &'a Activations,
    weights: &'a Weights,
    scale: &'a [f32],
    bias: Option<&'a [T]>,
}

impl<'a, T: Element> Product<'a, T> {
    /// `scale` is one number for all outputs or one for each; `bias` one for each.
    ///
    /// Refuses other lengths, and activations whose rows are not as long as those of the weights.
    pub fn new(
        kernel: Kernel,
        x: &'a Activations,
        weights: &'a Weights,
        scale: &'a [f32],
        bias: Option<&'a [T]>,
    ) -> Result<Product<'a, T>, Error> {
        check_length("row of activations", weights.k(), x.k())?;
        if scale.len() != 1 {
            check_length("scale", weights.n(), scale.len())?;
        }
        if let Some(bias) = bias {
            check_length("bias", weights.n(), bias.len())?;
        }
        Ok(Product { kernel, x, weights, scale, bias })
    }

    /// Computes all of `y [m, n]` on this thread. Refuses another length.
    pub fn run(&self, y: &mut [T]) -> Result<(), Error> {
        self.split(y, 1)?.into_iter().for_each(Task::run);
        Ok(())
    }

    /// Cuts `y [m, n]` into at most `parts` tasks of similar size, which may run on any threads in any
    /// order; the result does not depend on how many there are. Refuses another length of `y`.
    pub fn split<'b>(&'b self, y: &'b mut [T], parts: usize) -> Result<Vec<Task<'b, T>>, Error> {
        let (m, n) = (self.x.m(), self.weights.n());
        check_length("output", m.saturating_mul(n), y.len())?;
        let columns = ranges(self.weights.blocks(), parts);
        let rows = ranges(m.div_ceil(self.x.height()), parts / columns.len());
        let mut y = y.chunks_exact_mut(n);
        let mut tasks = Vec::with_capacity(rows.len() * columns.len());
        for rows in rows {
            let mut y: Vec<_> = y.by_ref().take(rows.len() * self.x.height()).collect();
            for columns in &columns {
                let width = (columns.len() * BLOCK).min(y.first().map_or(0, |y| y.len()));
                let part = y.iter_mut().map(|y| y.split_off_mut(..width).unwrap_or_default());
                let part = part.collect();
                tasks.push(Task {
                    product: self,
                    rows: rows.clone(),
                    columns: columns.clone(),
                    y: part,
                });
            }
        }
        Ok(tasks)
    }

    /// The sums alone, `[m, n]`.
    pub fn sums(&self) -> Vec<i32> {
        let (m, n) = (self.x.m(), self.weights.n());
        let mut all = vec![0; m * n];
        for (block, all) in all.chunks_mut((self.x.height() * n).max(1)).enumerate() {
            let rows = self.x.block(block);
            let mut sums = [[0; BLOCK]; BLOCK];
            let sums = &mut sums[..rows.sum.len()];
            for columns in 0..self.weights.blocks() {
                self.kernel.isa.sums(self.weights.block(columns), rows, sums);
                for (sums, all) in sums.iter().zip(all.chunks_exact_mut(n)) {
                    let all = all[columns * BLOCK..].iter_mut();
                    all.zip(sums).for_each(|(all, sum)| *all = *sum);
                }
            }
        }
        all
    }

    /// The scales of one block of outputs.
    fn scales(&self, block: usize) -> [f32; BLOCK] {
        match self.scale {
            [scale] => [*scale; BLOCK],
            scale => {
                let scale = &scale[block * BLOCK..];
                std::array::from_fn(|n| scale.get(n).copied().unwrap_or_default())
            }
        }
    }
}

/// A part of a product: some blocks of rows times some blocks of columns.
pub struct Task<'a, T> {
    product: &'a Product<'a, T>,
    rows: Range<usize>,
    columns: Range<usize>,
    /// The columns of each row.
    y: Vec<&'a mut [T]>,
}

impl<T: Element> Task<'_, T> {
    /// Computes this part.
    pub fn run(mut self) {
        let x = self.product.x;
        let block_bytes = x.height() * x.k().next_multiple_of(TILE_K);
        let blocks = (PASS_BYTES / block_bytes).max(1);
        for first in self.rows.clone().step_by(blocks) {
            for columns in self.columns.clone() {
                for rows in first..self.rows.end.min(first + blocks) {
                    self.run_block(rows, columns);
                }
            }
        }
    }

    fn run_block(&mut self, block: usize, column_block: usize) {
        let Product { kernel, x, weights, bias, .. } = *self.product;
        let rows = x.block(block);
        let count = rows.sum.len();
        let (mut sums, mut scaled) = ([[0; BLOCK]; BLOCK], [[0.0; BLOCK]; BLOCK]);
        kernel.isa.sums(weights.block(column_block), rows, &mut sums[..count]);
        let scales = self.product.scales(column_block);
        kernel.isa.dequantize(&sums[..count], &scales, rows.step, &mut scaled[..count]);

        let first = (column_block - self.columns.start) * BLOCK;
        let bias = bias.map(|bias| &bias[column_block * BLOCK..]);
        let y = &mut self.y[(block - self.rows.start) * x.height()..][..count];
        for (y, scaled) in y.iter_mut().zip(&scaled) {
            store(scaled, bias, &mut y[first..]);
        }
    }
}

/// Writes one row of a block to the front of `y`, as much as it has room for.
fn store<T: Element>(scaled: &[f32; BLOCK], bias: Option<&[T]>, y: &mut [T]) {
    match y.first_chunk_mut::<BLOCK>() {
        Some(y) => T::narrow(scaled, y),
        None => T::narrow(&scaled[..y.len()], y),
    }
    if let Some(bias) = bias {
        y.iter_mut().zip(bias).take(BLOCK).for_each(|(y, bias)| *y = y.plus(*bias));
    }
}

/// Cuts `0..length` into at most `parts` ranges of similar length, at least one.
fn ranges(length: usize, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.clamp(1, length.max(1));
    (0..parts).map(|part| part * length / parts..(part + 1) * length / parts).collect()
}
