//! Value names: unique across graphs.

use super::nested_graphs_mut;
use crate::proto::{GraphProto, NodeProto, StringStringEntryProto};
use std::collections::{HashMap, HashSet};

/// Metadata that says which standard opset a node is of, where the model imports another.
const OPSET: &str = "bitonnx.opset";

/// The opset that the node is of; `None` when it is the model's.
pub(in crate::runtime) fn opset_of(node: &NodeProto) -> Option<i64> {
    node.metadata_props.iter().find(|p| p.key() == OPSET)?.value().parse().ok()
}

/// Says which opset the node, and each node in graphs nested in it, is of.
pub(super) fn set_opset(node: &mut NodeProto, opset: i64) {
    node.metadata_props
        .push(StringStringEntryProto { key: Some(OPSET.into()), value: Some(opset.to_string()) });
    for graph in nested_graphs_mut(node) {
        graph.node.iter_mut().for_each(|n| set_opset(n, opset));
    }
}

/// Renames every value that the node reads or makes, in nested graphs too.
pub(super) fn rename(node: &mut NodeProto, name: &impl Fn(&str) -> String) {
    for value in node.input.iter_mut().chain(&mut node.output).filter(|v| !v.is_empty()) {
        *value = name(value);
    }
    for graph in nested_graphs_mut(node) {
        rename_graph(graph, name);
    }
}

fn rename_graph(graph: &mut GraphProto, name: &impl Fn(&str) -> String) {
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        value.name = Some(name(value.name()));
    }
    for tensor in &mut graph.initializer {
        tensor.name = Some(name(tensor.name()));
    }
    for node in &mut graph.node {
        rename(node, name);
    }
}

/// Gives values of nested graphs names that no other graph of the model uses.
pub(super) fn make_unique(graph: &mut GraphProto) {
    let mut taken: HashSet<String> = defined(graph).map(str::to_owned).collect();
    make_nested_unique(graph, &mut taken);
}

fn make_nested_unique(graph: &mut GraphProto, taken: &mut HashSet<String>) {
    for nested in graph.node.iter_mut().flat_map(nested_graphs_mut) {
        let new: HashMap<String, String> = defined(nested)
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|old| {
                let new = unique(&old, taken);
                (old, new)
            })
            .filter(|(old, new)| old != new)
            .collect();
        if !new.is_empty() {
            rename_graph(nested, &|v| new.get(v).map_or(v, String::as_str).to_owned());
        }
        make_nested_unique(nested, taken);
    }
}

/// The name itself, or where it is taken the name and the first number that makes it free.
pub(in crate::runtime) fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let numbered = (2..).map(|i| format!("{name}.{i}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|n| !taken.contains(n));
    let free = free.unwrap_or_default();
    taken.insert(free.clone());
    free
}

/// The values that the graph itself defines, each once.
fn defined(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|v| v.name());
    let tensors = graph.initializer.iter().map(|t| t.name());
    let made = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str));
    let mut seen = HashSet::new();
    inputs.chain(tensors).chain(made).filter(move |v| !v.is_empty() && seen.insert(*v))
}
