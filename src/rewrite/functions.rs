//! Model-local functions that hold projections, put in the place of their calls.

use super::survey::{Recipe, survey};
use crate::{
    graph::{self, Graphs},
    operator::is_ours,
    proto::{FunctionProto, ModelProto, opset, standard_opset},
};
use std::collections::HashSet;

/// The model with the calls of each function inlined that has a part in a projection: the product, what the
/// rule matched beside it, or the computation of its weight. Other functions stay as they are, and so does one
/// of another opset than the model's.
///
/// An error, as a sentence, where functions call themselves.
pub(super) fn with_projections_in_place(
    mut model: ModelProto,
    recipe: Recipe,
) -> Result<ModelProto, String> {
    let opset = opset(&model);
    let may = |function: &FunctionProto| {
        let of = standard_opset(&function.opset_import);
        !is_ours(function.identity().0) && of.is_none_or(|of| of == opset)
    };
    if !model.functions.iter().any(may) {
        return Ok(model);
    }
    let mut trial = model.clone();
    let inlined = graph::inline(&mut trial, may)?;
    let graphs = Graphs::of(&trial);
    let mut holding = HashSet::new();
    for site in survey(&graphs, recipe) {
        let matched =
            [site.root, site.node].into_iter().chain(site.bound.nodes.into_iter().flatten());
        let weight = site.found.ok().map(|projection| projection.weight.value);
        let constants = graphs.constants(site.root.graph());
        let weight = weight.and_then(|value| constants.expression(&value).ok()).unwrap_or_default();
        let nodes = matched.map(|id| graphs.node(id)).chain(weight.nodes);
        holding
            .extend(nodes.flat_map(|node| inlined.functions_of(node)).map(FunctionProto::identity));
    }
    if !holding.is_empty() {
        graph::inline(&mut model, |function| holding.contains(&function.identity()))?;
    }
    Ok(model)
}
