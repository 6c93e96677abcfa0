//! What ternarising takes from a weight, as a product of two thin matrices.
//!
//! `W ≈ t·s + U·Vᵀ` (Low-Rank Correction for Quantized LLMs, arXiv:2412.07902). The factors are the leading
//! singular vectors of `E = W - t·s`, each with the root of its singular value. For large weights they come
//! from a randomised block Krylov subspace (Musco and Musco, arXiv:1504.05477), which finds them where the
//! spectrum is as flat as that of what rounding leaves. Its seed never changes: the same weight gives the
//! same factors.

use super::{Error, Matrix, Ternary};
use nalgebra::{DMatrix, DMatrixView, RealField, SymmetricEigen};
use rayon::prelude::*;
use std::ops::ControlFlow;

/// `U·Vᵀ`, beside a ternary weight.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Correction {
    /// `[n, rank]`.
    pub u: Vec<f32>,
    /// `[k, rank]`.
    pub v: Vec<f32>,
    /// `‖W - t·s‖ / ‖W‖`, and the same less `U·Vᵀ`; 0 where W is.
    pub errors: [f64; 2],
}

/// Up to this lesser side the subspace is the whole space.
const EXACT: usize = 512;

/// How many more directions than the rank a block of the subspace has.
const OVERSAMPLING: usize = 16;

/// About how many directions the subspace has in all.
const SUBSPACE: usize = 384;

/// The fewest blocks of a subspace.
const MIN_BLOCKS: usize = 3;

/// The best correction of a rank, which is cut down to the weight's lesser side: the one with the least
/// `‖W - t·s - U·Vᵀ‖`, up to the sketch.
///
/// Of each pair of singular vectors the largest element of u is positive. Refuses weights that are not finite.
pub fn low_rank(weight: &Matrix, ternary: &Ternary, rank: usize) -> Result<Correction, Error> {
    let (n, k) = (weight.n(), weight.k());
    let mut residual = Residual::of(weight, ternary)?;
    let unit = residual.normalize();
    let rank = rank.min(n).min(k);
    let e = Tall::of(&residual.data, n, k);
    let (mut values, long, short) = e.leading(rank);
    values.iter_mut().for_each(|value| *value *= unit);
    let (mut u, mut v) = if n >= k { (long, short) } else { (short, long) };
    let kept: f64 = values.iter().map(|s| f64::from(*s).powi(2)).sum();
    let left = (residual.squares - kept).max(0.0);
    for (column, value) in values.iter().enumerate() {
        let root = sign(u.column(column).iter().copied()) * value.sqrt();
        u.column_mut(column).scale_mut(root);
        v.column_mut(column).scale_mut(root);
    }
    let by_rows = |matrix: DMatrix<f32>| matrix.transpose().as_slice().to_vec();
    let errors = residual.relative([residual.squares, left]);
    Ok(Correction { u: by_rows(u), v: by_rows(v), errors })
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

    /// Divides the data by a power of two that leaves their largest magnitude below 1, and returns it:
    /// products of what remains don't overflow.
    fn normalize(&mut self) -> f32 {
        let largest = self.data.par_iter().map(|e| e.abs().to_bits()).max().unwrap_or_default();
        let exponent = (largest >> 23) as i32 - 126;
        let exponent = exponent.clamp(-120, 120);
        let unit = f32::powi(2.0, exponent);
        self.data.par_iter_mut().for_each(|e| *e /= unit);
        unit
    }

    fn relative(&self, squares: [f64; 2]) -> [f64; 2] {
        squares.map(|s| if self.weight > 0.0 { (s / self.weight).sqrt() } else { 0.0 })
    }
}

/// Takes a row of a ternary weight from a row of floats.
fn subtract(values: &mut [f32], ternary: &Ternary, row: usize) {
    let scale = ternary.scale.row(row);
    for (value, code) in values.iter_mut().zip(ternary.codes.row(row)) {
        *value -= scale * (f32::from(code) - 1.0);
    }
}

/// How many rows, or columns, one task takes: the same however many cores there are, and so the sums are
/// the same.
const STRIP: usize = 128;

/// E, or its transpose where E has fewer rows than columns.
struct Tall<'e> {
    /// The transpose of E, `[k, n]`: what lies row after row lies column after column of it.
    flipped: DMatrixView<'e, f32>,
    is_flipped: bool,
}

impl<'e> Tall<'e> {
    /// Of `[n, k]`, row after row.
    fn of(data: &'e [f32], n: usize, k: usize) -> Self {
        Tall { flipped: DMatrixView::from_slice(data, k, n), is_flipped: n < k }
    }

    fn short(&self) -> usize {
        self.flipped.nrows().min(self.flipped.ncols())
    }

    /// `A·b`, `[long, width]`.
    fn times(&self, b: &DMatrix<f32>) -> DMatrix<f32> {
        product(&self.flipped, !self.is_flipped, b)
    }

    /// `Aᵀ·b`, `[short, width]`.
    fn transposed_times(&self, b: &DMatrix<f32>) -> DMatrix<f32> {
        product(&self.flipped, self.is_flipped, b)
    }

    /// The leading singular values, in descending order, with their vectors of the long and the short side.
    fn leading(&self, rank: usize) -> (Vec<f32>, DMatrix<f32>, DMatrix<f32>) {
        let basis = self.subspace(rank);
        let image = match &basis {
            Some(basis) => self.times(basis),
            None if self.is_flipped => self.flipped.clone_owned(),
            None => self.flipped.transpose(),
        };
        let eigen = SymmetricEigen::new(gram(&image));
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        order.truncate(rank);
        let chosen = DMatrix::from_fn(image.ncols(), order.len(), |row, column| {
            eigen.eigenvectors[(row, order[column])] as f32
        });
        let mut long = image * &chosen;
        let short = match basis {
            Some(basis) => basis * chosen,
            None => chosen,
        };
        let mut values: Vec<f32> = long.column_iter().map(|column| column.norm()).collect();
        // What is left of directions that E does not have is noise.
        let least = values.first().map_or(0.0, |largest| largest * 1e-6);
        values.iter_mut().filter(|value| **value <= least).for_each(|value| *value = 0.0);
        for (mut column, value) in long.column_iter_mut().zip(&values) {
            column.scale_mut(if *value > 0.0 { value.recip() } else { 0.0 });
        }
        (values, long, short)
    }

    /// An orthonormal basis, `[short, width]`, of a space that holds the leading directions; `None` for the
    /// whole space.
    fn subspace(&self, rank: usize) -> Option<DMatrix<f32>> {
        let (short, width) = (self.short(), rank + OVERSAMPLING);
        let blocks = (SUBSPACE / width).max(MIN_BLOCKS);
        if short <= EXACT.max(blocks * width) {
            return None;
        }
        let mut random = Random::new(b"subspace");
        let probe = DMatrix::from_fn(short, width, |_, _| random.normal());
        let mut basis = DMatrix::zeros(short, blocks * width);
        let mut block = probe.qr().q();
        for index in 0..blocks {
            if index > 0 {
                block = self.transposed_times(&self.times(&block));
                let known = basis.columns(0, index * width);
                block -= known * known.tr_mul(&block);
                block = block.qr().q();
            }
            basis.columns_mut(index * width, width).copy_from(&block);
        }
        // Where little of a block is new, what rounding left of it may not be orthogonal to the rest.
        Some(basis.qr().q())
    }
}

/// `m·b`, or `mᵀ·b`, on all cores.
fn product(m: &DMatrixView<f32>, transposed: bool, b: &DMatrix<f32>) -> DMatrix<f32> {
    match transposed {
        true => in_strips(m.ncols(), |at, count| m.columns(at, count).tr_mul(b)),
        false => in_strips(m.nrows(), |at, count| m.rows(at, count) * b),
    }
}

/// `bᵀ·b`, in f64.
fn gram(b: &DMatrix<f32>) -> DMatrix<f64> {
    let b = b.map(f64::from);
    in_strips(b.ncols(), |at, count| b.columns(at, count).tr_mul(&b))
}

/// The rows that `part` makes for a start and a count, on all cores, one below the other.
fn in_strips<T: RealField + Copy>(
    rows: usize,
    part: impl Fn(usize, usize) -> DMatrix<T> + Sync,
) -> DMatrix<T> {
    let starts: Vec<usize> = (0..rows).step_by(STRIP).collect();
    let strips: Vec<DMatrix<T>> =
        starts.par_iter().map(|&at| part(at, STRIP.min(rows - at))).collect();
    let mut made = DMatrix::zeros(rows, strips.first().map_or(0, DMatrix::ncols));
    for (&at, strip) in starts.iter().zip(&strips) {
        made.rows_mut(at, strip.nrows()).copy_from(strip);
    }
    made
}

/// 1 or -1, so that the element of the largest magnitude becomes positive.
fn sign(values: impl Iterator<Item = f32>) -> f32 {
    let largest = values.fold(0.0f32, |most, x| if x.abs() > most.abs() { x } else { most });
    if largest < 0.0 { -1.0 } else { 1.0 }
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
