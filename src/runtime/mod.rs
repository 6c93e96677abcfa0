//! Running models with tract.
//!
//! ```text
//! ModelProto ─ lower ─► nodes and tensors ─ walk, for the shapes of inputs ─► tract ─► Session::run
//! ```
//!
//! [`Session`] runs any ONNX model that tract has operators for, rewritten or not. A program that
//! builds on [`tract`] itself calls [`register`] on tract's ONNX loader instead.

mod bitlinear;
mod composite;
mod failure;
mod guard;
mod honoured;
mod key;
mod lower;
mod mend;
mod norm;
mod packed;
mod plans;
mod quantize;
mod recipes;
mod session;
mod tensor;
mod threads;
mod walk;

pub use guard::quiet_panics;
pub use session::{Dim, Options, Session, Step, Value};
/// The release of tract that models run with; tract promises no other the same types.
pub use tract_onnx as tract;

use crate::operator::BitLinear;
use std::sync::LazyLock;
use tract_onnx::Onnx;

/// Adds our operators to a loader of tract's.
///
/// ```
/// let mut onnx = bitonnx::runtime::tract::onnx();
/// bitonnx::runtime::register(&mut onnx);
/// // From here on as with any model: onnx.model_for_path("model.bit.onnx")?.into_optimized()? …
/// ```
pub fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(BitLinear::NAME, bitlinear::build);
}

/// tract's operators, some of them mended, and ours.
static OPERATORS: LazyLock<Onnx> = LazyLock::new(|| {
    let mut onnx = tract_onnx::onnx();
    mend::register(&mut onnx);
    register(&mut onnx);
    onnx
});
