//! Walks over the graphs that are nested in others.

use super::{GraphProto, ModelProto, NodeProto, SparseTensorProto};

/// Every graph of a model that takes part in its inference, each before those nested in it, depth
/// first.
pub fn graphs(model: &ModelProto) -> Vec<&GraphProto> {
    model.graph.iter().flat_map(graphs_within).collect()
}

/// A graph and those nested in it, each before those nested in it, depth first.
pub fn graphs_within(graph: &GraphProto) -> Vec<&GraphProto> {
    let mut found = Vec::new();
    let mut waiting = vec![graph];
    while let Some(graph) = waiting.pop() {
        found.push(graph);
        let known = waiting.len();
        waiting.extend(graph.node.iter().flat_map(NodeProto::graphs));
        waiting[known..].reverse();
    }
    found
}

impl NodeProto {
    /// Calls `visit` with every graph nested in the node, each before those nested in it.
    pub fn each_graph_mut(&mut self, visit: &mut impl FnMut(&mut GraphProto)) {
        for graph in self.graphs_mut() {
            graph.each_mut(visit);
        }
    }

    /// Renames every value that the node itself reads or makes.
    pub fn rename(&mut self, name: &mut impl FnMut(&str) -> String) {
        for value in self.input.iter_mut().chain(&mut self.output).filter(|v| !v.is_empty()) {
            *value = name(value);
        }
    }
}

impl GraphProto {
    /// The values that the graph itself defines: given, stored, or made by its nodes.
    pub fn defined(&self) -> impl Iterator<Item = &str> {
        let given = self.input.iter().map(|v| v.name());
        let stored = self.initializer.iter().map(|t| t.name());
        let stored = stored.chain(self.sparse_initializer.iter().map(SparseTensorProto::name));
        let made = self.node.iter().flat_map(NodeProto::outputs);
        given.chain(stored).chain(made).filter(|name| !name.is_empty())
    }

    /// Calls `visit` with the graph and those nested in it, each before those nested in it.
    pub fn each_mut(&mut self, visit: &mut impl FnMut(&mut GraphProto)) {
        visit(self);
        self.node.iter_mut().for_each(|node| node.each_graph_mut(visit));
    }

    /// Renames every value that the graph itself defines and that its nodes read or make; graphs nested in
    /// them stay.
    pub fn rename(&mut self, name: &mut impl FnMut(&str) -> String) {
        for value in self.input.iter_mut().chain(&mut self.output) {
            value.name = Some(name(value.name()));
        }
        let sparse = self.sparse_initializer.iter_mut().filter_map(|sparse| sparse.values.as_mut());
        for tensor in self.initializer.iter_mut().chain(sparse) {
            tensor.name = Some(name(tensor.name()));
        }
        self.node.iter_mut().for_each(|node| node.rename(name));
    }
}
