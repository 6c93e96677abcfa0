//! ```text
//! x ─ Gemm(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Add(b) ─ y
//! ```
//!
//! The weight is [out, in] with `transB` and [in, out] without, as in GPT-2's Conv1D, whose `Reshape`s
//! around the Gemm stay: BitLinear works on rows of any rank. With factors, or of a transposed
//! activation, it is no plain product; nor is ONNX Runtime's FusedGemm if it applies a function. What is added need not be constant: it may be a residual.

use crate::rewrite::{Effect, Projection, Reject, Rule};

/// A plain product, of a weight in either layout.
pub(super) const PLAIN_GEMM: &str = "Gemm <alpha = 1.0, transA = 0, transB: int = @transB>";

/// A plain product and a sum.
pub(super) const BIASED_GEMM: &str =
    "Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB: int = @transB>";

pub(super) fn rules() -> [Rule; 4] {
    [
        gemm("gemm", "Gemm <"),
        gemm("fused-gemm", "com.microsoft.FusedGemm <activation = \"\","),
        Rule::keep("gemm-scaled", "y = Gemm(x, W, rest)", "is no plain product"),
        Rule::keep(
            "fused-gemm-kept",
            "y = com.microsoft.FusedGemm(x, W, rest)",
            "is no plain product",
        ),
    ]
}

fn gemm(name: &'static str, operator: &str) -> Rule {
    Rule::named(name, Effect::Approximate)
        .find(&format!(
            "y = {operator} alpha = 1.0, beta: float = @beta, transA = 0, transB: int = @transB> (x, W, b?)"
        ))
        .emit(
            "bit = bitonnx.BitLinear(x, codes, scale)
             [bias?] y = Add(bit, b?)",
        )
        .with(|m| {
            let (beta, label) = (m.float("beta")?, m.label());
            if m.optional("b?").is_some() && beta != 1.0 {
                let why = format!("attribute `beta` of node `{label}` is {beta:?}, not 1.0");
                return Err(Reject::Miss(why));
            }
            let weight = m.weight("W", m.layout("transB")?)?;
            Ok(Projection { bias: m.constant("b?"), ..m.projection(weight) })
        })
}
