//! ONNX Runtime's fused `Attention` holds its QKV projection inside.
//!
//! ```text
//! x ─ Attention(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Split ═ MultiHeadAttention(b) ─ y
//! ```
//!
//! `MultiHeadAttention` is the same operator without the projection.

use crate::{
    quant::Layout,
    rewrite::{Effect, Match, Projection, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 3] {
    [
        attention("attention", "x, W, b", "q, k, v, b"),
        attention("attention-masked", "x, W, b, mask", "q, k, v, b, mask"),
        Rule::named("attention-kept", Effect::Keep).find("y = com.microsoft.Attention(x, W, rest)").with(|m| {
            let why = "holds its projection inside, beside a past, an attention bias or sizes of its own";
            Err(Reject::Refuse(format!("node `{}` {why}", m.label())))
        }),
    ]
}

fn attention(name: &'static str, inputs: &str, unfused: &str) -> Rule {
    Rule::named(name, Effect::Approximate)
        .since(13)
        .find(&format!(
            "y = com.microsoft.Attention <num_heads: int = @num_heads, scale: float = @scale,
                 unidirectional: int = @unidirectional, mask_filter_value: float = @mask_filter_value,
                 do_rotary = 0, qkv_hidden_sizes: ints = @qkv_hidden_sizes> ({inputs})"
        ))
        .emit(&format!(
            "qkv = bitonnx.BitLinear(x, codes, scale)
             [sizes] sizes = Constant <value_ints: ints = @parts> ()
             [split] q, k, v = Split <axis = -1> (qkv, sizes)
             [attention] y = com.microsoft.MultiHeadAttention <num_heads: int = @num_heads, scale: float = @scale,
                 unidirectional: int = @unidirectional, mask_filter_value: float = @mask_filter_value> ({unfused})"
        ))
        .with(thirds)
}

/// The weight is [k, 3·h]: queries, keys and values side by side.
fn thirds(m: &Match) -> Result<Projection, Reject> {
    let weight = m.weight("W", Layout::InOut)?;
    if m.has("qkv_hidden_sizes") || !weight.n.is_multiple_of(3) {
        return Err(Reject::Miss(format!("node `{}` has heads of different sizes", m.label())));
    }
    let part = weight.n / 3;
    Ok(Projection { parts: vec![0, part, 2 * part], ..m.projection("x", weight) })
}
