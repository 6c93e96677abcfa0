//! Turns an exported ONNX transformer into a 1.58-bit one.

pub mod array;
mod error;
pub mod graph;
pub mod kernels;
pub mod npz;
pub mod proto;
pub mod quant;
pub mod report;
pub mod rewrite;
pub mod roles;
mod rules;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod text;

pub use error::{Error, Result};
