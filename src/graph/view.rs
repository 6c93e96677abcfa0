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

/// What a value is to the graph that defines it.
#[derive(Debug, Clone, Copy)]
pub enum Definition<'m> {
    /// Given by the caller, or where it gives nothing this.
    Input(Option<&'m TensorProto>),
    /// Stored.
    Dense(&'m TensorProto),
    /// Stored as what is not zero.
    Sparse(&'m SparseTensorProto),
    /// Made by a node.
    Made(NodeId),
}

/// One graph of a model, with the graphs around it.
///
/// A value that the graph does not define is looked up outwards, as ONNX's scoping rules say.
#[derive(Default)]
pub struct View<'m> {
    id: GraphId,
    name: &'m str,
    nodes: &'m [NodeProto],
    /// The graph around it, and the node there that it is nested in.
    outer: Option<(Arc<View<'m>>, NodeId)>,
    definitions: HashMap<&'m str, Definition<'m>>,
    uses: HashMap<&'m str, Vec<Use>>,
    dense: &'m [TensorProto],
    stored: Vec<&'m str>,
    inputs: Vec<&'m str>,
    outputs: Vec<&'m str>,
    is_output: HashSet<&'m str>,
    /// The values that the graph declares to be tensors.
    types: HashMap<&'m str, &'m type_proto::Tensor>,
}

impl<'m> View<'m> {
    /// A main graph; `listed` says that its initializers had to be inputs.
    pub(super) fn of_graph(id: GraphId, graph: &'m GraphProto, listed: bool) -> Self {
        let sparse = graph.sparse_initializer.iter().map(|t| (t.name(), Definition::Sparse(t)));
        let dense = graph.initializer.iter().map(|t| (t.name(), Definition::Dense(t)));
        let stored: Vec<_> = dense.chain(sparse).collect();
        let declared = graph.value_info.iter().chain(&graph.input).chain(&graph.output);
        let mut view = View {
            id,
            name: graph.name(),
            nodes: &graph.node,
            inputs: graph.input.iter().map(|v| v.name()).collect(),
            outputs: graph.output.iter().map(|v| v.name()).collect(),
            stored: stored.iter().map(|(name, _)| *name).collect(),
            dense: &graph.initializer,
            definitions: stored.into_iter().rev().collect(),
            types: declared.filter_map(typed).collect(),
            ..View::default()
        };
        for input in &view.inputs {
            let default = match view.definitions.get(input) {
                Some(Definition::Dense(_)) if listed => continue,
                Some(Definition::Dense(default)) => Some(*default),
                _ => None,
            };
            view.definitions.insert(input, Definition::Input(default));
        }
        view.connected()
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
            id,
            name: function.name(),
            nodes: &function.node,
            definitions: inputs.iter().map(|input| (*input, Definition::Input(None))).collect(),
            inputs,
            outputs: function.output.iter().map(String::as_str).collect(),
            types: function.value_info.iter().filter_map(typed).collect(),
            ..View::default()
        }
        .connected()
    }

    /// Notes who makes and who reads what.
    fn connected(mut self) -> Self {
        self.is_output = self.outputs.iter().copied().collect();
        for (index, node) in self.nodes.iter().enumerate() {
            let id = self.id.node(index);
            for output in node.outputs() {
                self.definitions.entry(output).or_insert(Definition::Made(id));
            }
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
        match self.definition(value)? {
            Definition::Made(node) => Some(node),
            _ => None,
        }
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
        match self.find(value)?.1 {
            Definition::Dense(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// What an input of this graph is where its caller gives nothing.
    pub fn default_of(&self, input: &str) -> Option<&'m TensorProto> {
        match self.definition(input)? {
            Definition::Input(default) => default,
            _ => None,
        }
    }

    /// Whether any input of this graph has a default.
    pub fn has_defaults(&self) -> bool {
        self.inputs.iter().any(|input| self.default_of(input).is_some())
    }

    /// What the value is to *this* graph, if it defines it.
    pub fn definition(&self, value: &str) -> Option<Definition<'m>> {
        self.definitions.get(value).copied()
    }

    /// The view that defines the value, this one or one around it, and what it is there.
    pub fn find(&self, value: &str) -> Option<(&View<'m>, Definition<'m>)> {
        match self.definition(value) {
            Some(definition) => Some((self, definition)),
            None => self.outer()?.find(value),
        }
    }

    /// The view that defines the value, this one or one around it.
    pub fn scope(&self, value: &str) -> Option<&View<'m>> {
        Some(self.find(value)?.0)
    }

    /// Whether the value is an input of this graph.
    pub fn is_input(&self, value: &str) -> bool {
        matches!(self.definition(value), Some(Definition::Input(_)))
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
        self.definition(value).is_some_and(|of| !matches!(of, Definition::Made(_)))
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
