//! The low-rank correction beside a projection: `y = BitLinear(x) + U·(Vᵀ·x)`.
//!
//! Low-Rank Correction for Quantized LLMs, arXiv:2412.07902.

use super::{Draft, Naming};

/// The names of a correction's factors.
#[derive(Debug, Clone)]
pub(crate) struct Factors {
    /// `[n, rank]`.
    pub u: String,
    /// `[k, rank]`.
    pub v: String,
}

/// Appends the branch, times `lambda` where there is one, and returns what it makes.
pub(crate) fn correction(
    draft: &mut Draft,
    x: &str,
    factors: &Factors,
    lambda: Option<&str>,
) -> String {
    let bound = [("x", x), ("u", &*factors.u), ("v", &*factors.v)];
    let text = "lrc_low = MatMul (x, v)
                lrc_ut = Transpose <perm = [1, 0]> (u)
                lrc = MatMul (lrc_low, lrc_ut)";
    let made = draft.add(text, &bound, Naming::Values);
    match lambda {
        None => made,
        Some(lambda) => {
            let bound = [("lrc", &*made), ("lambda", lambda)];
            draft.add("lrc_blend = Mul (lrc, lambda)", &bound, Naming::Values)
        }
    }
}
