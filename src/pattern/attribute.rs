//! What a pattern asks of a node's attributes.

use crate::{
    proto::{AttributeProto, NodeProto, TensorProto, attribute_proto::AttributeType, raw_bytes},
    text::{self, Style},
};
use std::sync::LazyLock;

/// What an attribute means that a node leaves out, for those that patterns ask for.
const DEFAULTS: &str = r#"
    y = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 0> ()
    y = Cast <saturate = 1> ()
    y = ReduceMax <keepdims = 1, noop_with_empty_axes = 0> ()
    y = ReduceMean <keepdims = 1, noop_with_empty_axes = 0> ()
    y = ReduceSum <keepdims = 1, noop_with_empty_axes = 0> ()
    y = Gather <axis = 0> ()
    y = Split <axis = 0> ()
    y = DequantizeLinear <axis = 1> ()
    y = RMSNormalization <axis = -1, epsilon = 1e-5, stash_type = 1> ()
    y = com.microsoft.FusedMatMul
        <alpha = 1.0, transA = 0, transB = 0, transBatchA = 0, transBatchB = 0> ()
    y = com.microsoft.FusedGemm <alpha = 1.0, beta = 1.0, transA = 0, transB = 0, activation = ""> ()
    y = com.microsoft.Attention <do_rotary = 0, unidirectional = 0, mask_filter_value = -10000.0> ()
"#;

static TABLE: LazyLock<Vec<NodeProto>> = LazyLock::new(|| {
    text::parse_nodes(DEFAULTS).unwrap_or_else(|e| panic!("the defaults of attributes: {e}"))
});

/// What the attribute means where a node of this operator leaves it out; `None` where it may not, or
/// where that means what no value says.
pub(super) fn default(node: &NodeProto, name: &str) -> Option<&'static AttributeProto> {
    TABLE.iter().find(|n| n.operator() == node.operator())?.attribute(name)
}

/// What the pattern's name for an attribute stands for, if it has one and the node has the attribute;
/// else why the node's attribute is not the pattern's.
pub(super) fn matched<'n>(
    want: &AttributeProto,
    node: &'n NodeProto,
) -> Result<Option<&'n AttributeProto>, String> {
    let found = node.attribute(want.name());
    let differs = |found: String, wanted: String| {
        format!("attribute `{}` of node `{}` is {found}, not {wanted}", want.name(), node.label())
    };
    if !want.ref_attr_name().is_empty() {
        return match found.filter(|found| found.kind() != want.kind()) {
            Some(other) => Err(differs(value(other), format!("of type {}", kind(want)))),
            None => Ok(found),
        };
    }
    match (found, default(node, want.name())) {
        (Some(found), _) if same(found, want) => Ok(None),
        (Some(found), _) => Err(differs(value(found), value(want))),
        (None, Some(default)) if same(default, want) => Ok(None),
        (None, Some(default)) => {
            Err(differs(format!("{} by default", value(default)), value(want)))
        }
        (None, None) => Err(differs("left out".into(), value(want))),
    }
}

/// Why no node can have the attribute that a pattern asks for.
pub(super) fn check(node: &NodeProto, want: &AttributeProto) -> Result<(), String> {
    let of = format!("attribute `{}` of {}", want.name(), node.operator());
    if want.ref_attr_name().is_empty() && !COMPARED.contains(&want.kind()) {
        return Err(format!("{of} is of type {}, which is not compared", kind(want)));
    }
    match default(node, want.name()) {
        Some(default) if default.kind() != want.kind() => {
            Err(format!("{of} is of type {}, not {}", kind(default), kind(want)))
        }
        _ => Ok(()),
    }
}

/// The types of attributes that a pattern may give a value for.
const COMPARED: [AttributeType; 7] = [
    AttributeType::Int,
    AttributeType::Float,
    AttributeType::String,
    AttributeType::Ints,
    AttributeType::Floats,
    AttributeType::Strings,
    AttributeType::Tensor,
];

fn same(a: &AttributeProto, b: &AttributeProto) -> bool {
    a.kind() == b.kind()
        && (a.i(), a.f(), a.s()) == (b.i(), b.f(), b.s())
        && (&a.ints, &a.floats, &a.strings) == (&b.ints, &b.floats, &b.strings)
        && match (&a.t, &b.t) {
            (Some(a), Some(b)) => same_tensor(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
}

/// Equal values, however the file stores them.
fn same_tensor(a: &TensorProto, b: &TensorProto) -> bool {
    (a.data_type(), &a.dims) == (b.data_type(), &b.dims) && raw_bytes(a) == raw_bytes(b)
}

fn value(attribute: &AttributeProto) -> String {
    let text = text::print::attribute(attribute, Style::SHORT);
    text.split_once(" = ").map_or(text.as_str(), |(_, value)| value).to_owned()
}

fn kind(attribute: &AttributeProto) -> String {
    attribute.kind().as_str_name().to_lowercase()
}
