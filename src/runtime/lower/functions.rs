//! Model-local functions, put in the place of the nodes that call them.
//!
//! A value of a function's body is named after the first value that the call makes, which is no
//! other call's: `{made}/{value}`, with a number after it where the file has that name too.

use super::names::{self, Names};
use crate::{
    error::{Error, ErrorKind, Result},
    operator::is_ours,
    proto::{self, AttributeProto, FunctionProto, ModelProto, NodeProto, Operator, standard_opset},
};
use std::collections::HashMap;

/// A model that has more nodes than this after inlining is refused: functions that call functions
/// grow exponentially.
const MOST_NODES: usize = 1 << 20;

/// Replaces every call of a function of the model, but for those that have kernels here.
pub(super) fn inline(model: &mut ModelProto) -> Result<()> {
    let mut functions = std::mem::take(&mut model.functions);
    functions.retain(|f| !is_ours(f.identity().0));
    let opset = proto::opset(model);
    let Some(graph) = model.graph.as_mut().filter(|_| !functions.is_empty()) else { return Ok(()) };
    let mut inlining = Inlining {
        by_name: functions.iter().enumerate().map(|(i, f)| (f.identity(), i)).collect(),
        functions: &functions,
        opset,
        names: Names::of(graph),
        calls: Vec::new(),
        nodes: 0,
    };
    graph.node = inlining.nodes(std::mem::take(&mut graph.node))?;
    Ok(())
}

struct Inlining<'f> {
    functions: &'f [FunctionProto],
    by_name: HashMap<(Operator<'f>, &'f str), usize>,
    /// The standard opset that the model imports.
    opset: i64,
    /// The values that the model has so far.
    names: Names,
    /// The functions whose bodies are being put in place, outermost first.
    calls: Vec<usize>,
    nodes: usize,
}

impl Inlining<'_> {
    /// The nodes without calls.
    fn nodes(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            for graph in node.graphs_mut() {
                graph.node = self.nodes(std::mem::take(&mut graph.node))?;
            }
            let called = (node.operator(), node.overload());
            match self.by_name.get(&called).copied() {
                Some(function) => inlined.extend(self.call(function, &node)?),
                None => inlined.push(node),
            }
        }
        Ok(inlined)
    }

    fn call(&mut self, index: usize, node: &NodeProto) -> Result<Vec<NodeProto>> {
        let function = &self.functions[index];
        self.nodes = self.nodes.saturating_add(function.node.len());
        if self.calls.contains(&index) || self.nodes > MOST_NODES {
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!("node `{}` can't be run", node.label()),
                format!("the function {} calls itself or grows without bound", node.operator()),
                "check the model's functions",
            ));
        }
        self.calls.push(index);
        let opset = standard_opset(&function.opset_import).unwrap_or(self.opset);
        let mut body = body(function, node, &mut self.names);
        if opset != self.opset {
            body.iter_mut().for_each(|n| names::set_opset(n, opset));
        }
        let nodes = self.nodes(body);
        self.calls.pop();
        nodes
    }
}

/// The function's body with the caller's values and attributes. Its own values get names that are free.
fn body(function: &FunctionProto, caller: &NodeProto, names: &mut Names) -> Vec<NodeProto> {
    let mut values = made(function, caller);
    let mut nodes = passed_on(function, caller, &values);
    for input in &function.input {
        values.insert(input.clone(), actual(function, caller, input));
    }
    let scope = caller.outputs().next().unwrap_or_else(|| caller.label());
    let mut name = |value: &str| match values.get(value) {
        Some(given) => given.clone(),
        None => {
            let own = names.unique(&format!("{scope}/{value}"));
            values.insert(value.to_owned(), own.clone());
            own
        }
    };
    nodes.extend(function.node.iter().cloned().map(|mut node| {
        node.name = Some(format!("{}/{}", caller.label(), node.label()));
        names::rename(&mut node, &mut name);
        refer(&mut node, function, caller);
        node
    }));
    nodes
}

/// The caller's name for each of the function's outputs that it takes.
fn made(function: &FunctionProto, caller: &NodeProto) -> HashMap<String, String> {
    let outputs = function.output.iter().cloned().zip(caller.output.iter().cloned());
    outputs.filter(|(_, given)| !given.is_empty()).collect()
}

/// What makes the outputs that are inputs of the function.
fn passed_on(
    function: &FunctionProto,
    caller: &NodeProto,
    made: &HashMap<String, String>,
) -> Vec<NodeProto> {
    let both = function.output.iter().filter(|o| function.input.contains(o));
    both.filter_map(|value| Some((value, made.get(value)?)))
        .map(|(value, given)| NodeProto {
            op_type: Some("Identity".into()),
            input: vec![actual(function, caller, value)],
            output: vec![given.clone()],
            ..NodeProto::default()
        })
        .collect()
}

/// What the caller gives for an input of the function; empty when it leaves the input out.
fn actual(function: &FunctionProto, caller: &NodeProto, input: &str) -> String {
    let index = function.input.iter().position(|i| i == input);
    index.and_then(|i| caller.input.get(i)).cloned().unwrap_or_default()
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
