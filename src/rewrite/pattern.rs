//! Finds a pattern, written in ONNX text, at a node of a graph.
//!
//! The last node of the pattern is its root. A name that the pattern defines matches the value that
//! the matched node makes; any other name is a variable. A variable in **upper case** matches
//! constants only, which is what tells a bias `Add` from a residual one. An attribute given as a
//! reference (`transB: int = @transB`) is captured; given as a value it must have that value, where
//! an absent one counts as ONNX's default. A last input named `rest` stands for any number of
//! inputs, none included.

use crate::{
    graph::{Constants, NodeId, View},
    proto::{AttributeProto, NodeProto},
    text,
};
use std::collections::{BTreeMap, HashMap};

/// Nodes to find, the root last.
pub struct Pattern {
    nodes: Vec<NodeProto>,
    producers: HashMap<String, usize>,
}

/// Where and why a pattern does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// How many of the pattern's nodes had matched: the nearest miss has the most.
    pub matched: usize,
    /// A sentence that names the node and the value.
    pub why: String,
}

/// What a pattern's names stand for in the graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bindings {
    /// The graph's node for each of the pattern's, `None` while unmatched.
    pub nodes: Vec<Option<NodeId>>,
    /// The graph's value for each name of the pattern.
    pub values: BTreeMap<String, String>,
    /// Captured attributes; absent ones that have a default are not in the map.
    pub attributes: BTreeMap<String, AttributeProto>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Panics
    /// When the text is not ONNX syntax: patterns are part of the program.
    pub fn new(text: &str) -> Self {
        let nodes = text::parse_nodes(text).unwrap_or_else(|e| panic!("pattern {text:?}: {e}"));
        assert!(!nodes.is_empty(), "pattern {text:?} has no node");
        let outputs = |(i, n): (usize, &NodeProto)| {
            n.output.iter().map(move |o| (o.clone(), i)).collect::<Vec<_>>()
        };
        let producers = nodes.iter().enumerate().flat_map(outputs).collect();
        Pattern { nodes, producers }
    }

    /// The nodes to find, the root last.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.nodes
    }

    /// The names that a match binds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().flat_map(|n| n.input.iter().chain(&n.output)).map(String::as_str)
    }

    /// The attributes that a match captures.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.nodes
            .iter()
            .flat_map(|n| &n.attribute)
            .map(AttributeProto::ref_attr_name)
            .filter(|n| !n.is_empty())
    }

    /// Whether a node's operator is that of the pattern's root.
    pub fn may_start_at(&self, node: &NodeProto) -> bool {
        (domain(self.root()), self.root().op_type()) == (domain(node), node.op_type())
    }

    /// The root.
    pub fn root(&self) -> &NodeProto {
        &self.nodes[self.nodes.len() - 1]
    }

    /// Matches the pattern with its root at the node.
    pub fn at(&self, view: &View, constants: &Constants, root: NodeId) -> Result<Bindings, Miss> {
        let search = Search { pattern: self, view, constants };
        let empty = Bindings { nodes: vec![None; self.nodes.len()], ..Bindings::default() };
        search.node(self.nodes.len() - 1, root, empty)
    }
}

/// A pattern's name for all the inputs that are left.
const REST: &str = "rest";

/// One attempt at one root. Each step takes the bindings so far and returns them extended, so that
/// an operand order that fails leaves no trace.
struct Search<'a, 'm> {
    pattern: &'a Pattern,
    view: &'a View<'m>,
    constants: &'a Constants<'a, 'm>,
}

impl Search<'_, '_> {
    fn node(&self, wanted: usize, id: NodeId, mut bound: Bindings) -> Result<Bindings, Miss> {
        let (want, node) = (&self.pattern.nodes[wanted], self.view.node(id));
        let miss = |bound: &Bindings, why: String| Miss { matched: bound.matched(), why };
        if (domain(want), want.op_type()) != (domain(node), node.op_type()) {
            let why =
                format!("node `{}` is {}, not {}", label(node), qualified(node), qualified(want));
            return Err(miss(&bound, why));
        }
        for attribute in &want.attribute {
            match_attribute(attribute, node, &mut bound).map_err(|why| miss(&bound, why))?;
        }
        if bound.nodes[wanted].replace(id).is_some_and(|other| other != id) {
            return Err(miss(&bound, format!("node `{}` would have to match twice", label(node))));
        }
        for (name, value) in want.output.iter().zip(&node.output) {
            bound.values.insert(name.clone(), value.clone());
        }
        let given = given(&node.input);
        let (wanted, given) = match want.input.split_last() {
            Some((last, wanted)) if last == REST && given.len() >= wanted.len() => {
                (wanted, &given[..wanted.len()])
            }
            _ => (&want.input[..], given),
        };
        if given.len() != wanted.len() {
            let why =
                format!("node `{}` has {} inputs, not {}", label(node), given.len(), wanted.len());
            return Err(miss(&bound, why));
        }
        let first = self.inputs(wanted, given.iter(), bound.clone());
        match first {
            Err(missed) if commutes(node) && given.len() == 2 => self
                .inputs(wanted, given.iter().rev(), bound)
                .map_err(|other| if other.matched > missed.matched { other } else { missed }),
            first => first,
        }
    }

    fn inputs<'v>(
        &self,
        wanted: &[String],
        values: impl Iterator<Item = &'v String>,
        bound: Bindings,
    ) -> Result<Bindings, Miss> {
        wanted
            .iter()
            .zip(values)
            .try_fold(bound, |bound, (name, value)| self.input(name, value, bound))
    }

    fn input(&self, name: &str, value: &str, mut bound: Bindings) -> Result<Bindings, Miss> {
        let miss = |bound: &Bindings, why| Err(Miss { matched: bound.matched(), why });
        if name.is_empty() != value.is_empty() {
            return miss(
                &bound,
                format!(
                    "input `{value}` is given where the pattern leaves one out, or the reverse"
                ),
            );
        }
        if let Some(&producer) = self.pattern.producers.get(name) {
            let Some(id) = self.view.producer(value) else {
                return miss(&bound, format!("no node makes `{value}`"));
            };
            return self.node(producer, id, bound);
        }
        if let Some(other) = bound.values.get(name).filter(|v| *v != value) {
            let why = format!("`{value}` and `{other}` would have to be one value");
            return miss(&bound, why);
        }
        if is_constant_name(name)
            && let Err(why) = self.constants.check(value)
        {
            return miss(&bound, format!("its `{name}`, `{value}`, is not constant: {why}"));
        }
        bound.values.insert(name.to_owned(), value.to_owned());
        Ok(bound)
    }
}

impl Bindings {
    fn matched(&self) -> usize {
        self.nodes.iter().flatten().count()
    }
}

/// Upper case in a pattern: the variable matches constants only.
fn is_constant_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

fn match_attribute(
    want: &AttributeProto,
    node: &NodeProto,
    bound: &mut Bindings,
) -> Result<(), String> {
    let found = node.attribute.iter().find(|a| a.name() == want.name());
    if !want.ref_attr_name().is_empty() {
        if let Some(found) = found {
            bound.attributes.insert(want.ref_attr_name().to_owned(), found.clone());
        }
        return Ok(());
    }
    let same = match found {
        Some(found) => {
            (found.i(), found.f(), found.s()) == (want.i(), want.f(), want.s())
                && found.ints == want.ints
        }
        None => is_default(node.op_type(), want),
    };
    if same {
        return Ok(());
    }
    Err(format!("attribute `{}` of node `{}` has another value", want.name(), label(node)))
}

/// Whether an absent attribute means this value.
fn is_default(op_type: &str, attribute: &AttributeProto) -> bool {
    match (op_type, attribute.name()) {
        ("Gemm" | "FusedMatMul" | "FusedGemm", "alpha" | "beta") => attribute.f() == 1.0,
        _ => {
            attribute.i() == 0
                && attribute.f() == 0.0
                && attribute.s().is_empty()
                && attribute.ints.is_empty()
        }
    }
}

/// The inputs without the empty names at the end.
fn given(inputs: &[String]) -> &[String] {
    let used = inputs.iter().rposition(|i| !i.is_empty()).map_or(0, |last| last + 1);
    &inputs[..used]
}

fn commutes(node: &NodeProto) -> bool {
    matches!(
        (domain(node), node.op_type()),
        ("", "Add" | "Mul" | "Min" | "Max" | "And" | "Or" | "Xor" | "Equal")
    )
}

/// The domain with the standard one's long name made short.
fn domain(node: &NodeProto) -> &str {
    if node.domain() == "ai.onnx" { "" } else { node.domain() }
}

/// What to call a node: its name, or the first value it makes.
pub fn label(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.iter().find(|o| !o.is_empty()).map_or("?", String::as_str),
        name => name,
    }
}

/// The operator with its domain, as ONNX text has it.
pub fn qualified(node: &NodeProto) -> String {
    match domain(node) {
        "" => node.op_type().to_owned(),
        domain => format!("{domain}.{}", node.op_type()),
    }
}
