//! Names for new values.

use crate::proto::{GraphProto, ModelProto};
use std::collections::HashSet;

/// Every name of a model's values and nodes, so that a new one is new.
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub fn of(model: &ModelProto) -> Self {
        let mut names = HashSet::new();
        model.graph.iter().for_each(|graph| collect(graph, &mut names));
        Names(names)
    }

    /// Whether the file has the name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// `BASE_ROLE`, with `_bit` before the role as often as the file has that name already.
    pub fn fresh(&mut self, base: &str, role: &str) -> String {
        let mut base = base.to_owned();
        loop {
            let name = format!("{base}_{role}");
            if self.0.insert(name.clone()) {
                return name;
            }
            base.push_str("_bit");
        }
    }
}

fn collect(graph: &GraphProto, names: &mut HashSet<String>) {
    let values = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    names.extend(values.map(|v| v.name().to_owned()));
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    names.extend(graph.initializer.iter().chain(sparse).map(|t| t.name().to_owned()));
    for node in &graph.node {
        names.insert(node.name().to_owned());
        names.extend(node.output.iter().cloned());
        node.graphs().for_each(|g| collect(g, names));
    }
}
