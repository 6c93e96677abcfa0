//! ```text
//! x ─ Gemm(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Add(b) ─ y
//! ```
//!
//! The weight is [out, in] with `transB` and [in, out] without, as in GPT-2's Conv1D, whose `Reshape`s
//! around the Gemm stay: BitLinear works on rows of any rank. With factors, or of a transposed
//! activation, it is no plain product. What is added need not be constant: it may be a residual.

use crate::rewrite::{Effect, Match, Projection, Reject, Rule};

/// A plain product, of a weight in either layout, and a sum.
pub(super) const PLAIN_GEMM: &str =
    "Gemm <alpha = 1.0, beta: float = @beta, transA = 0, transB: int = @transB>";

/// What comes in place of it.
pub(super) const SUM: &str = "bit = bitonnx.BitLinear(x, codes, scale)
    [bias?] y = Add(bit, b?)";

pub(super) fn rules() -> [Rule; 2] {
    [gemm(), Rule::keep("gemm-scaled", "y = Gemm(x, W, rest)", "is no plain product")]
}

fn gemm() -> Rule {
    Rule::named("gemm", Effect::Approximate)
        .find(&format!("y = {PLAIN_GEMM} (x, W, b?)"))
        .emit(SUM)
        .with(|m| {
            let bias = bias(m)?;
            Ok(Projection { bias, ..m.projection(m.weight("W", m.layout("transB")?)?) })
        })
}

/// The constant that is added, if any is, without a factor.
pub(super) fn bias(m: &Match) -> Result<Option<String>, Reject> {
    let (beta, label) = (m.float("beta")?, m.label());
    if m.optional("b?").is_some() && beta != 1.0 {
        return Err(Reject::Miss(format!(
            "attribute `beta` of node `{label}` is {beta:?}, not 1.0"
        )));
    }
    Ok(m.constant("b?"))
}
