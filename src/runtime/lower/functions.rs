//! Model-local functions, put in the place of the nodes that call them.

use super::{names, nested_graphs_mut, node_name};
use crate::{
    error::{Error, Result},
    proto::{self, AttributeProto, FunctionProto, ModelProto, NodeProto},
};
use std::collections::HashMap;

/// A model that has more nodes than this after inlining is refused: functions that call functions
/// grow exponentially.
const MOST_NODES: usize = 1 << 20;

/// Replaces every call of a function of the model, but for those that have kernels here.
pub(super) fn inline(model: &mut ModelProto) -> Result<()> {
    let mut functions = std::mem::take(&mut model.functions);
    functions.retain(|f| !crate::runtime::is_ours(f.domain(), f.name()));
    let opset = proto::opset(model);
    let Some(graph) = model.graph.as_mut().filter(|_| !functions.is_empty()) else { return Ok(()) };
    let mut inlining = Inlining { functions: &functions, opset, calls: Vec::new(), nodes: 0 };
    graph.node = inlining.nodes(std::mem::take(&mut graph.node), opset)?;
    Ok(())
}

struct Inlining<'f> {
    functions: &'f [FunctionProto],
    opset: i64,
    /// The functions whose bodies are being put in place, outermost first.
    calls: Vec<usize>,
    nodes: usize,
}

impl Inlining<'_> {
    /// The nodes, of standard opset `opset`, without calls.
    fn nodes(&mut self, nodes: Vec<NodeProto>, opset: i64) -> Result<Vec<NodeProto>> {
        let mut inlined = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            for graph in nested_graphs_mut(&mut node) {
                graph.node = self.nodes(std::mem::take(&mut graph.node), opset)?;
            }
            match self.functions.iter().position(|f| calls(&node, f)) {
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
                format!("node `{}` can't be run", node_name(node)),
                format!(
                    "the function {}::{} calls itself or grows without bound",
                    function.domain(),
                    function.name()
                ),
                "check the model's functions",
            ));
        }
        self.calls.push(index);
        let opset = imported(function).unwrap_or(self.opset);
        let mut body = body(function, node);
        if opset != self.opset {
            body.iter_mut().for_each(|n| names::set_opset(n, opset));
        }
        let nodes = self.nodes(body, opset);
        self.calls.pop();
        nodes
    }
}

fn calls(node: &NodeProto, function: &FunctionProto) -> bool {
    node.op_type() == function.name()
        && domain(node.domain()) == domain(function.domain())
        && node.overload() == function.overload()
}

/// The function's body with the caller's values and attributes.
fn body(function: &FunctionProto, caller: &NodeProto) -> Vec<NodeProto> {
    let scope = node_name(caller);
    let mut values: HashMap<&str, String> = HashMap::new();
    for (index, output) in function.output.iter().enumerate() {
        if let Some(given) = caller.output.get(index).filter(|o| !o.is_empty()) {
            values.insert(output, given.clone());
        }
    }
    let passed_on = function.output.iter().filter(|o| function.input.contains(o));
    let mut nodes: Vec<NodeProto> = passed_on
        .filter_map(|value| Some((value, values.get(value.as_str())?)))
        .map(|(value, given)| NodeProto {
            op_type: Some("Identity".into()),
            input: vec![actual(function, caller, value)],
            output: vec![given.clone()],
            ..NodeProto::default()
        })
        .collect();
    for input in &function.input {
        values.insert(input, actual(function, caller, input));
    }
    let name = |value: &str| match values.get(value) {
        Some(given) => given.clone(),
        None => format!("{scope}/{value}"),
    };
    nodes.extend(function.node.iter().cloned().map(|mut node| {
        names::rename(&mut node, &name);
        node.name = Some(format!("{scope}/{}", node_name(&node)));
        refer(&mut node, function, caller);
        node
    }));
    nodes
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
        super::attribute(caller, name).or_else(default)
    };
    node.attribute = std::mem::take(&mut node.attribute)
        .into_iter()
        .filter_map(|attribute| match attribute.ref_attr_name() {
            "" => Some(attribute),
            name => {
                let value = given(name)?.clone();
                Some(AttributeProto { name: attribute.name, ..value })
            }
        })
        .collect();
    for graph in nested_graphs_mut(node) {
        graph.node.iter_mut().for_each(|n| refer(n, function, caller));
    }
}

fn imported(function: &FunctionProto) -> Option<i64> {
    let standard = function.opset_import.iter().find(|o| domain(o.domain()).is_empty())?;
    Some(standard.version())
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}
