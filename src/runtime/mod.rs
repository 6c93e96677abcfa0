//! Running models with tract.
//!
//! ```text
//! ModelProto ─ lower ─► nodes and tensors ─ walk, for the shapes of inputs ─► tract ─► Session::run
//! ```
//!
//! [`Session`] runs any ONNX model that tract has operators for, rewritten or not. A program that
//! has a tract of its own calls [`register`] on tract's ONNX loader instead.

mod bitlinear;
mod composite;
mod guard;
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

use std::sync::LazyLock;
use tract_onnx::Onnx;

/// The domain of our operators.
pub(crate) const DOMAIN: &str = "bitonnx";

/// Adds our operators to a loader of tract's.
///
/// ```
/// let mut onnx = tract_onnx::onnx();
/// bitonnx::runtime::register(&mut onnx);
/// // From here on as with any model: onnx.model_for_path("model.bit.onnx")?.into_optimized()? …
/// ```
pub fn register(onnx: &mut Onnx) {
    onnx.op_register.insert(bitlinear::NAME, bitlinear::build);
}

/// Whether an operator is one that [`register`] adds.
fn is_ours(domain: &str, name: &str) -> bool {
    domain == DOMAIN && name == bitlinear::NAME
}

/// tract's operators, some of them mended, and ours.
static OPERATORS: LazyLock<Onnx> = LazyLock::new(|| {
    let mut onnx = tract_onnx::onnx();
    mend::register(&mut onnx);
    register(&mut onnx);
    onnx
});
