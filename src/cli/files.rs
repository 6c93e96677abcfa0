//! Files that commands read and write.

use bitonnx::{
    Result,
    files::{self, Target},
};
use std::path::Path;

/// Whether two paths lead to the same existing file.
pub fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Whether what is written to two paths would be written to one file, be it there already or not.
pub fn same_target(a: &Path, b: &Path) -> bool {
    a == b || same_file(a, b) || matches!((place(a), place(b)), (Some(a), Some(b)) if a == b)
}

/// Where what is written to a path goes: for a file, in a folder that exists.
fn place(path: &Path) -> Option<Target> {
    match Target::of(path).ok()? {
        Target::File(file) => {
            let folder = files::folder(&file).canonicalize().ok()?;
            Some(Target::File(folder.join(file.file_name()?)))
        }
        stream => Some(stream),
    }
}

/// Writes a text: the file holds either what it held before or all of it. `what` is the file's part in the
/// command, for errors.
pub fn write_text(what: &str, text: &str, path: &Path) -> Result<()> {
    files::write_bytes(path, text.as_bytes()).map_err(|e| e.within(what))
}
