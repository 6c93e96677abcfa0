//! ```text
//! x ─ MatMul(w) ─ y, where w is a graph input with a default   ⇒   kept
//! ```
//!
//! Old exporters, and newer ones when asked to, list weights as graph inputs. The file gives such an
//! input a value, but a caller may give another, which ternary codes could not follow. So it is not constant,
//! and in lower case here.

use crate::rewrite::{Match, Reject, Rule};

pub(super) fn rules() -> [Rule; 4] {
    [
        Rule::refuse("replaceable-matmul", "y = MatMul(x, w)", why),
        Rule::refuse("replaceable-gemm", "y = Gemm(x, w, rest)", why),
        Rule::refuse("replaceable-fused-matmul", "y = com.microsoft.FusedMatMul(x, w)", why),
        Rule::refuse("replaceable-attention", "y = com.microsoft.Attention(x, w, rest)", why),
    ]
}

fn why(m: &Match) -> Reject {
    let value = m.value("w");
    match m.constants.replaceable(value) {
        Some(input) => Reject::Refuse(format!(
            "its weight `{input}` is a graph input with a default: a caller may replace it \
             (export with keep_initializers_as_inputs=False)"
        )),
        None => Reject::Miss(format!("`{value}` is no graph input with a default")),
    }
}
