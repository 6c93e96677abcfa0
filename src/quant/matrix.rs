//! Weights as a file stores them, read in pieces.

use super::Error;
use half::{f16, slice::HalfFloatSliceExt as _};
use std::ops::{ControlFlow, Range};

/// The number type of stored weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

/// Which way a matrix lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row-major `[n, k]`: `Gemm` with `transB`, and PyTorch's `Linear`.
    OutIn,
    /// Row-major `[k, n]`: `MatMul`'s right operand.
    InOut,
}

/// A weight of `n` outputs and `k` inputs, borrowed as little-endian bytes of any alignment.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    bytes: &'a [u8],
    storage: Storage,
    layout: Layout,
    n: usize,
    k: usize,
}

/// Inputs in a piece of a row.
pub(super) const PIECE: usize = 512;

/// Rows that are read together: enough that each visit to a row of the `InOut` layout reads whole cache
/// lines.
pub(super) const PANEL: usize = 64;

impl Layout {
    /// How the transpose of a matrix lies.
    pub fn flipped(self) -> Layout {
        match self {
            Layout::OutIn => Layout::InOut,
            Layout::InOut => Layout::OutIn,
        }
    }
}

impl Storage {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::F16 | Storage::Bf16 => 2,
        }
    }

    /// Bits by which the significand of an f32 is longer.
    pub(super) fn shift(self) -> u32 {
        match self {
            Storage::F32 => 0,
            Storage::F16 => 13,
            Storage::Bf16 => 16,
        }
    }

    /// Converts as many numbers as `numbers` has room for.
    fn read(self, bytes: &[u8], numbers: &mut [f32]) {
        match self {
            Storage::F32 => {
                let words = bytes.as_chunks().0;
                numbers.iter_mut().zip(words).for_each(|(x, b)| *x = f32::from_le_bytes(*b));
            }
            Storage::F16 => {
                let halves = bytes.as_chunks().0;
                for (numbers, halves) in numbers.chunks_mut(PANEL).zip(halves.chunks(PANEL)) {
                    let mut buffer = [f16::ZERO; PANEL];
                    buffer.iter_mut().zip(halves).for_each(|(x, b)| *x = f16::from_le_bytes(*b));
                    buffer[..numbers.len()].convert_to_f32_slice(numbers);
                }
            }
            Storage::Bf16 => {
                let halves = bytes.as_chunks().0;
                let wide = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
                numbers.iter_mut().zip(halves).for_each(|(x, b)| *x = wide(b));
            }
        }
    }
}

impl<'a> Matrix<'a> {
    /// Refuses bytes whose number does not fit `n`, `k` and the type.
    pub fn new(
        bytes: &'a [u8],
        storage: Storage,
        layout: Layout,
        n: usize,
        k: usize,
    ) -> Result<Matrix<'a>, Error> {
        let expected = n.saturating_mul(k).saturating_mul(storage.size());
        if bytes.len() != expected {
            return Err(Error::Length { expected, found: bytes.len() });
        }
        Ok(Matrix { bytes, storage, layout, n, k })
    }

    /// Outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How numbers are stored.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The weight of an output and an input.
    pub fn get(&self, row: usize, column: usize) -> f32 {
        let index = match self.layout {
            Layout::OutIn => row * self.k + column,
            Layout::InOut => column * self.n + row,
        };
        let mut number = [0.0];
        self.storage.read(&self.bytes[index * self.storage.size()..], &mut number);
        number[0]
    }

    /// Visits some rows in pieces of [`PIECE`] inputs: `visit(row, first input, weights)`. The pieces of a
    /// row come in order and are cut at the same inputs in both layouts.
    pub(super) fn pieces(
        &self,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, usize, &[f32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.layout {
            Layout::OutIn => {
                let mut piece = [0.0; PIECE];
                for row in rows {
                    for first in (0..self.k).step_by(PIECE) {
                        let piece = &mut piece[..PIECE.min(self.k - first)];
                        self.storage.read(self.stored(row * self.k + first, piece.len()), piece);
                        visit(row, first, piece)?;
                    }
                }
            }
            Layout::InOut => {
                // One more than a power of two apart, so that rows don't compete for cache sets.
                let stride = PIECE + 16;
                let mut block = vec![0.0; rows.len() * stride];
                for first in (0..self.k).step_by(PIECE) {
                    let length = PIECE.min(self.k - first);
                    self.transpose(rows.clone(), first..first + length, &mut block, stride);
                    for (row, piece) in rows.clone().zip(block.chunks_exact(stride)) {
                        visit(row, first, &piece[..length])?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads a block of the `InOut` layout so that each output's inputs are neighbours.
    fn transpose(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        block: &mut [f32],
        stride: usize,
    ) {
        let mut line = [0.0; PANEL];
        for (offset, column) in columns.enumerate() {
            let line = &mut line[..rows.len()];
            self.storage.read(self.stored(column * self.n + rows.start, line.len()), line);
            for (weight, row) in line.iter().zip(block.chunks_exact_mut(stride)) {
                row[offset] = *weight;
            }
        }
    }

    fn stored(&self, first: usize, count: usize) -> &'a [u8] {
        let size = self.storage.size();
        &self.bytes[first * size..][..count * size]
    }
}
