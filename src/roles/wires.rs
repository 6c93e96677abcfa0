//! One graph with its values as numbers: who makes each, who reads it, which need no input.

use super::Site;
use crate::{
    graph::{ByNode, Constants, NodeId, View, captured, facts},
    proto::{NodeProto, Operator},
    values,
};
use std::collections::{HashMap, HashSet};

/// A value's number.
pub(super) type Value = usize;

pub(super) struct Wires<'v, 'm> {
    pub view: &'v View<'m>,
    constants: &'v Constants<'v, 'm>,
    pub nodes: ByNode<Node<'m>>,
    pub producer: Vec<Option<NodeId>>,
    pub readers: Vec<Vec<NodeId>>,
    /// Computed from stored data and from shapes alone.
    pub constant: Vec<bool>,
    pub is_output: Vec<bool>,
    /// Computed from a site's product.
    derived: Vec<bool>,
    pub sites: Vec<Projection>,
    /// The index of the site that a node is.
    pub site_at: ByNode<Option<usize>>,
    numbers: HashMap<&'m str, Value>,
    names: Vec<&'m str>,
}

/// A site with its values as numbers.
pub(super) struct Projection {
    pub node: NodeId,
    pub input: Value,
    pub product: Value,
    pub in_features: usize,
    pub out_features: usize,
}

pub(super) struct Node<'m> {
    pub proto: &'m NodeProto,
    /// Its operator's name, if that is ONNX's or ONNX Runtime's.
    pub op: &'m str,
    pub inputs: Vec<Option<Value>>,
    pub outputs: Vec<Option<Value>>,
    captures: Vec<Value>,
}

impl<'v, 'm> Wires<'v, 'm> {
    pub fn new(view: &'v View<'m>, constants: &'v Constants<'v, 'm>, sites: &[Site<'m>]) -> Self {
        let mut wires = Wires {
            view,
            constants,
            nodes: ByNode::default(),
            producer: Vec::new(),
            readers: Vec::new(),
            constant: Vec::new(),
            is_output: Vec::new(),
            derived: Vec::new(),
            sites: Vec::with_capacity(sites.len()),
            site_at: ByNode::new(view, |_| None),
            numbers: HashMap::new(),
            names: Vec::new(),
        };
        wires.nodes = ByNode::new(view, |(id, proto)| wires.connect(id, proto));
        for output in view.outputs() {
            let value = wires.intern(output);
            wires.is_output[value] = true;
        }
        for (index, site) in sites.iter().enumerate() {
            let projection = Projection {
                node: site.node,
                input: wires.intern(site.input),
                product: wires.intern(site.output),
                in_features: site.in_features,
                out_features: site.out_features,
            };
            wires.sites.push(projection);
            if let Some(slot) = wires.site_at.get_mut(site.node) {
                slot.get_or_insert(index);
            }
        }
        let products = sites.iter().map(|site| site.output).collect();
        for name in constant_values(view, &products) {
            if let Some(&value) = wires.numbers.get(name) {
                wires.constant[value] = true;
            }
        }
        for site in &wires.sites {
            wires.derived[site.product] = true;
        }
        for (_, node) in wires.nodes.iter() {
            if node.reads().any(|value| wires.derived[value]) {
                node.outputs.iter().flatten().for_each(|value| wires.derived[*value] = true);
            }
        }
        wires
    }

    fn connect(&mut self, id: NodeId, proto: &'m NodeProto) -> Node<'m> {
        let node = Node {
            proto,
            op: match proto.operator() {
                Operator { domain: "" | "com.microsoft", name } => name,
                _ => "",
            },
            inputs: proto.input.iter().map(|name| self.intern_present(name)).collect(),
            outputs: proto.output.iter().map(|name| self.intern_present(name)).collect(),
            captures: captured(proto).into_iter().map(|name| self.intern(name)).collect(),
        };
        for value in node.reads() {
            self.readers[value].push(id);
        }
        for value in node.outputs.iter().flatten() {
            self.producer[*value] = Some(id);
        }
        node
    }

    fn intern_present(&mut self, name: &'m str) -> Option<Value> {
        (!name.is_empty()).then(|| self.intern(name))
    }

    fn intern(&mut self, name: &'m str) -> Value {
        let next = self.producer.len();
        let value = *self.numbers.entry(name).or_insert(next);
        if value == next {
            self.producer.push(None);
            self.readers.push(Vec::new());
            self.constant.push(false);
            self.is_output.push(false);
            self.derived.push(false);
            self.names.push(name);
        }
        value
    }

    /// What comes of no product takes no part: a mask, for example.
    fn is_aside(&self, name: &str) -> bool {
        self.numbers.get(name).is_some_and(|value| !self.derived[*value])
    }

    /// Whether an activation stands between a value and the product that it comes from.
    pub fn is_activated(&self, value: Value) -> bool {
        let aside = |name: &str| self.is_aside(name);
        values::is_activated(self.view, self.constants, self.names[value], &aside)
    }

    /// What a value is the softmax of, if that is spelled out, and whether by columns.
    pub fn softmax_in_parts(&self, value: Value) -> Option<(Value, bool)> {
        let aside = |name: &str| self.is_aside(name);
        let name = self.names[value];
        let (scores, by_columns) = values::softmax(self.view, self.constants, name, &aside)?;
        Some((*self.numbers.get(scores)?, by_columns))
    }

    pub fn name(&self, value: Value) -> &'m str {
        self.names[value]
    }

    /// Whether a value of this name is constant.
    pub fn is_constant(&self, name: &str) -> bool {
        self.numbers.get(name).is_some_and(|value| self.constant[*value])
    }

    pub fn len(&self) -> usize {
        self.producer.len()
    }

    pub fn maker(&self, value: Value) -> Option<&Node<'m>> {
        self.producer[value].map(|id| &self.nodes[id])
    }

    /// The inputs whose content the node's outputs hold, constants left out.
    ///
    /// A `Gather` from a stored table holds what its indices say.
    pub fn payload(&self, node: &Node<'m>) -> Vec<Value> {
        let lookup = node.input(0).is_some_and(|table| self.constant[table]);
        let positions = match facts::content(node.proto) {
            _ if lookup && facts::gathers(node.proto) => &[1],
            Some(positions) => positions,
            None => return node.reads().filter(|v| !self.constant[*v]).collect(),
        };
        positions.iter().filter_map(|&i| node.input(i)).filter(|v| !self.constant[*v]).collect()
    }

    /// The two operands of a product that is no site.
    pub fn product(&self, id: NodeId) -> Option<[Value; 2]> {
        let [a, b] = facts::factors(self.nodes[id].proto)?;
        let pair = [*self.numbers.get(a)?, *self.numbers.get(b)?];
        let varies = pair.iter().any(|v| !self.constant[*v]);
        (varies && self.site_at[id].is_none()).then_some(pair)
    }
}

impl Node<'_> {
    /// Whether it is a whole attention: an operator, or a function that an exporter left in.
    pub fn is_attention(&self) -> bool {
        self.proto.op_type().to_ascii_lowercase().contains("attention")
    }

    pub fn input(&self, index: usize) -> Option<Value> {
        self.inputs.get(index).copied().flatten()
    }

    pub fn output(&self, index: usize) -> Option<Value> {
        self.outputs.get(index).copied().flatten()
    }

    /// The function that ONNX Runtime's fusions apply to the node's result.
    pub fn activation(&self) -> &str {
        self.proto.string("activation").unwrap_or_default()
    }

    /// Everything the node reads, what its nested graphs capture included.
    pub fn reads(&self) -> impl Iterator<Item = Value> {
        self.inputs.iter().copied().flatten().chain(self.captures.iter().copied())
    }
}

/// The values of a graph and of those around it that need no graph input, other than its shape.
///
/// A site's product is none of them, even where the activation is a stored table (relative positions).
fn constant_values<'m>(view: &View<'m>, products: &HashSet<&str>) -> HashSet<&'m str> {
    let mut known = view.outer().map(|outer| constant_values(outer, products)).unwrap_or_default();
    known.extend(view.stored());
    for (_, node) in view.nodes() {
        let shape_only = matches!(node.standard(), "Shape" | "Size");
        let mut reads = node.input.iter().map(String::as_str).chain(captured(node));
        if shape_only || reads.all(|name| name.is_empty() || known.contains(name)) {
            let outputs = node.output.iter().map(String::as_str);
            known.extend(outputs.filter(|name| !name.is_empty() && !products.contains(name)));
        }
    }
    known
}
