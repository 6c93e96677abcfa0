//! Ternary weights in the layout that all kernels share.

use super::{BLOCK, Error, check_length};

/// The longest row whose sums stay within i32: each of its terms is at most 127.
pub(super) const MAX_K: usize = i32::MAX as usize / 127;

/// Input features in a tile.
pub(super) const TILE_K: usize = 64;

/// 16 output rows × 64 inputs, two bits each.
///
/// Byte `64·(k / 16) + 4·row + k % 4` holds the codes (weight + 1) of four inputs that lie four apart;
/// that of `k` is at bits `2·(k / 4 % 4)`. So 64 bytes masked to two bits are, for each of 16 rows, four
/// consecutive inputs: what a multiply-add of bytes (`pmaddubsw`, `vpdpbusd`, AMX's B tile) takes.
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile(pub [u8; 256]);

impl Tile {
    /// Weights zero.
    const ZERO: Tile = Tile([0b01_01_01_01; 256]);

    /// The weight of an output row (0 to 15) and an input (0 to 63).
    pub fn weight(&self, row: usize, k: usize) -> i32 {
        let byte = self.0[64 * (k / 16) + 4 * row + k % 4];
        i32::from(byte >> (2 * (k / 4 % 4)) & 3) - 1
    }
}

/// A ternary matrix `[n, k]`, packed once: 2 bits a weight, `n` padded to 16 and `k` to 64.
#[derive(PartialEq, Eq)]
pub struct Weights {
    n: usize,
    k: usize,
    /// Block by block, each of `k / 64` tiles.
    tiles: Vec<Tile>,
}

impl Weights {
    /// Packs codes as the file stores them: `[n, ceil(k / 4)]`, code = weight + 1, four to a byte, the
    /// first in the low bits. The padding of a row may be any weight.
    ///
    /// Refuses another length, the code 3, and dimensions outside 1 and (for `k`) `i32::MAX / 127`.
    pub fn pack(codes: &[u8], n: usize, k: usize) -> Result<Weights, Error> {
        if n == 0 || k == 0 || k > MAX_K {
            return Err(Error::Dimensions { n, k });
        }
        let row_bytes = k.div_ceil(4);
        check_length("weight codes", n.saturating_mul(row_bytes), codes.len())?;
        let tiles_a_block = k.div_ceil(TILE_K);
        let mut tiles = vec![Tile::ZERO; n.div_ceil(BLOCK) * tiles_a_block];
        for (row, bytes) in codes.chunks_exact(row_bytes).enumerate() {
            let block = &mut tiles[row / BLOCK * tiles_a_block..][..tiles_a_block];
            if !pack_row(bytes, block, row % BLOCK) {
                return Err(Error::Code { row, column: invalid_column(bytes) });
            }
        }
        Ok(Weights { n, k, tiles })
    }

    /// Output features.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Input features.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes of memory that the packed codes take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.tiles.as_slice())
    }

    /// Number of blocks of 16 output features.
    pub(super) fn blocks(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// The tiles of one block, by ascending input.
    pub(super) fn block(&self, block: usize) -> &[Tile] {
        let length = self.k.div_ceil(TILE_K);
        &self.tiles[block * length..][..length]
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights").field("n", &self.n).field("k", &self.k).finish_non_exhaustive()
    }
}

/// Spreads one row of the file over the tiles of its block; false where it holds the code 3.
fn pack_row(bytes: &[u8], tiles: &mut [Tile], row: usize) -> bool {
    let mut threes = 0;
    for (bytes, tile) in bytes.chunks(TILE_K / 4).zip(tiles) {
        for (part, four) in bytes.chunks(4).enumerate() {
            let mut word = [0b01_01_01_01; 4];
            word[..four.len()].copy_from_slice(four);
            let word = u32::from_le_bytes(word);
            threes |= word & word >> 1 & 0x5555_5555;
            tile.0[64 * part + 4 * row..][..4].copy_from_slice(&transpose(word).to_le_bytes());
        }
    }
    threes == 0
}

/// Transposes a word's four bytes of four codes: the codes of one byte go to one place in all four.
fn transpose(word: u32) -> u32 {
    let swap = |word: u32, mask: u32, distance: u32| {
        let difference = (word ^ word >> distance) & mask;
        word ^ difference ^ difference << distance
    };
    swap(swap(word, 0x00cc_00cc, 6), 0x0000_f0f0, 12)
}

/// Where a row that holds a 3 has its first.
fn invalid_column(bytes: &[u8]) -> usize {
    let code = |k: &usize| bytes[k / 4] >> (2 * (k % 4)) & 3;
    (0..4 * bytes.len()).find(|k| code(k) == 3).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_the_weights_of_the_file() {
        let (n, k) = (19usize, 133usize);
        let weight = |row: usize, k: usize| ((row * 7 + k * k * 5 + k / 3) % 3) as i32 - 1;
        let row_bytes = k.div_ceil(4);
        let mut codes = vec![0u8; n * row_bytes];
        for row in 0..n {
            for k in 0..row_bytes * 4 {
                codes[row * row_bytes + k / 4] |=
                    (weight(row, k) + 1) as u8 * 4u8.pow(k as u32 % 4);
            }
        }
        let weights = Weights::pack(&codes, n, k).unwrap();
        for row in 0..n {
            for k in 0..k {
                let tile = &weights.block(row / 16)[k / 64];
                assert_eq!(tile.weight(row % 16, k % 64), weight(row, k), "row {row}, k {k}");
            }
        }
    }
}
