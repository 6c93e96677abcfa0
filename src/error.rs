//! The one error type: what failed, why, and what to do about it.

use std::fmt;

/// What failed, why, and what to do about it.
///
/// `Display` gives the three as one sentence each, in three lines when all are present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    why: String,
    hint: String,
}

/// A result whose error can be shown to a user as it is.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `what` names the file, node and value; `why` is the cause; `hint` says what to do.
    pub fn new(what: impl Into<String>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Error { what: what.into(), why: why.into(), hint: hint.into() }
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why it failed.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  why: {}\n  try: {}", self.what, self.why, self.hint)
    }
}

impl std::error::Error for Error {}
