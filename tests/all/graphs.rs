//! The graphs of `tests/graphs` and what the recipe makes of them.

use bitonnx::{
    array::Array,
    proto::{
        self, GraphProto, ModelProto, NodeProto, TypeProto, tensor_proto::DataType,
        tensor_shape_proto::dimension, type_proto,
    },
    rewrite::{Filter, Options, Placement, Rewritten, Rule, rewrite},
    rules::recipe,
    text,
};
use std::{fs, path::PathBuf};

/// A graph of `tests/graphs`.
pub struct Small {
    pub name: String,
    /// Its first line.
    pub description: String,
    pub model: ModelProto,
    pub rewritten: Rewritten,
}

/// Every graph, in order of their names.
pub fn every_graph() -> Vec<Small> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/graphs");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(small).collect()
}

fn small(path: &PathBuf) -> Small {
    let source = fs::read_to_string(path).unwrap();
    let model = model(&source);
    Small {
        name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
        description: source.lines().next().unwrap().trim_start_matches("# ").to_owned(),
        rewritten: rewritten(&model, &recipe()),
        model,
    }
}

/// A rewrite that takes every projection: small graphs have no transformer around theirs.
pub fn rewritten(model: &ModelProto, recipe: &[Rule]) -> Rewritten {
    let options = Options::default().with(|o| {
        o.filters = vec![Filter::new(true, "").unwrap()];
        o.allow_unmatched = true;
        o.subln = Some(Placement::None);
    });
    rewrite(model.clone(), recipe, &options, &mut |_, _| {}).unwrap()
}

/// A model in ONNX text. What it lists among its initializers without data gets random numbers.
pub fn model(source: &str) -> ModelProto {
    let mut model = text::parse_model(source).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let made: Vec<String> = graph.node.iter().flat_map(|n| n.output.clone()).collect();
    let (values, stored) =
        graph.value_info.drain(..).partition(|v| made.iter().any(|name| name == v.name()));
    graph.value_info = values;
    for (seed, value) in stored.iter().enumerate() {
        let (kind, dims) = declared(value.r#type.as_ref().unwrap());
        let numbers = Numbers::new(seed as u64).floats(dims.iter().product());
        let tensor = match kind {
            DataType::Float => Array::from_vec(&dims, numbers).unwrap().to_tensor(value.name()),
            DataType::Float16 => {
                let numbers = numbers.into_iter().map(half::f16::from_f32).collect();
                Array::from_vec(&dims, numbers).unwrap().to_tensor(value.name())
            }
            other => panic!("`{}` is {other:?}", value.name()),
        };
        graph.initializer.push(tensor);
    }
    model
}

/// The type and sizes of a declared value; a named dimension has a size of its own.
pub fn declared(of: &TypeProto) -> (DataType, Vec<usize>) {
    let Some(type_proto::Value::TensorType(tensor)) = &of.value else {
        panic!("no tensor: {of:?}")
    };
    let dims = tensor.shape.iter().flat_map(|s| &s.dim).map(|dim| match &dim.value {
        Some(dimension::Value::DimValue(size)) => *size as usize,
        Some(dimension::Value::DimParam(name)) => match name.as_str() {
            "b" => 2,
            "s" => 4,
            "m" => 5,
            other => panic!("give the dimension `{other}` a size"),
        },
        None => 3,
    });
    (DataType::try_from(tensor.elem_type()).unwrap(), dims.collect())
}

/// A model's nodes of this name, or that make this value.
pub fn nodes_named<'m>(model: &'m ModelProto, name: &str) -> Vec<&'m NodeProto> {
    let nodes = proto::graphs(model).into_iter().flat_map(|g: &GraphProto| &g.node);
    nodes.filter(|n| n.name() == name || n.output.first().is_some_and(|o| o == name)).collect()
}

/// Numbers that are the same everywhere.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// Below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Near a normal distribution: the sum of some even ones.
    pub fn float(&mut self) -> f32 {
        (0..6).map(|_| (self.next() >> 40) as f32 / (1u64 << 24) as f32 - 0.5).sum()
    }

    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
