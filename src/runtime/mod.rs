//! Running models with tract.
//!
//! ```text
//! ModelProto ─ lower ─► nodes and tensors ─ walk, for the shapes of inputs ─► tract ─► Session::run
//! ```
//!
//! [`Session`] runs any ONNX model that tract has operators for, rewritten or not. A program that
//! has a tract of its own calls [`register`] on tract's ONNX loader instead.

mod composite;
mod lower;
mod recipes;
mod session;
mod tensor;
mod walk;

pub use session::{Dim, Options, Session, Value};

use std::sync::LazyLock;
use tract_onnx::Onnx;

/// The domain of our operators.
pub(crate) const DOMAIN: &str = "bitonnx";

/// Adds our operators to a loader of tract's.
pub fn register(_onnx: &mut Onnx) {
}

/// tract's operators and ours.
static OPERATORS: LazyLock<Onnx> = LazyLock::new(|| {
    let mut onnx = tract_onnx::onnx();
    register(&mut onnx);
    onnx
});
