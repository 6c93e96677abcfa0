//! Files that commands read and write.

use bitonnx::{
    Error, ErrorKind, Result,
    files::{self, Target},
    proto,
};
use std::{
    ffi::OsStr,
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

/// A file's name without its ending, if that is this one.
pub fn without<'n>(name: &'n OsStr, ending: &str) -> Option<&'n OsStr> {
    let name = Path::new(name);
    name.file_stem().filter(|_| name.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending)))
}

/// Refuses to write over what this very command reads. Replacing a model removes its data file too.
pub fn check_unread<'p>(target: &Path, read: impl IntoIterator<Item = &'p PathBuf>) -> Result<()> {
    for file in read {
        let beside = file.file_name().map(|name| target.with_file_name(name));
        let is_data = beside
            .is_some_and(|beside| proto::is_data_of(&beside, target) && same_file(&beside, file));
        let why = match (same_file(file, target), is_data) {
            (true, _) => "it is",
            (_, true) => "its data file is",
            _ => continue,
        };
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("{} can't be written", target.display()),
            format!("{why} {}, which this very command reads", file.display()),
            "write to another file",
        ));
    }
    Ok(())
}

/// Refuses what may not be replaced, and what is in a folder that is not there.
pub fn check_target(path: &Path, overwrite: bool) -> Result<()> {
    let Target::File(file) = Target::of(path)? else { return Ok(()) };
    let unwritable = |why: String, hint: &str| {
        let what = format!("{} can't be written", path.display());
        Err(Error::new(ErrorKind::Unwritable, what, why, hint))
    };
    if file.exists() && !overwrite {
        let hint = "name another file with -o, or allow it with --overwrite";
        return unwritable("it exists already".into(), hint);
    }
    match files::folder(&file) {
        folder if folder.is_dir() => Ok(()),
        folder => {
            unwritable(format!("there is no folder {}", folder.display()), "make the folder first")
        }
    }
}
