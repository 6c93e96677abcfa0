//! What constant expressions are worth, and which expressions are constant.

use crate::{graphs, model_of};
use bitonnx::array::{Array, Element};
use bitonnx::graph::{GraphId, Graphs, Matrix, NotConstant};
use bitonnx::proto::{
    self, AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
    ValueInfoProto, tensor_proto::DataType,
};
use half::{bf16, f16};
use ndarray::Array2;
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// `constants/cases.onnx` holds nodes over initializers and what ONNX Runtime made of each; see
/// `cases.py` beside it.
#[test]
fn operators_compute_what_onnx_runtime_does() {
    let model = proto::load(Path::new("tests/constants/cases.onnx")).unwrap();
    let graph = model.graph.as_ref().unwrap();
    let graphs = Graphs::of(&model);
    let (view, constants) = (graphs.main(), graphs.constants(GraphId::MAIN));
    let outputs: Vec<&String> = graph.node.iter().flat_map(|n| &n.output).collect();
    assert!(outputs.len() > 300);
    let wrong: Vec<String> = outputs
        .into_iter()
        .filter_map(|output| {
            let expected = view.initializer(&format!("{output}/expected")).unwrap();
            let expected = Array::from_tensor(expected).unwrap();
            match constants.value(output) {
                Ok(found) if agree(&found, &expected, tolerance(output)) => None,
                Ok(found) => Some(format!("{output}:\n  {found:?}\n  {expected:?}")),
                Err(why) => Some(why.to_string()),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// ONNX Runtime has approximations of its own for these, and sums in another order; its `Range`
/// adds up where ONNX's definition multiplies.
fn tolerance(output: &str) -> f64 {
    let operator = output.split(':').next().unwrap();
    let kinds =
        ["Reduce", "Norm", "Soft", "Sigmoid", "Swish", "Gelu", "Elu", "elu", "Mish", "Average"];
    let named =
        ["Exp", "Log", "Sin", "Cos", "Tanh", "Erf", "Pow", "Range", "MatMul", "Gemm", "Einsum"];
    let inexact = kinds.iter().any(|kind| operator.contains(kind)) || named.contains(&operator);
    if inexact { 1e-6 } else { 0.0 }
}

fn agree(found: &Array, expected: &Array, tolerance: f64) -> bool {
    let same_form = found.dtype() == expected.dtype() && found.shape() == expected.shape();
    same_form
        && doubles(found).iter().zip(doubles(expected)).all(|(&f, e)| {
            let same_sign_of_zero = f.is_sign_negative() == e.is_sign_negative() || f != 0.0;
            (f == e && same_sign_of_zero)
                || f.is_nan() && e.is_nan()
                || tolerance > 0.0 && (f - e).abs() <= tolerance * e.abs().max(1.0)
        })
}

fn doubles(array: &Array) -> Vec<f64> {
    match array.clone().cast(DataType::Double) {
        Some(Array::F64(elements)) => elements.into_iter().collect(),
        _ => panic!("every type casts to double"),
    }
}

/// The fixtures' weights, quantised and packed by PyTorch, against the codes and scales it had.
#[test]
fn weights_trained_with_bit_linear_come_out_ternary() {
    let mut weights = 0;
    for folder in fixtures().filter(|f| f.join("ternary.npz").exists()) {
        let model = proto::load(&folder.join("model.onnx")).unwrap();
        let graphs = Graphs::of(&model);
        let (view, constants) = (graphs.main(), graphs.constants(GraphId::MAIN));
        let facts = std::fs::read_to_string(folder.join("facts.json")).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
        for linear in facts["linears"].as_array().unwrap() {
            let module = linear["module"].as_str().unwrap();
            let Some(codes) = codes(&folder.join("ternary.npz"), module) else { continue };
            let node = view.nodes().find(|(_, n)| n.name() == linear["node"]).unwrap().1;
            let weight = &node.input[linear["weight_input"].as_u64().unwrap() as usize];
            let found =
                constants.matrix(weight).unwrap_or_else(|e| panic!("{module}: {e}")).to_f32();
            let out_in = linear["transB"] == 1;
            let found = if out_in { found } else { found.reversed_axes() };
            // Packed: the product is of integers, the scale comes after it.
            let integers = linear["around"] == "Cast -> MatMul -> Div";
            let scale = if integers { 1.0 } else { linear["scale"].as_f64().unwrap() };
            assert_eq!(found.shape(), codes.shape(), "{} {module}", folder.display());
            for (&found, &code) in found.iter().zip(&codes) {
                let expected = f64::from(code) * scale;
                let error = (f64::from(found) - expected).abs();
                assert!(error <= expected.abs() * 1e-6, "{module}: {found}, not {expected}");
            }
            weights += 1;
        }
    }
    assert_eq!(weights, 82);
}

fn codes(npz: &Path, module: &str) -> Option<Array2<i8>> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(npz).unwrap()).unwrap();
    let array = npyz::NpyFile::new(archive.by_name(&format!("{module}.npy")).ok()?).unwrap();
    let shape = (array.shape()[0] as usize, array.shape()[1] as usize);
    Some(Array2::from_shape_vec(shape, array.into_vec().unwrap()).unwrap())
}

#[test]
fn every_constant_of_the_fixtures_can_be_computed() {
    let mut values = 0;
    for folder in fixtures() {
        let model = proto::load(&folder.join("model.onnx")).unwrap();
        let graphs = Graphs::of(&model);
        let (view, constants) = (graphs.main(), graphs.constants(GraphId::MAIN));
        for output in view.nodes().flat_map(|(_, node)| &node.output) {
            if constants.is_constant(output) {
                constants.value(output).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
                values += 1;
            }
        }
    }
    assert!(values > 2500, "{values}");
}

fn fixtures() -> impl Iterator<Item = PathBuf> {
    let folders = std::fs::read_dir("tests/fixtures").unwrap().map(|entry| entry.unwrap().path());
    folders.filter(|folder| folder.join("model.onnx").exists())
}

#[test]
fn what_depends_on_stored_tensors_alone_is_constant() {
    let graph = graph(
        &[
            node("Constant", &[], "c").with("value_float", 2.0),
            node("Mul", &["w", "c"], "cw"),
            node("Mul", &["x", "w"], "xw"),
            node("Add", &["cw", "xw"], "sum"),
            node("Add", &["w", "default"], "overridable"),
            node("RandomNormal", &[], "noise").with("shape", vec![2]),
            node("Mul", &["w", "noise"], "noisy"),
            node("Abs", &["foreign"], "abs"),
            NodeProto { domain: Some("other".into()), ..node("Abs", &["w"], "foreign") },
            node("Abs", &["nowhere"], "dangling"),
            node("Abs", &["round"], "go"),
            node("Abs", &["go"], "round"),
            NodeProto { name: Some("the_if".into()), ..branch("w", "chosen") },
        ],
        &[floats("w", &[2], &[1.0, 2.0]), floats("default", &[2], &[1.0, 2.0])],
        &["x", "default"],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    for value in ["w", "c", "cw"] {
        assert!(constants.is_constant(value), "{value}");
    }
    let why = |value| constants.check(value).unwrap_err().to_string();
    assert_eq!(why("x"), "`x` is an input of the graph");
    assert_eq!(why("xw"), why("x"));
    assert_eq!(why("sum"), why("x"));
    assert_eq!(why("overridable"), "`default` is an input of the graph");
    let unknown = "the operator is not one the evaluator knows";
    assert_eq!(why("noisy"), format!("`noise` (RandomNormal): {unknown}"));
    assert_eq!(why("abs"), format!("`foreign` (other.Abs): {unknown}"));
    assert_eq!(why("dangling"), "`nowhere` is made by nothing in the graph");
    assert_eq!(why("go"), "`go` (Abs): it is part of a cycle");
    assert_eq!(why("chosen"), "`the_if` (If): it runs a nested graph");
    assert_eq!(why("unheard_of"), "`unheard_of` is made by nothing in the graph");
    for value in ["xw", "noisy", "go", "round"] {
        assert_eq!(constants.value(value).unwrap_err().to_string(), why(value));
        assert!(!constants.is_constant(value), "{value}");
    }
}

/// `Shape` of a value of any batch lists a width that the nodes tell, or that an input must have.
#[test]
fn lengths_that_the_nodes_tell_are_constant() {
    let model = graphs::model(
        r#"<ir_version: 8, opset_import: ["" : 17]>
        any_batch (float[b, s, 4] x) => (float[b, s, 9] y)
        <
          float[4, 6] w, float[6] bias, float[2, 3, 5] table,
          int64 zero = {0}, int64 last = {-1}, int64[3] repeats = {1, 2, 3}, int64[3] to = {0, -1, 3},
          int64[1] batch = {0}, int64[1] width = {2}, int64[1] end = {9}
        >
        {
          of_x = Shape (x)              in_x = Gather (of_x, last)        any = Gather (of_x, zero)
          product = MatMul (x, w)       sum = Add (bias, product)
          norm = LayerNormalization (sum, bias)                           same = Identity (norm)
          of_same = Shape (same)        out = Slice (of_same, width, end)
          both = Slice (of_same, batch, end)
          tiled = Tile (table, repeats) turned = Transpose (tiled)        of_turned = Shape (turned)
          shaped = Reshape (product, to) of_shaped = Shape (shaped)       third = Gather (of_shaped, last)
          second = Slice (of_shaped, batch, width)
          y = Relu (unlike_anything)    unlike_anything = Sin (x)         of_y = Shape (y)
          declared = Gather (of_y, last)
        }"#,
    );
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let list = |value: &str| constants.value(value).unwrap().to_i64s().unwrap();
    assert_eq!(list("in_x"), [4]);
    assert_eq!(list("out"), [6]);
    assert_eq!(list("of_turned"), [15, 6, 2]);
    assert_eq!(list("third"), [3]);
    for value in ["of_x", "any", "both", "second", "declared"] {
        assert!(!constants.is_constant(value), "{value}");
    }
    let made_of = constants.expression("out").unwrap();
    assert!(made_of.nodes.iter().all(|node| !node.is("Shape")), "it needs no `x`");
}

/// An `If` whose branches read a value from outside.
fn branch(captured: &str, output: &str) -> NodeProto {
    let body = graph(&[node("Neg", &[captured], "inner")], &[], &[]);
    let attribute = |name: &str| AttributeProto {
        name: Some(name.into()),
        g: Some(body.clone()),
        ..Default::default()
    };
    NodeProto {
        attribute: vec![attribute("then_branch"), attribute("else_branch")],
        ..node("If", &["w"], output)
    }
}

#[test]
fn nested_graphs_read_constants_outwards() {
    let outer = graph(
        &[node("Abs", &["w"], "abs"), node("Abs", &["x"], "dynamic"), node("Neg", &["w"], "same")],
        &[floats("w", &[2], &[-3.0, 4.0])],
        &["x"],
    );
    let inner = graph(
        &[
            node("Neg", &["abs"], "neg"),
            node("Neg", &["dynamic"], "neg_dynamic"),
            node("Abs", &["w"], "shadowing"),
            node("Mul", &["own", "same"], "product"),
        ],
        &[floats("own", &[2], &[2.0, 0.5])],
        &[],
    );
    let model = nested(outer, inner);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(innermost(&graphs));
    assert_eq!(doubles(&constants.value("neg").unwrap()), [-3.0, -4.0]);
    assert_eq!(doubles(&constants.value("product").unwrap()), [6.0, -2.0]);
    assert_eq!(doubles(&constants.value("w").unwrap()), [-3.0, 4.0]);
    assert!(!constants.is_constant("neg_dynamic"));
    let found = constants.expression("product").unwrap();
    let names: Vec<&str> = found.initializers.iter().map(|t| t.name()).collect();
    assert_eq!(names, ["w", "own"]);
}

#[test]
fn an_outer_node_reads_its_own_graph() {
    let outer = graph(&[node("Neg", &["w"], "neg")], &[floats("w", &[1], &[1.0])], &[]);
    let inner = graph(&[node("Abs", &["neg"], "abs")], &[floats("w", &[1], &[5.0])], &[]);
    let model = nested(outer, inner);
    let graphs = Graphs::of(&model);
    assert_eq!(graphs.constants(innermost(&graphs)).scalar("abs"), Some(1.0));
}

#[test]
fn an_expression_lists_what_it_is_made_of() {
    let graph = quantiser(&[2, 2], &[0.5, -0.25, 1.0, 0.0]);
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let found = constants.expression("weight").unwrap();
    let stored: Vec<&str> = found.initializers.iter().map(|t| t.name()).collect();
    assert_eq!(stored, ["w", "eps", "low", "high"]);
    let nodes: Vec<&str> = found.nodes.iter().map(|n| n.op_type()).collect();
    assert_eq!(
        nodes,
        [
            "Abs",
            "ReduceMean",
            "Clip",
            "Reciprocal",
            "Mul",
            "Round",
            "Clip",
            "Div",
            "Sub",
            "Add",
            "Transpose"
        ]
    );
    let leaf = constants.expression("w").unwrap();
    assert_eq!((leaf.initializers.len(), leaf.nodes.len()), (1, 0));
}

/// A straight-through quantiser as TorchScript leaves it in the graph, and the transpose after it.
fn quantiser(shape: &[i64], w: &[f32]) -> GraphProto {
    graph(
        &[
            node("Abs", &["w"], "abs"),
            node("ReduceMean", &["abs"], "mean").with("keepdims", 0),
            node("Clip", &["mean", "eps"], "floored"),
            node("Reciprocal", &["floored"], "scale"),
            node("Mul", &["w", "scale"], "scaled"),
            node("Round", &["scaled"], "rounded"),
            node("Clip", &["rounded", "low", "high"], "ternary"),
            node("Div", &["ternary", "scale"], "quantised"),
            node("Sub", &["quantised", "w"], "difference"),
            node("Add", &["w", "difference"], "through"),
            node("Transpose", &["through"], "weight").with("perm", vec![1, 0]),
        ],
        &[
            floats("w", shape, w),
            floats("eps", &[], &[1e-5]),
            floats("low", &[], &[-1.0]),
            floats("high", &[], &[1.0]),
        ],
        &[],
    )
}

#[test]
fn a_quantiser_gives_the_absmean_ternary_weight() {
    let w: Vec<f32> = (0..60).map(|i| ((i * 37 % 61) as f32 - 30.0) / 64.0).collect();
    let graph = quantiser(&[5, 12], &w);
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let s = w.iter().map(|&w| f64::from(w).abs()).sum::<f64>() / 60.0;
    let ternary = |w: f32| (f64::from(w) / s).round_ties_even().clamp(-1.0, 1.0) * s;
    let weight = constants.matrix("weight").unwrap();
    assert_eq!((weight.shape(), weight.stored, weight.transposed), ([12, 5], [5, 12], true));
    let found = weight.to_f32();
    for (at, &w) in w.iter().enumerate() {
        assert!((f64::from(found[[at % 12, at / 12]]) - ternary(w)).abs() < 1e-7, "{at}");
    }
    // What the node in the middle gives is not what its readers made of the memory.
    assert_eq!(
        doubles(&constants.value("w").unwrap()),
        w.iter().map(|&w| w.into()).collect::<Vec<f64>>()
    );
    assert_eq!(constants.value("mean").unwrap().scalar().unwrap(), f64::from(s as f32));
}

#[test]
fn a_value_that_two_nodes_read_is_left_alone_by_both() {
    let graph = graph(
        &[
            node("Abs", &["w"], "abs"),
            node("Neg", &["abs"], "neg"),
            node("Mul", &["abs", "abs"], "square"),
            node("Add", &["neg", "square"], "sum"),
            node("Sub", &["sum", "abs"], "rest"),
            node("Transpose", &["w"], "turned"),
            node("Neg", &["turned"], "turned_neg"),
            node("MatMul", &["w", "turned_neg"], "product"),
        ],
        &[floats("w", &[1, 2], &[-3.0, 5.0])],
        &[],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    for _ in 0..2 {
        assert_eq!(doubles(&constants.value("rest").unwrap()), [3.0, 15.0]);
        assert_eq!(doubles(&constants.value("product").unwrap()), [-34.0]);
    }
}

#[test]
fn a_stored_matrix_is_not_copied() {
    let graph = graph(
        &[
            node("Identity", &["w"], "same"),
            node("Cast", &["same"], "cast").with("to", 1),
            node("Transpose", &["cast"], "turned").with("perm", vec![1, 0]),
            node("Transpose", &["turned"], "back"),
            node("Reshape", &["w", "shape"], "reshaped"),
            node("Reshape", &["turned", "turned_shape"], "turned_reshaped"),
            node("Constant", &[], "node").with("value", floats("", &[2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ],
        &[
            floats("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            integers("shape", &[-1, 2]),
            integers("turned_shape", &[0, -1]),
        ],
        &[],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let file = graph.initializer[0].raw_data.as_ref().unwrap().as_ptr();
    for (value, stored, transposed) in [
        ("w", [2, 3], false),
        ("cast", [2, 3], false),
        ("turned", [2, 3], true),
        ("back", [2, 3], false),
        ("reshaped", [3, 2], false),
        ("turned_reshaped", [2, 3], true),
    ] {
        let matrix = constants.matrix(value).unwrap();
        assert_eq!((matrix.stored, matrix.transposed), (stored, transposed), "{value}");
        assert_eq!(matrix.bytes.as_ptr(), file, "{value}");
        same_as_value(&matrix, &constants.value(value).unwrap());
    }
    let of_node = constants.matrix("node").unwrap();
    let tensor = graph.node[6].attribute[0].t.as_ref().unwrap();
    assert_eq!(of_node.bytes.as_ptr(), tensor.raw_data.as_ref().unwrap().as_ptr());
}

fn same_as_value(matrix: &Matrix, value: &Array) {
    assert_eq!(matrix.shape(), value.shape());
    let found: Vec<f64> = matrix.to_f32().iter().map(|&e| e.into()).collect();
    assert_eq!(found, doubles(value));
}

#[test]
fn other_matrices_are_computed() {
    let halves = Array::from_vec(&[2, 2], [1.5f32, -2.0, 0.25, 4.0].map(f16::from_f32).to_vec());
    let brains = Array::from_vec(&[2, 2], [1.5f32, -2.0, 0.25, 4.0].map(bf16::from_f32).to_vec());
    let graph = graph(
        &[
            node("Transpose", &["w"], "turned"),
            node("Reshape", &["turned", "shape"], "mixed"),
            node("Cast", &["halves"], "single").with("to", 1),
            node("Mul", &["halves", "halves"], "squares"),
            node("Cast", &["w"], "doubles").with("to", DataType::Double as i64),
            node("Unsqueeze", &["w", "axes"], "three"),
        ],
        &[
            floats("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            integers("shape", &[2, 3]),
            integers("axes", &[1]),
            halves.unwrap().to_tensor("halves"),
            brains.unwrap().to_tensor("brains"),
            TensorProto {
                raw_data: None,
                float_data: vec![7.0, 8.0],
                ..floats("typed", &[1, 2], &[])
            },
        ],
        &[],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let matrix = |value| constants.matrix(value).unwrap();
    for value in ["mixed", "single", "squares", "halves", "brains", "typed"] {
        same_as_value(&matrix(value), &constants.value(value).unwrap());
    }
    assert_eq!(matrix("mixed").to_f32(), ndarray::arr2(&[[1.0, 4.0, 2.0], [5.0, 3.0, 6.0]]));
    assert_eq!(matrix("halves").dtype, DataType::Float16);
    assert_eq!(matrix("brains").dtype, DataType::Bfloat16);
    assert_eq!(matrix("single").dtype, DataType::Float);
    let why = |value| constants.matrix(value).unwrap_err().to_string();
    assert_eq!(
        why("doubles"),
        "`doubles` has elements of type double, not floats of at most 32 bits"
    );
    assert_eq!(why("three"), "`three` has shape [2, 1, 3], which is no matrix");
}

#[test]
fn what_does_not_fit_is_refused() {
    const MANY: i64 = 1 << 40;
    const MAX: i64 = i64::MAX;
    let f = |dims: &[i64]| floats("", dims, &vec![1.0; dims.iter().product::<i64>() as usize]);
    let i = |elements: &[i64]| integers("", elements);
    let at = |dims: &[i64], elements: &[i64]| matrix("", dims, elements);
    let wrong = [
        // Results that no memory holds.
        ("ConstantOfShape", vec![i(&[MANY, MANY])]),
        ("ConstantOfShape", vec![i(&[0, MANY, MANY])]),
        ("ConstantOfShape", vec![i(&[MANY])]),
        ("ConstantOfShape", vec![i(&[-1])]),
        ("Expand", vec![f(&[1]), i(&[1 << 30])]),
        ("Tile", vec![f(&[1]), i(&[1 << 62])]),
        ("Pad", vec![f(&[1]), i(&[MAX, MAX])]),
        ("Range", vec![i(&[0]), i(&[MAX]), i(&[1])]),
        ("Add", vec![f(&[1 << 14, 1]), f(&[1, 1 << 14])]),
        ("Less", vec![f(&[1 << 14, 1]), f(&[1, 1 << 14])]),
        ("MatMul", vec![f(&[1 << 14, 1]), f(&[1, 1 << 14])]),
        ("Identity", vec![f(&[1; 65])]),
        ("Identity", vec![TensorProto { dims: vec![0, MANY, MANY], ..f(&[0]) }]),
        ("Unsqueeze", vec![f(&[]), i(&(0..65).collect::<Vec<_>>())]),
        // Indices and axes outside.
        ("Gather", vec![f(&[2]), i(&[2])]),
        ("Gather", vec![f(&[2]), i(&[i64::MIN])]),
        ("ScatterND", vec![f(&[2]), at(&[1, 1], &[2]), f(&[1])]),
        ("ScatterND", vec![f(&[2]), at(&[1, 2], &[0, 0]), f(&[1])]),
        ("ScatterND", vec![f(&[2]), at(&[1, 1], &[0]), f(&[2])]),
        ("Squeeze", vec![f(&[1]), i(&[1])]),
        ("Squeeze", vec![f(&[2]), i(&[0])]),
        ("Unsqueeze", vec![f(&[2]), i(&[0, 0])]),
        ("ReduceSum", vec![f(&[2]), i(&[-2])]),
        ("Flatten", vec![f(&[])]),
        ("Slice", vec![f(&[2]), i(&[0]), i(&[1]), i(&[1])]),
        // Shapes that do not match.
        ("Add", vec![f(&[2]), f(&[3])]),
        ("Where", vec![f(&[2]), f(&[2]), f(&[2])]),
        ("MatMul", vec![f(&[1, 2]), f(&[1, 2])]),
        ("MatMul", vec![f(&[1]), f(&[1])]),
        ("Gemm", vec![f(&[1, 2]), f(&[2, 1]), f(&[2, 2])]),
        ("Reshape", vec![f(&[2]), i(&[3])]),
        ("Reshape", vec![f(&[2]), i(&[-1, -1])]),
        ("Reshape", vec![f(&[2]), i(&[-2, -1])]),
        ("Reshape", vec![f(&[0]), i(&[0, -1])]),
        ("Reshape", vec![f(&[2]), i(&[MAX, MAX])]),
        ("Split", vec![f(&[2]), i(&[1, 2])]),
        ("Split", vec![f(&[2]), i(&[MAX, MAX])]),
        ("Tile", vec![f(&[2]), i(&[1, 1])]),
        ("ReduceMax", vec![f(&[0])]),
        ("Clip", vec![f(&[2]), f(&[2])]),
        ("DequantizeLinear", vec![at(&[2], &[1, 1]), f(&[3])]),
        // Types that the operator does not have.
        ("Add", vec![f(&[1]), i(&[1])]),
        ("Sqrt", vec![i(&[4])]),
        ("Not", vec![i(&[4])]),
        ("Dropout", vec![f(&[2]), f(&[1]), f(&[1])]),
        ("BitwiseAnd", vec![f(&[1]), f(&[1])]),
        ("Gather", vec![f(&[1]), f(&[1])]),
        ("Clip", vec![f(&[1]), i(&[1])]),
        // Arithmetic without a result.
        ("Div", vec![i(&[4]), i(&[0])]),
        ("Mod", vec![i(&[4]), i(&[0])]),
        ("Slice", vec![f(&[2]), i(&[0]), i(&[1]), i(&[0]), i(&[0])]),
        ("Range", vec![i(&[0]), i(&[1]), i(&[0])]),
        // What is missing.
        ("Add", vec![i(&[4])]),
        ("Cast", vec![i(&[4])]),
        ("Concat", vec![i(&[4])]),
        ("BitShift", vec![i(&[4]), i(&[4])]),
        ("Constant", vec![]),
    ];
    for (op, inputs) in wrong {
        let names: Vec<String> = (0..inputs.len()).map(|i| format!("in{i}")).collect();
        let inputs = inputs.into_iter().zip(&names);
        let stored: Vec<TensorProto> = inputs.map(|(tensor, name)| named(name, tensor)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        refused(&graph(&[node(op, &names, "y")], &stored, &[]));
    }
}

#[test]
fn attributes_that_do_not_fit_are_refused() {
    let wrong = [
        node("Concat", &["w", "w"], "y").with("axis", 2),
        node("Concat", &["w", "w"], "y").with("axis", i64::MIN),
        node("Transpose", &["w"], "y").with("perm", vec![0, 0]),
        node("Transpose", &["w"], "y").with("perm", vec![0]),
        node("Flatten", &["w"], "y").with("axis", 3),
        node("Cast", &["w"], "y").with("to", DataType::String as i64),
        node("Cast", &["w"], "y").with("to", 1 << 40),
        node("Constant", &[], "y").with("value_string", 0),
        node("Constant", &[], "y").with("value", 0),
        node("Pad", &["w", "w"], "y").with("mode", 0),
        node("Add", &["w", "w"], "y").with("broadcast", 1),
        node("Add", &["w", ""], "y"),
        node("ScatterND", &["w", "w", "w"], "y"),
        node("Einsum", &["w", "w"], "y").with("equation", "ab,bc->ac"),
        node("Einsum", &["w", "w"], "y").with("equation", "ab,ab,ab->ab"),
        node("Einsum", &["w", "w"], "y").with("equation", "ab,ab->aab"),
        node("Einsum", &["w", "w"], "y").with("equation", "ab,ab->ac"),
        node("Einsum", &["w", "w"], "y").with("equation", "abc,ab->a"),
        node("Einsum", &["w", "w"], "y").with("equation", "aa,ab->b"),
        node("Einsum", &["w", "w"], "y").with("equation", "a1,ab->b"),
        node("Einsum", &["w"], "y").with("equation", "...b->b..."),
        node("Einsum", &[], "y").with("equation", ""),
        node("Einsum", &["w"], "y"),
    ];
    for node in wrong {
        refused(&graph(&[node], &[floats("w", &[1, 2], &[1.0, 2.0])], &[]));
    }
    let mut of_function = node("Transpose", &["w"], "y").with("perm", vec![1, 0]);
    of_function.attribute[0].ref_attr_name = Some("p".into());
    refused(&graph(&[of_function], &[floats("w", &[1, 2], &[1.0, 2.0])], &[]));
}

/// The reason names the node, or the stored tensor that can't be read.
fn refused(graph: &GraphProto) {
    let model = model_of(graph);
    let found = Graphs::of(&model).constants(GraphId::MAIN).value("y");
    let why = found.expect_err(graph.node[0].op_type()).to_string();
    let at = format!("{}: ", graph.node[0].described());
    assert!(why.starts_with(&at) || why.starts_with("`in0` can't be read"), "{why}");
}

#[test]
fn values_that_are_all_needed_at_once_may_not_exceed_the_memory() {
    let copies: Vec<String> = (0..200).map(|i| format!("copy{i}")).collect();
    let mut nodes: Vec<NodeProto> = copies.iter().map(|copy| node("Abs", &["w"], copy)).collect();
    nodes.push(node("Max", &copies.iter().map(String::as_str).collect::<Vec<_>>(), "y"));
    let graph = graph(&nodes, &[floats("w", &[1 << 17], &[1.0; 1 << 17])], &[]);
    let model = model_of(&graph);
    let why = Graphs::of(&model).constants(GraphId::MAIN).value("y").unwrap_err().to_string();
    assert!(why.ends_with("too much memory for this model"), "{why}");
}

#[test]
fn values_that_nothing_needs_any_more_take_no_memory() {
    let name = |i: usize| format!("v{i}");
    let nodes: Vec<NodeProto> = (0..200).map(|i| node("Neg", &[&name(i)], &name(i + 1))).collect();
    let graph = graph(&nodes, &[floats("v0", &[1 << 17], &[1.0; 1 << 17])], &[]);
    let model = model_of(&graph);
    assert_eq!(
        doubles(&Graphs::of(&model).constants(GraphId::MAIN).value("v200").unwrap()),
        [1.0; 1 << 17]
    );
}

#[test]
fn a_scalar_is_found_without_reading_matrices() {
    let graph = graph(
        &[
            node("Constant", &[], "c").with("value_float", 2.0),
            node("Mul", &["c", "one"], "product"),
        ],
        &[floats("one", &[1, 1], &[1.5]), floats("two", &[2], &[1.0, 2.0])],
        &["x"],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    let found = ["c", "one", "product", "two", "x"].map(|value| constants.scalar(value));
    assert_eq!(found, [Some(2.0), Some(1.5), Some(3.0), None, None]);
}

#[test]
fn an_integer_quotient_that_overflows_wraps() {
    let graph = graph(
        &[
            node("Div", &["a", "b"], "quotient"),
            node("Mod", &["a", "b"], "rest"),
            node("Abs", &["a"], "abs"),
        ],
        &[integers("a", &[i64::MIN]), integers("b", &[-1])],
        &[],
    );
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    assert_eq!(constants.value("quotient").unwrap().to_i64s().unwrap(), [i64::MIN]);
    assert_eq!(constants.value("rest").unwrap().to_i64s().unwrap(), [0]);
    assert_eq!(constants.value("abs").unwrap().to_i64s().unwrap(), [i64::MIN]);
}

#[test]
fn an_output_that_its_operator_does_not_give_is_refused() {
    let mut two = node("Abs", &["w"], "y");
    two.output.push("z".into());
    let graph = graph(&[two, node("Neg", &["z"], "neg")], &[floats("w", &[1], &[1.0])], &[]);
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    assert!(constants.value("y").is_ok());
    assert!(constants.value("z").is_err() && constants.value("neg").is_err());
}

#[test]
fn a_long_chain_needs_no_stack() {
    let name = |i: usize| format!("v{i}");
    let nodes: Vec<NodeProto> =
        (0..100_000).map(|i| node("Neg", &[&name(i)], &name(i + 1))).collect();
    let graph = graph(&nodes, &[floats("v0", &[1], &[1.0])], &[]);
    let model = model_of(&graph);
    let graphs = Graphs::of(&model);
    let constants = graphs.constants(GraphId::MAIN);
    assert_eq!(constants.value("v99999").unwrap().scalar(), Some(-1.0));
    assert!(constants.matrix("v100000").is_err());
}

#[test]
fn constants_can_be_asked_from_many_threads() {
    fn shared<T: Sync>(_: &T) {}
    let graph = graph(&[], &[], &[]);
    let model = model_of(&graph);
    shared(&Graphs::of(&model).constants(GraphId::MAIN));
}

#[test]
fn tensors_survive_the_way_there_and_back() {
    fn round_trip<T: Element + std::fmt::Debug>(elements: &[T]) {
        let array = Array::from_vec(&[1, elements.len()], elements.to_vec()).unwrap();
        let tensor = array.to_tensor("t");
        assert_eq!((tensor.name(), tensor.data_type()), ("t", T::DTYPE as i32));
        assert_eq!(tensor.dims, [1, elements.len() as i64]);
        assert_eq!(tensor.raw_data.as_ref().unwrap().len(), array.byte_len());
        assert_eq!(Array::from_tensor(&tensor), Some(array));
    }
    round_trip(&[1.5f32, -0.0, f32::MAX]);
    round_trip(&[1.5f64, -2.0]);
    round_trip(&[f16::from_f32(0.1), f16::MAX]);
    round_trip(&[bf16::from_f32(0.1), bf16::MIN]);
    round_trip(&[i8::MIN, 0, i8::MAX]);
    round_trip(&[i32::MIN, 70_000]);
    round_trip(&[i64::MIN, 1 << 40]);
    round_trip(&[0u8, 255]);
    round_trip(&[true, false]);
}

#[test]
fn a_transposed_array_is_stored_in_its_own_order() {
    let graph = graph(
        &[node("Transpose", &["w"], "t")],
        &[floats("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0])],
        &[],
    );
    let model = model_of(&graph);
    let tensor = Graphs::of(&model).constants(GraphId::MAIN).value("t").unwrap().to_tensor("t");
    assert_eq!(Array::from_tensor(&tensor).map(|a| doubles(&a)), Some(vec![1.0, 3.0, 2.0, 4.0]));
}

#[test]
fn narrow_integers_are_read_low_bits_first() {
    let tensor = |dtype: DataType, count: i64, bytes: &[u8]| TensorProto {
        data_type: Some(dtype as i32),
        dims: vec![count],
        raw_data: Some(bytes.to_vec().into()),
        ..Default::default()
    };
    let read = |tensor: &TensorProto| Array::from_tensor(tensor).map(|a| doubles(&a));
    let found = read(&tensor(DataType::Int4, 3, &[0x8f, 0x07]));
    assert_eq!(found, Some(vec![-1.0, -8.0, 7.0]));
    assert_eq!(read(&tensor(DataType::Uint4, 2, &[0x8f])), Some(vec![15.0, 8.0]));
    assert_eq!(read(&tensor(DataType::Uint2, 4, &[0b11_10_01_00])), Some(vec![0.0, 1.0, 2.0, 3.0]));
    assert_eq!(
        read(&tensor(DataType::Int2, 4, &[0b11_10_01_00])),
        Some(vec![0.0, 1.0, -2.0, -1.0])
    );
    assert_eq!(read(&tensor(DataType::Uint2, 5, &[0b11_10_01_00])), None);
}

/// Operators, what their inputs mostly are (`x` any value, `i` integers, `b` bools, `u` bytes), and
/// the attributes that they may have.
#[rustfmt::skip]
const OPERATORS: &[(&str, &str, &[&str])] = &[
    ("Abs", "x", &[]), ("Neg", "x", &[]), ("Sign", "x", &[]), ("Round", "x", &[]),
    ("Identity", "x", &[]), ("Not", "b", &[]), ("BitwiseNot", "i", &[]), ("Clip", "xxx", &["min"]),
    ("Add", "xx", &[]), ("Sub", "xx", &[]), ("Mul", "xx", &[]), ("Div", "xx", &[]),
    ("Pow", "xx", &[]), ("Mod", "ii", &["fmod"]), ("Max", "xxx", &[]), ("Equal", "xx", &[]),
    ("Less", "xx", &[]), ("And", "bb", &[]), ("Xor", "bb", &[]), ("BitwiseAnd", "ii", &[]),
    ("BitShift", "uu", &["direction"]), ("Where", "bxx", &[]), ("Cast", "x", &["to"]),
    ("CastLike", "xx", &[]), ("Shape", "x", &["start", "end"]), ("Size", "x", &[]),
    ("Transpose", "x", &["perm"]), ("Reshape", "xi", &["allowzero"]), ("Flatten", "x", &["axis"]),
    ("Squeeze", "xi", &["axes"]), ("Unsqueeze", "xi", &["axes"]), ("Expand", "xi", &[]),
    ("Tile", "xi", &[]), ("Concat", "xxx", &["axis"]), ("Split", "xi", &["axis", "split"]),
    ("Slice", "xiiii", &["starts", "ends"]), ("Pad", "xix", &["pads"]),
    ("Gather", "xi", &["axis"]), ("ScatterND", "xix", &[]), ("Trilu", "xi", &["upper"]),
    ("Constant", "", &["value"]), ("Constant", "", &["value_ints"]),
    ("Constant", "", &["sparse_value"]), ("ConstantOfShape", "i", &["value"]),
    ("Range", "iii", &[]), ("ReduceSum", "xi", &["keepdims", "noop_with_empty_axes"]),
    ("ReduceMax", "xi", &["keepdims"]), ("ReduceMean", "x", &["axes"]), ("ReduceL2", "x", &["axes"]),
    ("MatMul", "xx", &[]), ("Dropout", "xxb", &[]), ("Einsum", "xx", &["equation"]), ("Gemm", "xxx", &["transA", "transB"]),
    ("DequantizeLinear", "ux", &["axis", "block_size"]), ("DequantizeLinear", "uxu", &["axis"]),
    ("QuantizeLinear", "xxu", &["axis", "output_dtype"]),
];

const SHAPES: &[&[usize]] = &[
    &[],
    &[1],
    &[2],
    &[3],
    &[2, 3],
    &[3, 2],
    &[2, 1],
    &[3, 3],
    &[1, 3],
    &[2, 1, 3],
    &[0],
    &[2, 0],
];

fn small_int() -> impl Strategy<Value = i64> {
    prop_oneof![
        20 => -1i64..3,
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(1 << 31), Just(-(1i64 << 40))]
    ]
}

fn any_tensor(
    types: &'static [DataType],
    shapes: &'static [&'static [usize]],
) -> impl Strategy<Value = TensorProto> {
    let parts = (
        prop::sample::select(shapes),
        prop::sample::select(types),
        prop::collection::vec(small_int(), 9),
    );
    parts.prop_map(|(shape, dtype, data)| {
        let elements = data[..shape.iter().product()].to_vec();
        Array::from_vec(shape, elements).unwrap().cast(dtype).unwrap().to_tensor("")
    })
}

/// The pools that inputs are drawn from, with the letter for each.
fn any_stored() -> impl Strategy<Value = Vec<(char, TensorProto)>> {
    use DataType::*;
    let pool = |letter, types, shapes, count| {
        let tensors = prop::collection::vec(any_tensor(types, shapes), count);
        tensors.prop_map(move |pool| pool.into_iter().map(move |t| (letter, t)).collect::<Vec<_>>())
    };
    let floats = pool('x', &[Float], SHAPES, 4);
    let narrow = &[Int64, Int32, Int8, Uint8, Float16, Bfloat16, Double];
    let others = pool('x', narrow, SHAPES, 2);
    let lists = pool('i', &[Int64], &[&[1], &[1], &[2], &[2, 1]], 5);
    let rest = (lists, pool('b', &[Bool], SHAPES, 2), pool('u', &[Uint8], SHAPES, 2));
    (floats, others, rest).prop_map(|(a, b, (c, d, e))| [a, b, c, d, e].concat())
}

const EQUATIONS: [&str; 4] = ["ab,bc->ac", "ab,cb->abc", "abc,bd", "ba,->a"];

fn any_attribute(name: &'static str) -> impl Strategy<Value = AttributeProto> {
    let ints = prop::collection::vec(small_int(), 0..4);
    let floats = any_tensor(&[DataType::Float, DataType::Int64], SHAPES);
    let tensors = (floats, any_tensor(&[DataType::Int64], SHAPES));
    (small_int(), ints, tensors).prop_map(move |(i, ints, (t, indices))| AttributeProto {
        name: Some(name.into()),
        i: Some(if name == "to" { i.saturating_add(5) } else { i }),
        f: Some(i as f32),
        s: Some(match name {
            "equation" => EQUATIONS[i.rem_euclid(EQUATIONS.len() as i64) as usize].into(),
            _ if i > 0 => b"LEFT".to_vec(),
            _ => b"RIGHT".to_vec(),
        }),
        sparse_tensor: Some(SparseTensorProto {
            values: Some(t.clone()),
            indices: Some(indices),
            dims: ints.clone(),
        }),
        t: Some(t),
        ints,
        ..Default::default()
    })
}

/// A node without names, and where in the pool each of its inputs stands.
fn any_node() -> impl Strategy<Value = (&'static str, Vec<usize>, NodeProto)> {
    prop::sample::select(OPERATORS).prop_flat_map(|(op, kinds, names)| {
        let attributes: Vec<_> = names.iter().map(|&name| any_attribute(name)).collect();
        let given = prop::collection::vec(prop::bool::weighted(0.8), names.len());
        let picks = prop::collection::vec(0usize..100, 0..=kinds.len());
        let all = prop::collection::vec(0usize..100, kinds.len());
        (attributes, given, prop_oneof![1 => picks, 5 => all]).prop_map(
            move |(attributes, given, picks)| {
                let attributes = attributes.into_iter().zip(given).filter(|(_, given)| *given);
                let attribute = attributes.map(|(attribute, _)| attribute).collect();
                (kinds, picks, NodeProto { attribute, ..node(op, &[], "") })
            },
        )
    })
}

fn any_graph() -> impl Strategy<Value = GraphProto> {
    let nodes = prop::collection::vec(any_node(), 1..12);
    (nodes, any_stored()).prop_map(|(nodes, stored)| {
        let mut values: Vec<(char, String)> =
            stored.iter().enumerate().map(|(i, (letter, _))| (*letter, format!("w{i}"))).collect();
        let tensors = stored.into_iter().zip(&values);
        let tensors: Vec<TensorProto> = tensors.map(|((_, t), (_, name))| named(name, t)).collect();
        let mut made = vec![];
        for (at, (kinds, picks, node)) in nodes.into_iter().enumerate() {
            let inputs = picks.iter().zip(kinds.chars()).map(|(&pick, letter)| {
                // Now and then a value of another kind; else the latest first, so that chains grow.
                let fits = values.iter().rev().filter(|v| pick > 95 || v.0 == letter);
                let fits: Vec<&String> = fits.map(|(_, name)| name).collect();
                fits[pick % fits.len()].clone()
            });
            let input = inputs.collect();
            let outputs = if node.op_type() == "Split" { 2 } else { 1 };
            let output: Vec<String> = (0..outputs).map(|i| format!("v{at}_{i}")).collect();
            values.extend(output.iter().map(|name| ('x', name.clone())));
            made.push(NodeProto { input, output, ..node });
        }
        graph(&made, &tensors, &[])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_graph_gives_values_or_reasons(graph in any_graph()) {
        let model = model_of(&graph);
        let graphs = Graphs::of(&model);
        let constants = graphs.constants(GraphId::MAIN);
        for output in graph.node.iter().flat_map(|n| &n.output) {
            prop_assert!(constants.is_constant(output));
            let first = constants.value(output);
            let fresh = Graphs::of(&model).constants(GraphId::MAIN).value(output);
            prop_assert_eq!(first.clone().map(bits), fresh.map(bits));
            if let (Ok(matrix), Ok(value)) = (constants.matrix(output), first) {
                let (ones, shape) = value.shape().split_at(matrix.rank - 2);
                prop_assert!(ones.iter().all(|length| *length == 1));
                prop_assert_eq!(&matrix.shape()[..], shape);
                prop_assert_eq!(matrix.bytes.len(), value.byte_len());
            }
        }
    }
}

/// A value that can be compared, NaN and all.
fn bits(array: Array) -> (DataType, Vec<usize>, bytes::Bytes) {
    (array.dtype(), array.shape().to_vec(), array.to_bytes())
}

#[test]
fn the_reason_is_an_error() {
    fn error<E: std::error::Error + Clone + PartialEq>() {}
    error::<NotConstant>();
}

fn graph(nodes: &[NodeProto], stored: &[TensorProto], inputs: &[&str]) -> GraphProto {
    let input = |name: &&str| ValueInfoProto { name: Some((*name).into()), ..Default::default() };
    GraphProto {
        node: nodes.to_vec(),
        initializer: stored.to_vec(),
        input: inputs.iter().map(input).collect(),
        ..Default::default()
    }
}

/// A model of a graph with another in its last node.
fn nested(mut outer: GraphProto, inner: GraphProto) -> ModelProto {
    let body = AttributeProto { name: Some("body".into()), g: Some(inner), ..Default::default() };
    outer.node.push(NodeProto { attribute: vec![body], ..node("Loop", &[], "looped") });
    model_of(&outer)
}

fn innermost(graphs: &Graphs) -> GraphId {
    graphs.iter().last().unwrap().id()
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

trait With<T> {
    fn with(self, attribute: &str, value: T) -> Self;
}

macro_rules! with {
    ($type:ty, $field:ident, $value:ident => $stored:expr) => {
        impl With<$type> for NodeProto {
            fn with(mut self, attribute: &str, $value: $type) -> Self {
                let name = Some(attribute.into());
                self.attribute.push(AttributeProto { name, $field: $stored, ..Default::default() });
                self
            }
        }
    };
}

with!(i64, i, value => Some(value));
with!(f32, f, value => Some(value));
with!(&str, s, value => Some(value.into()));
with!(Vec<i64>, ints, value => value);
with!(TensorProto, t, value => Some(value));

fn floats(name: &str, dims: &[i64], elements: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(DataType::Float as i32),
        dims: dims.to_vec(),
        raw_data: Some(elements.iter().flat_map(|e| e.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..Default::default()
    }
}

fn matrix(name: &str, dims: &[i64], elements: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(DataType::Int64 as i32),
        dims: dims.to_vec(),
        raw_data: Some(elements.iter().flat_map(|e| e.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..Default::default()
    }
}

fn integers(name: &str, elements: &[i64]) -> TensorProto {
    matrix(name, &[elements.len() as i64], elements)
}

fn named(name: &str, tensor: TensorProto) -> TensorProto {
    TensorProto { name: Some(name.into()), ..tensor }
}
