//! Walks over the graphs that are nested in others.

use super::{GraphProto, ModelProto, NodeProto};

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
}

impl GraphProto {
    /// Calls `visit` with the graph and those nested in it, each before those nested in it.
    pub fn each_mut(&mut self, visit: &mut impl FnMut(&mut GraphProto)) {
        visit(self);
        self.node.iter_mut().for_each(|node| node.each_graph_mut(visit));
    }
}
