//! AVX2.
//!
//! Weights enter as the codes `c = t + 1`, so that one multiply-add of unsigned and signed bytes serves; since
//! `Σ q·t = Σ q·c - Σ q`, each row's sum is taken off once, at the end.
#![allow(unsafe_code, reason = "vector instructions exist on some CPUs only")]

use super::{BLOCK, Job, Line, Rows, Tier, Tile, weights::TILE_K};
use std::arch::x86_64::*;

/// Rows of activations that share each unpacking of weights: with their sums, the registers are full.
const ROWS: usize = 8;

/// Tiles between additions of the 16-bit sums to the 32-bit ones.
///
/// A tile adds 16 pairs of products to each 16-bit sum. With codes from 0 to 2 and activations within
/// ±127 a pair lies within ±508, and 4 tiles of them within ±32512, which 16 bits hold.
const TILES_IN_16_BITS: usize = 4;

/// Bytes by which weights are fetched ahead: the CPU's own prefetching starts anew at each page, which
/// products of few rows leave too soon.
const AHEAD: usize = 2048;

/// Made by [`Tier::detect`] alone: holding one proves that the CPU has AVX2.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Tier for Avx2 {
    fn detect() -> Option<Avx2> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }

    #[inline]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx2")]
        fn run<J: Job>(job: J, tier: Avx2) -> J::Output {
            job.on(tier)
        }
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { run(job, self) }
    }

    #[inline(always)]
    fn round(self, x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { round(x, factor, lines, step) }
    }

    #[inline(always)]
    fn sums(self, tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
        // SAFETY: the CPU has AVX2, see `Avx2`.
        unsafe { sum_block(tiles, rows, sums) }
    }
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
            1 => sum_rows::<1, 2>(tiles, rows, first, sums),
            2 => sum_rows::<2, 2>(tiles, rows, first, sums),
            3 => sum_rows::<3, 2>(tiles, rows, first, sums),
            4 => sum_rows::<4, 2>(tiles, rows, first, sums),
            5 => sum_rows::<5, 1>(tiles, rows, first, sums),
            6 => sum_rows::<6, 1>(tiles, rows, first, sums),
            7 => sum_rows::<7, 1>(tiles, rows, first, sums),
            _ => sum_rows::<ROWS, 1>(tiles, rows, first, sums),
        }
    }
}

/// The sums of `R` rows of activations from `first` on, `H` halves of the 16 outputs at a time: as many as
/// registers hold. 32-bit sums of codes may wrap; what is left once the row's sum is taken off does not.
#[target_feature(enable = "avx2")]
fn sum_rows<const R: usize, const H: usize>(
    tiles: &[Tile],
    rows: Rows<'_>,
    first: usize,
    sums: &mut [[i32; BLOCK]],
) {
    for half in (0..2).step_by(H) {
        let mut totals = [[_mm256_setzero_si256(); H]; R];
        for (i, tiles) in tiles.chunks(TILES_IN_16_BITS).enumerate() {
            let lines = &rows.lines[i * TILES_IN_16_BITS * rows.height + first..];
            let parts = sum_tiles::<R, H>(tiles, half, lines, rows.height);
            for (totals, parts) in totals.iter_mut().zip(parts) {
                for (total, part) in totals.iter_mut().zip(parts) {
                    let part = _mm256_madd_epi16(part, _mm256_set1_epi16(1));
                    *total = _mm256_add_epi32(*total, part);
                }
            }
        }
        for ((sums, totals), sum) in sums.iter_mut().zip(totals).zip(&rows.sum[first..]) {
            for (i, total) in totals.into_iter().enumerate() {
                let total = to_array(_mm256_sub_epi32(total, _mm256_set1_epi32(*sum)));
                sums[(half + i) * 8..][..8].copy_from_slice(&total);
            }
        }
    }
}

/// 16-bit sums, two for each output, of up to [`TILES_IN_16_BITS`] tiles.
///
/// A function of its own, so that it has all registers to itself.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn sum_tiles<const R: usize, const H: usize>(
    tiles: &[Tile],
    half: usize,
    lines: &[Line],
    height: usize,
) -> [[__m256i; H]; R] {
    let mut sums = [[_mm256_setzero_si256(); H]; R];
    for (i, tile) in tiles.iter().enumerate() {
        let lines = &lines[i * height..][..R];
        for part in 0..4 {
            let bytes = tile.0.as_ptr().wrapping_add(64 * part + 32 * half);
            _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(AHEAD).cast());
            let mut packed = [_mm256_setzero_si256(); H];
            for (i, packed) in packed.iter_mut().enumerate() {
                // SAFETY: 64 bytes follow `64·part` of 256, `half + i` is 0 or 1, tiles are aligned to 64.
                *packed = unsafe { _mm256_load_si256(bytes.add(32 * i).cast()) };
            }
            for quad in 0..4 {
                let mut codes = packed;
                codes.iter_mut().for_each(|codes| *codes = unpack(*codes, quad));
                for (sums, line) in sums.iter_mut().zip(lines) {
                    let q = _mm256_set1_epi32(four(line, 4 * part + quad));
                    for (sum, codes) in sums.iter_mut().zip(codes) {
                        *sum = _mm256_add_epi16(*sum, _mm256_maddubs_epi16(codes, q));
                    }
                }
            }
        }
    }
    sums
}

/// The codes of one of the four quads of inputs in each byte: 8 outputs × 4 inputs.
#[target_feature(enable = "avx2")]
#[inline]
fn unpack(packed: __m256i, quad: usize) -> __m256i {
    let lowest = match quad {
        0 => packed,
        1 => _mm256_srli_epi16::<2>(packed),
        2 => _mm256_srli_epi16::<4>(packed),
        _ => _mm256_srli_epi16::<6>(packed),
    };
    _mm256_and_si256(lowest, _mm256_set1_epi8(3))
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
