//! AVX-512 with VNNI: multiply-adds of bytes straight into 32-bit sums, 16 outputs at once.
#![allow(unsafe_code, reason = "vector instructions exist on some CPUs only")]

use super::{BLOCK, Job, Line, Rows, Tier, Tile, product::Part};
use std::arch::x86_64::*;

/// Rows of activations that share each unpacking of weights.
const ROWS: usize = 16;

/// Blocks of outputs in flight where there is one row.
const BLOCKS: usize = 4;

/// Made by [`Tier::detect`] alone: holding one proves that the CPU has these instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx512Vnni(());

impl Tier for Avx512Vnni {
    fn detect() -> Option<Avx512Vnni> {
        let found = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni");
        found.then_some(Avx512Vnni(()))
    }

    #[inline]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn run<J: Job>(job: J, tier: Avx512Vnni) -> J::Output {
            job.on(tier)
        }
        // SAFETY: the CPU has these, see `Avx512Vnni`.
        unsafe { run(job, self) }
    }

    #[inline(always)]
    fn sums(self, tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
        // SAFETY: the CPU has these, see `Avx512Vnni`.
        unsafe { sum_block(tiles, rows, sums) }
    }

    #[inline(always)]
    fn product(self, part: &Part<'_>, mut take: impl FnMut(usize, usize, &[[i32; BLOCK]])) {
        if part.rows.len() > 1 || part.x.height() > 1 {
            let mut sums = [[0; BLOCK]; BLOCK];
            return part.for_each_block(|row, column| {
                let rows = part.x.block(row);
                let sums = &mut sums[..rows.sum.len()];
                self.sums(part.weights.block(column), rows, sums);
                take(row, column, sums);
            });
        }
        for first in part.columns.clone().step_by(BLOCKS) {
            let tiles: [&[Tile]; BLOCKS] =
                std::array::from_fn(|i| part.weights.block((first + i).min(part.columns.end - 1)));
            // SAFETY: the CPU has these, see `Avx512Vnni`.
            let sums = unsafe { sum_blocks(tiles, part.x.block(0)) };
            for (column, sums) in (first..part.columns.end).zip(&sums) {
                take(0, column, std::slice::from_ref(sums));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_block(tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
    match sums.len() {
        1 => sum_rows::<1>(tiles, rows, 0, sums),
        2 => sum_rows::<2>(tiles, rows, 0, sums),
        5 => sum_rows::<5>(tiles, rows, 0, sums),
        8 => sum_rows::<8>(tiles, rows, 0, sums),
        _ => sum_rows::<ROWS>(tiles, rows, 0, sums),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_rows<const R: usize>(tiles: &[Tile], rows: Rows<'_>, _: usize, sums: &mut [[i32; BLOCK]]) {
    let mut totals = [_mm512_setzero_si512(); R];
    for (i, tile) in tiles.iter().enumerate() {
        let Some(lines) = rows.lines[i * rows.height..].first_chunk::<R>() else { return };
        for part in 0..4 {
            let packed = load(tile, part);
            for quad in 0..4 {
                let codes = unpack(packed, quad);
                for (row, total) in totals.iter_mut().enumerate() {
                    let line = &lines[row];
                    let q = _mm512_set1_epi32(four(line, 4 * part + quad));
                    *total = _mm512_dpbusd_epi32(*total, codes, q);
                }
            }
        }
    }
    for ((sums, total), sum) in sums.iter_mut().zip(totals).zip(rows.sum) {
        *sums = to_array(_mm512_sub_epi32(total, _mm512_set1_epi32(*sum)));
    }
}

/// The sums of one row with several blocks of outputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sum_blocks(tiles: [&[Tile]; BLOCKS], row: Rows<'_>) -> [[i32; BLOCK]; BLOCKS] {
    // Codes are left where they are in their bytes: each place has a sum of its own, shifted at the end.
    let mut totals = [[_mm512_setzero_si512(); 4]; BLOCKS];
    for (i, line) in row.lines.iter().enumerate() {
        for part in 0..4 {
            for (tiles, totals) in tiles.iter().zip(&mut totals) {
                let packed = load(&tiles[i], part);
                for (quad, total) in totals.iter_mut().enumerate() {
                    let q = _mm512_set1_epi32(four(line, 4 * part + quad));
                    let mask = _mm512_set1_epi8((3u8 << (2 * quad)) as i8);
                    *total = _mm512_dpbusd_epi32(*total, _mm512_and_si512(packed, mask), q);
                }
            }
        }
    }
    totals.map(|[a, b, c, d]| {
        let b = _mm512_add_epi32(a, _mm512_srai_epi32::<2>(b));
        let d = _mm512_add_epi32(_mm512_srai_epi32::<4>(c), _mm512_srai_epi32::<6>(d));
        let sum = _mm512_set1_epi32(row.sum[0]);
        to_array(_mm512_sub_epi32(_mm512_add_epi32(b, d), sum))
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn load(tile: &Tile, part: usize) -> __m512i {
    // SAFETY: 64 bytes follow `64·part` of 256; tiles are aligned to 64.
    unsafe { _mm512_load_si512(tile.0.as_ptr().add(64 * part).cast()) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn unpack(packed: __m512i, quad: usize) -> __m512i {
    let lowest = match quad {
        0 => packed,
        1 => _mm512_srli_epi16::<2>(packed),
        2 => _mm512_srli_epi16::<4>(packed),
        _ => _mm512_srli_epi16::<6>(packed),
    };
    _mm512_and_si512(lowest, _mm512_set1_epi8(3))
}

/// Four consecutive codes of a line.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn four(line: &Line, index: usize) -> i32 {
    i32::from_ne_bytes(line.0.as_chunks::<4>().0[index].map(|b| b as u8))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn to_array(vector: __m512i) -> [i32; 16] {
    let mut array = [0; 16];
    // SAFETY: the array is 64 bytes.
    unsafe { _mm512_storeu_si512(array.as_mut_ptr().cast(), vector) };
    array
}
