//! What comes in place of a match, in ONNX text.

use crate::{
    operator::{BitLinear, DOMAIN},
    pattern::{Pattern, REST, is_optional},
    proto::{AttributeProto, NodeProto},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The nodes that a rule emits, with names of its pattern in place of values and attributes.
#[derive(Default)]
pub(super) struct Template {
    pub nodes: Vec<NodeProto>,
    /// The attributes that the rule's arithmetic may give.
    pub lists: Vec<&'static str>,
}

/// A pattern's and a template's name for the projection's input.
pub(super) const INPUT: &str = "x";
/// A template's names for the ternarised weight.
const WEIGHT: [&str; 2] = ["codes", "scale"];
/// A template's attribute: how many rows each part of the weight has.
pub(super) const PART_SIZES: &str = "part_sizes";

impl Template {
    /// The nodes for a match that binds these values and attributes.
    ///
    /// A node whose label ends in `?` is left out where something that it reads is missing; what it makes
    /// then is its first input, if it has one. Other nodes are without the inputs and the captured attributes
    /// that are missing.
    pub fn filled(
        &self,
        values: &HashMap<String, String>,
        attributes: &BTreeMap<String, AttributeProto>,
    ) -> Vec<NodeProto> {
        let mut nodes = Vec::new();
        let mut instead: HashMap<&str, String> = HashMap::new();
        for node in &self.nodes {
            let mut filled = node.clone();
            for input in filled.input.iter_mut().filter(|i| !i.is_empty()) {
                match instead.get(input.as_str()) {
                    Some(other) => input.clone_from(other),
                    None if is_optional(input) && !values.contains_key(input) => input.clear(),
                    None => {}
                }
            }
            let missing = |a: &AttributeProto| {
                let name = a.ref_attr_name();
                self.lists.contains(&name) && !attributes.contains_key(name)
            };
            let reads_less = filled.inputs().count() < node.inputs().count();
            if is_optional(node.name()) && (reads_less || node.attribute.iter().any(missing)) {
                let first = filled.input(0).unwrap_or_default();
                instead.insert(&node.output[0], first.to_owned());
                continue;
            }
            filled.name = filled.name.map(|label| label.trim_end_matches('?').to_owned());
            filled.attribute = node.attribute.iter().filter_map(|a| given(a, attributes)).collect();
            let used = filled.input.iter().rposition(|i| !i.is_empty()).map_or(0, |last| last + 1);
            filled.input.truncate(used);
            nodes.push(filled);
        }
        // Where the last is left out, a node before it makes what the root made.
        let root = self.nodes.last().map_or("", |last| &last.output[0]);
        if let Some(made) = instead.get(root) {
            let names = nodes.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output));
            names.filter(|name| *name == made).for_each(|name| root.clone_into(name));
        }
        nodes
    }

    /// Why the template can't be filled in for each match of a pattern.
    pub fn check(&self, pattern: &Pattern) -> Result<(), String> {
        let Some(last) = self.nodes.last() else { return Err("it emits nothing".into()) };
        if let Some(taken) = pattern.names().find(|n| WEIGHT.contains(n)) {
            return Err(format!("its pattern names `{taken}`, which is the ternarised weight's"));
        }
        if last.output != pattern.root().output {
            return Err("it emits another value than it replaces".into());
        }
        self.check_product()?;
        self.check_new_names(pattern)?;
        self.check_reads(pattern)
    }

    /// There is one BitLinear, which reads what the conversion gives it and has no attributes.
    fn check_product(&self) -> Result<(), String> {
        let name = BitLinear::NAME;
        let ours: Vec<&NodeProto> = self.nodes.iter().filter(|n| n.domain() == DOMAIN).collect();
        match ours[..] {
            [node] if node.op_type() == name => match (&node.input[..], &node.attribute[..]) {
                ([x, codes, scale], []) if [codes, scale] == WEIGHT && !is_optional(x) => Ok(()),
                (_, []) => Err(format!("its {name} does not read (…, codes, scale)")),
                (_, [first, ..]) => Err(format!(
                    "its {name} has the attribute `{}`; the conversion writes them",
                    first.name()
                )),
            },
            _ => Err(format!("it emits {} nodes of {DOMAIN}, not one {name}", ours.len())),
        }
    }

    /// No two new nodes and no two new values would have one name.
    fn check_new_names(&self, pattern: &Pattern) -> Result<(), String> {
        let mut labels = HashSet::new();
        let label = |n: &NodeProto| n.name().trim_end_matches('?').to_owned();
        if let Some(twice) =
            self.nodes.iter().map(label).find(|label| !labels.insert(label.clone()))
        {
            return Err(match &*twice {
                "" => "two of the nodes that it emits have no name".into(),
                name => format!("two of the nodes that it emits are named [{name}]"),
            });
        }
        let root = &pattern.root().output;
        let mut taken: HashSet<&str> =
            pattern.names().filter(|n| root.iter().all(|o| o != n)).collect();
        taken.extend(WEIGHT.into_iter().chain([INPUT]));
        match self.nodes.iter().flat_map(|n| &n.output).find(|output| !taken.insert(output)) {
            Some(output) => Err(format!("it emits `{output}` a second time")),
            None => Ok(()),
        }
    }

    /// All that the new nodes read is there.
    fn check_reads(&self, pattern: &Pattern) -> Result<(), String> {
        let root = &pattern.root().output;
        let matched = pattern.names().filter(|n| root.iter().all(|o| o != n));
        let mut known: HashSet<&str> = matched.chain(WEIGHT).chain([INPUT, ""]).collect();
        let lists = self.lists.iter().copied();
        let captured: HashSet<&str> =
            pattern.captures().chain(lists).chain([PART_SIZES, ""]).collect();
        for node in &self.nodes {
            if node.input.iter().any(|i| i == REST) {
                return Err(format!("it emits `{REST}`, which stands for no value"));
            }
            if let Some(input) = node.input.iter().find(|i| !known.contains(i.as_str())) {
                return Err(format!("it emits `{input}`, which nothing binds"));
            }
            let mut references = node.attribute.iter().map(AttributeProto::ref_attr_name);
            if let Some(unbound) = references.find(|r| !captured.contains(r)) {
                return Err(format!("it emits @{unbound}, which nothing binds"));
            }
            known.extend(node.outputs());
        }
        Ok(())
    }
}

/// A template's attribute with the captured one in place of its reference. What the source leaves out is
/// left out again.
fn given(
    attribute: &AttributeProto,
    captured: &BTreeMap<String, AttributeProto>,
) -> Option<AttributeProto> {
    match attribute.ref_attr_name() {
        "" => Some(attribute.clone()),
        name => {
            Some(AttributeProto { name: attribute.name.clone(), ..captured.get(name)?.clone() })
        }
    }
}
