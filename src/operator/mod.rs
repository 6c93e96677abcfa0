//! What stands in the file: our operators' schemas, their definitions in standard ones, and the layout of the
//! tensors that they read.
//!
//! An operator is a type of this room, with `NAME`, `read` and `node`, and a line in `DEFINITIONS`.

mod bit_linear;
mod codes;
pub mod metadata;
mod scales;

pub use bit_linear::BitLinear;
pub use codes::Codes;
pub use scales::Scales;

use crate::{
    error::Result,
    proto::{FunctionProto, ModelProto, NodeProto, Operator, OperatorSetIdProto, graphs, opset},
};

/// The domain of our operators.
pub const DOMAIN: &str = "bitonnx";

/// The version of [`DOMAIN`] that this crate writes.
pub const VERSION: i64 = 1;

/// The least magnitude that an activation is divided by, unless a node says otherwise.
pub const EPS: f32 = 1e-5;

/// An operator's definition for a model that imports an opset.
type Definition = fn(i64) -> Result<FunctionProto>;

/// Each operator's name and definition.
const DEFINITIONS: [(&str, Definition); 1] = [(BitLinear::NAME, BitLinear::definition)];

/// Whether an operator is one of ours.
pub fn is_ours(operator: Operator) -> bool {
    DEFINITIONS.iter().any(|(name, _)| operator == Operator::new(DOMAIN, name))
}

/// Gives a model the definitions of the operators of ours that it uses, and the domain that they are of.
///
/// An error where the model's opset is too old for them.
pub fn define(model: &mut ModelProto) -> Result<()> {
    for (name, definition) in DEFINITIONS {
        let ours = Operator::new(DOMAIN, name);
        let nodes = graphs(model).into_iter().flat_map(|graph| &graph.node);
        if !nodes.map(NodeProto::operator).any(|operator| operator == ours) {
            continue;
        }
        if model.functions.iter().all(|function| function.identity().0 != ours) {
            model.functions.push(definition(opset(model))?);
        }
        if model.opset_import.iter().all(|import| import.domain() != DOMAIN) {
            let (domain, version) = (Some(DOMAIN.into()), Some(VERSION));
            model.opset_import.push(OperatorSetIdProto { domain, version });
        }
    }
    Ok(())
}
