//! SubLN: an RMSNorm before a projection.
//!
//! `x · 1/sqrt(mean(x²) + eps) · gain` along the last axis, eps 1e-6, gain ones (BitNet b1.58 2B4T
//! Technical Report, arXiv:2504.12285; BitDistill, arXiv:2510.13998).

use super::{Axis, Draft, Naming, reduce};
use crate::proto::tensor_proto::DataType;

/// Appends the norm of `x`, `[..., k]`, and returns what it makes, of x's type.
///
/// Types of 16 bits are normalised in f32, as `RMSNormalization` does. Before that operator, it is spelled
/// as ONNX Runtime's optimizer knows it (SimplifiedLayerNormFusion asks for `Pow` and `Div`).
pub(crate) fn norm(draft: &mut Draft, x: &str, gain: &str, data_type: DataType) -> String {
    let opset = draft.store.opset;
    if opset >= 23 {
        let text = "subln = RMSNormalization <axis = -1, epsilon = 1e-6> (x, gain)";
        return draft.add(text, &[("x", x), ("gain", gain)], Naming::Values);
    }
    let mean = reduce("ReduceMean", "subln_square", Axis::Last, opset);
    let body = |x: &str| {
        format!(
            "subln_square = Pow ({x}, TWO)
             subln_mean = {mean}
             subln_moved = Add (subln_mean, NORM_EPS)
             subln_root = Sqrt (subln_moved)
             subln_unit = Div ({x}, subln_root)"
        )
    };
    let text = match data_type {
        DataType::Float => format!("{}\nsubln = Mul (subln_unit, gain)", body("x")),
        narrow => format!(
            "subln_wide = Cast <to = 1> (x)
             {}
             subln_narrow = Cast <to = {}> (subln_unit)
             subln = Mul (subln_narrow, gain)",
            body("subln_wide"),
            narrow as i32
        ),
    };
    draft.add(&text, &[("x", x), ("gain", gain)], Naming::Values)
}
