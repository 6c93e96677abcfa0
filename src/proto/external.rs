//! Tensor data kept in files beside the model.

use super::{
    ModelProto, TensorProto, element_count, stand_in::stand_in, tensor::element_bits,
    tensor_proto::DataLocation, tensors_mut,
};
use crate::{
    error::{Error, ErrorKind, Result},
    files,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Gives every externally stored tensor its data as a slice of the mapped file, and returns the
/// files, in order of their names.
pub(super) fn bring_in(model: &mut ModelProto, model_path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Files { model: model_path, open: BTreeMap::new() };
    tensors_mut(model, |name, tensor| files.resolve(name, tensor))?;
    Ok(files.open.into_values().map(|file| file.path).collect())
}

/// The data files of one model, each mapped once, by the locations that it gives.
struct Files<'p> {
    model: &'p Path,
    open: BTreeMap<String, File>,
}

/// A data file.
struct File {
    path: PathBuf,
    content: Bytes,
}

impl Files<'_> {
    fn resolve(&mut self, name: &str, tensor: &mut TensorProto) -> Result<()> {
        if tensor.data_location() != DataLocation::External {
            return Ok(());
        }
        let data = self.slice(name, tensor)?;
        tensor.raw_data = Some(data);
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }

    fn slice(&mut self, name: &str, tensor: &TensorProto) -> Result<Bytes> {
        let what = format!("tensor `{name}` of {} can't be read", self.model.display());
        let broken = |why: String| {
            let hint = "keep the model's data files beside it, as its exporter wrote them";
            Error::new(ErrorKind::InvalidFile, &what, why, hint)
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
            let content = files::read(&path)?;
            if let Some(found) = stand_in(&content) {
                let why = format!("its data file `{location}` is {}", found.is);
                return Err(Error::new(ErrorKind::InvalidFile, &what, why, found.hint));
            }
            self.open.insert(location.to_owned(), File { path, content });
        }
        let file = &self.open[location].content;
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
    let missing = |e: std::io::Error| format!("its data file `{location}` can't be read: {e}");
    let root = files::folder(model).canonicalize().map_err(missing)?;
    let file = root.join(location).canonicalize().map_err(missing)?;
    if Path::new(location).is_absolute() || !file.starts_with(&root) {
        return Err(format!("its data file `{location}` lies outside the model's folder"));
    }
    Ok(file)
}
