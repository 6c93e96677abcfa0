//! Value names: unique across graphs.

use crate::{
    operator::metadata,
    proto::{GraphProto, NodeProto},
};
use std::collections::HashMap;

/// Metadata that says which standard opset a node is of, where the model imports another.
const OPSET: &str = "bitonnx.opset";

/// The opset that the node is of; `None` when it is the model's.
pub(in crate::runtime) fn opset_of(node: &NodeProto) -> Option<i64> {
    metadata::get(&node.metadata_props, OPSET)?.parse().ok()
}

/// Says which opset a node is of.
pub(super) fn set_opset(node: &mut NodeProto, opset: i64) {
    node.metadata_props.push(metadata::entry(OPSET, opset.to_string()));
}

/// Names that are taken.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Names {
    /// For each, the number to try next after it.
    taken: HashMap<String, usize>,
}

impl Names {
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
    graph.defined().for_each(|value| names.take(value));
    let mut in_scope = |nested: &mut GraphProto| {
        let mut new = HashMap::new();
        for old in nested.defined() {
            new.entry(old.to_owned()).or_insert_with(|| names.unique(old));
        }
        let mut name = |v: &str| new.get(v).map_or(v, String::as_str).to_owned();
        nested.each_mut(&mut |graph| graph.rename(&mut name));
    };
    graph.node.iter_mut().for_each(|node| node.each_graph_mut(&mut in_scope));
}
