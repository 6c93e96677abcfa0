//! What every graph must satisfy, before a rewrite and after it.

use crate::proto::{GraphProto, ModelProto};
use std::collections::HashSet;

/// The first way in which the model breaks ONNX's rules on names and order, as a sentence.
///
/// Each value is given, stored or made once, before it is read; one that is given may have a stored
/// default. A nested graph may read what the graphs around it defined before its node.
pub fn check(model: &ModelProto) -> Result<(), String> {
    let Some(graph) = &model.graph else { return Err("the model has no graph".into()) };
    check_graph(graph, &mut HashSet::new())
}

/// Checks a graph in the scope of the names that are `defined` around it, and leaves them as they
/// were. After an error the scope is of no use.
fn check_graph<'m>(graph: &'m GraphProto, defined: &mut HashSet<&'m str>) -> Result<(), String> {
    // An input or initializer may have an outer name, and takes nothing from it.
    let mut own = begin(graph)?;
    own.retain(|name| defined.insert(name));
    for node in &graph.node {
        if let Some(missing) =
            node.input.iter().find(|i| !i.is_empty() && !defined.contains(i.as_str()))
        {
            let at = node.described();
            return Err(format!("node {at} reads `{missing}`, which nothing before it makes"));
        }
        node.graphs().try_for_each(|g| check_graph(g, defined))?;
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if !defined.insert(output) {
                return Err(format!("node {} makes `{output}` a second time", node.described()));
            }
            own.push(output);
        }
    }
    if let Some(missing) = graph.output.iter().find(|o| !defined.contains(o.name())) {
        return Err(format!("nothing makes the graph output `{}`", missing.name()));
    }
    own.into_iter().for_each(|name| {
        defined.remove(name);
    });
    Ok(())
}

/// What a graph has before its first node runs, each name once.
fn begin(graph: &GraphProto) -> Result<Vec<&str>, String> {
    let inputs = graph.input.iter().map(|v| v.name());
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    let stored = graph.initializer.iter().chain(sparse).map(|t| t.name());
    if let Some(twice) = repeated(inputs.clone()) {
        return Err(format!("the graph has the input `{twice}` a second time"));
    }
    if let Some(twice) = repeated(stored.clone()) {
        return Err(format!("the graph stores `{twice}` a second time"));
    }
    Ok(inputs.chain(stored).collect())
}

/// The first name that comes again.
fn repeated<'m>(names: impl Iterator<Item = &'m str>) -> Option<&'m str> {
    let mut seen = HashSet::new();
    names.filter(|name| !name.is_empty()).find(|name| !seen.insert(*name))
}
