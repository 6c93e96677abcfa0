//! What ternarising takes from a weight, as a product of two thin matrices.
//!
//! `W ≈ t·s + U·Vᵀ` (Low-Rank Correction for Quantized LLMs, arXiv:2412.07902). The factors are the leading
//! singular vectors of `E = W - t·s`, each with the root of its singular value. For large weights they come
//! from a random sketch of E, sharpened by power iterations (Halko, Martinsson and Tropp,
//! arXiv:0909.4061), with a seed that never changes: the same weight gives the same factors.

use super::{Error, Matrix, Ternary};
use nalgebra::{DMatrix, DMatrixView};
use rayon::prelude::*;
use std::ops::ControlFlow;

/// `U·Vᵀ`, beside a ternary weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// `[n, rank]`.
    pub u: Vec<f32>,
    /// `[k, rank]`.
    pub v: Vec<f32>,
    /// `‖W - t·s‖ / ‖W‖`, and the same less `U·Vᵀ`; 0 where W is.
    pub errors: [f64; 2],
}

/// Up to this lesser side the decomposition is exact, which takes no longer then.
const EXACT: usize = 256;

/// How many more directions than the rank the sketch has.
const OVERSAMPLING: usize = 16;

/// How often the sketch goes through E and back: the spectrum of what rounding leaves is nearly flat.
const ITERATIONS: usize = 4;

/// The best correction of a rank, which is cut down to the weight's lesser side: the one with the least
/// `‖W - t·s - U·Vᵀ‖`, up to the sketch.
///
/// Of each pair of singular vectors the largest element of u is positive. Refuses weights that are not finite.
pub fn low_rank(weight: &Matrix, ternary: &Ternary, rank: usize) -> Result<Correction, Error> {
    let (n, k) = (weight.n(), weight.k());
    let residual = Residual::of(weight, ternary)?;
    let rank = rank.min(n).min(k);
    let sketched = n.min(k) > EXACT.max(2 * (rank + OVERSAMPLING));
    let (u, values, v) = match sketched {
        true => sketch(&residual.data, n, k, rank),
        // Rows of E are columns here.
        false => {
            let (v, values, u) = decompose(DMatrix::from_column_slice(k, n, &residual.data));
            (u, values, v)
        }
    };
    let kept: f64 = values.iter().take(rank).map(|s| f64::from(*s).powi(2)).sum();
    let left = (residual.squares - kept).max(0.0);
    let mut correction = Correction {
        u: vec![0.0; n * rank],
        v: vec![0.0; k * rank],
        errors: residual.relative([residual.squares, left]),
    };
    for (column, value) in values.iter().take(rank).enumerate() {
        let root = sign(u.column(column).iter().copied()) * value.max(0.0).sqrt();
        fill(&mut correction.u, rank, column, u.column(column).iter().map(|x| x * root));
        fill(&mut correction.v, rank, column, v.column(column).iter().map(|x| x * root));
    }
    Ok(correction)
}

/// A correction that does nothing before it is trained: U is zero, and V is drawn evenly from
/// `±1/√k` (Kaiming's with a = √5, as LoRA begins, arXiv:2106.09685), from a seed that `name` gives.
///
/// Refuses weights that are not finite.
pub fn untrained(
    weight: &Matrix,
    ternary: &Ternary,
    rank: usize,
    name: &str,
) -> Result<Correction, Error> {
    let residual = Residual::of(weight, ternary)?;
    let (n, k) = (weight.n(), weight.k());
    let mut random = Random::new(name.as_bytes());
    let bound = 1.0 / (k as f32).sqrt();
    Ok(Correction {
        u: vec![0.0; n * rank],
        v: (0..k * rank).map(|_| bound * (2.0 * random.unit() as f32 - 1.0)).collect(),
        errors: residual.relative([residual.squares; 2]),
    })
}

/// `W - t·s`, row after row, and the squares of W and of itself, summed.
struct Residual {
    data: Vec<f32>,
    weight: f64,
    squares: f64,
}

impl Residual {
    fn of(weight: &Matrix, ternary: &Ternary) -> Result<Self, Error> {
        let (n, k) = (weight.n(), weight.k());
        let mut data = vec![0.0f32; n * k];
        let panel = weight.panel();
        let sums: Vec<[f64; 2]> = data
            .par_chunks_mut(panel * k)
            .enumerate()
            .map(|(i, rows)| {
                let first = i * panel;
                let mut squares = 0.0;
                let range = first..first + rows.len() / k;
                let _ = weight.pieces(range, |row, start, piece| {
                    squares += piece.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>();
                    rows[(row - first) * k + start..][..piece.len()].copy_from_slice(piece);
                    ControlFlow::Continue(())
                });
                for (row, values) in rows.chunks_mut(k).enumerate() {
                    subtract(values, ternary, first + row);
                }
                [squares, rows.iter().map(|e| f64::from(*e).powi(2)).sum()]
            })
            .collect();
        let sum = |which: usize| sums.iter().map(|s| s[which]).sum::<f64>();
        let (weight_squares, squares) = (sum(0), sum(1));
        if !squares.is_finite() {
            let index = data.iter().position(|e| !e.is_finite()).unwrap_or_default();
            let (row, column) = (index / k, index % k);
            return Err(Error::NotFinite { row, column, value: weight.get(row, column) });
        }
        Ok(Residual { data, weight: weight_squares, squares })
    }

    fn relative(&self, squares: [f64; 2]) -> [f64; 2] {
        squares.map(|s| if self.weight > 0.0 { (s / self.weight).sqrt() } else { 0.0 })
    }
}

/// Takes a row of a ternary weight from a row of floats.
fn subtract(values: &mut [f32], ternary: &Ternary, row: usize) {
    let stride = ternary.k.div_ceil(4);
    let codes = &ternary.codes[row * stride..][..stride];
    let scale = ternary.scale[if ternary.scale.len() == 1 { 0 } else { row }];
    for (four, code) in values.chunks_mut(4).zip(codes) {
        for (slot, value) in four.iter_mut().enumerate() {
            *value -= scale * (f32::from((code >> (2 * slot)) & 3) - 1.0);
        }
    }
}

/// The singular vectors and values of `a`: left, values in descending order, right.
fn decompose(a: DMatrix<f32>) -> (DMatrix<f32>, Vec<f32>, DMatrix<f32>) {
    let svd = a.svd(true, true);
    let (left, right) = (svd.u.unwrap_or_default(), svd.v_t.unwrap_or_default());
    (left, svd.singular_values.iter().copied().collect(), right.transpose())
}

/// The leading singular vectors and values of `e`, `[n, k]` row after row, by way of a random subspace.
fn sketch(e: &[f32], n: usize, k: usize, rank: usize) -> (DMatrix<f32>, Vec<f32>, DMatrix<f32>) {
    let width = rank + OVERSAMPLING;
    let mut random = Random::new(b"sketch");
    let probe = DMatrix::from_fn(k, width, |_, _| random.normal());
    let mut basis = rows_times(e, n, k, &probe).qr().q();
    for _ in 0..ITERATIONS {
        let back = columns_times(e, n, k, &basis).qr().q();
        basis = rows_times(e, n, k, &back).qr().q();
    }
    let (right, values, left) = decompose(columns_times(e, n, k, &basis));
    (basis * left, values, right)
}

/// How many rows, or columns, of E one task takes: the same however many cores there are, and so the
/// sums are the same.
const STRIP: usize = 128;

/// `E·b`, `[n, width]`, on all cores.
fn rows_times(e: &[f32], n: usize, k: usize, b: &DMatrix<f32>) -> DMatrix<f32> {
    let strips: Vec<DMatrix<f32>> = e
        .par_chunks(STRIP * k)
        .map(|rows| DMatrix::from_row_slice(rows.len() / k, k, rows) * b)
        .collect();
    stacked(&strips, n, b.ncols())
}

/// `Eᵀ·b`, `[k, width]`, on all cores.
fn columns_times(e: &[f32], n: usize, k: usize, b: &DMatrix<f32>) -> DMatrix<f32> {
    let transposed = DMatrixView::from_slice(e, k, n);
    let starts: Vec<usize> = (0..k).step_by(STRIP).collect();
    let strips: Vec<DMatrix<f32>> =
        starts.par_iter().map(|&at| transposed.rows(at, STRIP.min(k - at)) * b).collect();
    stacked(&strips, k, b.ncols())
}

fn stacked(strips: &[DMatrix<f32>], rows: usize, columns: usize) -> DMatrix<f32> {
    let mut made = DMatrix::zeros(rows, columns);
    let mut start = 0;
    for strip in strips {
        made.rows_mut(start, strip.nrows()).copy_from(strip);
        start += strip.nrows();
    }
    made
}

/// 1 or -1, so that the element of the largest magnitude becomes positive.
fn sign(values: impl Iterator<Item = f32>) -> f32 {
    let largest = values.fold(0.0f32, |most, x| if x.abs() > most.abs() { x } else { most });
    if largest < 0.0 { -1.0 } else { 1.0 }
}

/// Sets one column of a row-major matrix.
fn fill(matrix: &mut [f32], columns: usize, column: usize, values: impl Iterator<Item = f32>) {
    for (row, value) in matrix.chunks_mut(columns).zip(values) {
        row[column] = value;
    }
}

/// Numbers that are the same everywhere: BLAKE3 of a seed, as long as needed.
struct Random(blake3::OutputReader);

impl Random {
    fn new(seed: &[u8]) -> Self {
        Random(blake3::Hasher::new().update(seed).finalize_xof())
    }

    /// From 0 to 1, the ends left out.
    fn unit(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        ((u64::from_le_bytes(bytes) >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    /// Of the normal distribution (Box and Muller).
    fn normal(&mut self) -> f32 {
        let (radius, turn) = ((-2.0 * self.unit().ln()).sqrt(), self.unit());
        (radius * (std::f64::consts::TAU * turn).cos()) as f32
    }
}
