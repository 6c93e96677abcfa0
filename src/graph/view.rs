//! A read-only look at one graph: who makes a value, who reads it, what is stored.

use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto};
use prost::Message as _;
use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

/// A node's index in `GraphProto::node`.
pub type NodeId = usize;

/// One reader of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The node that reads it.
    pub node: NodeId,
    /// Which of the node's inputs; `None` when a graph nested in the node captures the value.
    pub input: Option<usize>,
}

/// Borrows one graph and, for a nested one, the graphs around it.
///
/// A value that the graph does not define is looked up outwards, as ONNX's scoping rules say.
pub struct View<'m> {
    graph: &'m GraphProto,
    outer: Option<&'m View<'m>>,
    producers: HashMap<&'m str, NodeId>,
    uses: HashMap<&'m str, Vec<Use>>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    inputs: HashSet<&'m str>,
    outputs: HashSet<&'m str>,
    /// Bytes of the graph's encoding, once asked for.
    bytes: OnceLock<usize>,
    /// The values that the graph declares to be tensors.
    types: HashMap<&'m str, &'m type_proto::Tensor>,
}

impl<'m> View<'m> {
    /// The view of a model's main graph, if it has one.
    ///
    /// Where the IR version demands that each initializer is listed as an input, it is none.
    pub fn of(model: &'m ModelProto) -> Option<Self> {
        let mut view = Self::new(model.graph.as_ref()?);
        if lists_initializers(model) {
            let View { inputs, initializers, .. } = &mut view;
            inputs.retain(|input| !initializers.contains_key(input));
        }
        Some(view)
    }

    /// The view of a main graph of which each initializer that is an input too is only a default.
    pub fn new(graph: &'m GraphProto) -> Self {
        Self::build(graph, None)
    }

    /// The view of a graph that is an attribute of a node of `outer`.
    pub fn nested(graph: &'m GraphProto, outer: &'m View<'m>) -> Self {
        Self::build(graph, Some(outer))
    }

    fn build(graph: &'m GraphProto, outer: Option<&'m View<'m>>) -> Self {
        let mut view = View {
            graph,
            outer,
            producers: HashMap::new(),
            uses: HashMap::new(),
            initializers: graph.initializer.iter().map(|t| (t.name(), t)).collect(),
            inputs: graph.input.iter().map(|v| v.name()).collect(),
            outputs: graph.output.iter().map(|v| v.name()).collect(),
            bytes: OnceLock::new(),
            types: graph
                .value_info
                .iter()
                .chain(&graph.input)
                .chain(&graph.output)
                .filter_map(typed)
                .collect(),
        };
        for (id, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                view.producers.insert(output, id);
            }
            for (index, input) in node.input.iter().enumerate().filter(|(_, i)| !i.is_empty()) {
                view.uses.entry(input).or_default().push(Use { node: id, input: Some(index) });
            }
            for name in captured(node) {
                view.uses.entry(name).or_default().push(Use { node: id, input: None });
            }
        }
        view
    }

    /// The graph itself.
    pub fn graph(&self) -> &'m GraphProto {
        self.graph
    }

    /// The view of the graph around this one.
    pub fn outer(&self) -> Option<&'m View<'m>> {
        self.outer
    }

    /// The node with this index.
    pub fn node(&self, id: NodeId) -> &'m NodeProto {
        &self.graph.node[id]
    }

    /// Every node with its index, in graph order.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &'m NodeProto)> {
        self.graph.node.iter().enumerate()
    }

    /// The node of *this* graph that makes the value.
    pub fn producer(&self, value: &str) -> Option<NodeId> {
        self.producers.get(value).copied()
    }

    /// The readers of the value in *this* graph, graphs nested in it included.
    pub fn uses(&self, value: &str) -> &[Use] {
        self.uses.get(value).map_or(&[], Vec::as_slice)
    }

    /// The one reader of a value that nothing else reads, nested graphs and graph outputs included.
    pub fn only_use(&self, value: &str) -> Option<Use> {
        match self.uses(value) {
            [only] if !self.is_output(value) => Some(*only),
            _ => None,
        }
    }

    /// The stored tensor of this name, here or further out, unless a caller may override it.
    ///
    /// An initializer that is a graph input too is only a default and is not returned.
    pub fn initializer(&self, value: &str) -> Option<&'m TensorProto> {
        if let Some(tensor) = self.initializers.get(value) {
            return (!self.inputs.contains(value)).then_some(*tensor);
        }
        self.scope_of_outer(value)?.initializer(value)
    }

    /// What an input of this graph is where its caller gives nothing.
    pub fn default_of(&self, input: &str) -> Option<&'m TensorProto> {
        self.initializers.get(input).copied().filter(|_| self.inputs.contains(input))
    }

    /// Whether any input of this graph has a default.
    pub fn has_defaults(&self) -> bool {
        self.inputs.iter().any(|input| self.initializers.contains_key(input))
    }

    /// Bytes that the outermost graph takes in a file.
    pub(super) fn model_bytes(&self) -> usize {
        match self.outer {
            Some(outer) => outer.model_bytes(),
            None => *self.bytes.get_or_init(|| self.graph.encoded_len()),
        }
    }

    /// The view that defines the value, this one or one around it.
    pub fn scope(&self, value: &str) -> Option<&View<'m>> {
        if self.defines(value) { Some(self) } else { self.outer?.scope(value) }
    }

    /// Whether the value is an input of this graph.
    pub fn is_input(&self, value: &str) -> bool {
        self.inputs.contains(value)
    }

    /// Whether the value is an output of this graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// Whether anything reads the value: a node, a nested graph, or the graph's caller.
    pub fn is_read(&self, value: &str) -> bool {
        self.is_output(value) || !self.uses(value).is_empty()
    }

    /// The type that the file declares for a value, here or further out, if it is a tensor's.
    pub fn declared(&self, value: &str) -> Option<&'m type_proto::Tensor> {
        self.scope(value)?.types.get(value).copied()
    }

    /// The rank of a value, where the file declares it.
    pub fn rank(&self, value: &str) -> Option<usize> {
        Some(self.declared(value)?.shape.as_ref()?.dim.len())
    }

    fn defines(&self, value: &str) -> bool {
        self.producers.contains_key(value)
            || self.initializers.contains_key(value)
            || self.inputs.contains(value)
    }

    fn scope_of_outer(&self, value: &str) -> Option<&'m View<'m>> {
        if self.defines(value) { None } else { self.outer }
    }
}

/// A value's name and type, if it is a tensor.
fn typed(value: &ValueInfoProto) -> Option<(&str, &type_proto::Tensor)> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some((value.name(), tensor)),
        _ => None,
    }
}

/// Whether the model's IR version demands that initializers are listed as inputs: before 4 it does,
/// from then on an input with a stored value has a default that a caller may replace.
pub(super) fn lists_initializers(model: &ModelProto) -> bool {
    model.ir_version.is_some_and(|version| version < 4)
}

/// The values that graphs nested in the node read from outside, in order, each once.
pub fn captured(node: &NodeProto) -> Vec<&str> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for graph in node.graphs() {
        let inner: HashSet<&str> = defined(graph).collect();
        let reads =
            graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str).chain(captured(n)));
        let outputs = graph.output.iter().map(|v| v.name());
        let outer = reads.chain(outputs).filter(|n| !n.is_empty() && !inner.contains(n));
        found.extend(outer.filter(|name| seen.insert(*name)));
    }
    found
}

/// The values that a graph itself defines: given, stored, or made by its nodes.
pub(super) fn defined(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let given = graph.input.iter().map(|v| v.name());
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    let stored = graph.initializer.iter().chain(sparse).map(|t| t.name());
    let made = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str));
    given.chain(stored).chain(made).filter(|name| !name.is_empty())
}
