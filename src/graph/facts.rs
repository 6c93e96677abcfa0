//! What is known of operators, each fact once. Nothing here holds for an operator of another domain than is said.

use crate::proto::{NodeProto, Operator};

/// Whether a node hands on its first input, in whatever type.
pub fn keeps(node: &NodeProto) -> bool {
    matches!(node.standard(), "Cast" | "CastLike" | "Dropout" | "Identity")
}

/// Whether a node hands on the elements of its first input in their order, in whatever type or shape.
pub fn passes(node: &NodeProto) -> bool {
    keeps(node) || matches!(node.standard(), "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze")
}

/// Whether a node hands on all elements of what it reads, wherever it puts them.
pub fn moves(node: &NodeProto) -> bool {
    passes(node) || matches!(node.standard(), "Concat" | "Expand" | "Pad" | "Tile" | "Transpose")
}

/// Whether a node adds to elements, scales or bounds them, each in its place.
pub fn adjusts(node: &NodeProto) -> bool {
    matches!(node.standard(), "Add" | "Clip" | "Div" | "Max" | "Min" | "Mul" | "Sub" | "Sum")
}

/// Whether a node picks parts of its first input by indices.
pub fn gathers(node: &NodeProto) -> bool {
    matches!(node.standard(), "Gather" | "GatherElements" | "GatherND")
}

/// Whether a node takes a part of its first input, or several.
pub fn cuts(node: &NodeProto) -> bool {
    gathers(node) || matches!(node.standard(), "Slice" | "Split" | "SplitToSequence")
}

/// Whether a node makes one element of many.
pub fn reduces(node: &NodeProto) -> bool {
    let name = node.standard();
    name.starts_with("Reduce") || name.starts_with("Global")
}

/// Whether a node goes to integers or comes from them.
pub fn quantizes(node: &NodeProto) -> bool {
    matches!(node.standard(), "DequantizeLinear" | "DynamicQuantizeLinear" | "QuantizeLinear")
}

/// Whether a node's first two inputs may change places. Those of an `Einsum` may if its terms do.
pub fn commutes(node: &NodeProto) -> bool {
    let of = node.standard();
    matches!(of, "Add" | "Einsum" | "Equal" | "Max" | "Mean" | "Min" | "Mul" | "Sum")
        || matches!(of, "And" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Or" | "Xor")
}

/// A table and what says which of its rows: two of a node's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup<'n> {
    /// What rows are taken from.
    pub table: &'n str,
    /// Which rows.
    pub index: &'n str,
    /// The axis of the table along which the rows lie.
    pub axis: i64,
}

/// The tables that a node looks rows up in.
pub fn lookups(node: &NodeProto) -> impl Iterator<Item = Lookup<'_>> {
    let Operator { domain, name } = node.operator();
    let (pairs, axis): (&[(usize, usize)], _) = match (domain, name) {
        ("", "Gather") => (&[(0, 1)], "axis"),
        ("com.microsoft", "GatherBlockQuantized") => (&[(0, 1)], "gather_axis"),
        ("com.microsoft", "EmbedLayerNormalization") => (&[(2, 0), (4, 1)], ""),
        _ => (&[], ""),
    };
    let axis = node.int(axis).unwrap_or(0);
    let lookup = move |&(table, index): &(usize, usize)| {
        Some(Lookup { table: node.input(table)?, index: node.input(index)?, axis })
    };
    pairs.iter().filter_map(lookup)
}

/// Which inputs hold what a node's outputs do, where others only say where or how much: shapes, indices, axes.
/// `None` where all of them do.
pub fn content(node: &NodeProto) -> Option<&'static [usize]> {
    match (node.operator().domain, node.op_type()) {
        ("", "ConstantOfShape" | "EyeLike" | "Range" | "Shape" | "Size") => Some(&[]),
        (
            "",
            "CastLike" | "Clip" | "CumSum" | "Dropout" | "Expand" | "Gather" | "GatherElements"
            | "GatherND" | "OneHot" | "Pad" | "Reshape" | "Resize" | "Slice" | "Split"
            | "SplitToSequence" | "Squeeze" | "Tile" | "TopK" | "Trilu" | "Unsqueeze",
        )
        | ("" | "com.microsoft", "RotaryEmbedding") => Some(&[0]),
        ("", "Where") => Some(&[1, 2]),
        ("", "Scatter" | "ScatterElements" | "ScatterND") => Some(&[0, 2]),
        _ => None,
    }
}

/// The inputs of a node that are matrices which it multiplies.
pub fn factors(node: &NodeProto) -> Option<[&str; 2]> {
    let second = match (node.operator().domain, node.op_type()) {
        ("", "Einsum" | "Gemm" | "MatMul" | "MatMulInteger")
        | ("com.microsoft", "FusedMatMul" | "MatMulIntegerToFloat" | "TransposeMatMul") => 1,
        ("", "QLinearMatMul") => 3,
        _ => return None,
    };
    Some([node.input(0)?, node.input(second)?])
}

/// How many features a node says that its product takes and makes.
pub fn features(node: &NodeProto) -> Option<[usize; 2]> {
    let packs = matches!(node.op_type(), "MatMulBnb4" | "MatMulNBits");
    let stated = |name: &str| usize::try_from(node.int(name)?).ok();
    (packs && node.operator().domain == "com.microsoft").then_some([stated("K")?, stated("N")?])
}

/// The inputs of a node that are of its first output's type.
pub fn of_one_type(node: &NodeProto) -> &[String] {
    match node.standard() {
        "Cast" | "CastLike" => &[],
        "Add" | "Concat" | "Div" | "Gemm" | "MatMul" | "Max" | "Min" | "Mul" | "Sub" | "Sum" => {
            &node.input
        }
        "Clip" | "Elu" | "Erf" | "Gelu" | "HardSwish" | "LayerNormalization" | "LeakyRelu"
        | "Pow" | "RMSNormalization" | "Relu" | "Sigmoid" | "Softmax" | "Swish" | "Tanh" => {
            first(node)
        }
        _ if moves(node) || cuts(node) => first(node),
        _ => &[],
    }
}

fn first(node: &NodeProto) -> &[String] {
    node.input.get(..1).unwrap_or_default()
}
