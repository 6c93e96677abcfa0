//! Model-local functions, put in the place of the nodes that call them.
//!
//! A node of a function's body is named after the call, `{call}/{node}`, and a value after the first that
//! the call makes, which is no other call's: `{made}/{value}`. Where the file has that name too, the slash is
//! doubled.

use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, Operator, graphs_within,
};
use std::collections::{HashMap, HashSet};

/// A model that has more nodes than this after inlining is refused: functions that call functions
/// grow exponentially.
const MOST_NODES: usize = 1 << 20;

/// Where nodes that were put in place come from.
#[derive(Debug, Default)]
pub struct Inlined {
    functions: Vec<FunctionProto>,
    /// For each value that such a node makes, the functions that it was in, outermost first.
    of: HashMap<String, Vec<usize>>,
}

impl Inlined {
    /// The functions that a node was in, outermost first; none for one that was in a graph.
    pub fn functions_of(&self, node: &NodeProto) -> impl Iterator<Item = &FunctionProto> {
        let of = node.outputs().find_map(|output| self.of.get(output));
        of.into_iter().flatten().map(|index| &self.functions[*index])
    }
}

/// Replaces every call of a function that is wanted. The function goes, unless one that stays calls it.
///
/// # Errors
/// When one calls itself, or they grow without bound, as a sentence.
pub fn inline(
    model: &mut ModelProto,
    wanted: impl Fn(&FunctionProto) -> bool,
) -> Result<Inlined, String> {
    let (functions, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut model.functions).into_iter().partition(wanted);
    let called: HashSet<_> = kept.iter().flat_map(|f| &f.node).flat_map(calls).collect();
    let needed = functions.iter().filter(|f| called.contains(&f.identity())).cloned();
    model.functions = needed.chain(kept.iter().cloned()).collect();
    let Some(graph) = model.graph.as_mut().filter(|_| !functions.is_empty()) else {
        return Ok(Inlined::default());
    };
    for import in functions.iter().flat_map(|f| &f.opset_import) {
        if model.opset_import.iter().all(|known| known.domain() != import.domain()) {
            model.opset_import.push(import.clone());
        }
    }
    let mut inlining = Inlining {
        by_name: functions.iter().enumerate().map(|(i, f)| (f.identity(), i)).collect(),
        functions: &functions,
        taken: graphs_within(graph)
            .into_iter()
            .flat_map(GraphProto::defined)
            .map(str::to_owned)
            .collect(),
        of: HashMap::new(),
        calls: Vec::new(),
        nodes: 0,
    };
    graph.node = inlining.nodes(std::mem::take(&mut graph.node))?;
    let of = inlining.of;
    Ok(Inlined { functions, of })
}

/// What a node, or one of a graph nested in it, calls if it calls a function.
fn calls(node: &NodeProto) -> Vec<(Operator<'_>, &str)> {
    let inner = node.graphs().flat_map(|graph| &graph.node).flat_map(calls);
    inner.chain([(node.operator(), node.overload())]).collect()
}

struct Inlining<'f> {
    functions: &'f [FunctionProto],
    by_name: HashMap<(Operator<'f>, &'f str), usize>,
    /// The names of the values that the model has so far.
    taken: HashSet<String>,
    of: HashMap<String, Vec<usize>>,
    /// The functions whose bodies are being put in place, outermost first.
    calls: Vec<usize>,
    nodes: usize,
}

impl Inlining<'_> {
    /// The nodes without calls.
    fn nodes(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, String> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            for graph in node.graphs_mut() {
                graph.node = self.nodes(std::mem::take(&mut graph.node))?;
            }
            let called = (node.operator(), node.overload());
            if let Some(function) = self.by_name.get(&called).copied() {
                inlined.extend(self.call(function, &node)?);
                continue;
            }
            if !self.calls.is_empty() {
                let made = node.outputs().map(|output| (output.to_owned(), self.calls.clone()));
                self.of.extend(made);
            }
            inlined.push(node);
        }
        Ok(inlined)
    }

    fn call(&mut self, index: usize, node: &NodeProto) -> Result<Vec<NodeProto>, String> {
        let function = &self.functions[index];
        self.nodes = self.nodes.saturating_add(function.node.len());
        if self.calls.contains(&index) || self.nodes > MOST_NODES {
            let (label, operator) = (node.label(), node.operator());
            return Err(format!(
                "node `{label}`: the function {operator} calls itself or grows without bound"
            ));
        }
        self.calls.push(index);
        let body = body(function, node, &mut self.taken);
        let nodes = self.nodes(body);
        self.calls.pop();
        nodes
    }
}

/// The function's body with the caller's values and attributes. Its own values get names that are free.
fn body(
    function: &FunctionProto,
    caller: &NodeProto,
    taken: &mut HashSet<String>,
) -> Vec<NodeProto> {
    let given = caller.input.iter().cloned().chain(std::iter::repeat(String::new()));
    let mut values: HashMap<String, String> = function.input.iter().cloned().zip(given).collect();
    let mut nodes = Vec::new();
    let made = function.output.iter().zip(&caller.output).filter(|(_, made)| !made.is_empty());
    for (output, made) in made {
        let Some(given) = values.get(output) else {
            values.insert(output.clone(), made.clone());
            continue;
        };
        nodes.push(NodeProto {
            op_type: Some("Identity".into()),
            input: vec![given.clone()],
            output: vec![made.clone()],
            ..NodeProto::default()
        });
    }
    let scope = caller.outputs().next().unwrap_or_else(|| caller.label());
    let mut name = |value: &str| {
        let own = || {
            let mut between = String::from("/");
            while !taken.insert(format!("{scope}{between}{value}")) {
                between.push('/');
            }
            format!("{scope}{between}{value}")
        };
        values.entry(value.to_owned()).or_insert_with(own).clone()
    };
    nodes.extend(function.node.iter().cloned().map(|mut node| {
        node.name = Some(format!("{}/{}", caller.label(), node.label()));
        node.rename(&mut name);
        node.each_graph_mut(&mut |graph: &mut GraphProto| graph.rename(&mut name));
        refer(&mut node, function, caller);
        node
    }));
    nodes
}

/// Puts the caller's attributes, or the function's defaults, where the node refers to them. An
/// attribute that neither has is left out.
fn refer(node: &mut NodeProto, function: &FunctionProto, caller: &NodeProto) {
    let given = |name: &str| -> Option<&AttributeProto> {
        let default = || function.attribute_proto.iter().find(|a| a.name() == name);
        caller.attribute(name).or_else(default)
    };
    let resolved = |attribute: AttributeProto| match attribute.ref_attr_name() {
        "" => Some(attribute),
        name => given(name).cloned().map(|value| AttributeProto { name: attribute.name, ..value }),
    };
    let resolve = |node: &mut NodeProto| {
        let attributes = std::mem::take(&mut node.attribute);
        node.attribute = attributes.into_iter().filter_map(resolved).collect();
    };
    resolve(node);
    node.each_graph_mut(&mut |graph| graph.node.iter_mut().for_each(resolve));
}
