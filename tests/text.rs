//! ONNX's text syntax: what it reads, what it writes, and that the two fit.

use bitonnx::{
    proto::{self, AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto},
    text::{Style, diff, parse_model, parse_nodes, print},
};
use std::path::PathBuf;

#[test]
fn fixtures_survive_print_and_parse() {
    for path in fixtures() {
        let model = proto::load(&path).unwrap();
        let text = print::model(&model, Style::Full);
        let parsed = parse_model(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(normal(parsed) == normal(model), "{} changed", path.display());
    }
}

fn fixtures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("model.onnx"))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    assert!(paths.len() > 20);
    paths
}

/// The model without what the syntax has no place for, and with what it has in one form.
fn normal(mut model: ModelProto) -> ModelProto {
    model.graph.iter_mut().for_each(normalise_graph);
    for function in &mut model.functions {
        function.metadata_props.clear();
        function.value_info.iter_mut().for_each(|v| {
            v.doc_string = None;
            v.metadata_props.clear();
        });
        function.node.iter_mut().for_each(normalise_node);
    }
    for opset in &mut model.opset_import {
        opset.domain.get_or_insert_default();
    }
    model
}

fn normalise_graph(graph: &mut GraphProto) {
    graph.doc_string = None;
    graph.metadata_props.clear();
    graph.quantization_annotation.clear();
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        value.doc_string = None;
        value.metadata_props.clear();
    }
    graph.initializer.iter_mut().for_each(normalise_tensor);
    graph.node.iter_mut().for_each(normalise_node);
}

fn normalise_node(node: &mut NodeProto) {
    node.doc_string = None;
    node.metadata_props.clear();
    for name in [&mut node.name, &mut node.domain, &mut node.overload] {
        name.take_if(|name| name.is_empty());
    }
    node.attribute.iter_mut().for_each(normalise_attribute);
}

fn normalise_attribute(attribute: &mut AttributeProto) {
    attribute.doc_string = None;
    attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(normalise_tensor);
    attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(normalise_graph);
}

fn normalise_tensor(tensor: &mut TensorProto) {
    let raw = proto::raw_bytes(tensor).map(|bytes| bytes.into_owned().into());
    *tensor = TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        name: tensor.name.clone().filter(|name| !name.is_empty()),
        string_data: tensor.string_data.clone(),
        raw_data: raw,
        ..Default::default()
    };
}
#[test]
fn look() {
    for name in ["llama-ts17fp16", "t5-decoder-merged-optimum", "bitllama-ste-dyn18"] {
        let model =
            proto::load(&PathBuf::from(format!("tests/fixtures/{name}/model.onnx"))).unwrap();
        let t = std::time::Instant::now();
        println!("{}", print::model(&model, Style::SHORT));
        eprintln!("{:?}", t.elapsed());
        let mut after = model.clone();
        let g = after.graph.as_mut().unwrap();
        g.node.remove(20);
        g.node.insert(
            20,
            parse_nodes(
                "[fc1] h1_bit = bitonnx.BitLinear <in_features = 64> (x, w1_codes, w1_scale)",
            )
            .unwrap()
            .remove(0),
        );
        g.initializer.remove(5);
        g.initializer.insert(
            5,
            bitonnx::text::parse_graph("g () => () <float[1] w1_scale = {0.03125}> {}")
                .unwrap()
                .initializer
                .remove(0),
        );
        println!("{}", diff::models(&model, &after).folded(3));
    }
}
