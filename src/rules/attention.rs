//! ONNX Runtime's fused `Attention`, which holds its QKV projection inside.

use crate::rewrite::{Effect, Reject, Rule};

pub(super) fn rules() -> [Rule; 1] {
    [Rule::new("attention", Effect::Keep).find("y = com.microsoft.Attention(x, W, rest)").with(|m| {
        Err(Reject::Refuse(format!(
            "node `{}` holds its projection inside a fused Attention; optimise the model without attention fusion",
            m.label()
        )))
    })]
}
