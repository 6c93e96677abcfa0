//! ```text
//! x ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A bias `Add` behind it, on either side, stays where it is.

use super::gemm::layout;
use crate::{
    quant::Layout,
    rewrite::{Effect, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 3] {
    [matmul(), fused_matmul(), scaled()]
}

fn matmul() -> Rule {
    Rule::named("matmul", Effect::Approximate)
        .find("y = MatMul(x, W)")
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection("x", m.weight("W", Layout::InOut)?)))
}

/// ONNX Runtime's MatMul with the transposition of its weight inside.
fn fused_matmul() -> Rule {
    Rule::named("fused-matmul", Effect::Approximate)
        .find(&format!("y = {PLAIN_FUSED_MATMUL} (x, W)"))
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection("x", m.weight("W", layout(m.int("transB")))?)))
}

/// The operator with the attributes that make it a plain product.
pub(super) const PLAIN_FUSED_MATMUL: &str = "com.microsoft.FusedMatMul
    <alpha = 1.0, transA = 0, transB: int = @transB, transBatchA = 0, transBatchB = 0>";

/// With a factor, or of transposed activations or batches, it is no plain product.
fn scaled() -> Rule {
    Rule::named("fused-matmul-scaled", Effect::Keep)
        .find("y = com.microsoft.FusedMatMul(x, W)")
        .with(|m| {
            let why = "has a factor, or transposes its activation or batches";
            Err(Reject::Refuse(format!("node `{}` {why}", m.label())))
        })
}
