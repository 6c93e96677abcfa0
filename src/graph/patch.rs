//! The one way to change a graph: nodes out, nodes in, orphans swept.

use super::{
    NodeId,
    view::{defined, lists_initializers},
};
use crate::proto::{GraphProto, ModelProto, NodeProto, graphs_within};
use std::collections::{HashMap, HashSet};

/// What replaces one matched node.
///
/// The new nodes stand where `root` stood and the last of them keeps the name of its output, so that
/// no reader is rewired and the order stays topological.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// The node that the new ones replace.
    pub root: NodeId,
    /// The nodes that come, in topological order.
    pub nodes: Vec<NodeProto>,
}

/// Applies patches to a graph. What they orphan stays until [`drop_orphans`].
///
/// # Panics
/// When two patches claim one node.
pub fn apply(graph: &mut GraphProto, patches: Vec<Patch>) {
    let mut coming: HashMap<NodeId, Vec<NodeProto>> = HashMap::new();
    for Patch { root, nodes } in patches {
        let claimed = coming.insert(root, nodes).is_some();
        assert!(!claimed, "two patches claim node {root}");
    }
    let nodes = std::mem::take(&mut graph.node).into_iter().enumerate();
    graph.node =
        nodes.flat_map(|(id, node)| coming.remove(&id).unwrap_or_else(|| vec![node])).collect();
}

/// What a model holds before it is changed, for [`drop_orphans`]: the values that each graph defines,
/// and whether anything reads them.
pub struct Before(Vec<HashMap<String, bool>>);

impl Before {
    /// Notes what each graph defines and reads.
    pub fn of(model: &ModelProto) -> Self {
        let scopes = Scopes::of(model).0.into_iter();
        let read = |(name, value): (&str, Value)| (name.to_owned(), value.readers > 0);
        Before(scopes.map(|scope| scope.values.into_iter().map(read).collect()).collect())
    }

    fn read(&self, scope: usize, name: &str) -> bool {
        self.0.get(scope).is_some_and(|values| values.get(name) == Some(&true))
    }
}

/// Drops what patches left behind, in every graph: nodes and initializers that something read before
/// and nothing does any more, and the value_info and quantisation annotations of values that are gone.
///
/// What nothing read before stays, as does the order of all that stays. A value that training names
/// counts as read.
pub fn drop_orphans(model: &mut ModelProto, before: &Before) {
    let mut scopes = Scopes::of(model);
    scopes.bury_orphans(before);
    let listed = lists_initializers(model);
    let mut orphans = scopes.orphans(before, listed).into_iter();
    model.graph.iter_mut().for_each(|graph| prune(graph, &mut orphans));
}

/// What goes from one graph.
struct Orphans {
    /// Whether each node goes.
    nodes: Vec<bool>,
    initializers: HashSet<String>,
    inputs: HashSet<String>,
    /// Every value that is no longer defined.
    values: HashSet<String>,
}

/// Removes each graph's orphans; they come in the order of [`graphs_within`].
fn prune(graph: &mut GraphProto, orphans: &mut impl Iterator<Item = Orphans>) {
    let Some(own) = orphans.next() else { return };
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|g| prune(g, orphans));
    }
    let mut gone = own.nodes.into_iter();
    graph.node.retain(|_| gone.next() != Some(true));
    graph.initializer.retain(|t| !own.initializers.contains(t.name()));
    graph.input.retain(|v| !own.inputs.contains(v.name()));
    graph.value_info.retain(|v| !own.values.contains(v.name()));
    graph.quantization_annotation.retain(|q| !own.values.contains(q.tensor_name()));
}

/// The graphs of a model in the order of [`graphs_within`], with who reads what across them.
struct Scopes<'m>(Vec<Scope<'m>>);

/// One graph.
struct Scope<'m> {
    graph: &'m GraphProto,
    outer: Option<usize>,
    /// The graphs nested in each node that has any.
    nested: HashMap<NodeId, Vec<usize>>,
    values: HashMap<&'m str, Value>,
    /// Whether each node is gone.
    gone: Vec<bool>,
}

/// A value that a graph defines.
#[derive(Default)]
struct Value {
    producer: Option<NodeId>,
    readers: usize,
}

impl<'m> Scopes<'m> {
    fn of(model: &'m ModelProto) -> Self {
        let mut scopes = Scopes(Vec::new());
        model.graph.iter().for_each(|graph| {
            scopes.enter(graph, None);
        });
        for scope in 0..scopes.0.len() {
            scopes.reads(scope).into_iter().for_each(|name| scopes.read(scope, name));
        }
        named_by_training(model).into_iter().for_each(|name| scopes.read(0, name));
        scopes
    }

    /// Adds a graph and those nested in it; returns its index.
    fn enter(&mut self, graph: &'m GraphProto, outer: Option<usize>) -> usize {
        let index = self.0.len();
        let mut values: HashMap<&str, Value> =
            defined(graph).map(|name| (name, Value::default())).collect();
        for (id, node) in graph.node.iter().enumerate() {
            for output in node.output.iter().filter(|o| !o.is_empty()) {
                values.entry(output).or_default().producer = Some(id);
            }
        }
        let gone = vec![false; graph.node.len()];
        self.0.push(Scope { graph, outer, nested: HashMap::new(), values, gone });
        for (id, node) in graph.node.iter().enumerate() {
            for inner in node.graphs() {
                let inner = self.enter(inner, Some(index));
                self.0[index].nested.entry(id).or_default().push(inner);
            }
        }
        index
    }

    /// What a graph's nodes and its caller read, each as often as they do.
    fn reads(&self, scope: usize) -> Vec<&'m str> {
        let graph = self.0[scope].graph;
        let inputs = graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str));
        inputs.chain(graph.output.iter().map(|v| v.name())).collect()
    }

    /// The graph that defines what a graph calls by this name, with the value.
    fn resolve(&mut self, scope: usize, name: &str) -> Option<(usize, &mut Value)> {
        let mut scope = scope;
        while !self.0[scope].values.contains_key(name) {
            scope = self.0[scope].outer?;
        }
        self.0[scope].values.get_mut(name).map(|value| (scope, value))
    }

    fn read(&mut self, scope: usize, name: &str) {
        if let Some((_, value)) = self.resolve(scope, name) {
            value.readers += 1;
        }
    }

    /// Buries, transitively, each node whose readers are all gone, if it had any before.
    fn bury_orphans(&mut self, before: &Before) {
        let nodes = self.0.iter().enumerate();
        let mut waiting: Vec<(usize, NodeId)> =
            nodes.flat_map(|(scope, s)| (0..s.gone.len()).map(move |node| (scope, node))).collect();
        while let Some((scope, node)) = waiting.pop() {
            if !self.0[scope].gone[node] && self.is_orphan(scope, node, before) {
                self.bury(scope, node, &mut waiting);
            }
        }
    }

    fn is_orphan(&self, scope: usize, node: NodeId, before: &Before) -> bool {
        let Scope { graph, values, .. } = &self.0[scope];
        let outputs = || graph.node[node].output.iter().filter(|o| !o.is_empty());
        outputs().all(|o| values.get(o.as_str()).is_none_or(|v| v.readers == 0))
            && outputs().any(|o| before.read(scope, o))
    }

    /// Takes a node's reads away, those of the graphs nested in it included; who made what nothing
    /// reads any more has to wait for its turn.
    fn bury(&mut self, scope: usize, node: NodeId, waiting: &mut Vec<(usize, NodeId)>) {
        self.0[scope].gone[node] = true;
        let graph = self.0[scope].graph;
        graph.node[node].input.iter().for_each(|input| self.unread(scope, input, waiting));
        for inner in self.0[scope].nested.get(&node).cloned().unwrap_or_default() {
            let graph = self.0[inner].graph;
            graph.output.iter().for_each(|o| self.unread(inner, o.name(), waiting));
            for id in 0..graph.node.len() {
                if !self.0[inner].gone[id] {
                    self.bury(inner, id, waiting);
                }
            }
        }
    }

    fn unread(&mut self, scope: usize, name: &str, waiting: &mut Vec<(usize, NodeId)>) {
        let Some((scope, value)) = self.resolve(scope, name) else { return };
        value.readers = value.readers.saturating_sub(1);
        if let (0, Some(producer)) = (value.readers, value.producer) {
            waiting.push((scope, producer));
        }
    }

    /// What goes from each graph; `listed` says that initializers had to be inputs.
    fn orphans(self, before: &Before, listed: bool) -> Vec<Orphans> {
        let scopes = self.0.into_iter().enumerate();
        scopes.map(|(index, scope)| scope.orphans(index, before, listed && index == 0)).collect()
    }
}

impl Scope<'_> {
    fn orphans(self, index: usize, before: &Before, listed: bool) -> Orphans {
        let unread = |name: &str| self.values.get(name).is_none_or(|v| v.readers == 0);
        let inputs: HashSet<&str> = self.graph.input.iter().map(|v| v.name()).collect();
        let stored = self.graph.initializer.iter().map(|t| t.name());
        let initializers: HashSet<&str> = stored
            .filter(|name| before.read(index, name) && unread(name))
            .filter(|name| listed || !inputs.contains(name))
            .collect();
        let nodes = self.graph.node.iter().zip(&self.gone).filter(|(_, gone)| !**gone);
        let made: HashSet<&str> =
            nodes.flat_map(|(n, _)| n.output.iter().map(String::as_str)).collect();
        let kept = |name: &str| {
            let stored = self.values.get(name).is_some_and(|v| v.producer.is_none());
            made.contains(name) || stored && !initializers.contains(name)
        };
        let values = before.0.get(index).into_iter().flatten().map(|(name, _)| name);
        Orphans {
            values: values.filter(|name| !kept(name)).cloned().collect(),
            inputs: inputs.intersection(&initializers).map(|name| (*name).to_owned()).collect(),
            initializers: initializers.into_iter().map(str::to_owned).collect(),
            nodes: self.gone,
        }
    }
}

/// Every value that the model's training may mean: what its graphs read or hand out, and what its
/// bindings assign.
fn named_by_training(model: &ModelProto) -> Vec<&str> {
    let info = || model.training_info.iter();
    let bindings = info().flat_map(|i| i.initialization_binding.iter().chain(&i.update_binding));
    let graphs = info().flat_map(|i| i.initialization.iter().chain(&i.algorithm));
    let mut named: Vec<&str> = bindings.flat_map(|b| [b.key(), b.value()]).collect();
    for graph in graphs.flat_map(graphs_within) {
        named.extend(graph.node.iter().flat_map(|n| n.input.iter().map(String::as_str)));
        named.extend(graph.output.iter().map(|v| v.name()));
    }
    named
}
