//! ```text
//! x ─ MoE(router, W, W2) ─ y   ⇒   kept
//! ```
//!
//! Operators that multiply with what they hold, but are no plain product of the activation's rows: they stay,
//! and each of their matrices has a line. So does an operator that nothing here knows, where it reads a matrix.

use crate::{
    operator,
    proto::NodeProto,
    rewrite::{Match, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 12] {
    let step = "multiplies what it made of the token before as well, step by step";
    let plain = "is no plain product";
    let experts = "holds the weights of all its experts, of which it takes a few for each token";
    [
        Rule::keep("moe", "y = com.microsoft.MoE(x, router, W, b?, W2?, b2?, W3?, rest)", experts),
        Rule::keep(
            "qmoe",
            "y = com.microsoft.QMoE(x, router, W, s?, b?, W2?, s2?, b2?, W3?, rest)",
            experts,
        ),
        Rule::keep(
            "fused-gemm",
            "y = com.microsoft.FusedGemm(x, W, rest)",
            "applies a function to its product inside",
        ),
        Rule::keep("transpose-matmul", "y = com.microsoft.TransposeMatMul(x, W)", plain),
        Rule::keep("rnn", "y = RNN(x, W, W2, rest)", step),
        Rule::keep("gru", "y = GRU(x, W, W2, rest)", step),
        Rule::keep("lstm", "y = LSTM(x, W, W2, rest)", step),
        Rule::refuse("left-matmul", "y = MatMul(W, x)", left),
        Rule::refuse("left-gemm", "y = Gemm(W, x, rest)", left),
        Rule::refuse("left-fused-matmul", "y = com.microsoft.FusedMatMul(W, x)", left),
        Rule::refuse("pointwise", "y = Conv(x, W, rest)", pointwise),
        Rule::refuse("unknown", "y = _(rest)", unknown),
    ]
}

/// The weight is the left operand, where the other one holds a token in each column.
fn left(m: &Match) -> Reject {
    let (weight, x) = (m.value("W"), m.value("x"));
    match m.is_matrix(weight) {
        true => Reject::Refuse(format!(
            "its weight `{weight}` multiplies the columns of `{x}`, where a BitLinear takes rows"
        )),
        false => Reject::Miss(format!("`{weight}` is no stored matrix")),
    }
}

/// A convolution of one place multiplies the channels, which are not the last axis.
fn pointwise(m: &Match) -> Reject {
    let weight = m.value("W");
    let (_, shape) = m.constants.kind(weight).unwrap_or_default();
    let whole = m.view.node(m.root).int("group").unwrap_or(1) == 1;
    match shape[..] {
        [n, k, ref kernel @ ..]
            if whole && n.min(k) > 1 && kernel.iter().all(|size| *size == 1) =>
        {
            Reject::Refuse(format!(
                "its weight `{weight}` multiplies the channels of each place, where a BitLinear takes the last axis"
            ))
        }
        _ => Reject::Miss(format!("`{weight}` is no matrix of channels")),
    }
}

fn unknown(m: &Match) -> Reject {
    let node = m.view.node(m.root);
    let operator = node.operator();
    let own = m.constants.calls_function(node);
    let held = || node.inputs().find(|value| m.is_matrix(value));
    match held().filter(|_| !own && !is_known(node)) {
        Some(matrix) => {
            Reject::Refuse(format!("what {operator} does with the matrix `{matrix}` is not known"))
        }
        None => Reject::Miss(format!("no rule starts at {operator}")),
    }
}

/// Whether it is known that an operator multiplies no activation with a matrix, or else there is a rule for it.
fn is_known(node: &NodeProto) -> bool {
    let operator = node.operator();
    match operator.domain {
        "" => true,
        "com.microsoft" => READ_OTHERWISE.contains(&operator.name),
        domain => domain == operator::DOMAIN,
    }
}

/// Operators of ONNX Runtime's that may read a stored matrix and multiply no activation with it: a table, angles, a
/// mask, a kernel.
const READ_OTHERWISE: [&str; 22] = [
    "BiasAdd",
    "BiasSoftmax",
    "ConvTransposeWithDynamicPads",
    "DecoderMaskedMultiHeadAttention",
    "DequantizeLinear",
    "EmbedLayerNormalization",
    "FusedConv",
    "GatherBlockQuantized",
    "GroupQueryAttention",
    "MultiHeadAttention",
    "NhwcConv",
    "NhwcFusedConv",
    "PackedMultiHeadAttention",
    "PagedAttention",
    "QEmbedLayerNormalization",
    "QLinearAdd",
    "QLinearMul",
    "QuantizeLinear",
    "RelativePositionBias",
    "RotaryEmbedding",
    "SkipLayerNormalization",
    "SparseAttention",
];
