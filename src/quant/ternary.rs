//! The absmean quantiser.

use super::{Error, Matrix, exact::Magnitudes, matrix::LANES};
use crate::operator::{Codes, Scales};
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};

/// The least scale.
const LEAST_SCALE: f32 = 1e-5;

/// Weights that are encoded together.
const STEP: usize = 64;

/// A ternary weight: `scale · (code - 1)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Ternary {
    /// The codes of `n` outputs and `k` inputs.
    pub codes: Codes,
    /// What they are multiplied by.
    pub scale: Scales,
    /// How many weights are zero.
    pub zeros: u64,
    /// Whether the weight was ternary already and is kept as it was.
    pub exact: bool,
}

/// Rounds a weight to three values by its mean magnitude, one scale for each group of rows.
///
/// `s = max(mean |W|, 1e-5)`, the mean in f64, and `t = clip(rne(W · (1 / s)), -1, 1)` in f32 (BitNet
/// b1.58, arXiv:2402.17764). A weight that is ternary already, in every row {-a, 0, a} to within 8 units
/// in the last place of its stored type, is kept: the scale is then the most frequent magnitude, of the
/// group where its rows have one in common, else of each row.
///
/// The result is the same whatever the layout and the number of threads. Refuses groups that don't follow
/// each other from row 0 to `n`, and weights that are not finite.
pub fn ternarize(weight: &Matrix, groups: &[Range<usize>]) -> Result<Ternary, Error> {
    check_groups(groups, weight.n())?;
    let exact = exact_scales(weight, groups);
    let is_exact = exact.is_some();
    let scales = match exact {
        Some(scales) => scales,
        None => mean_scales(weight, groups)?,
    };
    let (codes, zeros) = encode(weight, &scales);
    Ok(Ternary { codes, scale: Scales::of_rows(scales), zeros, exact: is_exact })
}

fn check_groups(groups: &[Range<usize>], n: usize) -> Result<(), Error> {
    let end = groups
        .iter()
        .try_fold(0, |end, group| (group.start == end && group.end > end).then_some(group.end));
    if end == Some(n) { Ok(()) } else { Err(Error::Groups) }
}

/// The scale of each row of a weight that is ternary already.
fn exact_scales(weight: &Matrix, groups: &[Range<usize>]) -> Option<Vec<f32>> {
    let rows: Option<Vec<_>> = panels(weight).map(|rows| exact_panel(weight, rows)).collect();
    let rows = rows?.concat();
    let storage = weight.storage();
    let mut scales = Vec::with_capacity(rows.len());
    for group in groups {
        let rows = &rows[group.clone()];
        let all = rows.iter().try_fold(Magnitudes::default(), |all, row| all.and(*row));
        let common = match all {
            Some(all) if all.is_zero() => Some(LEAST_SCALE),
            all => all.and_then(|all| all.scale(storage)),
        };
        for row in rows {
            let own = || if row.is_zero() { Some(LEAST_SCALE) } else { row.scale(storage) };
            scales.push(common.or_else(own)?);
        }
    }
    Some(scales)
}

/// The magnitudes of each row of a panel, if all are ternary.
fn exact_panel(weight: &Matrix, rows: Range<usize>) -> Option<Vec<Magnitudes>> {
    let mut found = vec![Magnitudes::default(); rows.len()];
    let flow = weight.pieces(rows.clone(), |row, _, piece| {
        let total = &mut found[row - rows.start];
        match Magnitudes::of(piece, weight.storage()).and_then(|piece| total.and(piece)) {
            Some(sum) => {
                *total = sum;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        }
    });
    flow.is_continue().then_some(found)
}

/// The scale of each row by its group's mean magnitude.
fn mean_scales(weight: &Matrix, groups: &[Range<usize>]) -> Result<Vec<f32>, Error> {
    let sums: Vec<f64> = panels(weight).flat_map_iter(|rows| row_sums(weight, rows)).collect();
    if let Some(row) = sums.iter().position(|sum| !sum.is_finite()) {
        let values = (0..weight.k()).map(|column| (column, weight.get(row, column)));
        let (column, value) =
            values.into_iter().find(|(_, value)| !value.is_finite()).unwrap_or_default();
        return Err(Error::NotFinite { row, column, value });
    }
    let scale = |group: &Range<usize>| {
        let count = group.len() as f64 * weight.k() as f64;
        let mean = sums[group.clone()].iter().sum::<f64>() / count.max(1.0);
        std::iter::repeat_n((mean as f32).max(LEAST_SCALE), group.len())
    };
    Ok(groups.iter().flat_map(scale).collect())
}

/// Per row, the sum of magnitudes; infinite or NaN where a weight is.
fn row_sums(weight: &Matrix, rows: Range<usize>) -> Vec<f64> {
    let mut sums = vec![[0.0; LANES]; rows.len()];
    let _ = weight.pieces(rows.clone(), |row, _, piece| {
        add_magnitudes(piece, &mut sums[row - rows.start]);
        ControlFlow::Continue(())
    });
    sums.iter().map(|lanes| lanes.iter().sum()).collect()
}

/// Adds up `|w|` in f64, every [`LANES`]-th weight in one lane: an order that vectorises, and that does
/// not depend on where rows are cut.
fn add_magnitudes(weights: &[f32], sums: &mut [f64; LANES]) {
    let (whole, rest) = weights.as_chunks::<LANES>();
    let mut lanes = *sums;
    for weights in whole {
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane += f64::from(weight.abs());
        }
    }
    for (lane, weight) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(weight.abs());
    }
    *sums = lanes;
}

/// The codes, and how many are zero weights.
fn encode(weight: &Matrix, scales: &[f32]) -> (Codes, u64) {
    let row_bytes = Codes::row_bytes(weight.k());
    let mut codes = Codes::zeros(weight.n(), weight.k());
    let zeros = codes
        .bytes_mut()
        .par_chunks_mut((weight.panel() * row_bytes).max(1))
        .zip(panels(weight))
        .map(|(codes, rows)| {
            let mut zeros = 0;
            let _ = weight.pieces(rows.clone(), |row, first, piece| {
                let codes = &mut codes[(row - rows.start) * row_bytes + first / 4..];
                zeros += encode_piece(piece, 1.0 / scales[row], codes);
                ControlFlow::Continue(())
            });
            zeros
        })
        .sum();
    (codes, zeros)
}

/// Packs the codes of a piece to the front of `packed`; gives how many are zero weights.
fn encode_piece(weights: &[f32], factor: f32, packed: &mut [u8]) -> u64 {
    let mut zeros = 0;
    for (weights, packed) in weights.chunks(STEP).zip(packed.chunks_mut(STEP / 4)) {
        let mut padded = [0.0; STEP];
        padded[..weights.len()].copy_from_slice(weights);
        let codes = &padded.map(|weight| code(weight * factor))[..weights.len()];
        Codes::pack(codes, packed);
        zeros += u64::from(codes.iter().map(|code| u8::from(*code == 1)).sum::<u8>());
    }
    zeros
}

/// The code of a weight in units of its scale: half to even rounds ±0.5 to zero.
fn code(scaled: f32) -> u8 {
    1 + u8::from(scaled > 0.5) - u8::from(scaled < -0.5)
}

/// All rows, as many at a time as are visited together.
fn panels(weight: &Matrix) -> impl IndexedParallelIterator<Item = Range<usize>> {
    let (n, panel) = (weight.n(), weight.panel());
    (0..n.div_ceil(panel)).into_par_iter().map(move |i| i * panel..n.min((i + 1) * panel))
}
