//! The QAT variant of a rewritten model: made, trained, and turned into an inference model.
//!
//! ```text
//! float model ─ rewrite ─► QAT file + manifest ─ training, by `schedule` ─► import_weights ─ rewrite ─► ternary model
//! ```

mod import;
mod manifest;
pub(crate) mod qat;
pub mod schedule;
pub(crate) mod settle;

pub use import::{Imported, import_weights};
pub use manifest::{Manifest, ManifestEntry};
pub(crate) use manifest::{Parameter, Parameters, finish};
pub use qat::LAMBDA;
