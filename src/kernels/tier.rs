//! Tiers: instruction sets that the definition is compiled for, and what each does in a better way.

use super::{Activations, BLOCK, Line, Rows, Tile, Weights, scalar, weights::TILE_K};
use std::ops::Range;

/// Bytes of activations that one pass over the weights works on: they stay in a first-level cache, or nearly.
const PASS_BYTES: usize = 32 * 1024;

/// An instruction set. What it leaves out is the definition, compiled for it.
pub(super) trait Tier: Copy + Eq {
    /// The tier, where this CPU has what it takes. There is no other way to one: holding it is the proof.
    fn detect() -> Option<Self>;

    /// Does the job in code that is compiled for this tier.
    fn run<J: Job>(self, job: J) -> J::Output;

    /// See [`scalar::round`].
    #[inline(always)]
    fn round(self, x: &[f32], factor: f32, lines: &mut [Line], step: usize) -> i32 {
        scalar::round(x, factor, lines, step)
    }

    /// See [`scalar::sums`]. How many rows there are may decide how they are taken.
    #[inline(always)]
    fn sums(self, tiles: &[Tile], rows: Rows<'_>, sums: &mut [[i32; BLOCK]]) {
        scalar::sums(tiles, rows, sums);
    }

    /// Gives `take` the sums of each block of rows with each block of outputs, in any order.
    ///
    /// A tier has an order of its own where it works on several blocks at once: on blocks of outputs, say,
    /// where there is one row, or on all blocks of rows for each unpacking of weights.
    #[inline(always)]
    fn product(self, part: &Part<'_>, mut take: impl FnMut(usize, usize, &[[i32; BLOCK]])) {
        let mut sums = [[0; BLOCK]; BLOCK];
        part.for_each_block(|row_block, column_block| {
            let rows = part.x.block(row_block);
            let sums = &mut sums[..rows.sum.len()];
            self.sums(part.weights.block(column_block), rows, sums);
            take(row_block, column_block, sums);
        });
    }
}

/// Work that is compiled for each tier. It is inlined there, as is all that it calls.
pub(super) trait Job {
    type Output;

    /// Does the work. `#[inline(always)]`, for code that is not inlined is compiled for any CPU.
    fn on<T: Tier>(self, tier: T) -> Self::Output;
}

/// Some blocks of rows times some blocks of columns, which are outputs.
pub(super) struct Part<'a> {
    pub x: &'a Activations,
    pub weights: &'a Weights,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Part<'_> {
    /// Calls `f` with each block of rows and block of columns, in an order that keeps activations in cache.
    #[inline(always)]
    pub fn for_each_block(&self, mut f: impl FnMut(usize, usize)) {
        let block_bytes = self.x.height() * self.x.k().next_multiple_of(TILE_K);
        let blocks = (PASS_BYTES / block_bytes).max(1);
        for first in self.rows.clone().step_by(blocks) {
            for column in self.columns.clone() {
                for row in first..self.rows.end.min(first + blocks) {
                    f(row, column);
                }
            }
        }
    }
}

/// The definition and nothing else, for any CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Scalar;

impl Tier for Scalar {
    fn detect() -> Option<Scalar> {
        Some(Scalar)
    }

    fn run<J: Job>(self, job: J) -> J::Output {
        job.on(self)
    }
}

/// Makes `AnyTier`, one of the tiers in a list, each behind its kernel's name.
macro_rules! tiers {
    ($($(#[$on:meta])? $name:literal: $module:ident::$tier:ident,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum AnyTier { $($(#[$on])? $tier($module::$tier),)+ }

        impl AnyTier {
            /// Those of this CPU, in the order of the list.
            fn detected() -> Vec<Kernel> {
                let tiers = [$($(#[$on])? {
                    let tier = $module::$tier::detect().map(AnyTier::$tier);
                    tier.map(|tier| Kernel { name: $name, tier })
                },)+];
                tiers.into_iter().flatten().collect()
            }

            fn run<J: Job>(self, job: J) -> J::Output {
                match self { $($(#[$on])? AnyTier::$tier(tier) => tier.run(job),)+ }
            }
        }
    };
}
pub(super) use tiers;
