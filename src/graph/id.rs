//! What a graph and a node of a model are known by, wherever either stands.

/// A graph of a model: the main one, one nested in a node, or the body of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphId(pub(super) usize);

/// A node of a graph. The ids of one graph are in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    graph: GraphId,
    index: usize,
}

impl GraphId {
    /// The main graph.
    pub const MAIN: GraphId = GraphId(0);

    /// The node of this graph that stands at an index.
    pub fn node(self, index: usize) -> NodeId {
        NodeId { graph: self, index }
    }
}

impl NodeId {
    /// The graph that it is a node of.
    pub fn graph(self) -> GraphId {
        self.graph
    }

    /// Where it stands in its graph.
    pub fn index(self) -> usize {
        self.index
    }
}
