//! Where what is written to a path goes.

use super::folder;
use crate::error::{Error, ErrorKind, Result};
use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Where what is written to a path goes, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a file, which is replaced where it is there already.
    File(PathBuf),
    /// To whoever reads at the other end.
    Stream(Stream),
}

/// What can be written to, and never replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// This process's standard output, be it a file: what was printed there stays before it.
    Stdout,
    /// A pipe, a device, another open file of a process.
    Other(PathBuf),
}

/// Links to links: more of them are a circle, as Linux sees it.
const LINKS: usize = 40;

impl Target {
    /// Where a path leads, be something there already or not; `-` is standard output. An error where it is
    /// a folder, and where its links lead in a circle or to what is not to be changed.
    pub fn of(path: &Path) -> Result<Self> {
        let failed = |why: &str, hint: &str| {
            let what = format!("{} can't be written", path.display());
            Err(Error::new(ErrorKind::Unwritable, what, why, hint))
        };
        if path == "-" {
            return Ok(Target::Stream(Stream::Stdout));
        }
        if path.is_dir() {
            return failed("it is a folder", "name a file in it");
        }
        let mut at = path.to_owned();
        for _ in 0..LINKS {
            if let Some(stream) = Stream::open_already(&at) {
                return Ok(Target::Stream(stream));
            }
            match fs::read_link(&at) {
                Ok(to) => at = folder(&at).join(to),
                Err(_) if at.metadata().is_ok_and(|found| !found.is_file()) => {
                    return Ok(Target::Stream(Stream::Other(at)));
                }
                Err(_) if at != path && is_blob(&at) => {
                    return failed(
                        "it is a link into the Hugging Face cache, whose files all revisions share",
                        "name a file that is no link",
                    );
                }
                Err(_) => return Ok(Target::File(at)),
            }
        }
        failed("its links lead in a circle", "remove one of them, or name another file")
    }

    /// Whether writing to a path is writing to this process's standard output.
    pub fn is_stdout(path: &Path) -> bool {
        Target::of(path).is_ok_and(|target| target == Target::Stream(Stream::Stdout))
    }
}

/// Whether a file lies where the Hugging Face cache keeps the contents of files.
fn is_blob(file: &Path) -> bool {
    let folder = folder(file);
    folder.ends_with("blobs") && folder.with_file_name("snapshots").is_dir()
}

impl Stream {
    /// What `/dev/stdout` and `/dev/fd/63` lead to: a file that a process has open.
    fn open_already(path: &Path) -> Option<Self> {
        let within = folder(path).canonicalize().ok()?;
        let own = ["/dev/fd", "/proc/self/fd"].map(|fd| Path::new(fd).canonicalize().ok());
        if own.contains(&Some(within.clone())) && path.file_name()? == "1" {
            return Some(Stream::Stdout);
        }
        let open = within.starts_with("/proc") || within.starts_with("/dev/fd");
        open.then(|| Stream::Other(path.to_owned()))
    }

    pub(super) fn write<T>(
        &self,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
    ) -> io::Result<T> {
        let to: Box<dyn Write> = match self {
            Stream::Stdout => Box::new(io::stdout().lock()),
            Stream::Other(path) => Box::new(OpenOptions::new().append(true).open(path)?),
        };
        let mut to = BufWriter::with_capacity(1 << 16, to);
        let result = fill(&mut to)?;
        to.flush()?;
        Ok(result)
    }
}
