//! Weights that are ternary already.

use super::matrix::Storage;

/// Distance from the scale that counts as rounding, in units in the last place of the stored type.
const TOLERANCE: u32 = 8;

/// How often each magnitude occurs in a weight of {-a, 0, a}, give or take rounding.
///
/// Magnitudes are counted as integers: the bits of the stored type, which are ordered as the numbers are
/// and one apart where those are one unit in the last place apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Magnitudes {
    /// The least magnitude; 0 while all weights are zero.
    least: u32,
    /// `counts[i]` weights have the magnitude `least + i`.
    counts: [u64; 2 * TOLERANCE as usize + 1],
}

impl Magnitudes {
    /// The magnitudes of some weights; `None` where they are too far apart, or not finite.
    pub fn of(weights: &[f32], storage: Storage) -> Option<Magnitudes> {
        let magnitude = |w: &f32| (w.to_bits() & !(1 << 31)) >> storage.shift();
        let (mut least, mut largest, mut nonzero) = (u32::MAX, 0, 0);
        for weight in weights {
            let magnitude = magnitude(weight);
            // Zero wraps to the largest number and never is the least.
            least = least.min(magnitude.wrapping_sub(1));
            largest = largest.max(magnitude);
            nonzero += u32::from(magnitude > 0);
        }
        if largest == 0 {
            return Some(Magnitudes::default());
        }
        let mut found = Magnitudes { least: least + 1, ..Magnitudes::default() };
        let infinite = largest >= f32::INFINITY.to_bits() >> storage.shift();
        if infinite || largest - found.least >= found.counts.len() as u32 {
            return None;
        }
        if largest == found.least {
            found.counts[0] = u64::from(nonzero);
            return Some(found);
        }
        for magnitude in weights.iter().map(magnitude).filter(|m| *m > 0) {
            found.counts[(magnitude - found.least) as usize] += 1;
        }
        Some(found)
    }

    /// The magnitudes of both; `None` where they are too far apart.
    pub fn and(self, other: Magnitudes) -> Option<Magnitudes> {
        let (low, high) = if self.least <= other.least { (self, other) } else { (other, self) };
        if low.least == 0 {
            return Some(high);
        }
        let offset = (high.least - low.least) as usize;
        let mut both = low;
        for (i, count) in high.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            *both.counts.get_mut(offset + i)? += count;
        }
        Some(both)
    }

    /// The most frequent magnitude, the least of them where several are, if all others are within
    /// [`TOLERANCE`] of it. `None` too where all weights are zero.
    pub fn scale(&self, storage: Storage) -> Option<f32> {
        let used = || (0..self.counts.len()).filter(|i| self.counts[*i] > 0);
        let most = used().rev().max_by_key(|i| self.counts[*i])?;
        used()
            .all(|i| i.abs_diff(most) <= TOLERANCE as usize)
            .then(|| f32::from_bits((self.least + most as u32) << storage.shift()))
    }

    /// Whether all weights are zero.
    pub fn is_zero(&self) -> bool {
        self.least == 0
    }
}
