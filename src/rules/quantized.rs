//! Products that are quantised already: they stay, and the report says so.

use crate::rewrite::{Effect, Reject, Rule};

pub(super) fn rules() -> [Rule; 6] {
    [
        kept("bitlinear", "y = bitonnx.BitLinear(x, W, rest)", "is a BitLinear already"),
        kept("matmul-integer", "y = MatMulInteger(x, W, rest)", "multiplies int8 already"),
        kept("qlinear-matmul", "y = QLinearMatMul(x, xs, xz, W, rest)", "multiplies int8 already"),
        kept(
            "matmul-nbits",
            "y = com.microsoft.MatMulNBits(x, W, rest)",
            "has block-quantised weights already",
        ),
        kept("qattention", "y = com.microsoft.QAttention(x, W, rest)", "multiplies int8 already"),
        kept(
            "dynamic-matmul",
            "y = com.microsoft.DynamicQuantizeMatMul(x, W, rest)",
            "multiplies int8 already",
        ),
    ]
}

fn kept(name: &'static str, pattern: &str, what: &'static str) -> Rule {
    Rule::named(name, Effect::Keep)
        .find(pattern)
        .with(move |m| Err(Reject::Refuse(format!("node `{}` {what}", m.label()))))
}
