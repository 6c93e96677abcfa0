//! What every draft of a file writes into.

use super::names::Names;
use crate::{
    graph::{GraphId, NodeId},
    operator,
    proto::{TensorProto, tensor_proto::DataType},
    quant::Storage,
};
use std::collections::HashMap;

/// What the drafts of a file share.
pub(crate) struct Store {
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
    pub(super) shared: HashMap<(GraphId, String), (NodeId, String)>,
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

    pub(super) fn constant(&mut self, name: &str) -> Option<String> {
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

/// How a matrix of this type is read; `None` where its elements are no floats, or are of 64 bits.
pub(crate) fn storage(data_type: DataType) -> Option<Storage> {
    match data_type {
        DataType::Float => Some(Storage::F32),
        DataType::Float16 => Some(Storage::F16),
        DataType::Bfloat16 => Some(Storage::Bf16),
        _ => None,
    }
}

/// The type of a matrix that is read so.
pub(crate) fn data_type(storage: Storage) -> DataType {
    match storage {
        Storage::F32 => DataType::Float,
        Storage::F16 => DataType::Float16,
        Storage::Bf16 => DataType::Bfloat16,
    }
}
