//! A rule: what to find, what to put there, and the arithmetic between.

use super::{
    template::{INPUT, Template},
    weight::Weight,
};
use crate::{
    graph::{Constants, Fold, NodeId, View},
    operator,
    pattern::{Bindings, Miss, Pattern},
    proto::{AttributeProto, tensor_proto::DataType},
    quant::Layout,
    text, values,
};
use std::collections::BTreeMap;

/// What a rule promises, and so what its test must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Equal outputs, apart from float rounding: what it finds was trained ternary. So it gets no
    /// correction, a SubLN only on request, and stays as it is in a QAT file.
    Exact,
    /// Outputs that differ by the quantisation; the measured error is in the test.
    Approximate,
    /// Nothing is replaced: the rule says why its node stays as it is.
    Keep,
}

/// Finds a projection, and says what comes in its place or why it stays.
pub struct Rule {
    pub(super) name: &'static str,
    pub(super) effect: Effect,
    pub(super) since: i64,
    pub(super) pattern: Pattern,
    pub(super) template: Template,
    verdict: Verdict,
}

/// What a rule does with what it finds.
enum Verdict {
    /// Puts its template there.
    Replace(Project),
    /// Says what the node is, and so why it stays.
    Keep(&'static str),
    /// Says why nodes like this stay, or why it is not about them.
    Refuse(Refusal),
}

type Project = Box<dyn Fn(&Match) -> Result<Projection, Reject> + Send + Sync>;
type Refusal = Box<dyn Fn(&Match) -> Reject + Send + Sync>;

/// A product of an activation and a constant weight, as a rule found it.
#[derive(Debug, Clone)]
pub struct Projection {
    /// The node that multiplies; it names the projection.
    pub node: NodeId,
    /// The activation, before any quantisation.
    pub input: String,
    /// The weight.
    pub weight: Weight,
    /// The constant that the matched nodes add to the product: for reports, and a parameter in a QAT file.
    pub bias: Option<String>,
    /// What the weight's scale is multiplied with.
    pub factor: f32,
    /// The least magnitude that activations are scaled by.
    pub eps: f32,
    /// The float type of the product.
    pub data_type: DataType,
    /// Whether the input's float type may be another.
    pub casts: bool,
    /// How many rows each part of a fused weight has, where the rule knows its parts.
    pub part_sizes: Vec<usize>,
    /// Attributes that the rule's template names, where they are given. `shape` is that of the product where a
    /// `Reshape` makes several axes of its last one.
    pub lists: BTreeMap<&'static str, Vec<i64>>,
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
///
/// Asking for a name that the pattern does not bind is a mistake in the rule, and panics.
pub struct Match<'a, 'm> {
    /// The graph.
    pub view: &'a View<'m>,
    /// Its constants.
    pub constants: &'a Constants<'a, 'm>,
    /// The node at the pattern's root.
    pub root: NodeId,
    rule: &'a Rule,
    bound: &'a Bindings,
}

/// How [`Rule::at`] ends where it replaces nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum NoMatch {
    /// The pattern does not fit.
    Missed(Miss),
    /// It fits, and the rule refuses: a sentence.
    Refused(Bindings, String),
    /// It fits, and the rule keeps what is like this: the end of a sentence about the node.
    Kept(Bindings, &'static str),
}

impl Rule {
    /// A rule without its pictures yet.
    pub fn named(name: &'static str, effect: Effect) -> RuleBuilder {
        RuleBuilder { name, effect, since: 0, pattern: None, template: Template::default() }
    }

    /// A rule for nodes that stay as they are. `why` says what such a node is, after its name: "is
    /// quantised already". Where other rules replace nodes of this operator, the report adds what
    /// stopped the nearest of them.
    pub fn keep(name: &'static str, find: &str, why: &'static str) -> Rule {
        Rule::keeping(name, find, Verdict::Keep(why))
    }

    /// The same where it depends on the match: why it stays as it is, or why the rule is not about it.
    pub fn refuse(
        name: &'static str,
        find: &str,
        why: impl Fn(&Match) -> Reject + Send + Sync + 'static,
    ) -> Rule {
        Rule::keeping(name, find, Verdict::Refuse(Box::new(why)))
    }

    fn keeping(name: &'static str, find: &str, verdict: Verdict) -> Rule {
        let (pattern, template) = (Pattern::new(find), Template::default());
        Rule { name, effect: Effect::Keep, since: 0, pattern, template, verdict }
    }

    /// Its name, as reports and files have it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it promises.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Tries the rule with its pattern's root at a node of a model of this opset.
    pub fn at(
        &self,
        view: &View,
        constants: &Constants,
        opset: i64,
        root: NodeId,
    ) -> Result<(Bindings, Projection), NoMatch> {
        let bound = self.pattern.at(view, constants, root).map_err(NoMatch::Missed)?;
        let matched = bound.facts;
        let missed = |why| Err(NoMatch::Missed(Miss { matched, why }));
        let found = Match { view, constants, root, rule: self, bound: &bound };
        let project = match &self.verdict {
            Verdict::Keep(why) => return Err(NoMatch::Kept(bound, why)),
            Verdict::Refuse(why) => {
                return match why(&found) {
                    Reject::Refuse(why) => Err(NoMatch::Refused(bound, why)),
                    Reject::Miss(why) => missed(why),
                };
            }
            Verdict::Replace(project) => project,
        };
        let node = view.node(root).label();
        if let Some(lost) = self.lost(view, root) {
            return missed(format!("`{lost}` is read, which `{node}` would no longer make"));
        }
        if opset < self.since {
            let since = self.since;
            return missed(format!(
                "what would replace node `{node}` needs opset {since}, and the model imports {opset}"
            ));
        }
        match project(&found) {
            Ok(projection) => {
                let x = bound.values.get(INPUT);
                let same = x.is_none_or(|x| *x == projection.input);
                assert!(same, "rule {}: its `{INPUT}` is not the projection's input", self.name);
                match adds_axes(view, constants, &projection) {
                    Some(why) => Err(NoMatch::Refused(bound, why)),
                    None => Ok((bound, projection)),
                }
            }
            Err(Reject::Refuse(why)) => Err(NoMatch::Refused(bound, why)),
            Err(Reject::Miss(why)) => missed(why),
        }
    }

    /// An output of the root that the pattern leaves out and something reads.
    fn lost<'m>(&self, view: &View<'m>, root: NodeId) -> Option<&'m String> {
        let others = view.node(root).output.iter().skip(self.pattern.root().output.len());
        others.filter(|o| !o.is_empty()).find(|o| view.is_read(o))
    }
}

/// Why a product may have more axes than its activation, and so than a BitLinear's.
fn adds_axes(view: &View, constants: &Constants, projection: &Projection) -> Option<String> {
    let Projection { input, weight: Weight { value, rank, fold: None, .. }, .. } = projection
    else {
        return None;
    };
    let fewer = *rank > 2 && values::rank(view, constants, input).is_none_or(|axes| axes < *rank);
    fewer.then(|| {
        format!("its weight `{value}` has {rank} axes, and the file does not tell that `{input}` has as many")
    })
}

/// A [`Rule`] being written.
pub struct RuleBuilder {
    name: &'static str,
    effect: Effect,
    since: i64,
    pattern: Option<Pattern>,
    template: Template,
}

impl RuleBuilder {
    /// The opset in which all that it emits exists.
    pub fn since(mut self, opset: i64) -> Self {
        self.since = opset;
        self
    }

    /// The nodes to find, in ONNX text, the root last.
    ///
    /// # Panics
    /// Like [`Pattern::new`].
    pub fn find(mut self, pattern: &str) -> Self {
        self.pattern = Some(Pattern::new(pattern));
        self
    }

    /// The nodes that come in place of the root, in ONNX text.
    ///
    /// One of them is a BitLinear without attributes, which the conversion writes. Beside the pattern's
    /// names they may use `x`, the projection's input, `codes` and `scale`, its ternarised weight, and
    /// the attribute `@part_sizes`, the rows of each of its parts. The value that a node makes is named
    /// after the root's with its own name in the template appended; a node named in the template
    /// likewise after the root's node. One node without a name keeps that of the root's. A node whose name
    /// ends in `?` is left out where something that it reads is missing: its value is its first input then.
    ///
    /// # Panics
    /// When the text is not ONNX syntax.
    pub fn emit(mut self, template: &str) -> Self {
        self.template.nodes =
            text::parse_nodes(template).unwrap_or_else(|e| panic!("rule {}: {e}", self.name));
        self
    }

    /// The attributes of the template that a projection's `lists` give, or leave out.
    pub fn gives(mut self, lists: &[&'static str]) -> Self {
        self.template.lists = lists.to_vec();
        self
    }

    /// The projection that a match is, which completes the rule.
    ///
    /// # Panics
    /// When the template is not one that the conversion can fill in for each match.
    pub fn with(
        self,
        project: impl Fn(&Match) -> Result<Projection, Reject> + Send + Sync + 'static,
    ) -> Rule {
        let name = self.name;
        let pattern = self.pattern.unwrap_or_else(|| panic!("rule {name} finds nothing"));
        assert!(self.effect != Effect::Keep, "rule {name} keeps what it finds: use Rule::keep");
        self.template.check(&pattern).unwrap_or_else(|why| panic!("rule {name}: {why}"));
        Rule {
            name,
            effect: self.effect,
            since: self.since,
            pattern,
            template: self.template,
            verdict: Verdict::Replace(Box::new(project)),
        }
    }
}

impl<'m> Match<'_, 'm> {
    /// The graph's value for a name of the pattern.
    pub fn value(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_else(|| self.unbound(name))
    }

    /// The graph's value for a name, unless it is missing, as `b?` may be.
    pub fn optional(&self, name: &str) -> Option<&str> {
        if !self.rule.pattern.names().any(|n| n == name) {
            self.unbound(name)
        }
        self.bound.values.get(name).map(String::as_str)
    }

    /// The same, if it is constant.
    pub fn constant(&self, name: &str) -> Option<String> {
        self.optional(name).filter(|value| self.constants.is_constant(value)).map(str::to_owned)
    }

    /// A captured integer, ONNX's default where the node leaves it out.
    pub fn int(&self, name: &str) -> Result<i64, Reject> {
        Ok(self.attribute(name)?.i())
    }

    /// A captured float, ONNX's default where the node leaves it out.
    pub fn float(&self, name: &str) -> Result<f32, Reject> {
        Ok(self.attribute(name)?.f())
    }

    /// A captured text.
    pub fn string(&self, name: &str) -> Result<&str, Reject> {
        Ok(str::from_utf8(self.attribute(name)?.s()).unwrap_or_default())
    }

    fn attribute(&self, name: &str) -> Result<&AttributeProto, Reject> {
        let found = if self.has(name) { self.bound.attributes.get(name) } else { None };
        found.or_else(|| self.rule.pattern.default(name)).ok_or_else(|| {
            Reject::Miss(format!("node `{}` leaves out what stands for @{name}", self.label()))
        })
    }

    /// A captured attribute of integers, if the node gives it.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.has(name).then(|| self.bound.attributes[name].ints.as_slice())
    }

    /// How a captured `transB` lays out the weight.
    pub fn layout(&self, name: &str) -> Result<Layout, Reject> {
        Ok(if self.int(name)? == 0 { Layout::InOut } else { Layout::OutIn })
    }

    /// Whether the node gives a captured attribute.
    pub fn has(&self, attribute: &str) -> bool {
        if !self.rule.pattern.captures().any(|captured| captured == attribute) {
            self.unbound(&format!("@{attribute}"))
        }
        self.bound.attributes.contains_key(attribute)
    }

    /// The weight that a name of the pattern stands for.
    ///
    /// `layout` is how the node reads it: `MatMul` takes `InOut`, `Gemm` with `transB` `OutIn`.
    pub fn weight(&self, name: &str, layout: Layout) -> Result<Weight, Reject> {
        self.read_weight(self.value(name), layout, None)
    }

    /// The weight of any number of axes that a name of the pattern stands for: its fold's rows are inputs.
    pub fn folded_weight(&self, name: &str, fold: Fold) -> Result<Weight, Reject> {
        self.read_weight(self.value(name), Layout::InOut, Some(fold))
    }

    /// Whether a value is a constant of two long axes at least, as a matrix or a stack of them is, and holds no
    /// indices.
    pub fn is_matrix(&self, value: &str) -> bool {
        let indices = [DataType::Int64, DataType::Int32, DataType::Bool];
        let matrix = |(of, shape): (DataType, Vec<usize>)| {
            !indices.contains(&of) && shape.iter().filter(|length| **length > 1).count() > 1
        };
        self.constants.is_constant(value) && self.constants.kind(value).is_some_and(matrix)
    }

    /// The weight of a product that is not the pattern's root.
    pub fn weight_of(&self, product: NodeId, layout: Layout) -> Result<Weight, Reject> {
        let value = self.view.node(product).input.get(1).map_or("", String::as_str);
        self.read_weight(value, layout, None)
    }

    fn read_weight(
        &self,
        value: &str,
        layout: Layout,
        fold: Option<Fold>,
    ) -> Result<Weight, Reject> {
        Weight::read(self.constants, value, layout, fold)
            .map_err(|why| Reject::Refuse(format!("its weight `{value}` {why}")))
    }

    /// What to call the node at the root.
    pub fn label(&self) -> &'m str {
        self.view.node(self.root).label()
    }

    /// The projection of the pattern's `x` by `weight` that the root itself computes.
    pub fn projection(&self, weight: Weight) -> Projection {
        self.projection_of(self.value(INPUT).to_owned(), weight)
    }

    /// The projection of another value than the pattern names.
    pub fn projection_of(&self, input: String, weight: Weight) -> Projection {
        Projection {
            node: self.root,
            input,
            data_type: weight.data_type(),
            weight,
            bias: None,
            factor: 1.0,
            eps: operator::EPS,
            casts: false,
            part_sizes: Vec::new(),
            lists: BTreeMap::new(),
        }
    }

    fn unbound(&self, name: &str) -> ! {
        panic!("rule {} asks for `{name}`, which its pattern does not bind", self.rule.name)
    }
}
