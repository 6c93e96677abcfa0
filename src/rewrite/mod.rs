//! The compiler pass: a model and options in, a model and a report out.
//!
//! `survey` finds every projection by the rules of the recipe, `policy` decides which to convert,
//! `convert` makes the nodes that replace them; this module puts the parts together. Nothing here
//! knows a rule by name.

mod convert;
mod explain;
mod function;
mod names;
mod options;
mod pattern;
mod policy;
mod rule;
mod survey;
mod weight;

pub use explain::{Explanation, Outcome, RuleText, explain};
pub use function::{BIT_LINEAR, DOMAIN, DOMAIN_VERSION, bit_linear};
pub use options::{Filter, Granularity, Options};
pub use pattern::{Bindings, Miss, Pattern, label, qualified};
pub use rule::{Effect, Match, NoMatch, Projection, Reject, Rule, RuleBuilder};
pub use weight::Weight;

use crate::{
    error::{Error, Result},
    graph::{self, Patch},
    proto::{self, GraphProto, ModelProto, OperatorSetIdProto, opset},
    report::{Action, Entry, Report},
};
use convert::{Converter, entry as metadata};
use policy::{Decision, decide};
use survey::{Site, survey};

/// A rewritten model, and what was done to it.
#[derive(Debug, Clone)]
pub struct Rewritten {
    /// The model; the source itself where nothing was converted.
    pub model: ModelProto,
    /// Every projection, converted or kept.
    pub report: Report,
}

/// Turns the projections of a model into BitLinears, by the rules of a recipe: [`crate::rules::recipe`]
/// is the one that the command uses.
///
/// `progress` is called with the bytes of weights done so far and of all weights.
///
/// # Errors
/// When the model is broken, its opset too old, or a filter matches nothing.
pub fn rewrite(
    model: ModelProto,
    recipe: &[Rule],
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Rewritten> {
    graph::check(&model).map_err(|why| {
        Error::new(
            "the model can't be rewritten",
            why,
            "check it with onnx.checker and export it again",
        )
    })?;
    let graphs = survey(&model, recipe);
    let sites: Vec<&Site> = graphs.iter().flatten().collect();
    let (decisions, warnings) = decide(&sites, options)?;
    if decisions.iter().any(|d| matches!(d, Decision::Convert(_))) {
        bit_linear(opset(&model))?;
    }
    let mut converter = Converter::new(&model, options);
    let mut patches = Vec::new();
    let mut entries = Vec::new();
    let total = sites.iter().map(|s| s.stored_bytes()).sum();
    let mut done = 0;
    let mut decisions = decisions.into_iter();
    for (graph, sites) in proto::graphs(&model).into_iter().zip(&graphs) {
        let mut of_graph = Vec::new();
        for (site, decision) in sites.iter().zip(&mut decisions) {
            let (patch, entry) = carry_out(&mut converter, graph, site, decision);
            of_graph.extend(patch);
            entries.push(entry);
            done += site.stored_bytes();
            progress(done, total);
        }
        patches.push(of_graph);
    }
    let report =
        Report { model: String::new(), options: options.to_json(), projections: entries, warnings };
    if patches.iter().all(Vec::is_empty) {
        return Ok(Rewritten { model, report });
    }
    let model = finish(model, patches, converter, options)?;
    Ok(Rewritten { model, report })
}

fn carry_out(
    converter: &mut Converter,
    graph: &GraphProto,
    site: &Site,
    decision: Decision,
) -> (Option<Patch>, Entry) {
    let mut entry = describe(site);
    let converted = match (decision, &site.found) {
        (Decision::Convert(reason), Ok(projection)) => {
            entry.reason = reason;
            converter.convert(graph, site, projection)
        }
        (Decision::Keep(reason) | Decision::Convert(reason), _) => Err(reason),
    };
    match converted {
        Ok(converted) => {
            entry.action = Action::BitLinear;
            entry.planes = Some(1);
            entry.scale = Some(converted.scale);
            entry.zeros = Some(converted.zeros);
            entry.exact = converted.exact;
            entry.bytes_after = converted.bytes;
            (Some(converted.patch), entry)
        }
        Err(reason) => {
            entry.reason = reason;
            (None, entry)
        }
    }
}

/// The report's line for a projection that is kept.
fn describe(site: &Site) -> Entry {
    let weight = site.found.as_ref().map(|p| &p.weight).ok();
    Entry {
        node: site.name.clone(),
        op: site.op.clone(),
        role: site.role,
        weight: weight.map_or(String::new(), |w| w.name.clone()),
        in_features: weight.map_or(0, |w| w.k),
        out_features: weight.map_or(0, |w| w.n),
        dtype: weight.map_or(String::new(), |w| w.dtype.clone()),
        bias: site.bias.clone(),
        tied: site.tied.clone(),
        action: Action::Keep,
        reason: String::new(),
        rule: site.rule.name().to_owned(),
        subln: None,
        lrc_rank: None,
        planes: None,
        scale: None,
        zeros: None,
        exact: false,
        bytes_before: site.stored_bytes(),
        bytes_after: site.stored_bytes(),
    }
}

/// Applies the patches and gives the file what its new nodes need.
fn finish(
    mut model: ModelProto,
    patches: Vec<Vec<Patch>>,
    converter: Converter,
    options: &Options,
) -> Result<ModelProto> {
    let source = proto::digest(&model).to_hex();
    let opset = opset(&model);
    let before = graph::Before::of(&model);
    if let Some(graph) = &mut model.graph {
        apply(graph, &mut patches.into_iter());
    }
    graph::drop_orphans(&mut model, &before);
    if let Some(graph) = &mut model.graph {
        graph.initializer.extend(converter.initializers);
    }

    let ours = |domain: &str| domain == DOMAIN;
    if !model.functions.iter().any(|f| ours(f.domain()) && f.name() == BIT_LINEAR) {
        model.functions.push(bit_linear(opset)?);
    }
    if !model.opset_import.iter().any(|o| ours(o.domain())) {
        model.opset_import.push(OperatorSetIdProto {
            domain: Some(DOMAIN.into()),
            version: Some(DOMAIN_VERSION),
        });
    }
    model.ir_version = Some(model.ir_version().max(FUNCTIONS_SINCE));
    model.metadata_props.retain(|p| !p.key().starts_with("bitonnx."));
    model.metadata_props.extend([
        metadata("bitonnx.version", env!("CARGO_PKG_VERSION")),
        metadata("bitonnx.options", &options.to_json().to_string()),
        metadata("bitonnx.source", &format!("blake3:{source}")),
    ]);
    graph::check(&model).map_err(|why| {
        Error::new("the rewritten model is broken", why, "report this as a bug, with the model")
    })?;
    Ok(model)
}

/// The IR version that brought model-local functions.
const FUNCTIONS_SINCE: i64 = 8;

/// Applies each graph's patches, nested graphs first: their nodes are found by position.
fn apply(graph: &mut GraphProto, patches: &mut dyn Iterator<Item = Vec<Patch>>) {
    let own = patches.next().unwrap_or_default();
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|g| apply(g, patches));
    }
    graph::apply(graph, own);
}
