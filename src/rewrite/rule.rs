//! A rule: what to find, what to put there, and the arithmetic between.

use super::{
    pattern::{Bindings, Miss, Pattern, label},
    weight::Weight,
};
use crate::{
    graph::{Constants, NodeId, View},
    proto::{AttributeProto, NodeProto, attribute_proto::AttributeType},
    text,
};
use std::collections::HashSet;

/// What a rule promises, and so what its test must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Equal outputs, apart from float rounding.
    Exact,
    /// Outputs that differ by the quantisation; the measured error is in the test.
    Approximate,
    /// Nothing is replaced: the rule says why its node stays as it is.
    Keep,
}

/// Finds a projection, and says what comes in its place.
pub struct Rule {
    pub(super) name: &'static str,
    pub(super) effect: Effect,
    pub(super) since: i64,
    pub(super) pattern: Pattern,
    pub(super) template: Vec<NodeProto>,
    pub(super) project: Project,
}

type Project = Box<dyn Fn(&Match) -> Result<Projection, Reject> + Send + Sync>;

/// A product of an activation and a constant weight, as a rule found it.
#[derive(Debug, Clone)]
pub struct Projection {
    /// The node that multiplies; it names the projection.
    pub node: NodeId,
    /// The activation, before any quantisation.
    pub input: String,
    /// The weight.
    pub weight: Weight,
    /// What the weight's scale is multiplied with.
    pub factor: f32,
    /// The least magnitude that activations are scaled by.
    pub eps: f32,
    /// Whether the input's float type may differ from the weight's, which is the output's.
    pub casts: bool,
    /// The first row of each part of a fused weight, where the rule knows them.
    pub parts: Vec<usize>,
}

/// Why a rule does not apply to nodes that its pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reject {
    /// The rule is not about them; another may be.
    Miss(String),
    /// They are a projection that stays as it is: a sentence that names the node and the value.
    Refuse(String),
}

/// A pattern's match, as a rule's arithmetic sees it.
pub struct Match<'a, 'm> {
    /// The graph.
    pub view: &'a View<'m>,
    /// Its constants.
    pub constants: &'a Constants<'a, 'm>,
    /// The node at the pattern's root.
    pub root: NodeId,
    pub(super) bound: &'a Bindings,
}

/// How [`Rule::at`] ends where it does not match.
#[derive(Debug, Clone, PartialEq)]
pub enum NoMatch {
    /// The pattern does not fit.
    Missed(Miss),
    /// It fits, and the rule refuses.
    Refused(Bindings, String),
}

impl Rule {
    /// A rule without its pictures yet.
    pub fn named(name: &'static str, effect: Effect) -> RuleBuilder {
        RuleBuilder { name, effect, since: 0, pattern: None, template: Vec::new() }
    }

    /// Its name, as reports and files have it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it promises.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Tries the rule with its pattern's root at a node.
    pub fn at(
        &self,
        view: &View,
        constants: &Constants,
        root: NodeId,
    ) -> Result<(Bindings, Projection), NoMatch> {
        let bound = self.pattern.at(view, constants, root).map_err(NoMatch::Missed)?;
        let matched = bound.nodes.iter().flatten().count();
        let others = view.node(root).output.iter().skip(self.pattern.root().output.len());
        if let Some(lost) =
            others.filter(|o| !o.is_empty() && view.is_read(o)).find(|_| !self.template.is_empty())
        {
            let why = format!(
                "`{lost}` is read, which `{}` would no longer make",
                label(view.node(root))
            );
            return Err(NoMatch::Missed(Miss { matched, why }));
        }
        match (self.project)(&Match { view, constants, root, bound: &bound }) {
            Ok(projection) => Ok((bound, projection)),
            Err(Reject::Refuse(why)) => Err(NoMatch::Refused(bound, why)),
            Err(Reject::Miss(why)) => Err(NoMatch::Missed(Miss { matched, why })),
        }
    }
}

/// A [`Rule`] being written.
pub struct RuleBuilder {
    name: &'static str,
    effect: Effect,
    since: i64,
    pattern: Option<Pattern>,
    template: Vec<NodeProto>,
}

impl RuleBuilder {
    /// The opset in which all that it emits exists.
    pub fn since(mut self, opset: i64) -> Self {
        self.since = opset;
        self
    }

    /// The nodes to find, in ONNX text, the root last.
    pub fn find(mut self, pattern: &str) -> Self {
        self.pattern = Some(Pattern::new(pattern));
        self
    }

    /// The nodes that come in place of the root, in ONNX text.
    ///
    /// Beside the pattern's names it may use `x`, the projection's input, `codes` and `scale`, its
    /// ternarised weight, and the attribute `parts`, the sizes of its parts. The value that a node makes is named after the root's with its own name in
    /// the template appended; a node named in the template likewise.
    pub fn emit(mut self, template: &str) -> Self {
        self.template =
            text::parse_nodes(template).unwrap_or_else(|e| panic!("rule {}: {e}", self.name));
        self
    }

    /// The arithmetic: from the match to the projection, or why not.
    ///
    /// # Panics
    /// When the template uses a name that neither the pattern nor the template makes.
    pub fn with(
        self,
        project: impl Fn(&Match) -> Result<Projection, Reject> + Send + Sync + 'static,
    ) -> Rule {
        let pattern = self.pattern.unwrap_or_else(|| panic!("rule {} finds nothing", self.name));
        check_names(self.name, &pattern, &self.template);
        Rule {
            name: self.name,
            effect: self.effect,
            since: self.since,
            pattern,
            template: self.template,
            project: Box::new(project),
        }
    }
}

fn check_names(rule: &str, pattern: &Pattern, template: &[NodeProto]) {
    let mut known: HashSet<&str> = pattern.names().chain(["x", "codes", "scale"]).collect();
    let captured: HashSet<&str> = pattern.captures().chain(["parts"]).collect();
    for node in template {
        for input in &node.input {
            assert!(
                known.contains(input.as_str()),
                "rule {rule} emits `{input}`, which nothing binds"
            );
        }
        for reference in
            node.attribute.iter().map(AttributeProto::ref_attr_name).filter(|r| !r.is_empty())
        {
            assert!(
                captured.contains(reference),
                "rule {rule} emits @{reference}, which nothing binds"
            );
        }
        known.extend(node.output.iter().map(String::as_str));
    }
    let outputs = |nodes: &[NodeProto]| nodes.last().map(|n| n.output.clone());
    let same = outputs(template).is_none_or(|o| o == pattern.root().output);
    assert!(same, "rule {rule} emits another value than it replaces");
}

impl<'m> Match<'_, 'm> {
    /// The graph's value for a name of the pattern.
    pub fn value(&self, name: &str) -> &str {
        self.bound.values.get(name).map_or("", String::as_str)
    }

    /// A captured integer attribute; 0 where the node leaves it out.
    pub fn int(&self, name: &str) -> i64 {
        match self.bound.attributes.get(name) {
            Some(attribute) if attribute.r#type() == AttributeType::Int => attribute.i(),
            _ => 0,
        }
    }

    /// Whether the node gives a captured attribute.
    pub fn has(&self, attribute: &str) -> bool {
        self.bound.attributes.contains_key(attribute)
    }

    /// What to call the node at the root.
    pub fn label(&self) -> &'m str {
        label(self.view.node(self.root))
    }

    /// The projection of `x` by `weight` that the root itself computes.
    pub fn projection(&self, x: &str, weight: Weight) -> Projection {
        Projection {
            node: self.root,
            input: self.value(x).to_owned(),
            weight,
            factor: 1.0,
            eps: DEFAULT_EPS,
            casts: false,
            parts: Vec::new(),
        }
    }
}

/// SPEC's least activation scale.
pub const DEFAULT_EPS: f32 = 1e-5;
