//! What the rules make of one node, and why.

use super::{
    carry_out,
    convert::Converter,
    policy::decide,
    prepare,
    rule::Rule,
    survey::{Recipe, nearest, survey},
};
use crate::{
    error::{Error, ErrorKind, Result},
    graph::{Graphs, NodeId, View},
    options::Options,
    proto::{ModelProto, NodeProto, opset},
    report::{Action, Entry},
    text,
};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};

/// What the rules make of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The graph that holds it.
    pub graph: String,
    /// Its name, or the value it makes.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// How the rules end with it.
    pub outcome: Outcome,
    /// Why, as a sentence.
    pub why: String,
    /// The rule that matched, or that came nearest.
    pub rule: Option<RuleText>,
    /// The projection that it is, or is a part of.
    pub projection: Option<Entry>,
}

/// How the rules end with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is a projection that becomes a BitLinear.
    Converted,
    /// It is a projection that stays as it is.
    Kept,
    /// A rule matched it together with the projection's own node.
    Part,
    /// No rule takes it.
    Missed,
}

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RuleText {
    /// Its name.
    pub name: String,
    /// What it finds, in ONNX text.
    pub find: String,
    /// What it puts there; empty where it only says why the node stays.
    pub emit: String,
}

/// What the rules make of each node that has this name or makes a value of this name; branches of an
/// `If` may hold one each.
///
/// # Errors
/// When the model is broken or has no such node; the hint then names those that come near.
pub fn explain(
    model: &ModelProto,
    recipe: &[Rule],
    name: &str,
    options: &Options,
) -> Result<Vec<Explanation>> {
    let (model, is_qat) = prepare(model, recipe, options, "the model can't be explained")?;
    let recipe = Recipe { rules: recipe, opset: opset(&model) };
    let graphs = Graphs::of(&model);
    let sites = survey(&graphs, recipe);
    let (decisions, _) = decide(recipe.opset, &sites, options, is_qat)?;
    let means = |node: &NodeProto| {
        !name.is_empty() && (node.name() == name || node.output.iter().any(|o| o == name))
    };
    let nodes = graphs.iter().flat_map(View::nodes);
    let found: Vec<NodeId> = nodes.filter(|(_, node)| means(node)).map(|(id, _)| id).collect();
    if found.is_empty() {
        return Err(unknown(&graphs, name));
    }
    let decided = || sites.iter().zip(&decisions);
    let explain = |id: NodeId| {
        let own = decided().find(|(site, _)| site.node == id);
        let Some((site, decision)) = own.or_else(|| decided().find(|(site, _)| site.covers(id)))
        else {
            let graph = id.graph();
            let (rule, why) = nearest(graphs.view(graph), &graphs.constants(graph), recipe, id);
            return Explanation { why, rule: rule.map(RuleText::of), ..missed(&graphs, id) };
        };
        let mut converter = Converter::new(&model, options);
        let (_, entry) = carry_out(&mut converter, &graphs, site, decision.clone());
        let outcome = match entry.action {
            _ if id != site.node => Outcome::Part,
            Action::BitLinear => Outcome::Converted,
            Action::Keep => Outcome::Kept,
        };
        Explanation {
            outcome,
            why: entry.reason.clone(),
            rule: Some(RuleText::of(site.rule)),
            projection: Some(entry),
            ..missed(&graphs, id)
        }
    };
    Ok(found.into_iter().map(explain).collect())
}

/// What is to be said of a node before it is known what a rule makes of it.
fn missed(graphs: &Graphs, id: NodeId) -> Explanation {
    let node = graphs.node(id);
    Explanation {
        graph: graphs.view(id.graph()).name().to_owned(),
        node: node.label().to_owned(),
        op: node.operator().to_string(),
        outcome: Outcome::Missed,
        why: String::new(),
        rule: None,
        projection: None,
    }
}

impl RuleText {
    fn of(rule: &Rule) -> Self {
        let text = |nodes: &[NodeProto]| {
            let lines = nodes.iter().map(|node| text::print::node(node, text::Style::Full));
            lines.collect::<Vec<_>>().join("\n")
        };
        RuleText {
            name: rule.name().to_owned(),
            find: text(rule.pattern.nodes()),
            emit: text(&rule.template.nodes),
        }
    }
}

/// No node has the name; these come near.
fn unknown(graphs: &Graphs, name: &str) -> Error {
    let labels: Vec<&str> = graphs.iter().flat_map(View::nodes).map(|(_, n)| n.label()).collect();
    let near = near(&labels, name);
    let hint = match near.is_empty() {
        true => "name a node of the model, or a value that one makes".to_owned(),
        false => near.join(", "),
    };
    Error::new(
        ErrorKind::NoSuchNode,
        format!("there is no node `{name}`"),
        format!(
            "none of the model's {} nodes has that name or makes a value of that name",
            labels.len()
        ),
        hint,
    )
}

/// The first few labels that hold the name, or something like it.
fn near<'l>(labels: &[&'l str], name: &str) -> Vec<&'l str> {
    const SHOWN: usize = 4;
    let holding = |text: &str| -> Vec<&'l str> {
        labels.iter().copied().filter(|label| label.contains(text)).collect()
    };
    let mut near = if name.is_empty() { Vec::new() } else { holding(name) };
    if near.is_empty() {
        let parts = name.split(SEPARATORS).count();
        let known: BTreeSet<&str> = labels.iter().flat_map(|label| windows(label, parts)).collect();
        let known: Vec<&str> = known.into_iter().collect();
        let likely = similar::get_close_matches(name, &known, SHOWN, 0.6);
        near = likely.into_iter().flat_map(holding).collect();
    }
    let mut seen = HashSet::new();
    near.retain(|label| seen.insert(*label));
    near.truncate(SHOWN);
    near
}

/// What divides names into parts.
const SEPARATORS: [char; 2] = ['/', '.'];

/// Every so many parts of a name that follow each other.
fn windows(label: &str, parts: usize) -> impl Iterator<Item = &str> {
    let cuts = || label.match_indices(SEPARATORS).map(|(at, _)| at);
    let starts: Vec<usize> = [0].into_iter().chain(cuts().map(|at| at + 1)).collect();
    let ends: Vec<usize> = cuts().chain([label.len()]).skip(parts.saturating_sub(1)).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &label[start..end])
}
