//! The nodes that come in place of one projection, written in ONNX text.
//!
//! In such a text a name is what [`Draft::add`] binds it to, a value that the draft made before, or,
//! in upper case, one of [`CONSTANTS`], which the file stores once.

use super::{names::Names, survey::Site};
use crate::{
    graph::{GraphId, NodeId},
    operator::{self, metadata},
    proto::{NodeProto, TensorProto, tensor_proto::DataType},
    text,
};
use std::collections::HashMap;

/// What every draft of a file writes into.
pub(super) struct Store {
    /// The opset that the file imports.
    pub opset: i64,
    /// Whether nodes can say where they come from: from IR version 10 on.
    pub provenance: bool,
    /// Every name of the file.
    pub names: Names,
    /// What is stored beside the nodes, in the order in which it was needed.
    pub initializers: Vec<TensorProto>,
    constants: HashMap<&'static str, String>,
    /// Values that drafts of one graph share, by what they are, with the place of the first.
    shared: HashMap<(GraphId, String), (NodeId, String)>,
    /// Gains by weight and by which of the weight's norms in a graph each is of.
    gains: HashMap<(String, usize), String>,
    /// How many norms each weight has in each graph so far.
    norms: HashMap<(GraphId, String), usize>,
}

/// A number that texts name.
enum Constant {
    Scalar(f32),
    Axis(i64),
}

/// The name in texts, the role in the initializer's name, the value.
const CONSTANTS: [(&str, &str, Constant); 12] = [
    ("EPS", "eps", Constant::Scalar(operator::EPS)),
    ("NORM_EPS", "norm_eps", Constant::Scalar(1e-6)),
    ("HIGH", "127", Constant::Scalar(127.0)),
    ("LOW", "minus_128", Constant::Scalar(-128.0)),
    ("ONE", "one", Constant::Scalar(1.0)),
    ("TWO", "two", Constant::Scalar(2.0)),
    ("MINUS_ONE", "minus_one", Constant::Scalar(-1.0)),
    ("TWO_40", "two_to_40", Constant::Scalar((1u64 << 40) as f32)),
    ("TWO_MINUS_40", "two_to_minus_40", Constant::Scalar(1.0 / (1u64 << 40) as f32)),
    ("LAST", "last_axis", Constant::Axis(-1)),
    ("FIRST", "first_axis", Constant::Axis(0)),
    ("SECOND", "second_axis", Constant::Axis(1)),
];

impl Store {
    /// A store for a file with these names.
    pub fn new(opset: i64, provenance: bool, names: Names) -> Self {
        Store {
            opset,
            provenance,
            names,
            initializers: Vec::new(),
            constants: HashMap::new(),
            shared: HashMap::new(),
            gains: HashMap::new(),
            norms: HashMap::new(),
        }
    }

    /// The gain, ones, of a norm before a projection by a weight in this graph. Where a weight has norms in several graphs,
    /// the branches of an `If`, they share it: one of them runs.
    pub fn gain(&mut self, graph: GraphId, weight: &str, k: usize, data_type: DataType) -> String {
        let count = self.norms.entry((graph, weight.to_owned())).or_default();
        *count += 1;
        let key = (weight.to_owned(), *count);
        if let Some(gain) = self.gains.get(&key) {
            return gain.clone();
        }
        let gain = self.floats([weight, "subln_gain"], data_type, &[k], &vec![1.0; k]);
        self.gains.insert(key, gain.clone());
        gain
    }

    /// Stores a tensor as `BASE_ROLE`, and returns its name.
    pub fn tensor(
        &mut self,
        [base, role]: [&str; 2],
        data_type: DataType,
        dims: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        let name = self.names.fresh(base, role);
        self.initializers.push(TensorProto {
            name: Some(name.clone()),
            data_type: Some(data_type as i32),
            dims: dims.iter().map(|d| *d as i64).collect(),
            raw_data: Some(bytes.into()),
            ..TensorProto::default()
        });
        name
    }

    /// Stores floats in the type that they are used in.
    pub fn floats(
        &mut self,
        name: [&str; 2],
        data_type: DataType,
        dims: &[usize],
        values: &[f32],
    ) -> String {
        use half::{bf16, f16};
        let bytes = match data_type {
            DataType::Float16 => {
                values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
            }
            DataType::Bfloat16 => {
                values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()
            }
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        self.tensor(name, data_type, dims, bytes)
    }

    fn constant(&mut self, name: &str) -> Option<String> {
        let (key, role, value) = CONSTANTS.iter().find(|(key, ..)| *key == name)?;
        if let Some(known) = self.constants.get(key) {
            return Some(known.clone());
        }
        let stored = match value {
            Constant::Scalar(value) => {
                self.tensor(["bitonnx", role], DataType::Float, &[], value.to_le_bytes().into())
            }
            Constant::Axis(axis) => {
                self.tensor(["bitonnx", role], DataType::Int64, &[1], axis.to_le_bytes().into())
            }
        };
        self.constants.insert(key, stored.clone());
        Some(stored)
    }
}

/// The nodes that come in place of one root.
pub(super) struct Draft<'d> {
    pub store: &'d mut Store,
    /// The nodes so far.
    pub nodes: Vec<NodeProto>,
    pub site: &'d Site<'d>,
    /// What new values are named after.
    base: &'d str,
    /// The node that multiplies: it gives its name, and what it says of itself.
    source: &'d NodeProto,
}

/// How a text's nodes are named after their source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// With their own names in the text appended; a node without one takes the source's.
    Labels,
    /// With the names of what they make appended.
    Values,
}

impl<'d> Draft<'d> {
    /// An empty draft; `base` is what its values are named after.
    pub fn new(
        store: &'d mut Store,
        site: &'d Site<'d>,
        source: &'d NodeProto,
        base: &'d str,
    ) -> Self {
        Draft { store, nodes: Vec::new(), base, source, site }
    }

    /// Appends nodes, and returns what the last of them makes.
    pub fn add(&mut self, text: &str, bound: &[(&str, &str)], naming: Naming) -> String {
        // Texts are part of the program, as patterns are.
        let nodes = text::parse_nodes(text).unwrap_or_else(|e| panic!("draft {text:?}: {e}"));
        let bound = bound.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.add_nodes(nodes, bound.collect(), naming)
    }

    /// [`Draft::add`] for nodes that are parsed already.
    pub fn add_nodes(
        &mut self,
        nodes: Vec<NodeProto>,
        mut values: HashMap<String, String>,
        naming: Naming,
    ) -> String {
        let mut last = String::new();
        for mut node in nodes {
            let label = match naming {
                Naming::Labels => node.name.take().unwrap_or_default(),
                Naming::Values => node.output[0].clone(),
            };
            node.name = self.node_name(&label);
            for input in node.input.iter_mut().filter(|i| !i.is_empty()) {
                *input = match values.get(input.as_str()) {
                    Some(value) => value.clone(),
                    None => (self.store.constant(input))
                        .unwrap_or_else(|| panic!("a draft reads `{input}`, which nothing binds")),
                };
            }
            for output in &mut node.output {
                let fresh = || self.store.names.fresh(self.base, output);
                *output = values.entry(output.clone()).or_insert_with(fresh).clone();
            }
            self.annotate(&mut node);
            last.clone_from(&node.output[0]);
            self.nodes.push(node);
        }
        last
    }

    /// A value that several projections of the graph may read: made by `make` where none is there yet
    /// that comes before this draft's place.
    pub fn shared(&mut self, key: String, make: impl FnOnce(&mut Self) -> String) -> String {
        let (place, key) = (self.site.root, (self.site.root.graph(), key));
        if let Some((first, value)) = self.store.shared.get(&key)
            && *first <= place
        {
            return value.clone();
        }
        let value = make(self);
        self.store.shared.insert(key, (place, value.clone()));
        value
    }

    /// A name for a value that the next text makes.
    pub fn fresh(&mut self, role: &str) -> String {
        self.store.names.fresh(self.base, role)
    }

    /// The source node's name for the product, with the part's name appended for the others.
    fn node_name(&mut self, part: &str) -> Option<String> {
        match (self.source.name(), part) {
            ("", _) => None,
            (name, "") => Some(name.into()),
            (name, part) => Some(self.store.names.fresh(name, part)),
        }
    }

    /// What the source said about the node, its rule and its name there.
    fn annotate(&self, node: &mut NodeProto) {
        node.doc_string = self.source.doc_string.clone();
        node.metadata_props = self.source.metadata_props.clone();
        if self.store.provenance {
            let rule = (metadata::RULE, self.site.rule.name().to_owned());
            let source = (metadata::SOURCE, self.site.name.clone());
            metadata::replace(&mut node.metadata_props, [rule, source]);
        }
    }
}

/// A reduction along one axis, in the form that the opset has: the axis is an attribute before 18.
pub(super) fn reduce(op: &str, value: &str, axis: Axis, opset: i64) -> String {
    let (number, constant) = match axis {
        Axis::First => (0, "FIRST"),
        Axis::Second => (1, "SECOND"),
        Axis::Last => (-1, "LAST"),
    };
    match opset {
        ..18 => format!("{op} <axes = [{number}], keepdims = 1> ({value})"),
        _ => format!("{op} <keepdims = 1> ({value}, {constant})"),
    }
}

/// What a reduction works along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    First,
    Second,
    Last,
}
