//! Files that commands read and write.

use bitonnx::{Error, Result};
use std::{
    fs,
    io::{self, Write as _},
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

/// Writes a text: the file holds either what it held before or all of it. A link is followed. `what` is
/// the file's part in the command, for errors.
pub fn write_text(what: &str, text: &str, path: &Path) -> Result<()> {
    let target = path.canonicalize().ok().filter(|_| path.is_symlink());
    let target = target.as_deref().unwrap_or(path);
    let written = match target.metadata() {
        // A device or a pipe: nothing but a file may be replaced.
        Ok(old) if !old.is_file() => fs::write(target, text),
        old => replace(text, target, old.ok().map(|old| old.permissions())),
    };
    written.map_err(|e| {
        Error::new(
            format!("{what} can't be written to {}", path.display()),
            e.to_string(),
            "check that you may write there, and the free space",
        )
    })
}

/// The new file has the old one's permissions, or those of any new file.
fn replace(text: &str, path: &Path, permissions: Option<fs::Permissions>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".bitonnx-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder(path))?;
    file.write_all(text.as_bytes())?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// The error with the file's name before it.
pub fn in_file(path: &Path, error: &Error) -> Error {
    Error::new(format!("{}: {}", path.display(), error.what()), error.why(), error.hint())
}
