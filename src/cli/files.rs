//! Files that commands read and write.

use bitonnx::Error;
use std::path::Path;

/// Whether two paths lead to the same existing file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The error with the file's name before it.
pub fn in_file(path: &Path, error: &Error) -> Error {
    Error::new(format!("{}: {}", path.display(), error.what()), error.why(), error.hint())
}
