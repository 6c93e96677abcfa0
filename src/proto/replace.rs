//! Files that are replaced whole or not at all.

use super::blocks;
use crate::error::{Error, Result};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// Replaces a file by what `fill` puts into a temporary one in the same folder.
///
/// The new file has the old one's permissions. On Linux the temporary file has no name until it is
/// whole and synced: a process that is killed before leaves nothing behind. `length` is about how many
/// bytes it will have; `name` says, once they are written, which file beside `path` they replace.
pub(super) fn replace<T>(
    path: &Path,
    length: u64,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    name: impl FnOnce(&T) -> PathBuf,
) -> Result<T> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let attempt = || -> io::Result<T> {
        let mut temporary = Temporary::in_folder(folder)?;
        let result = blocks::write(temporary.file(), length, fill)?;
        let path = name(&result);
        if let Ok(old) = path.metadata() {
            temporary.file().set_permissions(old.permissions())?;
        }
        temporary.file().sync_all()?;
        temporary.persist(folder, &path)?;
        File::open(folder)?.sync_all()?;
        Ok(result)
    };
    attempt().map_err(|e| unwritable(path, &e))
}

/// Writes a file: it holds either what it held before or all of `content`. A link is followed, and what is
/// no regular file, a pipe or a device, is written to: only files may be replaced.
pub fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, content).map_err(|e| unwritable(path, &e));
    }
    let target = path.canonicalize().ok().filter(|_| path.is_symlink());
    let target = target.as_deref().unwrap_or(path);
    replace(target, content.len() as u64, |file| file.write_all(content), |()| target.to_owned())
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        format!("{} can't be written", path.display()),
        error.to_string(),
        "check that the folder exists, that you may write there, and the free space",
    )
}

/// A file being written, as open to others as any new file.
enum Temporary {
    #[cfg(target_os = "linux")]
    Unnamed(File),
    Named(NamedTempFile),
}

/// How names of temporary files begin.
const PREFIX: &str = ".bitonnx-";

impl Temporary {
    fn in_folder(folder: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = linux::unnamed(folder) {
            return Ok(Temporary::Unnamed(file));
        }
        named(folder).map(Temporary::Named)
    }

    fn file(&mut self) -> &mut File {
        match self {
            #[cfg(target_os = "linux")]
            Temporary::Unnamed(file) => file,
            Temporary::Named(file) => file.as_file_mut(),
        }
    }

    fn persist(self, folder: &Path, path: &Path) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Temporary::Unnamed(file) => {
                let mut builder = tempfile::Builder::new();
                let named =
                    builder.prefix(PREFIX).make_in(folder, |name| linux::link(&file, name))?;
                Ok(named.into_temp_path().persist(path)?)
            }
            Temporary::Named(file) => Ok(file.persist(path).map(drop)?),
        }
    }
}

fn named(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags};
    use std::{fs::File, io, os::fd::AsRawFd as _, path::Path};

    /// A file without a name, where the file system has such.
    pub fn unnamed(folder: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file =
            rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)).ok().map(File::from)?;
        descriptor(&file).exists().then_some(file)
    }

    /// Gives the file a name that nothing has yet.
    pub fn link(file: &File, name: &Path) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_FOLLOW;
        Ok(rustix::fs::linkat(CWD, descriptor(file), CWD, name, flags)?)
    }

    fn descriptor(file: &File) -> std::path::PathBuf {
        format!("/proc/self/fd/{}", file.as_raw_fd()).into()
    }
}
