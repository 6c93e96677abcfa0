//! The nodes that come in place of one projection, written in ONNX text.
//!
//! In such a text a name is what [`Draft::add`] binds it to, a value that the draft made before, or,
//! in upper case, a number of `store`, which the file holds once.

mod correction;
mod names;
mod norm;
mod store;

pub(crate) use correction::{Factors, corrected, correction};
pub(crate) use names::Names;
pub(crate) use norm::norm;
pub(crate) use store::{Store, data_type, storage};

use crate::{graph::NodeId, operator::metadata, proto::NodeProto, text};
use std::collections::HashMap;

/// The nodes that come in place of one root.
pub(crate) struct Draft<'d> {
    pub store: &'d mut Store,
    /// The nodes so far.
    pub nodes: Vec<NodeProto>,
    pub origin: Origin<'d>,
    /// What new values are named after.
    base: &'d str,
}

/// What a draft comes in place of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'d> {
    /// The node that goes.
    pub root: NodeId,
    /// The node that multiplies: it gives its name, and what it says of itself.
    pub source: &'d NodeProto,
    /// What the report calls it.
    pub name: &'d str,
    /// The rule that found it.
    pub rule: &'d str,
}

/// How a text's nodes are named after their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// With their own names in the text appended; a node without one takes the source's.
    Labels,
    /// With the names of what they make appended.
    Values,
}

impl<'d> Draft<'d> {
    /// An empty draft; `base` is what its values are named after.
    pub fn new(store: &'d mut Store, origin: Origin<'d>, base: &'d str) -> Self {
        Draft { store, nodes: Vec::new(), origin, base }
    }

    /// Appends nodes, and returns what the last of them makes.
    pub fn add(&mut self, text: &str, bound: &[(&str, &str)], naming: Naming) -> String {
        // Texts are part of the program, as patterns are.
        let nodes = text::parse_nodes(text).unwrap_or_else(|e| panic!("draft {text:?}: {e}"));
        let bound = bound.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.add_nodes(nodes, bound.collect(), naming)
    }

    /// [`Draft::add`] for nodes that are parsed already.
    pub fn add_nodes(
        &mut self,
        nodes: Vec<NodeProto>,
        mut values: HashMap<String, String>,
        naming: Naming,
    ) -> String {
        let mut last = String::new();
        for mut node in nodes {
            let label = match naming {
                Naming::Labels => node.name.take().unwrap_or_default(),
                Naming::Values => node.output[0].clone(),
            };
            node.name = self.node_name(&label);
            for input in node.input.iter_mut().filter(|i| !i.is_empty()) {
                *input = match values.get(input.as_str()) {
                    Some(value) => value.clone(),
                    None => (self.store.constant(input))
                        .unwrap_or_else(|| panic!("a draft reads `{input}`, which nothing binds")),
                };
            }
            for output in &mut node.output {
                let fresh = || self.store.names.fresh(self.base, output);
                *output = values.entry(output.clone()).or_insert_with(fresh).clone();
            }
            self.annotate(&mut node);
            last.clone_from(&node.output[0]);
            self.nodes.push(node);
        }
        last
    }

    /// A value that several projections of the graph may read: made by `make` where none is there yet
    /// that comes before this draft's place.
    pub fn shared(&mut self, key: String, make: impl FnOnce(&mut Self) -> String) -> String {
        let place = self.origin.root;
        let key = (place.graph(), key);
        if let Some((first, value)) = self.store.shared.get(&key)
            && *first <= place
        {
            return value.clone();
        }
        let value = make(self);
        self.store.shared.insert(key, (place, value.clone()));
        value
    }

    /// A name for a value that the next text makes.
    pub fn fresh(&mut self, role: &str) -> String {
        self.store.names.fresh(self.base, role)
    }

    /// The source node's name for the product, with the part's name appended for the others.
    fn node_name(&mut self, part: &str) -> Option<String> {
        match (self.origin.source.name(), part) {
            ("", _) => None,
            (name, "") => Some(name.into()),
            (name, part) => Some(self.store.names.fresh(name, part)),
        }
    }

    /// What the source said about the node, its rule and its name there.
    fn annotate(&self, node: &mut NodeProto) {
        let Origin { source, name, rule, .. } = self.origin;
        node.doc_string = source.doc_string.clone();
        node.metadata_props = source.metadata_props.clone();
        if self.store.provenance {
            let rule = (metadata::RULE, rule.to_owned());
            let source = (metadata::SOURCE, name.to_owned());
            metadata::replace(&mut node.metadata_props, [rule, source]);
        }
    }
}

/// A reduction along one axis, in the form that the opset has: the axis is an attribute before 18.
pub(crate) fn reduce(op: &str, value: &str, axis: Axis, opset: i64) -> String {
    let (number, constant) = match axis {
        Axis::First => (0, "FIRST"),
        Axis::Second => (1, "SECOND"),
        Axis::Last => (-1, "LAST"),
    };
    match opset {
        ..18 => format!("{op} <axes = [{number}], keepdims = 1> ({value})"),
        _ => format!("{op} <keepdims = 1> ({value}, {constant})"),
    }
}

/// What a reduction works along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Axis {
    First,
    Second,
    Last,
}
