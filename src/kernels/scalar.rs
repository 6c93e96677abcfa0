//! The definition of every kernel.

use super::{BLOCK, Isa, LANES, Line, Rows, Tile, weights::TILE_K};

/// Plain Rust, on any CPU.
pub(super) struct Scalar;

impl Isa for Scalar {
    fn add_squares(&self, x: &[f32], sums: &mut [f32; LANES]) {
        add_squares(x, sums);
    }

    fn scale(&self, x: &mut [f32], factor: f32) {
        scale(x, factor);
    }

    fn multiply(&self, x: &mut [f32], gain: &[f32]) {
        multiply(x, gain);
    }

    fn max_magnitude(&self, x: &[f32]) -> u32 {
        max_magnitude(x)
    }

    fn round(&self, x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
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

    fn sums(&self, tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
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

    fn dequantize(
        &self,
        sums: &[[i32; BLOCK]],
        scale: &[f32; BLOCK],
        step: &[f32],
        y: &mut [[f32; BLOCK]],
    ) {
        dequantize(sums, scale, step, y);
    }
}

/// See [`Isa::add_squares`]. Inlined, so that it vectorises for the instruction set of its caller.
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

/// See [`Isa::scale`]. Inlined, so that it vectorises for the instruction set of its caller.
#[inline(always)]
pub(super) fn scale(x: &mut [f32], factor: f32) {
    x.iter_mut().for_each(|x| *x *= factor);
}

/// See [`Isa::multiply`]. Inlined, so that it vectorises for the instruction set of its caller.
#[inline(always)]
pub(super) fn multiply(x: &mut [f32], gain: &[f32]) {
    x.iter_mut().zip(gain).for_each(|(x, gain)| *x *= gain);
}

/// See [`Isa::max_magnitude`]. Inlined, so that it vectorises for the instruction set of its caller.
#[inline(always)]
pub(super) fn max_magnitude(x: &[f32]) -> u32 {
    // Ordered as integers, magnitudes are ordered as numbers, then infinity, then NaN.
    x.iter().fold(0, |largest, x| largest.max(x.to_bits() & !(1 << 31)))
}

/// See [`Isa::dequantize`]. Inlined, so that it vectorises for the instruction set of its caller.
#[inline(always)]
pub(super) fn dequantize(
    sums: &[[i32; BLOCK]],
    scale: &[f32; BLOCK],
    step: &[f32],
    y: &mut [[f32; BLOCK]],
) {
    for ((sums, step), y) in sums.iter().zip(step).zip(y) {
        for ((sum, scale), y) in sums.iter().zip(scale).zip(y) {
            *y = *sum as f32 * (scale * step);
        }
    }
}
