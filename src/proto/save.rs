//! Models to files: whole or not at all.

use super::{
    ModelProto, StringStringEntryProto, TensorProto, encode::encode, replace::replace,
    tensor_proto::DataLocation,
};
use crate::error::{Error, Result};
use bytes::Bytes;
use prost::Message as _;
use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Where tensor data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExternalData {
    /// Into the model file, unless that would pass protobuf's 2 GiB.
    #[default]
    Auto,
    /// Into a file beside the model.
    Always,
    /// Into the model file; an error where it would pass 2 GiB.
    Never,
}

/// The files that [`save`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The model, then its data file if it has one.
    pub files: Vec<PathBuf>,
    /// Their total size in bytes.
    pub bytes: u64,
}

/// What protobuf can encode in one message.
const MAX_MESSAGE: usize = i32::MAX as usize;

/// Tensors below this size stay in the model file, where shapes and axes are read from.
const MIN_EXTERNAL: usize = 1024;

/// Where external tensors begin: mapping a file needs page boundaries.
const ALIGNMENT: u64 = 4096;

/// Writes a model: `path` holds either what it held before or all of the model, whenever the process
/// ends.
///
/// Files are written under temporary names, synced and renamed, the model last. The data file's name
/// holds a digest of the model, so that a model that is being replaced keeps its own until then.
/// `progress` is called with the bytes written so far.
pub fn save(
    model: &ModelProto,
    path: &Path,
    external: ExternalData,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved> {
    let length = model.encoded_len();
    match external {
        ExternalData::Never if length > MAX_MESSAGE => Err(Error::new(
            format!("{} can't be written", path.display()),
            format!("it would have {length} bytes, and protobuf's limit is {MAX_MESSAGE}"),
            "let its weights go into a file beside it: --external-data auto",
        )),
        ExternalData::Always => save_external(model, path, progress),
        ExternalData::Auto if length > MAX_MESSAGE => save_external(model, path, progress),
        _ => save_whole(model, path, progress),
    }
}

/// A digest of everything in the model: for a model of one file, that file's BLAKE3.
pub fn digest(model: &ModelProto) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let hashed: Result<(), std::convert::Infallible> = encode(model, |piece| {
        hasher.update_rayon(piece);
        Ok(())
    });
    match hashed {
        Ok(()) => hasher.finalize(),
        Err(never) => match never {},
    }
}

fn save_whole(model: &ModelProto, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Saved> {
    let bytes = replace(path, |file| {
        let mut written = 0;
        encode(model, |piece| -> io::Result<()> {
            file.write_all(piece)?;
            written += piece.len() as u64;
            progress(written);
            Ok(())
        })?;
        Ok(written)
    })?;
    Ok(Saved { files: vec![path.to_owned()], bytes })
}

fn save_external(model: &ModelProto, path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Saved> {
    let data_path = data_path(model, path)?;
    let old = data_files(path);
    let location = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut skeleton = model.clone();
    let data = match &mut skeleton.graph {
        Some(graph) => move_out(&mut graph.initializer, &location),
        None => Vec::new(),
    };
    if skeleton.encoded_len() > MAX_MESSAGE {
        return Err(Error::new(
            format!("{} can't be written", path.display()),
            format!(
                "without its initializers it still has {} bytes, and protobuf's limit is {MAX_MESSAGE}",
                skeleton.encoded_len()
            ),
            "store the weights as initializers: Constant nodes can't be moved to another file",
        ));
    }
    let data_bytes = replace(&data_path, |file| write_data(&data, file, progress))?;
    let saved = save_whole(&skeleton, path, &mut |written| progress(data_bytes + written))?;
    for file in old.into_iter().filter(|f| *f != data_path) {
        // It belonged to the model just replaced; what can't be removed is only left over.
        let _ = std::fs::remove_file(file);
    }
    Ok(Saved { files: vec![path.to_owned(), data_path], bytes: saved.bytes + data_bytes })
}

/// `MODEL.DIGEST.data`, beside the model.
fn data_path(model: &ModelProto, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        Error::new(
            format!("{} can't be written", path.display()),
            "it does not end in a file's name",
            "name the file to write: -o OUT.onnx",
        )
    })?;
    let mut name: OsString = name.to_owned();
    name.push(format!(".{}.data", &digest(model).to_hex()[..8]));
    Ok(path.with_file_name(name))
}

/// The data files that the model now at `path` reads, of those that [`save`] names.
fn data_files(path: &Path) -> Vec<PathBuf> {
    let Ok(model) = super::map(path).and_then(|bytes| super::decode(bytes, "")) else {
        return Vec::new();
    };
    let prefix = path.file_name().map(|n| format!("{}.", n.to_string_lossy())).unwrap_or_default();
    let tensors = model.graph.iter().flat_map(|g| &g.initializer);
    let mut names: Vec<&str> = tensors
        .flat_map(|t| &t.external_data)
        .filter(|e| e.key() == "location")
        .map(|e| e.value())
        .filter(|name| {
            let digest = name.strip_prefix(&prefix).and_then(|n| n.strip_suffix(".data"));
            digest.is_some_and(|d| d.len() == 8 && d.bytes().all(|b| b.is_ascii_hexdigit()))
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| path.with_file_name(name)).collect()
}

/// Moves the data of large tensors out, and returns them with their offsets. Tensors that share
/// their bytes keep sharing them.
fn move_out(tensors: &mut [TensorProto], location: &str) -> Vec<(u64, Bytes)> {
    let mut moved: Vec<(u64, Bytes)> = Vec::new();
    let mut known: HashMap<(*const u8, usize), u64> = HashMap::new();
    let mut end = 0u64;
    for tensor in tensors {
        let Some(data) = tensor.raw_data.take_if(|d| d.len() >= MIN_EXTERNAL) else { continue };
        let offset = *known.entry((data.as_ptr(), data.len())).or_insert_with(|| {
            let offset = end.next_multiple_of(ALIGNMENT);
            end = offset + data.len() as u64;
            moved.push((offset, data.clone()));
            offset
        });
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        tensor.data_location = Some(DataLocation::External as i32);
        tensor.external_data = vec![
            entry("location", location.into()),
            entry("offset", offset.to_string()),
            entry("length", data.len().to_string()),
        ];
    }
    moved
}

fn write_data(
    data: &[(u64, Bytes)],
    file: &mut BufWriter<&mut File>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let mut written = 0;
    for (offset, bytes) in data {
        io::copy(&mut io::Read::take(io::repeat(0), offset - written), file)?;
        written = *offset;
        for piece in bytes.chunks(PIECE) {
            file.write_all(piece)?;
            written += piece.len() as u64;
            progress(written);
        }
    }
    Ok(written)
}

/// How much is written between two calls of `progress`.
const PIECE: usize = 8 << 20;
