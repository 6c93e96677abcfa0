//! Finds the root mean square normalisation that a value comes from, in tract's graph.
//!
//! ```text
//! source ─ RmsNorm(eps) ─ Mul(gain) ─ value
//! ```
//!
//! tract itself makes an `RmsNorm` of all but the gain, in whatever operators it is spelled. In 16 bits there
//! are `Cast`s to f32 before it and back before the gain.

use tract_core::ops::{binary::TypedBinOp, cast::Cast, math, nn::RmsNorm};
use tract_hir::internal::*;

/// A normalisation along the last axis, `k` long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Norm {
    /// The bits of an f32.
    pub eps: u32,
    /// f32, `k` elements.
    pub gain: Arc<Tensor>,
}

/// The normalisation that makes `value [..., k]`, and what it normalises, which is of the same type.
pub(super) fn norm(
    model: &TypedModel,
    value: OutletId,
    k: usize,
) -> TractResult<Option<(Norm, OutletId)>> {
    let (unit, gain) = match gain(model, value, k)? {
        Some(found) => found,
        None => (value, tensor1(&vec![1f32; k])),
    };
    rule_if_some!((wide, eps) = divided(model, before_cast(model, unit))?);
    let data_type = model.outlet_fact(value)?.datum_type;
    let source = match model.outlet_fact(wide)?.datum_type {
        same if same == data_type => wide,
        DatumType::F32 => before_cast(model, wide),
        _ => return Ok(None),
    };
    rule_if!(model.outlet_fact(source)?.datum_type == data_type);
    let norm = Norm { eps: eps.to_bits(), gain: gain.into_arc_tensor() };
    Ok(Some((norm, source)))
}

fn op<O: Op>(model: &TypedModel, value: OutletId) -> Option<(&O, &[OutletId])> {
    let node = model.node(value.node);
    node.op_as::<O>().map(|op| (op, &node.inputs[..]))
}

fn before_cast(model: &TypedModel, value: OutletId) -> OutletId {
    op::<Cast>(model, value).map_or(value, |(_, inputs)| inputs[0])
}

/// What is multiplied with a gain along the last axis, and the gain in f32.
fn gain(model: &TypedModel, value: OutletId, k: usize) -> TractResult<Option<(OutletId, Tensor)>> {
    rule_if_some!((op, inputs) = op::<TypedBinOp>(model, value));
    rule_if!(op.0.is::<math::Mul>());
    let constant = |i: usize| TractResult::Ok(model.outlet_fact(inputs[i])?.konst.clone());
    let (unit, gain) = match [constant(0)?, constant(1)?] {
        [_, Some(gain)] => (inputs[0], gain),
        [Some(gain), None] => (inputs[1], gain),
        [None, None] => return Ok(None),
    };
    let along_last = gain.len() == k && gain.shape().last() == Some(&k);
    rule_if!(along_last && gain.rank() <= model.outlet_fact(value)?.rank());
    let gain = gain.cast_to::<f32>()?.into_owned().into_shape(&[k])?;
    Ok(Some((unit, gain)))
}

/// What is divided by its root mean square along the last axis, and what is added under the root.
fn divided(model: &TypedModel, value: OutletId) -> TractResult<Option<(OutletId, f32)>> {
    let last = model.outlet_fact(value)?.rank().checked_sub(1);
    rule_if_some!((op, inputs) = op::<RmsNorm>(model, value));
    rule_if!(Some(op.axis) == last);
    Ok(Some((inputs[0], op.eps.cast_to_scalar()?)))
}
