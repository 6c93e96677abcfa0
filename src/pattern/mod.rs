//! Finds a pattern, written in ONNX text, at a node of a graph.
//!
//! The last node of the pattern is its root. A name that the pattern defines matches the value that
//! the matched node makes, as the same of its outputs; any other name is a variable. A variable in
//! **upper case** matches constants only, which is what tells a bias `Add` from a residual one. An
//! attribute given as a reference (`transB: int = @transB`) is captured; given as a value it must have
//! that value, where an absent one counts as ONNX's default. An input whose name ends in `?` may be left
//! out, which binds nothing. A last input named `rest` stands for any number of inputs, none included. The
//! operator `_` stands for any.
//!
//! The operands of an operator that commutes match in either order, and so do those of the nodes
//! before it: every order is tried before a pattern is given up.

mod attribute;

use crate::{
    graph::{Constants, NodeId, View, facts::commutes},
    proto::{AttributeProto, NodeProto},
    text,
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Nodes to find, the root last.
pub struct Pattern {
    nodes: Vec<NodeProto>,
    /// The node and which of its outputs a name stands for.
    producers: HashMap<String, (usize, usize)>,
}

/// Where and why a pattern does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Miss {
    /// How many operators, attributes and inputs had matched: the nearest miss has the most.
    pub matched: usize,
    /// A sentence that names the node and the value.
    pub why: String,
}

/// What a pattern's names stand for in the graph.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Bindings {
    /// The graph's node for each of the pattern's, `None` while unmatched.
    pub nodes: Vec<Option<NodeId>>,
    /// The graph's value for each name of the pattern.
    pub values: BTreeMap<String, String>,
    /// Captured attributes; absent ones that have a default are not in the map.
    pub attributes: BTreeMap<String, AttributeProto>,
    /// How many operators, attributes and inputs matched.
    pub facts: usize,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Panics
    /// When the text is not ONNX syntax or no graph could match it: patterns are part of the program.
    pub fn new(text: &str) -> Self {
        let nodes = text::parse_nodes(text).unwrap_or_else(|e| panic!("pattern {text:?}: {e}"));
        let pattern = Pattern { producers: producers(&nodes), nodes };
        pattern.check().unwrap_or_else(|why| panic!("pattern {text:?}: {why}"));
        pattern
    }

    /// The nodes to find, the root last.
    pub fn nodes(&self) -> &[NodeProto] {
        &self.nodes
    }

    /// The names that a match binds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.nodes.iter().flat_map(|n| n.input.iter().chain(&n.output));
        names.map(String::as_str).filter(|name| !name.is_empty() && *name != REST)
    }

    /// The attributes that a match captures.
    pub fn captures(&self) -> impl Iterator<Item = &str> {
        self.captured().map(|(_, attribute)| attribute.ref_attr_name())
    }

    /// ONNX's default of a captured attribute, if it has one.
    pub fn default(&self, captured: &str) -> Option<&AttributeProto> {
        let (node, attribute) = self.captured().find(|(_, a)| a.ref_attr_name() == captured)?;
        attribute::default(node, attribute.name())
    }

    /// Whether a node's operator is that of the pattern's root.
    pub fn may_start_at(&self, node: &NodeProto) -> bool {
        is_any(self.root()) || self.starts_at(node)
    }

    /// The same, where the root names an operator.
    pub fn starts_at(&self, node: &NodeProto) -> bool {
        self.root().operator() == node.operator()
    }

    /// The root.
    pub fn root(&self) -> &NodeProto {
        &self.nodes[self.nodes.len() - 1]
    }

    /// Matches the pattern with its root at the node.
    pub fn at(&self, view: &View, constants: &Constants, root: NodeId) -> Result<Bindings, Miss> {
        let bound = Bindings { nodes: vec![None; self.nodes.len()], ..Bindings::default() };
        let nearest = Miss { matched: 0, why: String::new() };
        let mut search = Search { pattern: self, view, constants, bound, nearest };
        match search.reach(vec![Goal::Node(self.nodes.len() - 1, root)]) {
            true => Ok(search.bound),
            false => Err(search.nearest),
        }
    }

    fn captured(&self) -> impl Iterator<Item = (&NodeProto, &AttributeProto)> {
        let attributes = self.nodes.iter().flat_map(|n| n.attribute.iter().map(move |a| (n, a)));
        attributes.filter(|(_, a)| !a.ref_attr_name().is_empty())
    }

    /// What makes the pattern match nothing, or less than it says.
    fn check(&self) -> Result<(), String> {
        let Some((_, inner)) = self.nodes.split_last() else {
            return Err("it has no node".into());
        };
        let mut seen = HashSet::new();
        let mut names = self.nodes.iter().flat_map(NodeProto::outputs).chain(self.captures());
        if let Some(twice) = names.find(|name| !seen.insert(*name)) {
            return Err(format!("`{twice}` is defined twice"));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            node.attribute.iter().try_for_each(|want| attribute::check(node, want))?;
            let before_last = node.input.iter().rev().skip(1);
            if node.output.iter().chain(before_last).any(|name| name == REST) {
                return Err(format!("`{REST}` may only be a node's last input"));
            }
            if let Some(name) = node.output.iter().find(|name| is_optional(name)) {
                return Err(format!("`{name}` is made, so that it is never missing"));
            }
            let later = |i: &&String| self.producers.get(*i).is_some_and(|(by, _)| *by >= index);
            if let Some(name) = node.input.iter().find(later) {
                return Err(format!("`{name}` is read before it is made"));
            }
        }
        let read: HashSet<&String> = self.nodes.iter().flat_map(|n| &n.input).collect();
        match inner.iter().find(|n| n.output.iter().all(|o| !read.contains(o))) {
            Some(node) => Err(format!("no later node reads `{}`", node.label())),
            None => Ok(()),
        }
    }
}

fn producers(nodes: &[NodeProto]) -> HashMap<String, (usize, usize)> {
    let outputs = nodes.iter().enumerate().flat_map(|(index, node)| {
        node.output.iter().enumerate().map(move |(output, name)| (name.clone(), (index, output)))
    });
    outputs.filter(|(name, _)| !name.is_empty()).collect()
}

/// A pattern's name for all the inputs that are left.
pub const REST: &str = "rest";

/// One attempt at one root. What holds is written into `bound`, which is as before where an order of
/// operands turned out wrong.
struct Search<'a, 'm> {
    pattern: &'a Pattern,
    view: &'a View<'m>,
    constants: &'a Constants<'a, 'm>,
    bound: Bindings,
    /// The miss before which the most facts held.
    nearest: Miss,
}

/// What remains to be shown.
#[derive(Clone, Copy)]
enum Goal<'a> {
    /// The pattern's node is the graph's.
    Node(usize, NodeId),
    /// The pattern's name is the graph's value.
    Value(&'a str, &'a str),
}

/// What a goal leads to.
#[derive(Default)]
struct Next<'a> {
    goals: Vec<Goal<'a>>,
    /// The same, with the operands in the other order.
    or: Option<Vec<Goal<'a>>>,
}

impl<'a> Search<'a, '_> {
    /// Shows every goal, the last first.
    fn reach(&mut self, mut goals: Vec<Goal<'a>>) -> bool {
        while let Some(goal) = goals.pop() {
            let next = match goal {
                Goal::Node(wanted, id) => self.node(wanted, id),
                Goal::Value(name, value) => self.value(name, value),
            };
            match next {
                Err(why) => {
                    self.miss(why);
                    return false;
                }
                Ok(Next { goals: more, or: None }) => goals.extend(more),
                Ok(Next { goals: first, or: Some(second) }) => {
                    let before = self.bound.clone();
                    if self.reach([&goals[..], &first].concat()) {
                        return true;
                    }
                    self.bound = before;
                    goals.extend(second);
                }
            }
        }
        true
    }

    fn miss(&mut self, why: String) {
        if self.nearest.why.is_empty() || self.bound.facts > self.nearest.matched {
            self.nearest = Miss { matched: self.bound.facts, why };
        }
    }

    fn node(&mut self, wanted: usize, id: NodeId) -> Result<Next<'a>, String> {
        let (want, node) = (&self.pattern.nodes[wanted], self.view.node(id));
        if let Some(other) = self.bound.nodes[wanted] {
            let of = |id| self.view.node(id).label();
            return match other == id {
                true => Ok(Next::default()),
                false => {
                    Err(format!("nodes `{}` and `{}` would have to be one", of(other), of(id)))
                }
            };
        }
        if !is_any(want) && want.operator() != node.operator() {
            return Err(format!(
                "node `{}` is {}, not {}",
                node.label(),
                node.operator(),
                want.operator()
            ));
        }
        self.bound.nodes[wanted] = Some(id);
        self.bound.facts += 1;
        let inputs = counted_inputs(want, node)?;
        self.bound.facts += 1;
        for attribute in &want.attribute {
            self.attribute(attribute, node)?;
        }
        for (index, name) in want.output.iter().enumerate().filter(|(_, n)| !n.is_empty()) {
            let Some(value) = node.output.get(index).filter(|v| !v.is_empty()) else {
                return Err(format!("node `{}` does not make its output {index}", node.label()));
            };
            self.bind(name, value);
        }
        let goals = |pairs: &[(&'a str, &'a str)]| {
            // The goals are shown from the last to the first.
            pairs.iter().rev().map(|&(name, value)| Goal::Value(name, value)).collect()
        };
        let other = match inputs[..] {
            [(a, x), (b, y)] if commutes(node) && a != b && x != y => Some([(a, y), (b, x)]),
            _ => None,
        };
        Ok(Next { goals: goals(&inputs), or: other.map(|pairs| goals(&pairs)) })
    }

    fn attribute(&mut self, want: &AttributeProto, node: &NodeProto) -> Result<(), String> {
        if let Some(found) = attribute::matched(want, node)? {
            self.bound.attributes.insert(want.ref_attr_name().to_owned(), found.clone());
        }
        self.bound.facts += 1;
        Ok(())
    }

    fn value(&mut self, name: &'a str, value: &'a str) -> Result<Next<'a>, String> {
        match (name, value) {
            (_, "") if name.is_empty() || is_optional(name) => return Ok(Next::default()),
            ("", _) => return Err(format!("`{value}` is given where the pattern has no input")),
            (_, "") => return Err(format!("its input `{name}` is left out")),
            _ => {}
        }
        if let Some(&(producer, output)) = self.pattern.producers.get(name) {
            let Some(id) = self.view.producer(value) else {
                return Err(format!("no node makes `{value}`"));
            };
            let made = self.view.node(id).output.iter().position(|o| o == value);
            if made != Some(output) {
                let label = self.view.node(id).label();
                return Err(format!("`{value}` is not the output {output} of node `{label}`"));
            }
            return Ok(Next { goals: vec![Goal::Node(producer, id)], or: None });
        }
        if let Some(other) = self.bound.values.get(name).filter(|v| *v != value) {
            return Err(format!("`{value}` and `{other}` would have to be one value"));
        }
        if is_constant_name(name) {
            self.constants
                .check(value)
                .map_err(|why| format!("its `{name}`, `{value}`, is not constant: {why}"))?;
        }
        self.bind(name, value);
        Ok(Next::default())
    }

    fn bind(&mut self, name: &str, value: &str) {
        self.bound.values.insert(name.to_owned(), value.to_owned());
        self.bound.facts += 1;
    }
}

/// Each of the pattern's inputs with the node's, if there are as many.
fn counted_inputs<'a>(
    want: &'a NodeProto,
    node: &'a NodeProto,
) -> Result<Vec<(&'a str, &'a str)>, String> {
    let given = given(&node.input);
    let (wanted, open) = match want.input.split_last() {
        Some((last, wanted)) if last == REST => (wanted, true),
        _ => (&want.input[..], false),
    };
    let needed = wanted.iter().rposition(|name| !is_optional(name)).map_or(0, |last| last + 1);
    match given.iter().skip(wanted.len()).find(|i| !i.is_empty()) {
        Some(more) if !open => Err(format!(
            "node `{}` reads `{more}` as well, which the pattern does not",
            node.label()
        )),
        _ if given.len() < needed => {
            Err(format!("node `{}` has {} inputs, not {needed}", node.label(), given.len()))
        }
        _ => {
            let value = |index: usize| given.get(index).map_or("", String::as_str);
            Ok(wanted.iter().enumerate().map(|(i, name)| (name.as_str(), value(i))).collect())
        }
    }
}

/// Whether what a name stands for may be missing.
pub fn is_optional(name: &str) -> bool {
    name.ends_with('?')
}

/// `_` in a pattern: a node of any operator.
fn is_any(node: &NodeProto) -> bool {
    node.is("_")
}

/// Upper case in a pattern: the variable matches constants only.
pub fn is_constant_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
}

/// The inputs without the empty names at the end.
fn given(inputs: &[String]) -> &[String] {
    let used = inputs.iter().rposition(|i| !i.is_empty()).map_or(0, |last| last + 1);
    &inputs[..used]
}
