//! The protobuf encoding of a model in pieces, so that weights are never copied.

use super::{GraphProto, ModelProto, TensorProto};
use prost::{Message, encoding};

/// Calls `sink` with the pieces of the model's encoding, in order. Joined, they are what
/// `encode_to_vec` gives; stored data come as they lie in memory.
pub fn encode<E>(
    model: &ModelProto,
    mut sink: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let [before, after] = around_graph(model);
    sink(&before.encode_to_vec())?;
    if let Some(graph) = &model.graph {
        sink(&header(GRAPH, graph.encoded_len()))?;
        let [before, after] = around_initializers(graph);
        sink(&before.encode_to_vec())?;
        graph.initializer.iter().try_for_each(|t| encode_tensor(t, &mut sink))?;
        sink(&after.encode_to_vec())?;
    }
    sink(&after.encode_to_vec())
}

/// Below this, copying a tensor is cheaper than splitting it.
const SMALL: usize = 4096;

fn encode_tensor<E>(
    tensor: &TensorProto,
    sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let length = tensor.encoded_len();
    sink(&header(INITIALIZER, length))?;
    match &tensor.raw_data {
        Some(data) if data.len() > SMALL => {
            let [before, after] = around_data(tensor);
            sink(&before.encode_to_vec())?;
            sink(&header(RAW_DATA, data.len()))?;
            sink(data)?;
            sink(&after.encode_to_vec())
        }
        _ => sink(&tensor.encode_to_vec()),
    }
}

/// Field numbers of the schema, by which protobuf orders an encoding.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

fn header(field: u32, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    encoding::encode_key(field, encoding::WireType::LengthDelimited, &mut bytes);
    encoding::encode_varint(length as u64, &mut bytes);
    bytes
}

/// The fields before and after `graph`.
fn around_graph(model: &ModelProto) -> [ModelProto; 2] {
    let before = ModelProto {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        domain: model.domain.clone(),
        model_version: model.model_version,
        doc_string: model.doc_string.clone(),
        ..ModelProto::default()
    };
    let after = ModelProto {
        opset_import: model.opset_import.clone(),
        metadata_props: model.metadata_props.clone(),
        training_info: model.training_info.clone(),
        functions: model.functions.clone(),
        configuration: model.configuration.clone(),
        ..ModelProto::default()
    };
    [before, after]
}

/// The fields before and after `initializer`.
fn around_initializers(graph: &GraphProto) -> [GraphProto; 2] {
    let before =
        GraphProto { node: graph.node.clone(), name: graph.name.clone(), ..GraphProto::default() };
    let after = GraphProto {
        sparse_initializer: graph.sparse_initializer.clone(),
        doc_string: graph.doc_string.clone(),
        input: graph.input.clone(),
        output: graph.output.clone(),
        value_info: graph.value_info.clone(),
        quantization_annotation: graph.quantization_annotation.clone(),
        metadata_props: graph.metadata_props.clone(),
        ..GraphProto::default()
    };
    [before, after]
}

/// The fields before and after `raw_data`.
fn around_data(tensor: &TensorProto) -> [TensorProto; 2] {
    let before = TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        segment: tensor.segment,
        float_data: tensor.float_data.clone(),
        int32_data: tensor.int32_data.clone(),
        string_data: tensor.string_data.clone(),
        int64_data: tensor.int64_data.clone(),
        name: tensor.name.clone(),
        ..TensorProto::default()
    };
    let after = TensorProto {
        double_data: tensor.double_data.clone(),
        uint64_data: tensor.uint64_data.clone(),
        doc_string: tensor.doc_string.clone(),
        external_data: tensor.external_data.clone(),
        data_location: tensor.data_location,
        metadata_props: tensor.metadata_props.clone(),
        ..TensorProto::default()
    };
    [before, after]
}
