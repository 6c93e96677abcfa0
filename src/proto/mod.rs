//! ONNX's own types, and models from and to files.
//!
//! The types are generated from the unedited `proto/onnx-ml.proto` (see `tests/schema.rs`). A model
//! is read from a memory map: weights are slices of the file until something changes them.

mod encode;
mod external;
mod node;
mod save;
mod stand_in;
mod tensor;
mod tensors;
mod walk;
mod wire;

#[allow(missing_docs, clippy::all, reason = "generated code")]
mod onnx {
    include!("onnx.rs");
}

pub use node::Operator;
pub use onnx::*;
pub(crate) use stand_in::stand_in;
pub(crate) use tensor::element_bits;

pub use save::{ExternalData, Saved, digest, is_data_of, save, save_sealed};
pub use tensor::{
    element_count, element_size, is_float, raw_bytes, tensor_bytes, type_name, type_named,
};
pub use tensors::tensors_mut;
pub use walk::{graphs, graphs_within};

use crate::{
    error::{Error, ErrorKind, Result},
    files,
};
use bytes::Bytes;
use prost::Message as _;
use std::path::{Path, PathBuf};

/// Decodes a model, refusing what the schema would lose.
///
/// Encoding the result again gives what any protobuf writer would: for a file from such a writer,
/// the same bytes. `name` is used in errors only.
pub fn decode(bytes: Bytes, name: &str) -> Result<ModelProto> {
    let no_model = |why: String, hint: &str| {
        Error::new(ErrorKind::InvalidFile, format!("{name} is not an ONNX model"), why, hint)
    };
    let check = "check that the file is complete and was written by an ONNX exporter";
    if let Some(found) = stand_in::stand_in(&bytes) {
        return Err(no_model(format!("it is {}", found.is), found.hint));
    }
    let model = ModelProto::decode(bytes.clone())
        .map_err(|e| no_model(format!("its protobuf does not decode: {e}"), check))?;
    if model.graph.is_none() {
        return Err(no_model("it holds no graph".into(), check));
    }
    if let Some(unknown) = wire::unknown_field(&bytes) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{name} can't be read without loss"),
            format!(
                "a {} in it has a field {} that ONNX's schema (IR version {}) does not know",
                unknown.message,
                unknown.number,
                Version::IrVersion as i32
            ),
            "check that the file is an ONNX model; if a newer ONNX wrote it, export it with an older one",
        ));
    }
    Ok(model)
}

/// A model as it was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Source {
    /// The model, with all its data.
    pub model: ModelProto,
    /// The files that it was read from: the model's own, then those that hold data.
    pub files: Vec<PathBuf>,
}

/// Reads a model and the external data that it names.
///
/// The files are memory-mapped, so that weights cost address space, not memory. Every stored tensor
/// of the result holds its data in itself.
pub fn load(path: &Path) -> Result<ModelProto> {
    open(path).map(|source| source.model)
}

/// Like [`load`], with the files that were read.
pub fn open(path: &Path) -> Result<Source> {
    let name = path.display().to_string();
    let mut model = decode(files::read(path)?, &name)?;
    let data = external::bring_in(&mut model, path)?;
    tensor::check_sizes(&mut model, &name)?;
    Ok(Source { model, files: [path.to_owned()].into_iter().chain(data).collect() })
}

/// The opset of the standard domain that a model imports; 0 where it names none.
pub fn opset(model: &ModelProto) -> i64 {
    standard_opset(&model.opset_import).unwrap_or_default()
}

/// The opset of the standard domain among those that a model or a function imports.
pub fn standard_opset(imports: &[OperatorSetIdProto]) -> Option<i64> {
    let standard = |o: &&OperatorSetIdProto| matches!(o.domain(), "" | "ai.onnx");
    imports.iter().find(standard).map(OperatorSetIdProto::version)
}
