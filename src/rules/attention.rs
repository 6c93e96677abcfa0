//! ONNX Runtime's fused `Attention` holds its QKV projection inside.
//!
//! ```text
//! x ─ Attention(W, b) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ Split ═ MultiHeadAttention(b) ─ y
//! ```
//!
//! `MultiHeadAttention` is the same operator without the projection, but for the mask: of those that
//! `Attention` takes, it does not know `[2·batch]` (where each row's keys end and begin), a mask of four
//! axes, nor one that is `[batch, 1]` and means nothing.

use crate::{
    graph::View,
    proto::{
        NodeProto,
        tensor_shape_proto::{Dimension, dimension},
    },
    quant::Layout,
    rewrite::{Effect, Match, Projection, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 2] {
    [
        attention(),
        Rule::keep(
            "attention-kept",
            "y = com.microsoft.Attention(x, W, rest)",
            "holds its projection inside",
        ),
    ]
}

fn attention() -> Rule {
    Rule::named("attention", Effect::Approximate)
        .since(13)
        .find(
            "y = com.microsoft.Attention <num_heads: int = @num_heads, scale: float = @scale,
                 unidirectional: int = @unidirectional, mask_filter_value: float = @mask_filter_value,
                 do_rotary = 0, qkv_hidden_sizes: ints = @qkv_hidden_sizes> (x, W, b?, mask?)",
        )
        .emit(
            "qkv = bitonnx.BitLinear(x, codes, scale)
             [sizes] sizes = Constant <value_ints: ints = @part_sizes> ()
             [split] q, k, v = Split <axis = -1> (qkv, sizes)
             [attention] y = com.microsoft.MultiHeadAttention <num_heads: int = @num_heads, scale: float = @scale,
                 unidirectional: int = @unidirectional, mask_filter_value: float = @mask_filter_value>
                 (q, k, v, b?, mask?)",
        )
        .with(projection)
}

/// The weight is [k, q + k + v]: queries, keys and values side by side, a third each unless
/// `qkv_hidden_sizes` says otherwise.
fn projection(m: &Match) -> Result<Projection, Reject> {
    if let Some(mask) = m.optional("mask?") {
        check_mask(m, mask)?;
    }
    let weight = m.weight("W", Layout::InOut)?;
    let sizes = match m.ints("qkv_hidden_sizes") {
        Some(sizes) => sizes.iter().map(|s| usize::try_from(*s).unwrap_or_default()).collect(),
        None => vec![weight.n / 3; 3],
    };
    match sizes[..] {
        [q, k, v]
            if q == k && q.checked_mul(2).and_then(|qk| qk.checked_add(v)) == Some(weight.n) =>
        {
            Ok(Projection { bias: m.constant("b?"), part_sizes: sizes, ..m.projection(weight) })
        }
        _ => Err(Reject::Miss(format!(
            "node `{}` has queries, keys and values of sizes {sizes:?}, which MultiHeadAttention can't cut from {}",
            m.label(),
            weight.n
        ))),
    }
}

/// Refuses a mask of which the file does not tell that `MultiHeadAttention` reads it the same way.
///
/// The forms of both are in the documentation of ONNX Runtime's operators (`ContribOperators.md`).
fn check_mask(m: &Match, mask: &str) -> Result<(), Reject> {
    let refuse = |what: &str| {
        let of = format!("the mask `{mask}` of node `{}`", m.label());
        Err(Reject::Refuse(format!(
            "MultiHeadAttention may not read {of} as Attention does: {what}"
        )))
    };
    match mask_of(m, mask) {
        Some(Mask::Lengths) => Ok(()),
        Some(Mask::Shaped(dims)) => match dims[..] {
            [length] if holds_lengths(length, batch(m)) => Ok(()),
            [Dim::Size(length)] => refuse(&format!("it has {length} elements")),
            [_] => refuse("its one axis is not declared as long as the batch"),
            [_, Dim::Size(1)] => refuse("it has one column"),
            [_, _] | [_, _, _] => Ok(()),
            _ => refuse(&format!("it has {} axes", dims.len())),
        },
        None => refuse("the file declares no shape for it"),
    }
}

/// Whether a mask with one axis holds each row's number of keys: `[batch]`, or `[3·batch + 2]`, where
/// the places at which rows start in packed queries and keys follow.
fn holds_lengths(length: Dim, batch: Option<Dim>) -> bool {
    match (length, batch) {
        (Dim::Size(length), Some(Dim::Size(batch))) => {
            length == batch || batch.checked_mul(3).and_then(|b| b.checked_add(2)) == Some(length)
        }
        (Dim::Named(length), Some(Dim::Named(batch))) => length == batch,
        _ => false,
    }
}

/// The first dimension of the activation, or else of the output.
fn batch<'m>(m: &Match<'_, 'm>) -> Option<Dim<'m>> {
    let first = |value: &str| declared(m.view, value)?.first().copied();
    first(m.value("x")).or_else(|| first(m.value("y")))
}

/// What the file tells about a mask.
enum Mask<'m> {
    /// It has one element a row: how many keys the row has.
    Lengths,
    Shaped(Vec<Dim<'m>>),
}

#[derive(Clone, Copy)]
enum Dim<'m> {
    Size(i64),
    Named(&'m str),
    Any,
}

fn mask_of<'m>(m: &Match<'_, 'm>, mask: &str) -> Option<Mask<'m>> {
    let (mut mask, mut summed) = (mask, false);
    loop {
        match declared(m.view, mask) {
            Some(dims) if !summed => return Some(Mask::Shaped(dims)),
            Some(dims) => return (dims.len() == 2).then_some(Mask::Lengths),
            None => {}
        }
        let node = m.view.node(m.view.producer(mask)?);
        let operator = node.operator();
        match (operator.domain, operator.name) {
            ("", "Cast" | "Identity") => {}
            ("", "ReduceSum") if !summed && sums_rows(m, node) => summed = true,
            ("com.microsoft", "EmbedLayerNormalization")
                if !summed && node.output(1) == Some(mask) =>
            {
                return Some(Mask::Lengths);
            }
            _ => return None,
        }
        mask = node.input(0)?;
    }
}

/// Whether a sum of a matrix is that of each row, without the axis that it was taken over.
fn sums_rows(m: &Match, node: &NodeProto) -> bool {
    let drops = node.int("keepdims") == Some(0);
    drops && matches!(m.constants.integers(node, "axes", 1).as_deref(), Some([1 | -1]))
}

/// The shape that the file declares for a value.
fn declared<'m>(view: &View<'m>, value: &str) -> Option<Vec<Dim<'m>>> {
    if let Some(stored) = view.initializer(value) {
        return Some(stored.dims.iter().copied().map(Dim::Size).collect());
    }
    Some(view.declared(value)?.shape.as_ref()?.dim.iter().map(dim).collect())
}

fn dim(dim: &Dimension) -> Dim<'_> {
    match &dim.value {
        Some(dimension::Value::DimValue(size)) => Dim::Size(*size),
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Named(name),
        _ => Dim::Any,
    }
}
