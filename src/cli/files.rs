//! Files that commands read and write.

use bitonnx::{Error, Result, proto};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Whether two paths lead to the same existing file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether what is written to two paths would be written to one file, be it there already or not.
pub fn same_target(a: &Path, b: &Path) -> bool {
    a == b || same_file(a, b) || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

/// Where a file will lie, in a folder that exists: a link to a file that is yet to be written leads there.
fn place(path: &Path) -> Option<PathBuf> {
    let path = match fs::read_link(path) {
        Ok(to) => folder(path).join(to),
        Err(_) => path.to_owned(),
    };
    Some(folder(&path).canonicalize().ok()?.join(path.file_name()?))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a text: the file holds either what it held before or all of it. `what` is the file's part in the
/// command, for errors.
pub fn write_text(what: &str, text: &str, path: &Path) -> Result<()> {
    proto::write_file(path, text.as_bytes()).map_err(|e| {
        let what = format!("{what} can't be written to {}", path.display());
        Error::new(what, e.why(), e.hint())
    })
}

/// The error with the file's name before it.
pub fn in_file(path: &Path, error: &Error) -> Error {
    Error::new(format!("{}: {}", path.display(), error.what()), error.why(), error.hint())
}
