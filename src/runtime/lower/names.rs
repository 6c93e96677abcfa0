//! Value names: unique across graphs.

use crate::{
    operator::metadata,
    proto::{GraphProto, NodeProto, graphs_within},
};
use std::collections::{HashMap, HashSet};

/// Metadata that says which standard opset a node is of, where the model imports another.
const OPSET: &str = "bitonnx.opset";

/// The opset that the node is of; `None` when it is the model's.
pub(in crate::runtime) fn opset_of(node: &NodeProto) -> Option<i64> {
    metadata::get(&node.metadata_props, OPSET)?.parse().ok()
}

/// Says which opset the node, and each node in graphs nested in it, is of.
pub(super) fn set_opset(node: &mut NodeProto, opset: i64) {
    let of = metadata::entry(OPSET, opset.to_string());
    node.metadata_props.push(of.clone());
    node.each_graph_mut(&mut |graph| {
        graph.node.iter_mut().for_each(|node| node.metadata_props.push(of.clone()));
    });
}

/// Renames every value that the node reads or makes, in nested graphs too.
pub(super) fn rename(node: &mut NodeProto, name: &mut impl FnMut(&str) -> String) {
    rename_own(node, name);
    node.each_graph_mut(&mut |graph| rename_values(graph, name));
}

fn rename_own(node: &mut NodeProto, name: &mut impl FnMut(&str) -> String) {
    for value in node.input.iter_mut().chain(&mut node.output).filter(|v| !v.is_empty()) {
        *value = name(value);
    }
}

/// Renames what a graph itself reads and defines.
fn rename_values(graph: &mut GraphProto, name: &mut impl FnMut(&str) -> String) {
    for value in graph.input.iter_mut().chain(&mut graph.output) {
        value.name = Some(name(value.name()));
    }
    for tensor in &mut graph.initializer {
        tensor.name = Some(name(tensor.name()));
    }
    graph.node.iter_mut().for_each(|node| rename_own(node, name));
}

/// Names that are taken.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Names {
    /// For each, the number to try next after it.
    taken: HashMap<String, usize>,
}

impl Names {
    /// Every name that a value of the graph, or of graphs nested in it, has.
    pub(super) fn of(graph: &GraphProto) -> Names {
        let mut names = Names::default();
        graphs_within(graph).into_iter().flat_map(defined).for_each(|value| names.take(value));
        names
    }

    /// Takes a name, free or not.
    pub fn take(&mut self, name: &str) {
        self.taken.entry(name.to_owned()).or_insert(2);
    }

    /// Takes the name itself, or where it is taken the name and the first number that makes it free.
    pub fn unique(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while self.taken.contains_key(&free) {
            let number = self.taken.entry(name.to_owned()).or_insert(2);
            free = format!("{name}.{number}");
            *number += 1;
        }
        self.take(&free);
        free
    }
}

/// Gives values of nested graphs names that no other graph of the model uses.
pub(super) fn make_unique(graph: &mut GraphProto) {
    let mut names = Names::default();
    defined(graph).for_each(|value| names.take(value));
    let mut in_scope = |nested: &mut GraphProto| {
        let new: HashMap<String, String> = defined(nested)
            .map(|old| (old.to_owned(), names.unique(old)))
            .filter(|(old, new)| old != new)
            .collect();
        let mut name = |v: &str| new.get(v).map_or(v, String::as_str).to_owned();
        nested.each_mut(&mut |graph| rename_values(graph, &mut name));
    };
    graph.node.iter_mut().for_each(|node| node.each_graph_mut(&mut in_scope));
}

/// The values that the graph itself defines, each once.
fn defined(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|v| v.name());
    let tensors = graph.initializer.iter().map(|t| t.name());
    let made = graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str));
    let mut seen = HashSet::new();
    inputs.chain(tensors).chain(made).filter(move |v| !v.is_empty() && seen.insert(*v))
}
