//! ```text
//! x ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A bias `Add` behind it, on either side, stays where it is.

use crate::{
    quant::Layout,
    rewrite::{Effect, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 4] {
    [matmul(), fused_matmul(Layout::InOut), fused_matmul(Layout::OutIn), scaled()]
}

fn matmul() -> Rule {
    Rule::named("matmul", Effect::Approximate)
        .find("y = MatMul(x, W)")
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection("x", m.weight("W", Layout::InOut)?)))
}

/// ONNX Runtime's MatMul with the transposition of its weight inside.
fn fused_matmul(layout: Layout) -> Rule {
    let (name, trans_b) = match layout {
        Layout::InOut => ("fused-matmul", 0),
        Layout::OutIn => ("fused-matmul-transposed", 1),
    };
    Rule::named(name, Effect::Approximate)
        .find(&format!(
            "y = com.microsoft.FusedMatMul
                 <alpha = 1.0, transA = 0, transB = {trans_b}, transBatchA = 0, transBatchB = 0> (x, W)"
        ))
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(move |m| Ok(m.projection("x", m.weight("W", layout)?)))
}

fn scaled() -> Rule {
    Rule::named("fused-matmul-scaled", Effect::Keep)
        .find("y = com.microsoft.FusedMatMul(x, W)")
        .with(|m| {
            let why = "has a factor, or transposes its activation or batches";
            Err(Reject::Refuse(format!("node `{}` {why}", m.label())))
        })
}
