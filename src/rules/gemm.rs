//! ```text
//! x ─ Gemm(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Add(b) ─ y
//! ```
//!
//! The weight is [out, in] with `transB` and [in, out] without, as in GPT-2's Conv1D, whose `Reshape`s
//! around the Gemm stay: BitLinear works on rows of any rank. With factors, or of a transposed
//! activation, it is no plain product. What is added need not be constant: it may be a residual.

use crate::rewrite::{Effect, Projection, Rule};

/// A plain product, of a weight in either layout.
pub(super) const PLAIN_GEMM: &str = "Gemm <alpha = 1.0, transA = 0, transB: int = @transB>";

/// A plain product and a sum.
pub(super) const BIASED_GEMM: &str =
    "Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB: int = @transB>";

pub(super) fn rules() -> [Rule; 3] {
    [biased(), plain(), Rule::keep("gemm-scaled", "y = Gemm(x, W, rest)", "is no plain product")]
}

fn biased() -> Rule {
    Rule::named("gemm-bias", Effect::Approximate)
        .find(&format!("y = {BIASED_GEMM} (x, W, b)"))
        .emit(
            "bit = bitonnx.BitLinear(x, codes, scale)
             [bias] y = Add(bit, b)",
        )
        .with(|m| {
            let weight = m.weight("W", m.layout("transB")?)?;
            Ok(Projection { bias: m.constant("b"), ..m.projection(weight) })
        })
}

fn plain() -> Rule {
    Rule::named("gemm", Effect::Approximate)
        .find(&format!("y = {PLAIN_GEMM} (x, W)"))
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection(m.weight("W", m.layout("transB")?)?)))
}
