//! Tensor data kept in files beside the model.

use super::{GraphProto, ModelProto, TensorProto, element_count, map, tensor_proto::DataLocation};
use crate::{
    error::{Error, Result},
    proto::tensor::element_bits,
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Gives every externally stored tensor its data as a slice of the mapped file.
pub(super) fn bring_in(model: &mut ModelProto, model_path: &Path) -> Result<()> {
    let mut files = Files { model: model_path, open: HashMap::new() };
    model.graph.iter_mut().try_for_each(|g| files.bring_into(g))
}

/// The data files of one model, each mapped once.
struct Files<'p> {
    model: &'p Path,
    open: HashMap<String, Bytes>,
}

impl Files<'_> {
    fn bring_into(&mut self, graph: &mut GraphProto) -> Result<()> {
        graph.initializer.iter_mut().try_for_each(|t| self.resolve(t))?;
        for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
            attribute
                .t
                .iter_mut()
                .chain(&mut attribute.tensors)
                .try_for_each(|t| self.resolve(t))?;
            attribute
                .g
                .iter_mut()
                .chain(&mut attribute.graphs)
                .try_for_each(|g| self.bring_into(g))?;
        }
        Ok(())
    }

    fn resolve(&mut self, tensor: &mut TensorProto) -> Result<()> {
        if tensor.data_location() != DataLocation::External {
            return Ok(());
        }
        let data = self.slice(tensor)?;
        tensor.raw_data = Some(data);
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }

    fn slice(&mut self, tensor: &TensorProto) -> Result<Bytes> {
        let broken = |why: String| {
            Error::new(
                format!("tensor `{}` of {} can't be read", tensor.name(), self.model.display()),
                why,
                "keep the model's data files beside it, as its exporter wrote them",
            )
        };
        let entry =
            |key: &str| tensor.external_data.iter().find(|e| e.key() == key).map(|e| e.value());
        let number = |key: &str| {
            entry(key)
                .map(str::parse::<usize>)
                .transpose()
                .map_err(|_| broken(format!("its external {key} is not a number")))
        };
        let location =
            entry("location").ok_or_else(|| broken("it is external but names no file".into()))?;
        let offset = number("offset")?.unwrap_or(0);
        let needed = element_count(tensor)
            .zip(element_bits(tensor.data_type()))
            .and_then(|(n, bits)| Some(n.checked_mul(bits)?.div_ceil(8)))
            .ok_or_else(|| broken("its shape or element type is not one of ONNX's".into()))?;
        let length = number("length")?.unwrap_or(needed);
        if length != needed {
            return Err(broken(format!(
                "its shape needs {needed} bytes, its external length is {length}"
            )));
        }
        if !self.open.contains_key(location) {
            let path = inside(self.model, location).map_err(broken)?;
            self.open.insert(location.to_owned(), map(&path)?);
        }
        let file = &self.open[location];
        match offset.checked_add(length).filter(|end| *end <= file.len()) {
            Some(end) => Ok(file.slice(offset..end)),
            None => Err(broken(format!(
                "it is at bytes {offset} to {} of `{location}`, which has {}",
                offset.saturating_add(length),
                file.len()
            ))),
        }
    }
}

/// The path of a data file, which must lie inside the model's own folder once links are followed.
fn inside(model: &Path, location: &str) -> Result<PathBuf, String> {
    let folder = match model.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let missing = |e: std::io::Error| format!("its data file `{location}` can't be read: {e}");
    let root = folder.canonicalize().map_err(missing)?;
    let file = root.join(location).canonicalize().map_err(missing)?;
    if Path::new(location).is_absolute() || !file.starts_with(&root) {
        return Err(format!("its data file `{location}` lies outside the model's folder"));
    }
    Ok(file)
}
