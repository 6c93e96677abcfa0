//! Operators that tract lacks or gets wrong, each as the nodes that compute the same.
//!
//! What they mean is defined in ONNX's `docs/Operators.md` and for those of com.microsoft in ONNX Runtime's
//! `docs/ContribOperators.md`. A file here has, in its table, what its recipes honour, in the words of
//! [`honoured`](super::honoured).

mod attention;
mod einsum;
mod elementwise;
mod embedding;
mod index;
mod layout;
mod norm;
mod product;
mod quantized;
mod reduce;

use super::composite::Recipe;

/// Operators as `honoured` says them, and what computes them.
type Table = &'static [(&'static str, Recipe)];

/// Every recipe.
pub(super) const ALL: [Table; 10] = [
    attention::OPERATORS,
    einsum::OPERATORS,
    elementwise::OPERATORS,
    embedding::OPERATORS,
    index::OPERATORS,
    layout::OPERATORS,
    norm::OPERATORS,
    product::OPERATORS,
    quantized::OPERATORS,
    reduce::OPERATORS,
];
