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
mod parts;
mod quantized;
mod shape;
mod softmax;

pub use activation::is_activated;
pub use norm::{Norm, norm};
pub use parts::part_sizes;
pub use quantized::{NotQuantized, Quantized, quantized};
pub use shape::rank;
pub use softmax::softmax;
