//! Operators that tract lacks or knows only a part of, each as the nodes that compute the same.
//!
//! What they mean is defined in ONNX Runtime's `docs/ContribOperators.md` and, for the standard
//! ones, in ONNX's `docs/Operators.md`.

mod attention;
mod embedding;
mod product;
mod quantized;

use super::composite::Recipe;
use crate::proto::NodeProto;

/// The recipe for a node; `None` where tract's own operator is right.
pub(super) fn find(node: &NodeProto) -> Option<Recipe> {
    let operator = node.operator();
    match (operator.domain, operator.name) {
        ("com.microsoft", op) => Some(match op {
            "Attention" => attention::attention,
            "MultiHeadAttention" => attention::multi_head,
            "GroupQueryAttention" => attention::group_query,
            "EmbedLayerNormalization" => embedding::embed_layer_norm,
            "FusedMatMul" | "TransposeMatMul" => product::fused_matmul,
            "FusedGemm" => product::fused_gemm,
            "MatMulIntegerToFloat" => product::matmul_integer_to_float,
            "DynamicQuantizeMatMul" => product::dynamic_quantize_matmul,
            "QAttention" => attention::quantized,
            _ => return None,
        }),
        ("", "DequantizeLinear") if node.flag("block_size") => Some(quantized::dequantize_blocks),
        _ => None,
    }
}
