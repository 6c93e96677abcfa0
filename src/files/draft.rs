//! Files that are there whole or not at all.

use super::{blocks, folder};
use crate::error::{Error, Result};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};
use tempfile::NamedTempFile;

/// A file that is written and waits for its name.
///
/// On Linux it has none until then: a process that is killed before leaves nothing behind.
#[derive(Debug)]
pub struct Draft(Temporary);

impl Draft {
    /// Writes what `fill` makes, about `length` bytes, to a new file in the folder of `path`.
    pub fn beside<T>(
        path: &Path,
        length: u64,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> Result<(Self, T)> {
        let attempt = || {
            let mut temporary = Temporary::in_folder(folder(path))?;
            let result = blocks::write(temporary.file(), length, fill)?;
            Ok((Draft(temporary), result))
        };
        attempt().map_err(|e| Error::unwritable(path, e))
    }

    /// Gives it its name, in the folder where it is, once all of it is on the disk. A file of that name is
    /// replaced, and leaves its permissions.
    pub fn put(self, path: &Path) -> Result<()> {
        self.named(path).map_err(|e| Error::unwritable(path, e))
    }

    fn named(mut self, path: &Path) -> io::Result<()> {
        let folder = folder(path);
        let file = self.0.file();
        if let Ok(old) = path.metadata() {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        self.0.persist(folder, path)?;
        // Where folders can't be opened, the system sees to their names by itself.
        File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
    }
}

/// A file being written, as open to others as any new file.
#[derive(Debug)]
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
    // Its name is of no interest to anyone.
    builder.tempfile_in(folder).map_err(|e| e.kind().into())
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
