//! The one way to change a graph: nodes out, nodes in, orphans swept.

use super::{NodeId, captured};
use crate::proto::{GraphProto, NodeProto};
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

/// Applies patches to a graph and drops what they orphaned: nodes that nothing reads any more.
///
/// Nodes that nothing read before stay, as does the order of all that stays. Initializers are left
/// to [`drop_orphans`], since other graphs may read them.
///
/// # Panics
/// When two patches claim one node.
pub fn apply(graph: &mut GraphProto, patches: Vec<Patch>) {
    let nodes = std::mem::take(&mut graph.node);
    let mut gone = vec![false; nodes.len()];
    let mut coming: HashMap<NodeId, Vec<NodeProto>> = HashMap::new();
    for patch in patches {
        let claimed = std::mem::replace(&mut gone[patch.root], true);
        assert!(!claimed, "two patches claim node {}", patch.root);
        coming.insert(patch.root, patch.nodes);
    }
    let outputs = graph.output.iter().map(|v| v.name().to_owned()).collect();
    orphan(&nodes, &mut gone, &coming, outputs);
    graph.node = nodes
        .into_iter()
        .enumerate()
        .flat_map(|(id, node)| match coming.remove(&id) {
            Some(new) => new,
            None if gone[id] => Vec::new(),
            None => vec![node],
        })
        .collect();
}

/// Marks as gone, transitively, each node whose readers are all gone, if it had any.
fn orphan(
    nodes: &[NodeProto],
    gone: &mut [bool],
    coming: &HashMap<NodeId, Vec<NodeProto>>,
    outputs: HashSet<String>,
) {
    let producers: HashMap<&str, NodeId> = nodes
        .iter()
        .enumerate()
        .flat_map(|(id, n)| n.output.iter().map(move |o| (o.as_str(), id)))
        .collect();
    let mut readers: HashMap<&str, usize> = HashMap::new();
    let staying = nodes.iter().zip(gone.iter()).filter(|(_, gone)| !**gone).map(|(n, _)| n);
    for value in staying.chain(coming.values().flatten()).flat_map(reads) {
        *readers.entry(value).or_default() += 1;
    }
    let mut lost: Vec<&str> = nodes
        .iter()
        .zip(gone.iter())
        .filter(|(_, gone)| **gone)
        .flat_map(|(n, _)| reads(n))
        .collect();
    while let Some(value) = lost.pop() {
        let Some(&id) = producers.get(value) else { continue };
        let unread =
            |o: &String| readers.get(o.as_str()).copied().unwrap_or(0) == 0 && !outputs.contains(o);
        if gone[id] || !nodes[id].output.iter().all(unread) {
            continue;
        }
        gone[id] = true;
        for read in reads(&nodes[id]) {
            if let Some(count) = readers.get_mut(read) {
                *count -= 1;
            }
            lost.push(read);
        }
    }
}

/// What a node reads, by its inputs and from within graphs nested in it.
fn reads(node: &NodeProto) -> Vec<&str> {
    node.input.iter().map(String::as_str).filter(|i| !i.is_empty()).chain(captured(node)).collect()
}

/// The initializers of a graph, nested ones included, that something reads.
fn read_initializers(graph: &GraphProto) -> HashSet<String> {
    let mut read: HashSet<String> = graph.output.iter().map(|v| v.name().to_owned()).collect();
    read.extend(graph.node.iter().flat_map(reads).map(str::to_owned));
    read
}

/// What a graph holds before it is changed, for [`drop_orphans`].
pub struct Before {
    defined: HashSet<String>,
    read: HashSet<String>,
}

impl Before {
    /// Notes what the graph defines and reads.
    pub fn of(graph: &GraphProto) -> Self {
        Before { defined: defined(graph), read: read_initializers(graph) }
    }
}

/// Drops what a rewrite left behind: initializers that were read before and are no more, and the
/// value_info and quantisation annotations of values that are gone.
pub fn drop_orphans(graph: &mut GraphProto, before: &Before) {
    let now = read_initializers(graph);
    let inputs: HashSet<String> = graph.input.iter().map(|v| v.name().to_owned()).collect();
    let orphaned = |name: &str| before.read.contains(name) && !now.contains(name);
    graph.initializer.retain(|t| !orphaned(t.name()) || inputs.contains(t.name()));
    let alive = defined(graph);
    let gone = |name: &str| before.defined.contains(name) && !alive.contains(name);
    graph.value_info.retain(|v| !gone(v.name()));
    graph.quantization_annotation.retain(|q| !gone(q.tensor_name()));
}

/// The values that the graph itself defines.
fn defined(graph: &GraphProto) -> HashSet<String> {
    let made = graph.node.iter().flat_map(|n| &n.output);
    let stored = graph.initializer.iter().map(|t| t.name());
    let given = graph.input.iter().map(|v| v.name());
    made.map(String::as_str).chain(stored).chain(given).map(str::to_owned).collect()
}
