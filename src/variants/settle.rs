//! A QAT file at λ = 1, where every blend is its quantised side.
//!
//! ```text
//! a + λ·stop(b - a)   ⇒   b
//! ```
//!
//! What is left is a model that was trained with BitLinear, for which there are rules. Parameters that
//! importers read through an `Identity` are read directly again.

use super::{manifest::can_train, qat};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{Constants, Edit, Graphs, NodeId, View},
    operator::metadata,
    options::Options,
    pattern::Pattern,
    proto::{ModelProto, NodeProto, ValueInfoProto, type_proto},
    values::norm,
};
use std::collections::HashMap;

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
pub(crate) fn is_qat(model: &ModelProto) -> bool {
    model.graph.iter().any(|graph| graph.input.iter().any(is_lambda)) && {
        let graphs = Graphs::of(model);
        graphs.iter().any(|view| !blends(view, &graphs.constants(view.id())).is_empty())
    }
}

/// The options that a QAT file was made with, as its inference model has them, and filters given now.
pub(crate) fn made_with(model: &ModelProto, now: &Options) -> Option<serde_json::Value> {
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
pub(crate) fn settle(mut model: ModelProto) -> Result<ModelProto> {
    let graphs = Graphs::of(&model);
    let mut edit = Edit::default();
    for view in graphs.iter() {
        for (value, other) in equal_values(view, &graphs.constants(view.id())) {
            edit.read_as(view.id(), value, other);
        }
    }
    edit.apply(&mut model);
    let graphs = Graphs::of(&model);
    let view = graphs.main();
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
    let is_output = view.is_output(qat::LAMBDA);
    if let Some(graph) = model.graph.as_mut().filter(|_| !is_output) {
        graph.input.retain(|input| !is_lambda(input));
    }
    Ok(model)
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

/// Values of a graph that are others at λ = 1, or hold the same.
fn equal_values<'m>(view: &View<'m>, constants: &Constants<'_, 'm>) -> HashMap<&'m str, &'m str> {
    let blends = blends(view, constants);
    let mut equal = norms(view, constants, &blends);
    equal.extend(blends.iter().map(|blend| (blend.y, blend.quantized)));
    for (id, node) in view.nodes() {
        let [output] = &node.output[..] else { continue };
        if let Some(other) = scaled(view, node).or_else(|| parameter(view, id)) {
            equal.entry(output).or_insert(other);
        }
    }
    equal
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

/// The initializer that is read through this node alone, as parameters of a QAT file are.
fn parameter<'m>(view: &View<'m>, id: NodeId) -> Option<&'m str> {
    let node = view.node(id);
    let ([input], true) = (&node.input[..], node.is("Identity")) else { return None };
    let stored = view.initializer(input).filter(|_| view.is_given(input));
    let only = view.only_use(input).is_some_and(|of| of.node == id);
    (only && stored.is_some_and(can_train)).then_some(input)
}

/// The input itself, or the same in another type.
fn is_lambda_value(view: &View, value: &str) -> bool {
    let cast = view.producer(value).map(|id| view.node(id));
    let cast = cast.filter(|node| node.is("Cast"));
    value == qat::LAMBDA
        || cast.is_some_and(|node| node.input.first().is_some_and(|i| i == qat::LAMBDA))
}

/// `y = float + λ·stop(quantized - float)`.
struct Blend<'m> {
    y: &'m str,
    float: &'m str,
    quantized: &'m str,
}

fn blends<'m>(view: &View<'m>, constants: &Constants) -> Vec<Blend<'m>> {
    let pattern = Pattern::new(BLEND);
    let scale = (1u64 << 40) as f64;
    let matched = |(id, node): (NodeId, &'m NodeProto)| {
        let bound = pattern.at(view, constants, id).ok()?;
        let value = |name: &str| bound.values.get(name).map_or("", String::as_str);
        let ours = value("lambda") == qat::LAMBDA
            && constants.scalar(value("UP")) == Some(scale)
            && constants.scalar(value("DOWN")) == Some(1.0 / scale);
        let float = node.inputs().find(|input| *input == value("a"))?;
        let difference = view.node(bound.nodes[0]?);
        ours.then_some(Blend { y: node.output(0)?, float, quantized: difference.input(0)? })
    };
    view.nodes().filter(|(_, node)| pattern.may_start_at(node)).filter_map(matched).collect()
}

/// Norms before projections, of one input and with equal gains, each with the first of them: before training
/// every projection got one of its own.
fn norms<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    blends: &[Blend<'m>],
) -> HashMap<&'m str, &'m str> {
    let mut found: Vec<_> =
        blends.iter().filter_map(|blend| norm(view, constants, blend.float, None)).collect();
    found.sort_by_key(|norm| norm.node);
    // In 16 bits each has a `Cast` of its own before it.
    let source = |value| {
        let cast = view.producer(value).map(|id| view.node(id)).filter(|node| node.is("Cast"));
        cast.and_then(|cast| cast.input(0)).unwrap_or(value)
    };
    let (mut first, mut same) = (HashMap::new(), HashMap::new());
    for norm in found {
        let output = view.node(norm.node).output(0);
        let (Some(input), Some(output)) = (norm.input, output) else { continue };
        let types = [input, output].map(|value| view.data_type(value));
        let meaning = (source(input), types, norm.effect);
        let known = *first.entry(meaning).or_insert(output);
        if known != output {
            same.insert(output, known);
        }
    }
    same
}
