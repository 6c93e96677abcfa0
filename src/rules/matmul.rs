//! ```text
//! x ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A bias `Add` behind it, on either side, stays where it is.

use crate::{
    quant::Layout,
    rewrite::{Effect, Reject, Rule},
};

/// ONNX Runtime's operator, with the attributes that make it a plain product: no factor, and neither the
/// activation nor the batches transposed.
pub(super) const PLAIN_FUSED_MATMUL: &str = "com.microsoft.FusedMatMul
    <alpha = 1.0, transA = 0, transB: int = @transB, transBatchA = 0, transBatchB = 0>";

pub(super) fn rules() -> [Rule; 6] {
    let scaled = "is no plain product";
    [
        matmul(),
        fused_matmul(),
        left(),
        Rule::keep("fused-matmul-scaled", "y = com.microsoft.FusedMatMul(x, W)", scaled),
        Rule::keep("transpose-matmul", "y = com.microsoft.TransposeMatMul(x, W)", scaled),
        Rule::named("matmul-left-kept", Effect::Keep).find("y = MatMul(W, x)").refuse(|m| {
            let (weight, x, label) = (m.value("W"), m.value("x"), m.label());
            match m.is_matrix("W") {
                true => Reject::Refuse(format!(
                    "its weight `{weight}` multiplies the columns of `{x}`, which no Transpose makes of rows"
                )),
                false => Reject::Miss(format!("node `{label}` multiplies with no stored matrix")),
            }
        }),
    ]
}

/// The product of columns, which are the rows before a `Transpose`.
fn left() -> Rule {
    Rule::named("matmul-left", Effect::Approximate)
        .find(
            "t = Transpose <perm: ints = @perm> (x)
             y = MatMul(W, t)",
        )
        .emit(
            "bit = bitonnx.BitLinear(x, codes, scale)
             [turn] y = Transpose <perm: ints = @perm> (bit)",
        )
        .with(|m| {
            let x = m.value("x");
            let exchanges = match m.ints("perm") {
                Some([batch @ .., a, b]) => {
                    let rank = batch.len() as i64 + 2;
                    batch.iter().copied().eq(0..rank - 2) && [*a, *b] == [rank - 1, rank - 2]
                }
                _ => m.view.rank(x) == Some(2),
            };
            if !exchanges {
                let why =
                    format!("the last two axes of `{x}` are not all that is exchanged before it");
                return Err(Reject::Miss(why));
            }
            Ok(m.projection(m.weight("W", Layout::OutIn)?))
        })
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
