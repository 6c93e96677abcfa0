//! Models to files: whole or not at all.

use super::{
    ModelProto, StringStringEntryProto, TensorProto, encode::encode, tensor_proto::DataLocation,
};
use crate::{
    error::{Error, ErrorKind, Result},
    files::{self, Draft, Target},
};
use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where tensor data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
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
#[non_exhaustive]
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
/// ends. A link is followed.
///
/// Files are written under temporary names, synced and renamed, the model last. The data file's name
/// holds a digest of its content, so that a model that is being replaced keeps its own until then.
/// `progress` is called with the bytes written so far.
pub fn save(
    model: &ModelProto,
    path: &Path,
    external: ExternalData,
    progress: &mut dyn FnMut(u64),
) -> Result<Saved> {
    save_sealed(model, path, external, progress, Vec::new)
}

/// [`save`], with metadata that the model gets at the end: `seal` is called when nothing but the model
/// file itself is left to write, so that a digest of the source can be made beside the writing.
pub fn save_sealed(
    model: &ModelProto,
    path: &Path,
    external: ExternalData,
    progress: &mut dyn FnMut(u64),
    seal: impl FnOnce() -> Vec<StringStringEntryProto>,
) -> Result<Saved> {
    let length = model.encoded_len();
    let fits = length <= MAX_MESSAGE;
    match external {
        ExternalData::Never if !fits => Err(Error::new(
            ErrorKind::TooLarge,
            format!("{} can't be written", path.display()),
            format!("it would have {length} bytes, and protobuf's limit is {MAX_MESSAGE}"),
            "let its weights go into a file beside it",
        )),
        ExternalData::Auto | ExternalData::Never if fits => {
            save_whole(model.clone(), path, progress, seal)
        }
        _ => save_external(model.clone(), path, progress, seal),
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

fn save_whole(
    mut model: ModelProto,
    path: &Path,
    progress: &mut dyn FnMut(u64),
    seal: impl FnOnce() -> Vec<StringStringEntryProto>,
) -> Result<Saved> {
    model.metadata_props.extend(seal());
    let fill = |file: &mut dyn Write| {
        let mut written = 0;
        encode(&model, |piece| -> io::Result<()> {
            file.write_all(piece)?;
            written += piece.len() as u64;
            progress(written);
            Ok(())
        })?;
        Ok(written)
    };
    let bytes = files::write(path, model.encoded_len() as u64, fill)?;
    Ok(Saved { files: vec![path.to_owned()], bytes })
}

fn save_external(
    mut model: ModelProto,
    path: &Path,
    progress: &mut dyn FnMut(u64),
    seal: impl FnOnce() -> Vec<StringStringEntryProto>,
) -> Result<Saved> {
    let Target::File(path) = &Target::of(path)? else {
        return Err(Error::new(
            ErrorKind::Unwritable,
            format!("{} can't be written", path.display()),
            "its weights go into a file beside it, and it is no file",
            "name a file",
        ));
    };
    let old = data_files(path);
    let moved = match &mut model.graph {
        Some(graph) => Moved::out_of(&mut graph.initializer),
        None => Moved::default(),
    };
    if model.encoded_len() > MAX_MESSAGE {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} can't be written", path.display()),
            format!(
                "without its initializers it still has {} bytes, and protobuf's limit is {MAX_MESSAGE}",
                model.encoded_len()
            ),
            "store the weights as initializers: Constant nodes can't be moved to another file",
        ));
    }
    let fill = |file: &mut dyn Write| moved.write(file, progress);
    let (draft, digest) = Draft::beside(path, moved.length, fill)?;
    let data_path = data_path(path, &digest);
    draft.put(&data_path)?;
    let location = data_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    moved.place(&mut model, &location);
    let saved = save_whole(model, path, &mut |written| progress(moved.length + written), seal)?;
    for file in old.into_iter().filter(|f| *f != data_path) {
        // It belonged to the model just replaced; what can't be removed is only left over.
        let _ = std::fs::remove_file(file);
    }
    Ok(Saved { files: vec![path.to_owned(), data_path], bytes: saved.bytes + moved.length })
}

/// `MODEL.DIGEST.data`, beside the model.
fn data_path(path: &Path, digest: &blake3::Hash) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.data", &digest.to_hex()[..8]));
    path.with_file_name(name)
}

/// Whether a file is beside the model at this path and has the name that [`save`] gives its data: such a
/// file goes when that model is replaced.
pub fn is_data_of(file: &Path, model: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let beside = file.parent() == model.parent();
    let (Some(file), Some(model)) = (name(file), name(model)) else { return false };
    let digest = file.strip_prefix(&model).and_then(|rest| rest.strip_prefix('.'));
    let digest = digest.and_then(|rest| rest.strip_suffix(".data"));
    digest.is_some_and(|d| d.len() == 8 && d.bytes().all(|b| b.is_ascii_hexdigit())) && beside
}

/// The data files that the model now at `path` reads, of those that [`save`] names.
fn data_files(path: &Path) -> Vec<PathBuf> {
    let Ok(model) = files::read(path).and_then(|bytes| super::decode(bytes, "")) else {
        return Vec::new();
    };
    let tensors = model.graph.iter().flat_map(|g| &g.initializer);
    let mut names: Vec<&str> = tensors
        .flat_map(|t| &t.external_data)
        .filter(|e| e.key() == "location")
        .map(|e| e.value())
        .filter(|name| is_data_of(&path.with_file_name(name), path))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| path.with_file_name(name)).collect()
}

/// The data of large tensors, on their way into a file of their own.
#[derive(Default)]
struct Moved {
    /// Where each begins in the file, in ascending order. Tensors that share their bytes keep sharing them.
    data: Vec<(u64, Bytes)>,
    /// The initializers that they belong to, each with its data's place: offset and length.
    places: Vec<(usize, u64, usize)>,
    /// The file's length.
    length: u64,
}

impl Moved {
    fn out_of(tensors: &mut [TensorProto]) -> Self {
        let mut moved = Moved::default();
        let mut known: HashMap<(*const u8, usize), u64> = HashMap::new();
        for (index, tensor) in tensors.iter_mut().enumerate() {
            let Some(data) = tensor.raw_data.take_if(|d| d.len() >= MIN_EXTERNAL) else { continue };
            let length = data.len();
            let offset = *known.entry((data.as_ptr(), length)).or_insert_with(|| {
                let offset = moved.length.next_multiple_of(ALIGNMENT);
                moved.length = offset + length as u64;
                moved.data.push((offset, data));
                offset
            });
            moved.places.push((index, offset, length));
        }
        moved
    }

    /// Writes the data, and returns a digest of the file.
    fn write(
        &self,
        file: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let mut written = 0;
        for (offset, bytes) in &self.data {
            let padding = vec![0; (offset - written) as usize];
            written = *offset;
            hasher.update(&padding);
            file.write_all(&padding)?;
            for piece in bytes.chunks(PIECE) {
                hasher.update(piece);
                file.write_all(piece)?;
                written += piece.len() as u64;
                progress(written);
            }
        }
        Ok(hasher.finalize())
    }

    /// Tells the tensors where their data are.
    fn place(&self, model: &mut ModelProto, location: &str) {
        let Some(graph) = &mut model.graph else { return };
        for &(index, offset, length) in &self.places {
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.into()),
                value: Some(value),
            };
            let tensor = &mut graph.initializer[index];
            tensor.data_location = Some(DataLocation::External as i32);
            tensor.external_data = vec![
                entry("location", location.into()),
                entry("offset", offset.to_string()),
                entry("length", length.to_string()),
            ];
        }
    }
}

/// How much is hashed and written at a time: what the processor's cache holds.
const PIECE: usize = 256 << 10;
