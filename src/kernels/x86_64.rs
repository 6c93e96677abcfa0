//! AVX2.
//!
//! Weights enter as the codes `c = t + 1`, so that one multiply-add of unsigned and signed bytes serves; since
//! `Σ q·t = Σ q·c - Σ q`, each row's sum is taken off once, at the end.
#![allow(unsafe_code, reason = "vector instructions exist on some CPUs only")]

use super::{BLOCK, Isa, Line, Rows, Tile, scalar, weights::TILE_K};
use std::arch::x86_64::*;

/// Rows of activations that share each unpacking of weights: with their sums, the registers are full.
const ROWS: usize = 8;

/// Tiles between additions of the 16-bit sums to the 32-bit ones.
///
/// A tile adds 16 pairs of products to each 16-bit sum. With codes from 0 to 2 and activations within
/// ±127 a pair lies within ±508, and 4 tiles of them within ±32512, which 16 bits hold.
const TILES_IN_16_BITS: usize = 4;

/// The kernel, where this CPU has AVX2.
pub(super) fn avx2() -> Option<&'static dyn Isa> {
    is_x86_feature_detected!("avx2").then_some(&Avx2)
}

/// Given out by [`avx2`] alone, so that a reference proves that the CPU has AVX2.
struct Avx2;

impl Isa for Avx2 {
    fn max_magnitude(&self, x: &[f32]) -> u32 {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { max_magnitude(x) }
    }

    fn round(&self, x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { round(x, factor, lines, step) }
    }

    fn sums(&self, tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { sum_block(tiles, rows, sums) }
    }

    fn dequantize(
        &self,
        sums: &[[i32; BLOCK]],
        scale: &[f32; BLOCK],
        step: &[f32],
        y: &mut [[f32; BLOCK]],
    ) {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { dequantize(sums, scale, step, y) }
    }
}

/// The definition, compiled for AVX2.
#[target_feature(enable = "avx2")]
fn max_magnitude(x: &[f32]) -> u32 {
    scalar::max_magnitude(x)
}

/// The definition, compiled for AVX2.
#[target_feature(enable = "avx2")]
fn dequantize(sums: &[[i32; BLOCK]], scale: &[f32; BLOCK], step: &[f32], y: &mut [[f32; BLOCK]]) {
    scalar::dequantize(sums, scale, step, y);
}

#[target_feature(enable = "avx2")]
fn round(x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
    let factor = _mm256_set1_ps(factor);
    let mut sums = _mm256_setzero_si256();
    let (whole, rest) = x.as_chunks::<TILE_K>();
    let mut padded = [0.0; TILE_K];
    padded[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(&padded);
    for (x, line) in whole.iter().chain(last).zip(lines.iter_mut().step_by(step)) {
        for (x, codes) in x.as_chunks().0.iter().zip(line.0.as_chunks_mut().0) {
            sums = _mm256_add_epi32(sums, round_32(x, factor, codes));
        }
    }
    horizontal_sum(sums)
}

/// Rounds 32 numbers; gives sums of four codes each.
#[target_feature(enable = "avx2")]
fn round_32(x: &[f32; 32], factor: __m256, codes: &mut [i8; 32]) -> __m256i {
    let eight = |i: usize| {
        // SAFETY: the callers' `i` is at most 3, and 8 numbers follow `8·i` of 32.
        let x = unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) };
        // Rounds half to even: Rust code always runs in that mode.
        _mm256_cvtps_epi32(_mm256_mul_ps(x, factor))
    };
    let low = _mm256_packs_epi32(eight(0), eight(1));
    let high = _mm256_packs_epi32(eight(2), eight(3));
    // Packing works on each 128-bit half: the fours of numbers come out as 0 2 4 6, 1 3 5 7.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let packed = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
    // SAFETY: `codes` is 32 bytes.
    unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), packed) };
    let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), packed);
    _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
}

#[target_feature(enable = "avx2")]
fn horizontal_sum(sums: __m256i) -> i32 {
    to_array(sums).iter().sum()
}

#[target_feature(enable = "avx2")]
fn sum_block(tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
    for (i, sums) in sums.chunks_mut(ROWS).enumerate() {
        let first = i * ROWS;
        match sums.len() {
            1 => sum_rows::<1>(tiles, rows, first, sums),
            2 => sum_rows::<2>(tiles, rows, first, sums),
            3 => sum_rows::<3>(tiles, rows, first, sums),
            4 => sum_rows::<4>(tiles, rows, first, sums),
            5 => sum_rows::<5>(tiles, rows, first, sums),
            6 => sum_rows::<6>(tiles, rows, first, sums),
            7 => sum_rows::<7>(tiles, rows, first, sums),
            _ => sum_rows::<ROWS>(tiles, rows, first, sums),
        }
    }
}

/// The sums of `R` rows of activations from `first` on.
#[target_feature(enable = "avx2")]
fn sum_rows<const R: usize>(
    tiles: &[Tile],
    rows: Rows<'_>,
    first: usize,
    sums: &mut [[i32; BLOCK]],
) {
    for half in 0..2 {
        let mut totals = [_mm256_setzero_si256(); R];
        for (i, tiles) in tiles.chunks(TILES_IN_16_BITS).enumerate() {
            let lines = &rows.lines[i * TILES_IN_16_BITS * rows.height + first..];
            let parts = sum_tiles::<R>(tiles, half, lines, rows.height);
            for (total, part) in totals.iter_mut().zip(parts) {
                *total = _mm256_add_epi32(*total, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
            }
        }
        for ((sums, total), sum) in sums.iter_mut().zip(totals).zip(&rows.sum[first..]) {
            let total = to_array(_mm256_sub_epi32(total, _mm256_set1_epi32(*sum)));
            sums[half * 8..][..8].copy_from_slice(&total);
        }
    }
}

/// 16-bit sums, two for each of 8 outputs, of half the outputs of a few tiles.
#[target_feature(enable = "avx2")]
#[inline]
fn sum_tiles<const R: usize>(
    tiles: &[Tile],
    half: usize,
    lines: &[Line],
    height: usize,
) -> [__m256i; R] {
    let two_bits = _mm256_set1_epi8(3);
    let mut sums = [_mm256_setzero_si256(); R];
    for (i, tile) in tiles.iter().enumerate() {
        let lines = &lines[i * height..][..R];
        for part in 0..4 {
            // SAFETY: 64 bytes follow `64·part` of 256, `half` is 0 or 1, and tiles are aligned to 64.
            let packed =
                unsafe { _mm256_load_si256(tile.0.as_ptr().add(64 * part + 32 * half).cast()) };
            let codes = [
                packed,
                _mm256_srli_epi16::<2>(packed),
                _mm256_srli_epi16::<4>(packed),
                _mm256_srli_epi16::<6>(packed),
            ];
            for (quad, codes) in codes.into_iter().enumerate() {
                let codes = _mm256_and_si256(codes, two_bits);
                for (sum, line) in sums.iter_mut().zip(lines) {
                    let q = _mm256_set1_epi32(four(line, 4 * part + quad));
                    *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(codes, q));
                }
            }
        }
    }
    sums
}

/// Four consecutive codes of a line.
#[target_feature(enable = "avx2")]
#[inline]
fn four(line: &Line, index: usize) -> i32 {
    let bytes = line.0.as_chunks::<4>().0[index];
    i32::from_ne_bytes(bytes.map(|b| b as u8))
}

#[target_feature(enable = "avx2")]
#[inline]
fn to_array(vector: __m256i) -> [i32; 8] {
    let mut array = [0; 8];
    // SAFETY: the array is 32 bytes.
    unsafe { _mm256_storeu_si256(array.as_mut_ptr().cast(), vector) };
    array
}
