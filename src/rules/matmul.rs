//! ```text
//! x ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A bias `Add` behind it, on either side, stays where it is.

use crate::{
    quant::Layout,
    rewrite::{Effect, Rule},
};

/// ONNX Runtime's operator, with the attributes that make it a plain product: no factor, and neither the
/// activation nor the batches transposed.
pub(super) const PLAIN_FUSED_MATMUL: &str = "com.microsoft.FusedMatMul
    <alpha = 1.0, transA = 0, transB: int = @transB, transBatchA = 0, transBatchB = 0>";

pub(super) fn rules() -> [Rule; 3] {
    let scaled = "y = com.microsoft.FusedMatMul(x, W)";
    [matmul(), fused_matmul(), Rule::keep("fused-matmul-scaled", scaled, "is no plain product")]
}

fn matmul() -> Rule {
    Rule::named("matmul", Effect::Approximate)
        .find("y = MatMul(x, W)")
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection(m.weight("W", Layout::InOut)?)))
}

/// ONNX Runtime's MatMul with the transposition of its weight inside.
fn fused_matmul() -> Rule {
    Rule::named("fused-matmul", Effect::Approximate)
        .find(&format!("y = {PLAIN_FUSED_MATMUL} (x, W)"))
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection(m.weight("W", m.layout("transB")?)?)))
}
