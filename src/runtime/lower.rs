//! A model as the walk reads it: what tract has no word for is said in words that it has.
//!
//! Each pass takes a whole model and leaves an equivalent one. After the last, no node calls a
//! model-local function, every value has a name of its own whatever graph it is in, and all that is
//! stored is apart from the nodes.

mod by_value;
mod names;
mod stored;

pub(super) use by_value::ByValue;
pub(super) use names::{Names, opset_of};
pub(super) use stored::Stored;

use crate::{
    error::{Error, ErrorKind, Result},
    graph,
    operator::is_ours,
    proto::{
        self, GraphProto, ModelProto, NodeProto, ValueInfoProto, graphs_within, standard_opset,
    },
};
use std::collections::HashMap;

/// What [`lower`] makes of a model.
pub(super) struct Lowered {
    /// The standard opset that a node without one of its own is of.
    pub opset: i64,
    /// Inputs, outputs and nodes; nothing stored.
    pub graph: GraphProto,
    /// Initializers and the values of `Constant` nodes, of every graph, by name.
    pub stored: HashMap<String, Stored>,
    /// Graph inputs whose values plans may be for.
    pub by_value: ByValue,
}

/// Makes a model ready to be planned.
pub(super) fn lower(mut model: ModelProto) -> Result<Lowered> {
    let opset = proto::opset(&model);
    let broken = |why: String| {
        let hint = "check the model with onnx.checker";
        Error::new(ErrorKind::InvalidModel, "the model can't be run", why, hint)
    };
    let inlined = graph::inline(&mut model, |f| !is_ours(f.identity().0)).map_err(broken)?;
    let mut graph = model.graph.take().ok_or_else(|| broken("it holds no graph".into()))?;
    graph.each_mut(&mut |graph| {
        for node in &mut graph.node {
            let function = inlined.functions_of(node).last();
            let of = function.and_then(|f| standard_opset(&f.opset_import));
            of.filter(|of| *of != opset).iter().for_each(|of| names::set_opset(node, *of));
        }
    });
    names::make_unique(&mut graph);
    let stored = stored::take(&mut graph)?;
    let by_value = ByValue::of(&graph);
    Ok(Lowered { opset, graph, stored, by_value })
}

impl Lowered {
    /// How errors call the node that made something of this name: `node ... (operator)`.
    pub fn label(&self, name: &str) -> String {
        let made = |n: &&NodeProto| {
            let rest = name.strip_prefix(n.label());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let nodes = graphs_within(&self.graph).into_iter().flat_map(|g| &g.node);
        match nodes.filter(made).max_by_key(|n| n.label().len()) {
            Some(node) => format!("node {}", node.described()),
            None => format!("`{name}`"),
        }
    }
}

/// The element type and dimensions of a graph input or output that is a tensor.
pub(super) fn tensor_type(value: &ValueInfoProto) -> Option<&proto::type_proto::Tensor> {
    match value.r#type.as_ref()?.value.as_ref()? {
        proto::type_proto::Value::TensorType(tensor) => Some(tensor),
        _ => None,
    }
}

/// The error of a value that more than one node makes, or that is stored and made.
pub(super) fn made_twice(value: &str) -> Error {
    Error::new(
        ErrorKind::InvalidModel,
        format!("value `{value}` can't be computed"),
        "it is made twice: each value of a model has one node that makes it, or is stored",
        "check the model with onnx.checker",
    )
}
