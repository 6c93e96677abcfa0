//! Files, whatever is in them: read as they lie, written whole or not at all.

mod blocks;
mod draft;
mod target;

pub use draft::Draft;
pub use target::{Stream, Target};

use crate::error::{Error, Result};
use bytes::Bytes;
use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

/// A file's content: a memory map, or what comes out of a pipe.
///
/// The file may be replaced by renaming while the map is in use, not changed in place.
pub fn read(path: &Path) -> Result<Bytes> {
    content(path).map_err(|e| Error::unreadable(path, e))
}

/// Writes what `fill` makes, about `length` bytes.
///
/// A file holds either what it held before or all of it, whenever the process ends, and keeps its
/// permissions; a link to it stays one. What is no file, a pipe or a device, is written to.
pub fn write<T>(
    path: &Path,
    length: u64,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<T> {
    match Target::of(path)? {
        Target::Stream(stream) => stream.write(fill).map_err(|e| Error::unwritable(path, e)),
        Target::File(file) => {
            let (draft, result) = Draft::beside(&file, length, fill)?;
            draft.put(&file).map(|()| result)
        }
    }
}

/// [`write()`] of bytes that are there already.
pub fn write_bytes(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content.len() as u64, |file| file.write_all(content))
}

/// The folder that a path's last part lies in.
pub fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Where the Hugging Face cache keeps what the files of a snapshot are links to: in `blobs`, beside the folder
/// `snapshots` that holds this one.
pub fn blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.ancestors().find(|above| above.ends_with("snapshots"))?;
    Some(snapshots.with_file_name("blobs")).filter(|blobs| blobs.is_dir())
}

/// Whether a file has more names than one, where the system tells.
#[cfg_attr(not(unix), allow(unused_variables, reason = "the system does not tell"))]
pub fn is_hard_link(found: &Metadata) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::nlink(found) > 1;
    #[cfg(not(unix))]
    return false;
}

fn content(path: &Path) -> io::Result<Bytes> {
    let found = path.metadata()?;
    if !found.is_file() {
        return if is_pipe(&found) {
            drained(path)
        } else {
            Err(io::Error::other("it is no file"))
        };
    }
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    #[allow(unsafe_code, reason = "mapping is the one way to read gigabytes without holding them")]
    // SAFETY: the map is private and read-only. Another process that truncates the file while it is
    // mapped ends this one with SIGBUS; nothing here does so, files are replaced by renaming.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}

fn drained(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    Ok(content.into())
}

#[cfg(unix)]
fn is_pipe(found: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
}
