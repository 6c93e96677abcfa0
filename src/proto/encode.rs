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

/// Two messages with the fields of another before and after one of them. All are to be listed: with a field
/// that the schema gets, this does not compile until it has a place here.
macro_rules! around {
    ($whole:expr, $message:ident, [$($before:ident),*], $field:ident, [$($after:ident),*]) => {{
        let $message { $($before,)* $field: _, $($after),* } = $whole;
        [
            $message { $($before: $before.clone(),)* ..Default::default() },
            $message { $($after: $after.clone(),)* ..Default::default() },
        ]
    }};
}

fn around_graph(model: &ModelProto) -> [ModelProto; 2] {
    around!(
        model,
        ModelProto,
        [ir_version, producer_name, producer_version, domain, model_version, doc_string],
        graph,
        [opset_import, metadata_props, training_info, functions, configuration]
    )
}

fn around_initializers(graph: &GraphProto) -> [GraphProto; 2] {
    around!(
        graph,
        GraphProto,
        [node, name],
        initializer,
        [
            sparse_initializer,
            doc_string,
            input,
            output,
            value_info,
            quantization_annotation,
            metadata_props
        ]
    )
}

fn around_data(tensor: &TensorProto) -> [TensorProto; 2] {
    around!(
        tensor,
        TensorProto,
        [dims, data_type, segment, float_data, int32_data, string_data, int64_data, name],
        raw_data,
        [double_data, uint64_data, doc_string, external_data, data_location, metadata_props]
    )
}
