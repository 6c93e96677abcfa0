//! Products that stay, and the report says why: those that are quantised already, and operators of ONNX
//! Runtime's that hold their weights inside.

use crate::rewrite::Rule;

pub(super) fn rules() -> [Rule; 16] {
    let int8 = "multiplies int8 already";
    let packed = "has block-quantised weights already";
    let experts = "holds the weights of all its experts, of which it takes a few for each token";
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
        Rule::keep("moe-fc1", "y = com.microsoft.MoE(x, router, W, rest)", experts),
        Rule::keep("moe-fc2", "y = com.microsoft.MoE(x, router, w1, b1?, W, rest)", experts),
        Rule::keep(
            "moe-fc3",
            "y = com.microsoft.MoE(x, router, w1, b1?, w2, b2?, W, rest)",
            experts,
        ),
        Rule::keep("qmoe-fc1", "y = com.microsoft.QMoE(x, router, W, rest)", experts),
        Rule::keep("qmoe-fc2", "y = com.microsoft.QMoE(x, router, w1, s1?, b1?, W, rest)", experts),
        Rule::keep(
            "qmoe-fc3",
            "y = com.microsoft.QMoE(x, router, w1, s1?, b1?, w2, s2?, b2?, W, rest)",
            experts,
        ),
    ]
}
