//! Every graph of a model, and what there is about each node of one.

use super::{
    constant::{Constants, Known},
    id::{GraphId, NodeId},
    view::View,
};
use crate::proto::{GraphProto, ModelProto, NodeProto};
use std::{
    ops::{Index, IndexMut},
    sync::{Arc, LazyLock},
};

/// Every graph of a model, each before those nested in it: the main one's, then those of functions.
pub struct Graphs<'m> {
    views: Vec<Arc<View<'m>>>,
    /// How many take part in inference as they stand: the main graph and those nested in it.
    main: usize,
    known: Known<'m>,
}

impl<'m> Graphs<'m> {
    /// The graphs of a model. One without a graph has an empty one.
    ///
    /// Where the IR version demands that each initializer is listed as an input, it is none.
    pub fn of(model: &'m ModelProto) -> Self {
        static EMPTY: LazyLock<GraphProto> = LazyLock::new(GraphProto::default);
        let graph = model.graph.as_ref().unwrap_or(&EMPTY);
        let mut graphs = Graphs { views: Vec::new(), main: 0, known: Known::of(model) };
        graphs.enter(View::of_graph(GraphId::MAIN, graph, lists_initializers(model)));
        graphs.main = graphs.views.len();
        for function in &model.functions {
            graphs.enter(View::of_function(graphs.next(), function));
        }
        graphs
    }

    /// The main graph.
    pub fn main(&self) -> &View<'m> {
        &self.views[0]
    }

    /// The main graph and those nested in it, each before those nested in it.
    pub fn iter(&self) -> impl Iterator<Item = &View<'m>> {
        self.views[..self.main].iter().map(|view| &**view)
    }

    /// The view of a graph.
    pub fn view(&self, id: GraphId) -> &View<'m> {
        &self.views[id.0]
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &'m NodeProto {
        self.view(id.graph()).node(id)
    }

    /// The constants that the nodes of a graph can read.
    pub fn constants(&self, id: GraphId) -> Constants<'_, 'm> {
        Constants::new(self.view(id), &self.views, &self.known)
    }

    /// The graphs that are attributes of a node.
    pub fn nested_in(&self, id: NodeId) -> impl Iterator<Item = &View<'m>> {
        let has_any = self.node(id).graphs().next().is_some();
        self.iter().filter(move |view| has_any && view.holder() == Some(id))
    }

    fn next(&self) -> GraphId {
        GraphId(self.views.len())
    }

    fn enter(&mut self, view: View<'m>) {
        let outer = Arc::new(view);
        self.views.push(outer.clone());
        for (id, node) in outer.nodes() {
            for graph in node.graphs() {
                self.enter(View::nested(self.next(), graph, outer.clone(), id));
            }
        }
    }
}

/// Calls `visit` with the main graph and those nested in it, by the ids that [`Graphs::of`] gives them: each
/// after those nested in it, so that what `visit` does to it shifts no id that is still to come.
pub(super) fn visit_mut(model: &mut ModelProto, visit: &mut impl FnMut(GraphId, &mut GraphProto)) {
    fn enter(
        graph: &mut GraphProto,
        next: &mut usize,
        visit: &mut impl FnMut(GraphId, &mut GraphProto),
    ) {
        let id = GraphId(*next);
        *next += 1;
        graph.node.iter_mut().flat_map(NodeProto::graphs_mut).for_each(|g| enter(g, next, visit));
        visit(id, graph);
    }
    model.graph.iter_mut().for_each(|graph| enter(graph, &mut 0, visit));
}

/// Whether the model's IR version demands that initializers are listed as inputs: before 4 it does,
/// from then on an input with a stored value has a default that a caller may replace.
fn lists_initializers(model: &ModelProto) -> bool {
    model.ir_version.is_some_and(|version| version < 4)
}

/// Something about each node of a graph.
pub struct ByNode<T> {
    graph: GraphId,
    of: Vec<T>,
}

impl<T> ByNode<T> {
    /// What `of` says of each node of a graph.
    pub fn new<'m>(view: &View<'m>, of: impl FnMut((NodeId, &'m NodeProto)) -> T) -> Self {
        ByNode { graph: view.id(), of: view.nodes().map(of).collect() }
    }

    /// Each node with what there is about it, in graph order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (NodeId, &T)> {
        self.of.iter().enumerate().map(|(index, of)| (self.graph.node(index), of))
    }

    /// What there is about a node, if the graph has it.
    pub fn get(&self, id: NodeId) -> Option<&T> {
        self.of.get(id.index()).filter(|_| id.graph() == self.graph)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut T> {
        self.of.get_mut(id.index()).filter(|_| id.graph() == self.graph)
    }
}

impl<T> Default for ByNode<T> {
    fn default() -> Self {
        ByNode { graph: GraphId::MAIN, of: Vec::new() }
    }
}

impl<T> IndexMut<NodeId> for ByNode<T> {
    fn index_mut(&mut self, id: NodeId) -> &mut T {
        &mut self.of[id.index()]
    }
}

impl<T> Index<NodeId> for ByNode<T> {
    type Output = T;

    fn index(&self, id: NodeId) -> &T {
        &self.of[id.index()]
    }
}
