//! A read-only look at one graph: who makes a value, who reads it, what is stored.

use crate::proto::{GraphProto, NodeProto, TensorProto, nested_graphs, type_proto};
use std::collections::{HashMap, HashSet};

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
}

impl<'m> View<'m> {
    /// The view of a model's main graph.
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

    /// The rank of a value, where the file declares it.
    pub fn rank(&self, value: &str) -> Option<usize> {
        let graph = self.graph;
        let mut declared = graph.value_info.iter().chain(&graph.input).chain(&graph.output);
        let info = declared.find(|v| v.name() == value)?;
        match info.r#type.as_ref()?.value.as_ref()? {
            type_proto::Value::TensorType(tensor) => Some(tensor.shape.as_ref()?.dim.len()),
            _ => None,
        }
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

/// The values that graphs nested in the node read from outside, in order, each once.
pub fn captured(node: &NodeProto) -> Vec<&str> {
    let mut found = Vec::new();
    for graph in nested_graphs(node) {
        let mut inner: HashSet<&str> = graph.input.iter().map(|v| v.name()).collect();
        inner.extend(graph.initializer.iter().map(|t| t.name()));
        inner.extend(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
        let reads =
            graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str).chain(captured(n)));
        let outputs = graph.output.iter().map(|v| v.name());
        for name in reads.chain(outputs).filter(|n| !n.is_empty() && !inner.contains(n)) {
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}
