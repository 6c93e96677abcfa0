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

/// The longest piece of a row. All but a row's last are multiples of [`LANES`].
const PIECE: usize = 1024;

/// Inputs that the `InOut` layout transposes at a time: a cache line of each output.
pub(super) const LANES: usize = 16;

/// Outputs and inputs of a block of the `InOut` layout. It fits a second-level cache, and each visit to a
/// row of the file, which is likely a page of its own, reads many cache lines.
const BLOCK: (usize, usize) = (512, 64);

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
                for (numbers, halves) in numbers.chunks_mut(256).zip(halves.chunks(256)) {
                    let mut aligned = [f16::ZERO; 256];
                    aligned.iter_mut().zip(halves).for_each(|(x, b)| *x = f16::from_le_bytes(*b));
                    aligned[..numbers.len()].convert_to_f32_slice(numbers);
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
        self.read(index, &mut number);
        number[0]
    }

    /// How many rows to visit together.
    pub(super) fn panel(&self) -> usize {
        match self.layout {
            Layout::OutIn => 16,
            Layout::InOut => BLOCK.0,
        }
    }

    /// Visits up to [`Matrix::panel`] rows in pieces: `visit(row, first input, weights)`. The pieces of a row come
    /// in order; where they are cut depends on the layout.
    pub(super) fn pieces(
        &self,
        rows: Range<usize>,
        visit: impl FnMut(usize, usize, &[f32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self.layout {
            Layout::OutIn => self.pieces_of_rows(rows, visit),
            Layout::InOut => self.pieces_of_columns(rows, visit),
        }
    }

    fn pieces_of_rows(
        &self,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, usize, &[f32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut piece = [0.0; PIECE];
        for row in rows {
            for first in (0..self.k).step_by(PIECE) {
                let piece = &mut piece[..PIECE.min(self.k - first)];
                self.read(row * self.k + first, piece);
                visit(row, first, piece)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pieces_of_columns(
        &self,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, usize, &[f32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut block = vec![[[0.0; LANES]; BLOCK.1 / LANES]; rows.len()];
        for first in (0..self.k).step_by(BLOCK.1) {
            let columns = first..self.k.min(first + BLOCK.1);
            for (i, start) in columns.clone().step_by(LANES).enumerate() {
                let columns = start..columns.end.min(start + LANES);
                self.transpose(rows.clone(), columns, block.iter_mut().map(|row| &mut row[i]));
            }
            for (row, piece) in rows.clone().zip(&block) {
                visit(row, first, &piece.as_flattened()[..columns.len()])?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Reads up to [`LANES`] columns, each row of the result one output.
    fn transpose<'b>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        outputs: impl Iterator<Item = &'b mut [f32; LANES]>,
    ) {
        let mut lines = [[0.0; BLOCK.0]; LANES];
        for (line, column) in lines.iter_mut().zip(columns) {
            self.read(column * self.n + rows.start, &mut line[..rows.len()]);
        }
        for (i, output) in outputs.enumerate().take(BLOCK.0) {
            *output = std::array::from_fn(|lane| lines[lane][i]);
        }
    }

    /// Fills `numbers` with what is stored from an index on.
    fn read(&self, first: usize, numbers: &mut [f32]) {
        let size = self.storage.size();
        self.storage.read(&self.bytes[first * size..], numbers);
    }
}
