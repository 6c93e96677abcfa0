//! What every graph must satisfy, before a rewrite and after it.

use super::nested_graphs;
use crate::proto::{GraphProto, ModelProto};
use std::collections::HashSet;

/// The first way in which the model breaks ONNX's rules on names and order, as a sentence.
///
/// Each value is defined once, before it is read; a nested graph may read what the graphs around it
/// defined before its node.
pub fn check(model: &ModelProto) -> Result<(), String> {
    let Some(graph) = &model.graph else { return Err("the model has no graph".into()) };
    check_graph(graph, &HashSet::new())
}

fn check_graph<'m>(graph: &'m GraphProto, outer: &HashSet<&'m str>) -> Result<(), String> {
    let mut defined = outer.clone();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    defined.extend(graph.input.iter().map(|v| v.name()));
    defined.extend(graph.initializer.iter().chain(sparse).map(|t| t.name()));
    for node in &graph.node {
        let at = if node.name().is_empty() { node.output.first() } else { node.name.as_ref() };
        let at = at.map_or("?", String::as_str);
        if let Some(missing) =
            node.input.iter().find(|i| !i.is_empty() && !defined.contains(i.as_str()))
        {
            return Err(format!(
                "node `{at}` ({}) reads `{missing}`, which nothing before it makes",
                node.op_type()
            ));
        }
        nested_graphs(node).try_for_each(|g| check_graph(g, &defined))?;
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !defined.insert(output) {
                return Err(format!(
                    "node `{at}` ({}) makes `{output}` a second time",
                    node.op_type()
                ));
            }
        }
    }
    match graph.output.iter().find(|o| !defined.contains(o.name())) {
        Some(missing) => Err(format!("nothing makes the graph output `{}`", missing.name())),
        None => Ok(()),
    }
}
