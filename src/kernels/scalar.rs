//! The definition, in plain Rust: what any CPU runs, and what each tier is compiled from.

use super::{BLOCK, LANES, Line, Rows, Tile, weights::TILE_K};

/// Adds each `x²` to the sum of its lane, that of `x[i]` to lane `i % 16`.
#[inline(always)]
pub(super) fn add_squares(x: &[f32], sums: &mut [f32; LANES]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    let mut lanes = *sums;
    for x in whole {
        lanes.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
    }
    lanes.iter_mut().zip(rest).for_each(|(sum, x)| *sum += x * x);
    *sums = lanes;
}

/// `x · factor`.
#[inline(always)]
pub(super) fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

/// `x[i] · gain[i]`.
#[inline(always)]
pub(super) fn multiply(x: &mut [f32], gain: &[f32]) {
    x.iter_mut().zip(gain).for_each(|(x, gain)| *x *= gain);
}

/// The largest `|x|`, as the bits of an f32; those of an infinity or more where `x` holds one, or a NaN.
#[inline(always)]
pub(super) fn max_magnitude(x: &[f32]) -> u32 {
    // Ordered as integers, magnitudes are ordered as numbers, then infinity, then NaN.
    x.iter().fold(0, |largest, x| largest.max(x.to_bits() & !(1 << 31)))
}

/// Writes `rne(x · factor)` into every `step`-th line, from the first, 64 to a line. The last is padded
/// with zeros. Gives the sum of what it wrote. `|x · factor|` is below 128.
#[inline(always)]
pub(super) fn round(x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
    let mut sum = 0;
    for (x, line) in x.chunks(TILE_K).zip(lines.iter_mut().step_by(step)) {
        *line = Line::ZERO;
        for (x, code) in x.iter().zip(&mut line.0) {
            *code = (x * factor).round_ties_even() as i8;
            sum += i32::from(*code);
        }
    }
    sum
}

/// `sums[m][n] = Σₖ q[m, k]·t[n, k]` for one block of outputs, over as many tiles as a row has lines.
#[inline(always)]
pub(super) fn sums(tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
    for (row, sums) in sums.iter_mut().enumerate() {
        *sums = [0; BLOCK];
        for (index, tile) in tiles.iter().enumerate() {
            for (k, &code) in rows.line(index, row).0.iter().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum += i32::from(code) * tile.weight(n, k);
                }
            }
        }
    }
}

/// `y[n] = float(sums[n]) · (scale[n] · step)`, for one row.
#[inline(always)]
pub(super) fn dequantize(sums: &[i32; BLOCK], scale: &[f32; BLOCK], step: f32) -> [f32; BLOCK] {
    std::array::from_fn(|n| sums[n] as f32 * (scale[n] * step))
}
