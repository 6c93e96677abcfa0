//! A read-only look at one graph: who makes a value, who reads it, what is stored.

use super::id::{GraphId, NodeId};
use crate::proto::{
    FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto,
    type_proto,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// One reader of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The node that reads it.
    pub node: NodeId,
    /// Which of the node's inputs; `None` when a graph nested in the node captures the value.
    pub input: Option<usize>,
}

/// One graph of a model, with the graphs around it.
///
/// A value that the graph does not define is looked up outwards, as ONNX's scoping rules say.
pub struct View<'m> {
    id: GraphId,
    name: &'m str,
    nodes: &'m [NodeProto],
    /// The graph around it, and the node there that it is nested in.
    outer: Option<(Arc<View<'m>>, NodeId)>,
    producers: HashMap<&'m str, NodeId>,
    uses: HashMap<&'m str, Vec<Use>>,
    /// What is stored, in the file's order and by name.
    dense: &'m [TensorProto],
    initializers: HashMap<&'m str, &'m TensorProto>,
    sparse: HashMap<&'m str, &'m SparseTensorProto>,
    /// The names of both.
    stored: Vec<&'m str>,
    inputs: Vec<&'m str>,
    is_input: HashSet<&'m str>,
    outputs: Vec<&'m str>,
    is_output: HashSet<&'m str>,
    /// The values that the graph declares to be tensors.
    types: HashMap<&'m str, &'m type_proto::Tensor>,
}

impl<'m> View<'m> {
    /// A main graph; `listed` says that its initializers had to be inputs.
    pub(super) fn of_graph(id: GraphId, graph: &'m GraphProto, listed: bool) -> Self {
        let sparse = || graph.sparse_initializer.iter().map(|s| (s.name(), s));
        let declared = graph.value_info.iter().chain(&graph.input).chain(&graph.output);
        let dense = || graph.initializer.iter().map(|t| t.name());
        let initializers: HashMap<_, _> = dense().zip(&graph.initializer).collect();
        let inputs: Vec<&str> = graph.input.iter().map(|v| v.name()).collect();
        let given = inputs.iter().copied();
        View {
            name: graph.name(),
            nodes: &graph.node,
            is_input: given.filter(|i| !listed || !initializers.contains_key(i)).collect(),
            inputs,
            outputs: graph.output.iter().map(|v| v.name()).collect(),
            stored: dense().chain(sparse().map(|(name, _)| name)).collect(),
            dense: &graph.initializer,
            sparse: sparse().collect(),
            initializers,
            types: declared.filter_map(typed).collect(),
            ..View::empty(id)
        }
        .connected()
    }

    /// A graph that is an attribute of a node of `outer`.
    pub(super) fn nested(
        id: GraphId,
        graph: &'m GraphProto,
        outer: Arc<View<'m>>,
        holder: NodeId,
    ) -> Self {
        View { outer: Some((outer, holder)), ..View::of_graph(id, graph, false) }
    }

    /// The body of a function.
    pub(super) fn of_function(id: GraphId, function: &'m FunctionProto) -> Self {
        let inputs: Vec<&str> = function.input.iter().map(String::as_str).collect();
        View {
            name: function.name(),
            nodes: &function.node,
            is_input: inputs.iter().copied().collect(),
            inputs,
            outputs: function.output.iter().map(String::as_str).collect(),
            types: function.value_info.iter().filter_map(typed).collect(),
            ..View::empty(id)
        }
        .connected()
    }

    fn empty(id: GraphId) -> Self {
        View {
            id,
            name: "",
            nodes: &[],
            outer: None,
            producers: HashMap::new(),
            uses: HashMap::new(),
            initializers: HashMap::new(),
            dense: &[],
            sparse: HashMap::new(),
            stored: Vec::new(),
            inputs: Vec::new(),
            is_input: HashSet::new(),
            outputs: Vec::new(),
            is_output: HashSet::new(),
            types: HashMap::new(),
        }
    }

    /// Notes who makes and who reads what.
    fn connected(mut self) -> Self {
        self.is_output = self.outputs.iter().copied().collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let id = self.id.node(index);
            self.producers.extend(node.outputs().map(|output| (output, id)));
            let inputs = node.input.iter().enumerate().map(|(i, name)| (name.as_str(), Some(i)));
            let captured = captured(node).into_iter().map(|name| (name, None));
            for (name, input) in inputs.chain(captured).filter(|(name, _)| !name.is_empty()) {
                self.uses.entry(name).or_default().push(Use { node: id, input });
            }
        }
        self
    }

    /// Which graph of the model it is.
    pub fn id(&self) -> GraphId {
        self.id
    }

    /// The graph's name.
    pub fn name(&self) -> &'m str {
        self.name
    }

    /// The view of the graph around this one.
    pub fn outer(&self) -> Option<&View<'m>> {
        self.outer.as_ref().map(|(outer, _)| &**outer)
    }

    /// The node that this graph is nested in.
    pub fn holder(&self) -> Option<NodeId> {
        self.outer.as_ref().map(|(_, holder)| *holder)
    }

    /// The names of what the graph is given, in order.
    pub fn inputs(&self) -> &[&'m str] {
        &self.inputs
    }

    /// The names of what the graph hands out, in order.
    pub fn outputs(&self) -> &[&'m str] {
        &self.outputs
    }

    /// The names of what the graph stores, sparse tensors last.
    pub fn stored(&self) -> &[&'m str] {
        &self.stored
    }

    /// The tensors that the graph stores, sparse ones left out, in order.
    pub fn initializers(&self) -> &'m [TensorProto] {
        self.dense
    }

    /// A node of this graph.
    pub fn node(&self, id: NodeId) -> &'m NodeProto {
        debug_assert_eq!(id.graph(), self.id, "a node of another graph");
        &self.nodes[id.index()]
    }

    /// Every node with its id, in graph order.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (NodeId, &'m NodeProto)> + use<'m> {
        let graph = self.id;
        self.nodes.iter().enumerate().map(move |(index, node)| (graph.node(index), node))
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
            return (!self.is_input(value)).then_some(*tensor);
        }
        if self.defines(value) { None } else { self.outer()?.initializer(value) }
    }

    /// The sparse tensor that is stored as the value, here or further out.
    pub fn sparse(&self, value: &str) -> Option<&'m SparseTensorProto> {
        if let Some(tensor) = self.sparse.get(value) {
            return Some(tensor);
        }
        if self.defines(value) { None } else { self.outer()?.sparse(value) }
    }

    /// What an input of this graph is where its caller gives nothing.
    pub fn default_of(&self, input: &str) -> Option<&'m TensorProto> {
        self.initializers.get(input).copied().filter(|_| self.is_input(input))
    }

    /// Whether any input of this graph has a default.
    pub fn has_defaults(&self) -> bool {
        self.is_input.iter().any(|input| self.initializers.contains_key(input))
    }

    /// The view that defines the value, this one or one around it.
    pub fn scope(&self, value: &str) -> Option<&View<'m>> {
        if self.defines(value) { Some(self) } else { self.outer()?.scope(value) }
    }

    /// Whether the value is an input of this graph.
    pub fn is_input(&self, value: &str) -> bool {
        self.is_input.contains(value)
    }

    /// Whether the value is an output of this graph.
    pub fn is_output(&self, value: &str) -> bool {
        self.is_output.contains(value)
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

    /// Whether this graph has the value before its first node: given or stored.
    pub fn is_given(&self, value: &str) -> bool {
        self.is_input(value)
            || self.initializers.contains_key(value)
            || self.sparse.contains_key(value)
    }

    fn defines(&self, value: &str) -> bool {
        self.producers.contains_key(value) || self.is_given(value)
    }
}

/// A value's name and type, if it is a tensor.
fn typed(value: &ValueInfoProto) -> Option<(&str, &type_proto::Tensor)> {
    match value.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some((value.name(), tensor)),
        _ => None,
    }
}

/// The values that graphs nested in the node read from outside, in order, each once.
pub fn captured(node: &NodeProto) -> Vec<&str> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for graph in node.graphs() {
        let inner: HashSet<&str> = graph.defined().collect();
        let reads =
            graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str).chain(captured(n)));
        let outputs = graph.output.iter().map(|v| v.name());
        let outer = reads.chain(outputs).filter(|n| !n.is_empty() && !inner.contains(n));
        found.extend(outer.filter(|name| seen.insert(*name)));
    }
    found
}
