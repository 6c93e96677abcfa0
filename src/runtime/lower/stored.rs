//! Everything stored, taken out of the graph; bfloat16 made f32 everywhere.

use crate::{
    error::{Error, ErrorKind, Result},
    graph,
    proto::{
        AttributeProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto,
        tensor_proto::DataType, type_proto,
    },
    runtime::tensor,
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tract_hir::internal::{Tensor, TractError, TractResult, tensor0, tensor1};

/// Attributes that name an element type.
const TYPES: [&str; 6] =
    ["to", "dtype", "output_dtype", "output_datatype", "stash_type", "softmax_precision"];

/// A stored value.
pub(in crate::runtime) enum Stored {
    /// As the file has it: nothing is copied until a plan needs it.
    File {
        proto: Box<TensorProto>,
        /// What a plan made of it, as long as one holds it.
        held: Mutex<Weak<Tensor>>,
    },
    /// As tract has it.
    Held(Arc<Tensor>),
}

impl Stored {
    fn file(proto: TensorProto) -> Stored {
        Stored::File { proto: Box::new(proto), held: Mutex::default() }
    }

    /// The value as tract holds it; plans share it.
    pub fn tensor(&self) -> TractResult<Arc<Tensor>> {
        let (proto, held) = match self {
            Stored::File { proto, held } => (proto, held),
            Stored::Held(tensor) => return Ok(tensor.clone()),
        };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = held.upgrade() {
            return Ok(tensor);
        }
        let tensor = Arc::new(tensor::from_proto(proto)?);
        *held = Arc::downgrade(&tensor);
        Ok(tensor)
    }
}

/// Takes initializers and `Constant` nodes out of the graph and the graphs nested in it.
pub(super) fn take(graph: &mut GraphProto) -> Result<HashMap<String, Stored>> {
    let mut stored = Ok(HashMap::new());
    graph.each_mut(&mut |graph| {
        if let Ok(found) = &mut stored
            && let Err(e) = take_from(graph, found)
        {
            stored = Err(e);
        }
    });
    stored
}

fn take_from(graph: &mut GraphProto, stored: &mut HashMap<String, Stored>) -> Result<()> {
    for initializer in std::mem::take(&mut graph.initializer) {
        let name = initializer.name().to_owned();
        put(stored, name, Stored::file(initializer))?;
    }
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        put(stored, sparse.name().to_owned(), dense(&sparse)?)?;
    }
    graph.input.iter_mut().chain(&mut graph.output).for_each(widen_value);
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        match (constant(&mut node)?, node.output.first()) {
            (Some(value), Some(name)) => put(stored, name.clone(), value)?,
            _ => {
                widen_attributes(&mut node)?;
                nodes.push(node);
            }
        }
    }
    graph.node = nodes;
    Ok(())
}

fn put(stored: &mut HashMap<String, Stored>, name: String, value: Stored) -> Result<()> {
    match stored.entry(name) {
        Entry::Occupied(entry) => Err(super::made_twice(entry.key())),
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
    }
}

/// The value of a `Constant` node; `None` for other nodes.
fn constant(node: &mut NodeProto) -> Result<Option<Stored>> {
    if !node.is("Constant") {
        return Ok(None);
    }
    if let Some(numbers) = node.attribute.iter().find_map(numbers) {
        return Ok(Some(Stored::Held(Arc::new(numbers))));
    }
    if let Some(sparse) = node.attribute.iter().find_map(|a| a.sparse_tensor.as_ref()) {
        return dense(sparse).map(Some);
    }
    let value = node.attribute.iter_mut().find(|a| a.name() == "value");
    match value.and_then(|a| a.t.take()) {
        Some(value) => Ok(Some(Stored::file(value))),
        None => Err(Error::new(
            ErrorKind::Unsupported,
            format!("constant `{}` can't be read", node.label()),
            "it holds neither a tensor nor numbers",
            "export the model with tensors of numbers",
        )),
    }
}

fn dense(sparse: &SparseTensorProto) -> Result<Stored> {
    graph::dense(sparse).map(Stored::file).map_err(|why| {
        Error::new(
            ErrorKind::InvalidModel,
            format!("the sparse tensor `{}` can't be read", sparse.name()),
            why,
            "check the model with onnx.checker",
        )
    })
}

/// What one of the attributes that give a `Constant` in numbers says.
fn numbers(attribute: &AttributeProto) -> Option<Tensor> {
    Some(match attribute.name() {
        "value_int" => tensor0(attribute.i()),
        "value_ints" => tensor1(&attribute.ints),
        "value_float" => tensor0(attribute.f()),
        "value_floats" => tensor1(&attribute.floats),
        _ => return None,
    })
}

fn widen_value(value: &mut ValueInfoProto) {
    let kind = value.r#type.as_mut().and_then(|t| t.value.as_mut());
    if let Some(type_proto::Value::TensorType(tensor)) = kind
        && tensor.elem_type() == DataType::Bfloat16 as i32
    {
        tensor.elem_type = Some(DataType::Float as i32);
    }
}

fn widen_attributes(node: &mut NodeProto) -> Result<()> {
    for attribute in &mut node.attribute {
        if TYPES.contains(&attribute.name()) && attribute.i == Some(DataType::Bfloat16 as i64) {
            attribute.i = Some(DataType::Float as i64);
        }
        if let Some(tensor) = &mut attribute.t
            && tensor.data_type() == DataType::Bfloat16 as i32
        {
            *tensor = widen(tensor)?;
        }
    }
    Ok(())
}

fn widen(tensor: &TensorProto) -> Result<TensorProto> {
    let unreadable = |e: &TractError| {
        let hint = "check the model with onnx.checker";
        Error::new(
            ErrorKind::InvalidModel,
            "a bfloat16 attribute can't be read",
            e.to_string(),
            hint,
        )
    };
    let value = tensor::from_proto(tensor).map_err(|e| unreadable(&e))?;
    let value = value.to_plain_array_view::<f32>().map_err(|e| unreadable(&e))?;
    Ok(TensorProto {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
        data_type: Some(DataType::Float as i32),
        float_data: value.iter().copied().collect(),
        ..TensorProto::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_share_a_stored_value_as_long_as_one_holds_it() {
        let stored = Stored::file(TensorProto {
            dims: vec![2],
            data_type: Some(DataType::Float as i32),
            float_data: vec![1.0, 2.0],
            ..TensorProto::default()
        });
        let first = stored.tensor().unwrap();
        assert!(Arc::ptr_eq(&first, &stored.tensor().unwrap()));
        let held = Arc::downgrade(&first);
        drop(first);
        assert!(held.upgrade().is_none());
        assert_eq!(*stored.tensor().unwrap(), tensor1(&[1f32, 2.0]));
    }
}
