//! The product of activations and weights, and its parts for threads.

use super::{
    Activations, BLOCK, Element, Error, Job, Kernel, Tier, Weights, check_length, scalar,
    tier::Part,
};
use std::ops::Range;

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
                let y = y.iter_mut().map(|y| y.split_off_mut(..width).unwrap_or_default());
                let y = y.collect();
                let part = Part { columns: columns.clone(), ..self.part(rows.clone()) };
                tasks.push(Task { product: self, part, y });
            }
        }
        Ok(tasks)
    }

    /// The sums alone, `[m, n]`.
    pub fn sums(&self) -> Vec<i32> {
        self.kernel.tier.run(Sums(self))
    }

    fn part(&self, rows: Range<usize>) -> Part<'a> {
        Part { x: self.x, weights: self.weights, rows, columns: 0..self.weights.blocks() }
    }

    /// The scales of one block of outputs.
    #[inline(always)]
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

/// A part of a product, for one thread.
pub struct Task<'a, T> {
    product: &'a Product<'a, T>,
    part: Part<'a>,
    /// The columns of each row.
    y: Vec<&'a mut [T]>,
}

impl<T: Element> Task<'_, T> {
    /// Computes this part.
    pub fn run(self) {
        self.product.kernel.tier.run(self);
    }
}

impl<T: Element> Job for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn on<I: Tier>(mut self, tier: I) {
        let Product { x, bias, .. } = *self.product;
        tier.product(&self.part, |row_block, column_block, sums| {
            let scale = self.product.scales(column_block);
            let bias = bias.map(|bias| &bias[column_block * BLOCK..]);
            let steps = x.block(row_block).step;
            let y = &mut self.y[(row_block - self.part.rows.start) * x.height()..];
            let first = (column_block - self.part.columns.start) * BLOCK;
            for ((sums, step), y) in sums.iter().zip(steps).zip(y) {
                store(&scalar::dequantize(sums, &scale, *step), bias, &mut y[first..]);
            }
        });
    }
}

/// Writes one row of a block to the front of `y`, as much as it has room for.
#[inline(always)]
fn store<T: Element>(scaled: &[f32; BLOCK], bias: Option<&[T]>, y: &mut [T]) {
    match y.first_chunk_mut::<BLOCK>() {
        Some(y) => T::narrow(scaled, y),
        None => T::narrow(&scaled[..y.len()], y),
    }
    if let Some(bias) = bias {
        y.iter_mut().zip(bias).take(BLOCK).for_each(|(y, bias)| *y = y.plus(*bias));
    }
}

/// [`Product::sums`], compiled for each tier.
struct Sums<'a, T>(&'a Product<'a, T>);

impl<T: Element> Job for Sums<'_, T> {
    type Output = Vec<i32>;

    #[inline(always)]
    fn on<I: Tier>(self, tier: I) -> Vec<i32> {
        let (height, n) = (self.0.x.height(), self.0.weights.n());
        let mut all = vec![0; self.0.x.m() * n];
        let part = self.0.part(0..self.0.x.m().div_ceil(height));
        tier.product(&part, |row_block, column_block, sums| {
            let rows = all[row_block * height * n..].chunks_exact_mut(n);
            for (sums, row) in sums.iter().zip(rows) {
                row[column_block * BLOCK..].iter_mut().zip(sums).for_each(|(y, sum)| *y = *sum);
            }
        });
        all
    }
}

/// Cuts `0..length` into at most `parts` ranges of similar length, at least one.
fn ranges(length: usize, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.clamp(1, length.max(1));
    (0..parts).map(|part| part * length / parts..(part + 1) * length / parts).collect()
}
