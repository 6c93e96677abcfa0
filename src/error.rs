//! The one error type: what failed, why, and what to do about it.

use std::{fmt, io, path::Path, sync::Arc};

/// What failed, why, and what to do about it.
///
/// `Display` gives the three as one sentence each, in three lines. [`Error::kind`] is for programs.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    what: String,
    why: String,
    hint: String,
    source: Option<Arc<io::Error>>,
}

/// A result whose error can be shown to a user as it is.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a program may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file is not there.
    NotFound,
    /// A file can't be read.
    Unreadable,
    /// A file can't be written.
    Unwritable,
    /// A model does not fit into one protobuf message, whose limit is 2 GiB.
    TooLarge,
    /// A file is not of its format, or damaged.
    InvalidFile,
    /// A model breaks ONNX's rules.
    InvalidModel,
    /// A model is sound, and asks for what this crate can't do.
    Unsupported,
    /// An option can't be as it is given, or not for this model.
    InvalidOption,
    /// An array or tensor does not fit the model, or an input of a run is missing.
    InvalidInput,
    /// Tensors that were trained are missing.
    MissingTensors,
    /// A model has no node of a name.
    NoSuchNode,
    /// No projection's name matches a filter.
    NoSuchProjection,
    /// No initializer's name matches a filter.
    NoSuchInitializer,
    /// A model failed while it ran.
    Failed,
    /// This crate is wrong.
    Bug,
}

impl Error {
    /// `what` names the file, node and value; `why` is the cause; `hint` says what to do.
    pub fn new(
        kind: ErrorKind,
        what: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Error { kind, what: what.into(), why: why.into(), hint: hint.into(), source: None }
    }

    /// A file that the system does not let us read.
    pub fn unreadable(path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unreadable,
        };
        let what = format!("{} can't be read", path.display());
        let hint = "check the path and the file's permissions";
        Error::new(kind, what, source.to_string(), hint).with_source(source)
    }

    /// A file that the system does not let us write.
    pub fn unwritable(path: &Path, source: io::Error) -> Self {
        let what = format!("{} can't be written", path.display());
        let hint = "check that the folder exists, that you may write there, and the free space";
        Error::new(ErrorKind::Unwritable, what, source.to_string(), hint).with_source(source)
    }

    /// The same with the system's error that caused it.
    fn with_source(self, source: io::Error) -> Self {
        Error { source: Some(Arc::new(source)), ..self }
    }

    /// The same with other advice.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Error { hint: hint.into(), ..self }
    }

    /// The same with the name of what it is about, such as a file, before what failed.
    pub fn within(self, place: impl fmt::Display) -> Self {
        Error { what: format!("{place}: {}", self.what), ..self }
    }

    /// What a program may want to tell apart.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why it failed.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What can be done about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  why: {}\n  try: {}", self.what, self.why, self.hint)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
