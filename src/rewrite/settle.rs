//! A QAT file at λ = 1, where every blend is its quantised side.
//!
//! ```text
//! a + λ·stop(b - a)   ⇒   b
//! ```
//!
//! What is left is a model that was trained with BitLinear, for which there are rules. Parameters that
//! importers read through an `Identity` are read directly again.

use super::{options::Options, parameters::PARAMETER, qat};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{self, Before, Constants, View},
    operator::metadata,
    pattern::Pattern,
    proto::{self, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, type_proto},
};
use prost::Message as _;
use std::collections::{HashMap, HashSet};

/// The blend that [`qat`] writes.
const BLEND: &str = "
    error = Sub (b, a)
    grown = Mul (error, UP)
    whole = Cast <to = 7> (grown)
    held = Cast <to = 1> (whole)
    stop = Mul (held, DOWN)
    share = Mul (stop, lambda)
    y = Add (a, share)";

/// Whether a model is a QAT file: it has the input and something that blends by it.
pub(super) fn is_qat(model: &ModelProto) -> bool {
    let Some(graph) = &model.graph else { return false };
    graph.input.iter().any(is_lambda) && has_blend(&View::new(graph))
}

fn has_blend(view: &View) -> bool {
    !blends(view, &Constants::new(view)).is_empty()
        || view
            .nodes()
            .flat_map(|(_, node)| node.graphs())
            .any(|graph| has_blend(&View::nested(graph, view)))
}

/// The options that a QAT file was made with, as its inference model has them, and filters given now.
pub(super) fn made_with(model: &ModelProto, now: &Options) -> Option<serde_json::Value> {
    let entry = metadata::get(&model.metadata_props, metadata::OPTIONS)?;
    let mut options: serde_json::Value = serde_json::from_str(entry).ok()?;
    options.as_object_mut()?.remove("qat");
    if let (Some(filters), serde_json::Value::Array(more)) =
        (options["filters"].as_array_mut(), now.to_json()["filters"].take())
    {
        filters.extend(more);
    }
    Some(options)
}

/// The model at λ = 1, without the input.
///
/// An error where the input is read by what is no blend.
pub(super) fn settle(mut model: ModelProto) -> Result<ModelProto> {
    let before = Before::of(&model);
    let mut aliases = Vec::new();
    let outputs = outputs(&model);
    View::of(&model).iter().for_each(|view| collect(view, &outputs, &mut aliases));
    if let Some(graph) = &mut model.graph {
        apply(graph, &HashMap::new(), &mut aliases.into_iter());
    }
    graph::drop_orphans(&mut model, &before);
    merge_norms(&mut model);
    let Some(graph) = &mut model.graph else { return Ok(model) };
    let view = View::new(graph);
    if let Some(reader) = view.uses(qat::LAMBDA).first() {
        return Err(Error::new(
            ErrorKind::InvalidModel,
            "the QAT file can't become an inference model",
            format!(
                "node `{}` reads `{}`, and is no blend that bitonnx writes",
                view.node(reader.node).label(),
                qat::LAMBDA
            ),
            "rewrite the QAT file as it was made, with the trained weights imported into it, before other tools \
             change it",
        ));
    }
    if !view.is_output(qat::LAMBDA) {
        graph.input.retain(|input| !is_lambda(input));
    }
    Ok(model)
}

/// The outputs of every graph: what callers read by name.
fn outputs(model: &ModelProto) -> HashSet<String> {
    let graphs = proto::graphs(model).into_iter();
    graphs.flat_map(|graph| &graph.output).map(|output| output.name().to_owned()).collect()
}

/// A required float of rank 0 by that name.
fn is_lambda(input: &ValueInfoProto) -> bool {
    let tensor = match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        _ => return false,
    };
    let scalar = tensor.shape.as_ref().is_some_and(|shape| shape.dim.is_empty());
    input.name() == qat::LAMBDA && tensor.elem_type() == 1 && scalar
}

/// Values of one graph, each with the one that it equals.
type Aliases = HashMap<String, String>;

/// The aliases of each graph, before those of the graphs nested in it.
fn collect(view: &View, outputs: &HashSet<String>, found: &mut Vec<Aliases>) {
    let constants = Constants::new(view);
    let mut aliases = blends(view, &constants);
    for (_, node) in view.nodes() {
        let [output] = &node.output[..] else { continue };
        if let Some(other) = scaled(view, node).or_else(|| parameter(view, node)) {
            aliases.entry(output.clone()).or_insert_with(|| other.to_owned());
        }
    }
    aliases.retain(|value, _| !outputs.contains(value));
    found.push(aliases);
    for graph in view.nodes().flat_map(|(_, node)| node.graphs()) {
        collect(&View::nested(graph, view), outputs, found);
    }
}

/// What else lambda scales: a correction's branch.
fn scaled<'m>(view: &View, node: &'m NodeProto) -> Option<&'m str> {
    let ([a, b], "Mul") = (&node.input[..], node.standard()) else { return None };
    match (is_lambda_value(view, a), is_lambda_value(view, b)) {
        (false, true) => Some(a),
        (true, false) => Some(b),
        _ => None,
    }
}

/// The initializer that a QAT file reads through this node, and that other files may well read so too.
fn parameter<'m>(view: &View, node: &'m NodeProto) -> Option<&'m str> {
    let ([input], [output]) = (&node.input[..], &node.output[..]) else { return None };
    let ours = output.starts_with(input.as_str()) && output.ends_with(PARAMETER);
    let identity = ours && node.is("Identity");
    (identity && view.initializer(input).is_some()).then_some(input)
}

/// The input itself, or the same in another type.
fn is_lambda_value(view: &View, value: &str) -> bool {
    let cast = view.producer(value).map(|id| view.node(id));
    let cast = cast.filter(|node| node.is("Cast"));
    value == qat::LAMBDA
        || cast.is_some_and(|node| node.input.first().is_some_and(|i| i == qat::LAMBDA))
}

fn blends(view: &View, constants: &Constants) -> Aliases {
    let pattern = Pattern::new(BLEND);
    let matches =
        view.nodes().filter(|(_, node)| pattern.may_start_at(node)).filter_map(|(id, _)| {
            let bound = pattern.at(view, constants, id).ok()?;
            let value = |name: &str| bound.values.get(name).map_or("", String::as_str);
            let scale = (1u64 << 40) as f64;
            let ours = value("lambda") == qat::LAMBDA
                && constants.scalar(value("UP")) == Some(scale)
                && constants.scalar(value("DOWN")) == Some(1.0 / scale);
            ours.then(|| (value("y").to_owned(), value("b").to_owned()))
        });
    matches.collect()
}

/// Reads every value by the name of what it equals. The nodes that made it are orphans then.
fn apply(graph: &mut GraphProto, outer: &Aliases, aliases: &mut impl Iterator<Item = Aliases>) {
    let mut known = outer.clone();
    known.extend(aliases.next().unwrap_or_default());
    for node in &mut graph.node {
        for input in &mut node.input {
            while let Some(other) = known.get(input) {
                input.clone_from(other);
            }
        }
        for attribute in &mut node.attribute {
            attribute
                .g
                .iter_mut()
                .chain(&mut attribute.graphs)
                .for_each(|g| apply(g, &known, aliases));
        }
    }
    graph.node.retain(|node| !node.output.iter().any(|o| known.contains_key(o)));
}

/// Norms that this crate put before projections of one input become one where their gains are equal.
fn merge_norms(model: &mut ModelProto) {
    let (before, outputs) = (Before::of(model), outputs(model));
    let Some(graph) = &mut model.graph else { return };
    let gains: HashMap<String, Vec<u8>> = graph
        .initializer
        .iter()
        .filter(|t| t.name().contains(GAIN))
        .map(|t| (t.name().to_owned(), TensorProto { name: None, ..t.clone() }.encode_to_vec()))
        .collect();
    let mut made: HashMap<Vec<Vec<u8>>, String> = HashMap::new();
    let mut aliases = Aliases::new();
    for node in &graph.node {
        let [output] = &node.output[..] else { continue };
        if output.contains(NORM) && !outputs.contains(output) {
            let first =
                made.entry(meaning(node, &aliases, &gains)).or_insert_with(|| output.clone());
            if first != output {
                aliases.insert(output.clone(), first.clone());
            }
        }
    }
    apply(graph, &Aliases::new(), &mut std::iter::once(aliases));
    graph::drop_orphans(model, &before);
}

/// What names of values of a norm hold, and those of its gain.
const NORM: &str = "_subln";
const GAIN: &str = "_subln_gain";

/// What a node computes: its operator, its attributes and its inputs, gains by what is in them.
fn meaning(node: &NodeProto, aliases: &Aliases, gains: &HashMap<String, Vec<u8>>) -> Vec<Vec<u8>> {
    let attributes = node.attribute.iter().map(|a| a.encode_to_vec());
    let inputs = node.input.iter().map(|input| {
        let input = aliases.get(input).unwrap_or(input);
        gains.get(input).cloned().unwrap_or_else(|| input.clone().into_bytes())
    });
    let operator = node.operator().to_string().into_bytes();
    [operator].into_iter().chain(attributes).chain(inputs).collect()
}
