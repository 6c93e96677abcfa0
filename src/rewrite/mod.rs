//! The compiler pass: a model and options in, a model and a report out.
//!
//! `survey` finds every projection by the rules of the recipe, `policy` decides which to convert,
//! `convert` makes the nodes that replace them; this module puts the parts together. Nothing here
//! knows a rule by name.

mod convert;
mod emission;
mod explain;
mod functions;
mod policy;
mod rule;
mod survey;
mod template;
mod weight;

pub use crate::options::{Filter, Granularity, LowRankInit, Options, Placement, Trainable};
pub use explain::{Explanation, Outcome, RuleText, explain};
pub use rule::{Effect, Match, NoMatch, Projection, Reject, Rule, RuleBuilder};
pub use weight::Weight;

use crate::{
    draft::Names,
    error::{Error, ErrorKind, Result},
    graph::{self, Constants, Edit, Graphs},
    operator::{self, metadata},
    proto::{self, ModelProto, StringStringEntryProto, opset},
    report::{Action, Entry, Report},
    variants::{self, Manifest, Parameter, Parameters, qat, settle},
};
use convert::{Converted, Converter};
use policy::{Decision, decide};
use std::{borrow::Cow, collections::HashSet};
use survey::{Recipe, Site, survey};

/// A rewritten model, and what was done to it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rewritten {
    /// The model; the source itself where nothing was converted.
    pub model: ModelProto,
    /// Every projection, converted or kept.
    pub report: Report,
    /// What can be trained in it, for a QAT file.
    pub manifest: Option<Manifest>,
}

/// Turns the projections of a model into BitLinears, by the rules of a recipe: [`crate::rules::recipe`]
/// is the one that the command uses.
///
/// `progress` is called with the bytes of weights done so far and of all weights.
///
/// # Errors
/// When the model is broken, the options contradict themselves or a filter matches nothing.
pub fn rewrite(
    model: ModelProto,
    recipe: &[Rule],
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Rewritten> {
    let source = model.clone();
    let mut rewritten = rewrite_unsealed(model, recipe, options, progress)?;
    if rewritten.report.converted().next().is_some() {
        rewritten.model.metadata_props.extend(seal(&source));
    }
    Ok(rewritten)
}

/// The metadata that tell a rewritten model's source: a digest of it.
pub fn seal(source: &ModelProto) -> Vec<StringStringEntryProto> {
    let digest = proto::digest(source).to_hex();
    vec![metadata::entry(metadata::SOURCE, format!("blake3:{digest}"))]
}

/// [`rewrite`] without the [`seal`], which takes as long for gigabytes as all the rest and can be made
/// beside it: [`proto::save_sealed`] takes it at the end.
///
/// # Errors
/// As [`rewrite`].
pub fn rewrite_unsealed(
    model: ModelProto,
    recipe: &[Rule],
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Rewritten> {
    options.check()?;
    let source = model;
    let (model, is_qat) = prepare(&source, recipe, options, "the model can't be rewritten")?;
    let made_with = is_qat.then(|| settle::made_with(&source, options)).flatten();
    let made_with = made_with.unwrap_or_else(|| options.to_json());
    let recipe = Recipe { rules: recipe, opset: opset(&model) };
    let graphs = Graphs::of(&model);
    let sites = survey(&graphs, recipe);
    let (decisions, mut warnings) = decide(recipe.opset, &sites, options, is_qat)?;
    check_ranks(&sites, &decisions, options)?;
    let mut converter = Converter::new(&model, options);
    if converter.makes_qat() && !is_qat && converter.store.names.contains(qat::LAMBDA) {
        return Err(Error::new(
            ErrorKind::InvalidModel,
            "the QAT variant can't be made",
            format!("the model has a value named `{}`, which would be its new input", qat::LAMBDA),
            "rename that value",
        ));
    }
    let (mut edit, entries, parameters) =
        carry_out_all(&mut converter, &graphs, &sites, decisions, progress);
    warnings.extend(untrained_norms(&entries, options));
    warnings.extend(uncorrected(&entries, options));
    warnings.extend(newly_rounded(&sites, &entries));
    let report =
        Report { model: String::new(), options: made_with, projections: entries, warnings };
    if edit.is_empty() {
        return Ok(Rewritten { model: source, report, manifest: None });
    }
    edit.store(std::mem::take(&mut converter.store.initializers));
    let (model, manifest) =
        finish(model, edit, converter.store.names, options, &parameters, &report.options)?;
    Ok(Rewritten { model, report, manifest })
}

/// The model as rules see it, and whether the source is a QAT file: that is taken at λ = 1, unless it stays one.
/// Functions that hold projections are in the place of their calls. `failed` is said of a broken model.
fn prepare(
    source: &ModelProto,
    rules: &[Rule],
    options: &Options,
    failed: &str,
) -> Result<(ModelProto, bool)> {
    let broken = |why: String| {
        let hint = "check it with onnx.checker and export it again";
        Error::new(ErrorKind::InvalidModel, failed, why, hint)
    };
    graph::check(source).map_err(broken)?;
    let is_qat = settle::is_qat(source);
    let mut model = source.clone();
    if is_qat && !options.qat {
        check_unchanged(options)?;
        model = settle::settle(model)?;
    }
    let recipe = Recipe { rules, opset: opset(&model) };
    let model = functions::with_projections_in_place(model, recipe).map_err(broken)?;
    Ok((model, is_qat))
}

/// The edit that carries out the decisions, the report's lines, and what training may change.
fn carry_out_all(
    converter: &mut Converter,
    graphs: &Graphs,
    sites: &[Site],
    decisions: Vec<Decision>,
    progress: &mut dyn FnMut(u64, u64),
) -> (Edit, Vec<Entry>, Parameters) {
    let (mut edit, mut entries) = (Edit::default(), Vec::new());
    let mut parameters =
        if converter.makes_qat() { Parameters::of(graphs) } else { Parameters::default() };
    let total = sites.iter().map(Site::stored_bytes).sum();
    let mut done = 0;
    for (site, decision) in sites.iter().zip(decisions) {
        let (converted, entry) = carry_out(converter, graphs, site, decision);
        entries.push(entry);
        match converted {
            Some(converted) => {
                parameters.extend(&site.name, converted.parameters);
                edit.replace(site.root, converted.nodes);
            }
            None => parameters.extend(&site.name, kept_parameters(site)),
        }
        done += site.stored_bytes();
        progress(done, total);
    }
    (edit, entries, parameters)
}

/// A warning where weights were ternary, but nothing rounded their activations.
fn newly_rounded(sites: &[Site], entries: &[Entry]) -> Option<String> {
    let floats = sites.iter().map(|site| site.rule.effect() == Effect::Approximate);
    let count = entries.iter().zip(floats).filter(|(entry, float)| entry.exact && *float).count();
    (count > 0).then(|| {
        format!(
            "activations that were float beside ternary weights are rounded to int8 now, which the model was \
             not trained for ({count} of {} projections)",
            entries.len()
        )
    })
}

/// Refuses options that a QAT file's inference model has from the QAT file.
fn check_unchanged(options: &Options) -> Result<()> {
    let changed = [
        ("`subln`", options.subln.is_some()),
        ("a low-rank correction", options.low_rank().is_some()),
        ("`granularity`", options.granularity != Granularity::default()),
    ];
    match changed.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(Error::new(
            ErrorKind::InvalidOption,
            format!("{option} can't be given for a QAT file"),
            "its inference model has the norms, corrections and scales that it was trained with",
            "leave it out, or make another QAT file of the float model",
        )),
    }
}

/// Refuses a rank that a projection to be converted can't have, before any work is done.
fn check_ranks(sites: &[Site], decisions: &[Decision], options: &Options) -> Result<()> {
    let Some(lrc) = options.low_rank() else { return Ok(()) };
    let corrected = sites.iter().zip(decisions).filter_map(|(site, decision)| {
        let converted = matches!(decision, Decision::Convert(_));
        let weight = &site.found.as_ref().ok()?.weight;
        (converted && site.rule.effect() != Effect::Exact).then_some((site, weight.n, weight.k))
    });
    let Some((site, n, k)) = corrected.min_by_key(|(_, n, k)| *n.min(k)) else { return Ok(()) };
    lrc.rank_for(n, k).map(drop).map_err(|why| {
        Error::new(
            ErrorKind::InvalidOption,
            format!("the correction of node `{}` can't be made", site.name),
            format!("{why}, the lesser side of its weight, {n} by {k}"),
            format!(
                "give a rank of at most {}, which every projection can have, or a ratio",
                n.min(k)
            ),
        )
    })
}

/// The conversion, if there is one, and the report's line.
fn carry_out(
    converter: &mut Converter,
    graphs: &Graphs,
    site: &Site,
    decision: Decision,
) -> (Option<Converted>, Entry) {
    let mut entry = kept_entry(site);
    let converted = match (decision, &site.found) {
        (Decision::Convert(reason), Ok(projection)) => {
            entry.reason = reason;
            let graph = site.root.graph();
            recalled(projection, &graphs.constants(graph))
                .and_then(|projection| converter.convert(graphs.view(graph), site, &projection))
        }
        (Decision::Keep(reason) | Decision::Convert(reason), _) => Err(reason),
    };
    match converted {
        Ok(converted) => {
            fill(&mut entry, &converted, converter.makes_qat());
            (Some(converted), entry)
        }
        Err(reason) => {
            entry.reason = reason;
            (None, entry)
        }
    }
}

/// The projection with its weight's data.
fn recalled<'p>(
    projection: &'p Projection,
    constants: &Constants,
) -> Result<Cow<'p, Projection>, String> {
    Ok(match projection.weight.recall(constants)? {
        Cow::Borrowed(_) => Cow::Borrowed(projection),
        Cow::Owned(weight) => Cow::Owned(Projection { weight, ..projection.clone() }),
    })
}

/// What a conversion adds to the line of its projection.
fn fill(entry: &mut Entry, converted: &Converted, makes_qat: bool) {
    entry.action = Action::BitLinear;
    entry.planes = Some(1);
    entry.scale = Some(converted.scale);
    entry.zeros = Some(converted.zeros);
    entry.exact = converted.exact;
    entry.bytes_after = if makes_qat { entry.bytes_before } else { converted.bytes };
    entry.subln = converted.subln.map(|subln| subln.to_string());
    if let Some(lrc) = &converted.lrc {
        entry.lrc_rank = Some(lrc.rank);
        entry.lrc_bytes = Some(lrc.bytes);
        entry.bytes_after += lrc.bytes;
        entry.error = Some(lrc.errors[0]);
        entry.lrc_error = Some(lrc.errors[1]);
    }
}

/// The initializers of a projection that stays float, which training may change all the same.
fn kept_parameters(site: &Site) -> Vec<Parameter> {
    let weight = site.found.iter().filter_map(|p| p.weight.stored_as_is.clone());
    let weight = weight.map(|name| Parameter { name, role: "weight" });
    weight.chain(site.bias.iter().cloned().map(|name| Parameter { name, role: "bias" })).collect()
}

/// A warning where norms were put into a model that was not trained with them and won't be.
fn untrained_norms(entries: &[Entry], options: &Options) -> Option<String> {
    let inserted = entries.iter().filter(|e| e.subln.as_deref() == Some("inserted")).count();
    (inserted > 0 && !options.qat).then(|| {
        format!(
            "SubLN with gain one ruins a model that was not trained with it ({inserted} inserted; a Llama of \
             0.86 M parameters went from perplexity 13.6 to 1,100): rewrite without it, or train the QAT variant"
        )
    })
}

/// A warning where corrections were asked for, and projections get none since they were trained ternary.
fn uncorrected(entries: &[Entry], options: &Options) -> Option<String> {
    let converted = entries.iter().filter(|e| e.action == Action::BitLinear);
    let count = converted.filter(|e| e.lrc_rank.is_none()).count();
    (count > 0 && options.low_rank().is_some()).then(|| {
        format!(
            "no correction for what was trained ternary, and is exact as it is ({count} of {})",
            entries.len()
        )
    })
}

/// The report's line for a projection that is kept.
fn kept_entry(site: &Site) -> Entry {
    let weight = site.found.as_ref().map(|p| &p.weight).ok();
    let [in_features, out_features] = site.features.unwrap_or_default();
    Entry {
        node: site.name.clone(),
        op: site.op.clone(),
        role: site.role,
        weight: site.weight.clone(),
        in_features,
        out_features,
        dtype: weight.map_or(String::new(), |w| w.dtype.clone()),
        bias: site.bias.clone(),
        tied: site.tied.clone(),
        action: Action::Keep,
        reason: String::new(),
        rule: site.rule.name().to_owned(),
        subln: None,
        lrc_rank: None,
        lrc_bytes: None,
        error: None,
        lrc_error: None,
        planes: None,
        scale: None,
        zeros: None,
        exact: false,
        bytes_before: site.stored_bytes(),
        bytes_after: site.stored_bytes(),
    }
}

/// Makes the edit and gives the file what its new nodes need.
fn finish(
    mut model: ModelProto,
    edit: Edit,
    mut names: Names,
    options: &Options,
    parameters: &Parameters,
    made_with: &serde_json::Value,
) -> Result<(ModelProto, Option<Manifest>)> {
    edit.apply(&mut model);
    let manifest = if options.qat {
        raise_ir_version(&mut model, DEFAULTS_SINCE);
        Some(variants::finish(&mut model, parameters, &mut names, options)?)
    } else {
        operator::define(&mut model)?;
        raise_ir_version(&mut model, FUNCTIONS_SINCE);
        None
    };
    let version = (metadata::VERSION, env!("CARGO_PKG_VERSION").to_owned());
    let options = (metadata::OPTIONS, made_with.to_string());
    metadata::replace(&mut model.metadata_props, [version, options]);
    graph::check(&model).map_err(|why| {
        Error::new(
            ErrorKind::Bug,
            "the rewritten model is broken",
            why,
            "report this as a bug, with the model",
        )
    })?;
    Ok((model, manifest))
}

/// Before IR version 4 every initializer had to be listed as an input; from then on an input that has one
/// may be given another value. What is stored stays stored.
fn raise_ir_version(model: &mut ModelProto, least: i64) {
    if model.ir_version() >= least {
        return;
    }
    if model.ir_version() < DEFAULTS_SINCE
        && let Some(graph) = &mut model.graph
    {
        let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
        graph.input.retain(|input| !stored.contains(input.name()));
    }
    model.ir_version = Some(least);
}

/// The IR version since which initializers need not be inputs, and are defaults where they are.
const DEFAULTS_SINCE: i64 = 4;

/// The IR version that brought model-local functions.
const FUNCTIONS_SINCE: i64 = 8;
