//! Tensor data kept in files beside the model.

use super::{
    ModelProto, TensorProto, stand_in::stand_in, tensor::raw_len, tensor_proto::DataLocation,
    tensors_mut,
};
use crate::{
    error::{Error, ErrorKind, Result},
    files,
};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
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
        let failed = |why, hint| Error::new(ErrorKind::InvalidFile, &what, why, hint);
        let broken =
            |why| failed(why, "keep the model's data files beside it, as its exporter wrote them");
        let place = Place::of(tensor).map_err(broken)?;
        let location = place.location;
        if !self.open.contains_key(location) {
            let path = find(self.model, location).map_err(broken)?;
            let content = files::read(&path)?;
            if let Some(found) = stand_in(&content) {
                return Err(failed(
                    format!("its data file `{location}` is {}", found.is),
                    found.hint,
                ));
            }
            self.open.insert(location.to_owned(), File { path, content });
        }
        place.cut(&self.open[location].content).map_err(broken)
    }
}

/// Where a tensor's data are.
struct Place<'t> {
    location: &'t str,
    offset: usize,
    length: usize,
}

impl<'t> Place<'t> {
    fn of(tensor: &'t TensorProto) -> Result<Self, String> {
        // Of two of one key the last counts, as in ONNX's own library.
        let entries = || tensor.external_data.iter().rev();
        let entry = |key: &str| entries().find(|e| e.key() == key).map(|e| e.value());
        let number = |key: &str| match entry(key).map(|value| (value, value.parse())) {
            None => Ok(None),
            Some((_, Ok(number))) => Ok(Some(number)),
            Some((value, Err(_))) => {
                Err(format!("its external {key} is {value:?}, not a number of bytes"))
            }
        };
        let location = entry("location").ok_or("it is external but names no file")?;
        let offset = number("offset")?.unwrap_or(0);
        let needed = raw_len(tensor).ok_or("its shape or element type is not one of ONNX's")?;
        let length = number("length")?.unwrap_or(needed);
        if length != needed {
            return Err(format!("its shape needs {needed} bytes, its external length is {length}"));
        }
        Ok(Place { location, offset, length })
    }

    fn cut(&self, file: &Bytes) -> Result<Bytes, String> {
        let Place { location, offset, length } = *self;
        let end = offset.saturating_add(length);
        if end > file.len() {
            let size = file.len();
            return Err(format!(
                "it is at bytes {offset} to {end} of `{location}`, which has {size}"
            ));
        }
        Ok(file.slice(offset..end))
    }
}

/// The path of a data file, links followed.
///
/// It lies in the folder of the path that was given for the model, or in the one that this path leads to; in
/// the Hugging Face cache all files lead to one folder.
fn find(model: &Path, location: &str) -> Result<PathBuf, String> {
    let within = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    let outside = format!("its data file `{location}` lies outside the model's folder");
    if !Path::new(location).components().all(within) {
        return Err(outside);
    }
    let missing = |e: std::io::Error| format!("its data file `{location}` can't be read: {e}");
    let given = files::folder(model).canonicalize().map_err(missing)?;
    let led_to = model.canonicalize().ok().and_then(|file| Some(file.parent()?.to_owned()));
    let file = match (given.join(location).canonicalize(), &led_to) {
        (Err(e), Some(folder)) => folder.join(location).canonicalize().map_err(|_| missing(e))?,
        (found, _) => found.map_err(missing)?,
    };
    let blobs = files::blobs(&given);
    if ![Some(given), led_to, blobs].iter().flatten().any(|folder| file.starts_with(folder)) {
        return Err(outside);
    }
    let found = file.metadata().map_err(missing)?;
    if !found.is_file() {
        return Err(format!("its data file `{location}` is no file"));
    }
    if files::is_hard_link(&found) {
        return Err(format!(
            "its data file `{location}` has another name elsewhere, as a hard link: only a copy is safe to read"
        ));
    }
    Ok(file)
}
