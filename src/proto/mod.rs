//! ONNX's own types, and models from and to files.
//!
//! The types are generated from the unedited `proto/onnx-ml.proto` (see `tests/schema.rs`). A model
//! is read from a memory map: weights are slices of the file until something changes them.

mod blocks;
mod encode;
mod external;
mod replace;
mod save;
mod tensor;
mod wire;

#[allow(missing_docs, clippy::all, reason = "generated code")]
mod onnx {
    include!("onnx.rs");
}

pub use onnx::*;
pub use save::{ExternalData, Saved, digest, save, save_sealed};
pub use tensor::{element_count, element_size, raw_bytes, tensor_bytes};

use crate::error::{Error, Result};
use bytes::Bytes;
use prost::Message as _;
use std::{fs::File, path::Path};

/// Decodes a model, refusing what the schema would lose.
///
/// Encoding the result again gives what any protobuf writer would: for a file from such a writer,
/// the same bytes. `name` is used in errors only.
pub fn decode(bytes: Bytes, name: &str) -> Result<ModelProto> {
    let model = ModelProto::decode(bytes.clone()).map_err(|e| {
        Error::new(
            format!("{name} is not an ONNX model"),
            format!("its protobuf does not decode: {e}"),
            "check that the file is complete and was written by an ONNX exporter",
        )
    })?;
    if model.graph.is_none() {
        return Err(Error::new(
            format!("{name} is not an ONNX model"),
            "it holds no graph",
            "check that the file is complete and was written by an ONNX exporter",
        ));
    }
    if let Some(unknown) = wire::unknown_field(&bytes) {
        return Err(Error::new(
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

/// Reads a model and the external data that it names.
///
/// The files are memory-mapped, so that weights cost address space, not memory. Every stored tensor
/// of the result holds its data in itself.
pub fn load(path: &Path) -> Result<ModelProto> {
    let name = path.display().to_string();
    let mut model = decode(map(path)?, &name)?;
    external::bring_in(&mut model, path)?;
    tensor::check_sizes(&model, &name)?;
    Ok(model)
}

/// A file's content as a memory map.
fn map(path: &Path) -> Result<Bytes> {
    let failed = |e: std::io::Error| {
        Error::new(
            format!("{} can't be read", path.display()),
            e.to_string(),
            "check the path and the file's permissions",
        )
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    #[allow(unsafe_code, reason = "mapping is the one way to read gigabytes without holding them")]
    // SAFETY: the map is private and read-only. Another process that truncates the file while it is
    // mapped ends this one with SIGBUS; `save` never does so, it replaces files by renaming.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
    Ok(Bytes::from_owner(map))
}

/// The opset of the standard domain that a model imports; 0 where it names none.
pub fn opset(model: &ModelProto) -> i64 {
    let standard = |o: &&OperatorSetIdProto| matches!(o.domain(), "" | "ai.onnx");
    model.opset_import.iter().find(standard).map_or(0, OperatorSetIdProto::version)
}

/// Every graph of a model, each before those nested in it, depth first.
pub fn graphs(model: &ModelProto) -> Vec<&GraphProto> {
    fn collect<'m>(graph: &'m GraphProto, found: &mut Vec<&'m GraphProto>) {
        found.push(graph);
        graph.node.iter().flat_map(nested_graphs).for_each(|g| collect(g, found));
    }
    let mut found = Vec::new();
    model.graph.iter().for_each(|graph| collect(graph, &mut found));
    found
}

/// The graphs among a node's attributes (the branches of `If`, the bodies of `Loop` and `Scan`).
pub fn nested_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
}
