//! What a value computes of another one, in whatever operators it is spelled.
//!
//! A norm, an activation, a softmax and a rounding to eight bits are written in many ways, and each
//! exporter adds one. So none of them is recognised by its nodes. The part of the graph between two
//! values is cut out, evaluated on a few rows that tell the arithmetic asked for from what looks like
//! it, and judged by what comes out:
//!
//! ```text
//! x ─┬─ … ─ … ─┐            x = rows that we choose
//!    └─ … ───── … ─ value   value(c·x) = value(x)?  then it is a norm: gain, shift and eps are read off
//! ```
//!
//! What is said to be exact was compared on rows of all magnitudes, and on the numbers where roundings
//! differ.

mod activation;
mod cut;
mod norm;
mod quantized;
mod softmax;

pub use activation::is_activated;
pub use norm::{Norm, norm};
pub use quantized::{Quantized, Stop, quantized};
pub use softmax::softmax;

/// Numbers between -1 and 1 that are the same everywhere: splitmix64.
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
