//! Products that are quantised already: they stay, and the report says so.

use crate::rewrite::Rule;

pub(super) fn rules() -> [Rule; 6] {
    let int8 = "multiplies int8 already";
    [
        Rule::keep("bitlinear", "y = bitonnx.BitLinear(x, W, rest)", "is a BitLinear already"),
        Rule::keep("matmul-integer", "y = MatMulInteger(x, W, rest)", int8),
        Rule::keep("qlinear-matmul", "y = QLinearMatMul(x, xs, xz, W, rest)", int8),
        Rule::keep(
            "matmul-nbits",
            "y = com.microsoft.MatMulNBits(x, W, rest)",
            "has block-quantised weights already",
        ),
        Rule::keep("qattention", "y = com.microsoft.QAttention(x, W, rest)", int8),
        Rule::keep("dynamic-matmul", "y = com.microsoft.DynamicQuantizeMatMul(x, W, rest)", int8),
    ]
}
