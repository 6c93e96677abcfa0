//! ```text
//! x ─ MatMulNBits(W) ─ y   ⇒   kept
//! ```
//!
//! Products that are quantised already stay, and the report says so.

use crate::rewrite::Rule;

pub(super) fn rules() -> [Rule; 10] {
    let int8 = "multiplies int8 already";
    let packed = "has block-quantised weights already";
    [
        Rule::keep("bitlinear", "y = bitonnx.BitLinear(x, W, rest)", "is a BitLinear already"),
        Rule::keep("matmul-integer", "y = MatMulInteger(x, W, rest)", int8),
        Rule::keep("qlinear-matmul", "y = QLinearMatMul(x, xs, xz, W, rest)", int8),
        Rule::keep("matmul-nbits", "y = com.microsoft.MatMulNBits(x, W, rest)", packed),
        Rule::keep("qattention", "y = com.microsoft.QAttention(x, W, rest)", int8),
        Rule::keep("dynamic-matmul", "y = com.microsoft.DynamicQuantizeMatMul(x, W, rest)", int8),
        Rule::keep("integer-to-float", "y = com.microsoft.MatMulIntegerToFloat(x, W, rest)", int8),
        Rule::keep("qgemm", "y = com.microsoft.QGemm(x, xs, xz, W, rest)", int8),
        Rule::keep("matmul-bnb4", "y = com.microsoft.MatMulBnb4(x, W, rest)", packed),
        Rule::keep("matmul-fpq4", "y = com.microsoft.MatMulFpQ4(x, W, rest)", packed),
    ]
}
