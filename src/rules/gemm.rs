//! ```text
//! x ─ Gemm(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Add(b) ─ y
//! ```
//!
//! The weight is [out, in] with `transB` and [in, out] without, as in GPT-2's Conv1D, whose `Reshape`s
//! around the Gemm stay: BitLinear works on rows of any rank.

use crate::{
    quant::Layout,
    rewrite::{Effect, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 3] {
    [biased(), plain(), scaled()]
}

fn biased() -> Rule {
    Rule::named("gemm-bias", Effect::Approximate)
        .find("y = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB: int = @transB> (x, W, b)")
        .emit(
            "bit = bitonnx.BitLinear(x, codes, scale)
             [bias] y = Add(bit, b)",
        )
        .with(|m| Ok(m.projection("x", m.weight("W", layout(m.int("transB")))?)))
}

fn plain() -> Rule {
    Rule::named("gemm", Effect::Approximate)
        .find("y = Gemm <alpha = 1.0, transA = 0, transB: int = @transB> (x, W)")
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection("x", m.weight("W", layout(m.int("transB")))?)))
}

/// With factors, or of a transposed activation, it is no plain product.
fn scaled() -> Rule {
    Rule::named("gemm-scaled", Effect::Keep).find("y = Gemm(x, W, rest)").with(|m| {
        Err(Reject::Refuse(format!(
            "node `{}` has factors or transposes its activation",
            m.label()
        )))
    })
}

/// How Gemm's attribute lays out its weight.
pub(super) fn layout(trans_b: i64) -> Layout {
    if trans_b == 0 { Layout::InOut } else { Layout::OutIn }
}
