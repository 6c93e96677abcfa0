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

/// Where a rewritten model goes if nothing else is said: `model.bit.onnx` for `model.onnx` and
/// `model.qat.onnx`, `name.bit.onnx` for any other name; with `qat` the ending is `.qat.onnx`.
pub fn rewritten_path(model: &Path, qat: bool) -> PathBuf {
    if qat {
        beside(model, &["onnx"], ".qat.onnx")
    } else {
        beside(model, &["onnx", "qat"], ".bit.onnx")
    }
}

/// Likewise with trained tensors: `model.trained.onnx` for `model.onnx`, `model.trained.qat.onnx` for
/// `model.qat.onnx`, `name.trained.onnx` for any other name.
pub fn trained_path(model: &Path) -> PathBuf {
    let stem = model.file_name().and_then(|name| without(name, "onnx"));
    let is_qat = stem.is_some_and(|stem| without(stem, "qat").is_some());
    beside(model, &["onnx", "qat"], if is_qat { ".trained.qat.onnx" } else { ".trained.onnx" })
}

/// `model.qat.json` for `model.qat.onnx` and for `model.onnx`.
pub fn manifest_path(model: &Path) -> PathBuf {
    beside(model, &["onnx", "qat"], ".qat.json")
}

/// A path beside a file: of its name these endings are taken off, as far as it has them in turn.
fn beside(file: &Path, endings: &[&str], new: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default();
    let stem = endings.iter().try_fold(name, |stem, ending| without(stem, ending).ok_or(stem));
    let mut name = stem.unwrap_or_else(|stem| stem).to_owned();
    name.push(new);
    file.with_file_name(name)
}

/// A file's name without its ending, if that is this one.
fn without<'n>(name: &'n OsStr, ending: &str) -> Option<&'n OsStr> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_lies_beside_the_model() {
        // The model, what `rewrite` and `import-weights` write.
        let cases = [
            ("a/model.onnx", "a/model.bit.onnx", "a/model.trained.onnx"),
            ("model.ONNX", "model.bit.onnx", "model.trained.onnx"),
            ("a/model.v2.onnx", "a/model.v2.bit.onnx", "a/model.v2.trained.onnx"),
            ("model.pb", "model.pb.bit.onnx", "model.pb.trained.onnx"),
            ("model", "model.bit.onnx", "model.trained.onnx"),
            ("é.onnx", "é.bit.onnx", "é.trained.onnx"),
            (".onnx", ".onnx.bit.onnx", ".onnx.trained.onnx"),
            (".qat.onnx", ".qat.bit.onnx", ".qat.trained.onnx"),
            ("a/model.qat.onnx", "a/model.bit.onnx", "a/model.trained.qat.onnx"),
            ("model.QAT.ONNX", "model.bit.onnx", "model.trained.qat.onnx"),
        ];
        for (model, bit, with_tensors) in cases.map(|(a, b, c)| (Path::new(a), b, c)) {
            assert_eq!(rewritten_path(model, false), Path::new(bit));
            assert_eq!(trained_path(model), Path::new(with_tensors));
        }
        assert_eq!(rewritten_path(Path::new("a/model.onnx"), true), Path::new("a/model.qat.onnx"));
    }

    #[test]
    fn the_manifest_lies_beside_the_qat_file() {
        for model in ["a/model.qat.onnx", "a/model.onnx"] {
            assert_eq!(manifest_path(Path::new(model)), Path::new("a/model.qat.json"));
        }
        let out = trained_path(Path::new("a/model.qat.onnx"));
        assert_eq!(manifest_path(&out), Path::new("a/model.trained.qat.json"));
    }
}
