//! The one way to change a graph: nodes out, nodes in, values read by another name, orphans swept.

use super::{
    arena::{Graphs, visit_mut},
    id::{GraphId, NodeId},
    view::{View, captured},
};
use crate::proto::{ModelProto, NodeProto, TensorProto, graphs_within};
use std::collections::{HashMap, HashSet};

/// Changes to a model, by the ids that its [`Graphs`] gave; made all at once.
///
/// What they leave behind goes too, in every graph: nodes and initializers that something read before and
/// nothing does any more, and the value_info and quantisation annotations of values that are gone. What
/// nothing read before stays, as does the order of all that stays. A value that training names counts
/// as read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edit {
    replaced: HashMap<NodeId, Vec<NodeProto>>,
    first: HashMap<GraphId, Vec<NodeProto>>,
    read_as: HashMap<GraphId, HashMap<String, String>>,
    initializers: Vec<TensorProto>,
}

impl Edit {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Edit::default()
    }

    /// Puts nodes where one stood. The last of them keeps the name of its output, so that no reader is
    /// rewired and the order stays topological.
    ///
    /// # Panics
    /// When the node has been replaced already.
    pub fn replace(&mut self, node: NodeId, by: Vec<NodeProto>) {
        let again = self.replaced.insert(node, by).is_some();
        assert!(!again, "two changes claim {node:?}");
    }

    /// Puts a node before all that a graph has.
    pub fn begin_with(&mut self, graph: GraphId, node: NodeProto) {
        self.first.entry(graph).or_default().push(node);
    }

    /// Lets nodes that read a value of a graph read `other`, wherever they are, but for those that this edit
    /// brings. A graph that hands out the value still does.
    pub fn read_as(&mut self, graph: GraphId, value: &str, other: &str) {
        self.read_as.entry(graph).or_default().insert(value.to_owned(), other.to_owned());
    }

    /// Stores tensors in the main graph, after those that it has.
    pub fn store(&mut self, initializers: Vec<TensorProto>) {
        self.initializers.extend(initializers);
    }

    /// Makes the changes.
    pub fn apply(mut self, model: &mut ModelProto) {
        let mut changes = Sweep::of(&Graphs::of(model), &self, model).changes();
        visit_mut(model, &mut |id, graph| {
            let Some(change) = changes.remove(&id) else { return };
            let mut nodes = self.first.remove(&id).unwrap_or_default();
            for (index, mut node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
                let id = id.node(index);
                match self.replaced.remove(&id) {
                    _ if change.gone.contains(&id) => {}
                    Some(by) => nodes.extend(by),
                    None => {
                        for input in &mut node.input {
                            if let Some(other) = change.renamed.get(input) {
                                input.clone_from(other);
                            }
                        }
                        nodes.push(node);
                    }
                }
            }
            graph.node = nodes;
            graph.initializer.retain(|t| !change.stored.contains(t.name()));
            graph.sparse_initializer.retain(|t| !change.stored.contains(t.name()));
            graph.input.retain(|v| !change.stored.contains(v.name()));
            graph.value_info.retain(|v| !change.values.contains(v.name()));
            graph.quantization_annotation.retain(|q| !change.values.contains(q.tensor_name()));
        });
        if let Some(graph) = &mut model.graph {
            graph.initializer.extend(self.initializers);
        }
    }
}

/// What happens to a graph beside the nodes that come.
struct Change {
    /// Nodes that nothing reads any more, and what would have come in their place.
    gone: HashSet<NodeId>,
    /// What nodes read by another name.
    renamed: HashMap<String, String>,
    /// Stored tensors that go.
    stored: HashSet<String>,
    /// Every value that is no longer defined.
    values: HashSet<String>,
}

/// A value: the graph that defines it, and its name there.
type Value<'s> = (GraphId, &'s str);

/// The search for what an edit leaves behind.
struct Sweep<'s> {
    graphs: &'s Graphs<'s>,
    edit: &'s Edit,
    /// What something read before.
    before: HashSet<Value<'s>>,
    /// How often each value is read after.
    readers: HashMap<Value<'s>, usize>,
    gone: HashSet<NodeId>,
}

impl<'s> Sweep<'s> {
    fn of(graphs: &'s Graphs<'s>, edit: &'s Edit, model: &'s ModelProto) -> Self {
        let (before, readers, gone) = Default::default();
        let mut sweep = Sweep { graphs, edit, before, readers, gone };
        let training = named_by_training(model);
        let handed_out = graphs.main().outputs().iter().copied().chain(training);
        for value in handed_out.filter_map(|name| value(graphs.main(), name)) {
            sweep.before.insert(value);
            *sweep.readers.entry(value).or_default() += 1;
        }
        for view in graphs.iter() {
            let outputs = view.outputs().iter().copied();
            let inputs = view.nodes().flat_map(|(_, node)| node.inputs());
            sweep.before.extend(outputs.chain(inputs).filter_map(|name| value(view, name)));
        }
        let first =
            |(graph, nodes): (&GraphId, &'s Vec<NodeProto>)| reads(graphs.view(*graph), nodes);
        let added = edit.first.iter().flat_map(first);
        let kept = sweep.nodes().flat_map(|id| sweep.reads(id));
        for value in added.chain(kept).collect::<Vec<_>>() {
            *sweep.readers.entry(value).or_default() += 1;
        }
        sweep.bury_orphans();
        sweep
    }

    /// The graphs that stay: those nested in nodes that are replaced don't.
    fn views(&self) -> impl Iterator<Item = &'s View<'s>> {
        self.graphs.iter().filter(|view| self.stays(view))
    }

    fn stays(&self, view: &View) -> bool {
        view.holder().is_none_or(|holder| {
            !self.edit.replaced.contains_key(&holder)
                && self.stays(self.graphs.view(holder.graph()))
        })
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.views().flat_map(|view| view.nodes().map(|(id, _)| id))
    }

    /// What a node, or what replaces it, reads after the edit. It has the outputs of graphs nested in it
    /// among its reads.
    fn reads(&self, id: NodeId) -> Vec<Value<'s>> {
        let view = self.graphs.view(id.graph());
        if let Some(by) = self.edit.replaced.get(&id) {
            return reads(view, by);
        }
        let inputs = view.node(id).inputs().filter_map(|name| self.read(view, name).0);
        let nested = self.graphs.nested_in(id);
        let outputs =
            nested.flat_map(|view| view.outputs().iter().filter_map(|name| value(view, name)));
        inputs.chain(outputs).collect()
    }

    /// What a node of a graph reads by this name after the edit, and by which.
    fn read(&self, view: &'s View<'s>, name: &'s str) -> (Option<Value<'s>>, &'s str) {
        let (mut scope, mut name) = (view.scope(name), name);
        while let Some(view) = scope
            && let Some(other) = self.edit.read_as.get(&view.id()).and_then(|of| of.get(name))
        {
            (scope, name) = (view.scope(other), other);
        }
        (scope.map(|view| (view.id(), name)), name)
    }

    /// Buries, transitively, each node whose readers are all gone, if it had any before.
    fn bury_orphans(&mut self) {
        let mut waiting: Vec<NodeId> = self.nodes().collect();
        while let Some(id) = waiting.pop() {
            if !self.gone.contains(&id) && self.is_orphan(id) {
                self.bury(id, &mut waiting);
            }
        }
    }

    fn is_orphan(&self, id: NodeId) -> bool {
        let outputs = || self.graphs.node(id).outputs().map(|output| (id.graph(), output));
        outputs().all(|output| self.is_unread(&output))
            && outputs().any(|o| self.before.contains(&o))
    }

    fn is_unread(&self, value: &Value) -> bool {
        self.readers.get(value).is_none_or(|readers| *readers == 0)
    }

    /// Takes a node's reads away, those of the graphs nested in it included; who made what nothing
    /// reads any more has to wait for its turn.
    fn bury(&mut self, id: NodeId, waiting: &mut Vec<NodeId>) {
        self.gone.insert(id);
        for (graph, name) in self.reads(id) {
            let readers = self.readers.entry((graph, name)).or_default();
            *readers = readers.saturating_sub(1);
            if *readers == 0 {
                waiting.extend(self.graphs.view(graph).producer(name));
            }
        }
        if self.edit.replaced.contains_key(&id) {
            return;
        }
        for (inner, _) in self.graphs.nested_in(id).flat_map(View::nodes) {
            if !self.gone.contains(&inner) {
                self.bury(inner, waiting);
            }
        }
    }

    fn changes(self) -> HashMap<GraphId, Change> {
        self.views().map(|view| (view.id(), self.change(view))).collect()
    }

    fn change(&self, view: &'s View<'s>) -> Change {
        let is_left = |name: &&str| {
            let value = (view.id(), *name);
            let is_default = view.default_of(name).is_some();
            self.before.contains(&value) && self.is_unread(&value) && !is_default
        };
        let stored: HashSet<&str> = view.stored().iter().copied().filter(is_left).collect();
        let (mut renamed, mut made) = (HashMap::new(), HashSet::new());
        for (id, node) in view.nodes().filter(|(id, _)| !self.gone.contains(id)) {
            let Some(by) = self.edit.replaced.get(&id) else {
                made.extend(node.outputs());
                let names = node.inputs().map(|name| (name, self.read(view, name).1));
                renamed.extend(names.filter(|(name, other)| name != other));
                continue;
            };
            made.extend(by.iter().flat_map(NodeProto::outputs));
        }
        let before =
            view.nodes().flat_map(|(_, node)| node.outputs()).filter(|o| !made.contains(o));
        Change {
            gone: self.gone.iter().copied().filter(|id| id.graph() == view.id()).collect(),
            renamed: renamed.into_iter().map(|(name, other)| (name.into(), other.into())).collect(),
            values: stored.iter().copied().chain(before).map(str::to_owned).collect(),
            stored: stored.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// What a node of a graph calls by this name.
fn value<'s>(view: &View, name: &'s str) -> Option<Value<'s>> {
    view.scope(name).map(|scope| (scope.id(), name))
}

/// What new nodes of a graph read that the model has.
fn reads<'s>(view: &View, nodes: &'s [NodeProto]) -> Vec<Value<'s>> {
    let names = nodes.iter().flat_map(|node| node.inputs().chain(captured(node)));
    names.filter_map(|name| value(view, name)).collect()
}

/// Every value that the model's training may mean: what its graphs read or hand out, and what its
/// bindings assign.
fn named_by_training(model: &ModelProto) -> Vec<&str> {
    let info = || model.training_info.iter();
    let bindings = info().flat_map(|i| i.initialization_binding.iter().chain(&i.update_binding));
    let graphs = info().flat_map(|i| i.initialization.iter().chain(&i.algorithm));
    let mut named: Vec<&str> = bindings.flat_map(|b| [b.key(), b.value()]).collect();
    for graph in graphs.flat_map(graphs_within) {
        named.extend(graph.node.iter().flat_map(NodeProto::inputs));
        named.extend(graph.output.iter().map(|v| v.name()));
    }
    named
}
