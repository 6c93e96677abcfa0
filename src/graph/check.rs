//! What every graph must satisfy, before a rewrite and after it.

use super::{Definition, Graphs, View};
use crate::proto::ModelProto;
use std::collections::HashSet;

/// The first way in which the model breaks ONNX's rules on names and order, as a sentence.
///
/// Each value is given, stored or made once, before it is read; one that is given may have a stored
/// default. A nested graph may read what the graphs around it defined before its node.
pub fn check(model: &ModelProto) -> Result<(), String> {
    if model.graph.is_none() {
        return Err("the model has no graph".into());
    }
    Graphs::of(model).iter().try_for_each(check_graph)
}

fn check_graph(view: &View) -> Result<(), String> {
    if let Some(twice) = repeated(view.inputs()) {
        return Err(format!("the graph has the input `{twice}` a second time"));
    }
    if let Some(twice) = repeated(view.stored()) {
        return Err(format!("the graph stores `{twice}` a second time"));
    }
    // An input or initializer may have an outer name, and takes nothing from it.
    let mut known: HashSet<&str> = view.inputs().iter().chain(view.stored()).copied().collect();
    for (_, node) in view.nodes() {
        let is_known = |name: &&str| known.contains(name) || is_known_around(view, name);
        if let Some(missing) = node.inputs().find(|input| !is_known(input)) {
            let at = node.described();
            return Err(format!("node {at} reads `{missing}`, which nothing before it makes"));
        }
        for output in node.outputs() {
            if is_known_around(view, output) || !known.insert(output) {
                return Err(format!("node {} makes `{output}` a second time", node.described()));
            }
        }
    }
    let is_known = |name: &&&str| known.contains(**name) || is_known_around(view, name);
    match view.outputs().iter().find(|output| !is_known(output)) {
        Some(missing) => Err(format!("nothing makes the graph output `{missing}`")),
        None => Ok(()),
    }
}

/// Whether a graph around this one has the value before it comes to the node that holds this one.
fn is_known_around(view: &View, value: &str) -> bool {
    let Some((outer, holder)) = view.outer().zip(view.holder()) else { return false };
    let later = |of| matches!(of, Definition::Made(node) if node >= holder);
    outer.definition(value).is_some_and(|of| !later(of)) || is_known_around(outer, value)
}

/// The first name that comes again.
fn repeated<'m>(names: &[&'m str]) -> Option<&'m str> {
    let mut seen = HashSet::new();
    names.iter().copied().filter(|name| !name.is_empty()).find(|name| !seen.insert(*name))
}
