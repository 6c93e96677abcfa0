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
    let search = Search { model };
    let (unit, gain) = match search.gain(value, k)? {
        Some(found) => found,
        None => (value, tensor1(&vec![1f32; k])),
    };
    let unit = search.before_cast(unit);
    rule_if_some!((wide, eps) = search.unit(unit)?);
    let data_type = model.outlet_fact(value)?.datum_type;
    let source = match model.outlet_fact(wide)?.datum_type {
        same if same == data_type => wide,
        DatumType::F32 => search.before_cast(wide),
        _ => return Ok(None),
    };
    rule_if!(model.outlet_fact(source)?.datum_type == data_type);
    let norm = Norm { eps: eps.to_bits(), gain: gain.into_arc_tensor() };
    Ok(Some((norm, source)))
}

struct Search<'m> {
    model: &'m TypedModel,
}

impl<'m> Search<'m> {
    fn op<O: Op>(&self, value: OutletId) -> Option<(&'m O, &'m [OutletId])> {
        let node = self.model.node(value.node);
        node.op_as::<O>().map(|op| (op, &node.inputs[..]))
    }

    fn before_cast(&self, value: OutletId) -> OutletId {
        self.op::<Cast>(value).and_then(|(_, inputs)| inputs.first().copied()).unwrap_or(value)
    }

    /// What is multiplied with a constant, and the constant.
    fn product(&self, value: OutletId) -> TractResult<Option<(OutletId, Arc<Tensor>)>> {
        rule_if_some!((op, inputs) = self.op::<TypedBinOp>(value));
        rule_if!(op.0.is::<math::Mul>());
        for (other, constant) in [(inputs[0], inputs[1]), (inputs[1], inputs[0])] {
            if let Some(constant) = &self.model.outlet_fact(constant)?.konst {
                return Ok(Some((other, constant.clone())));
            }
        }
        Ok(None)
    }

    /// What is multiplied with a gain along the last axis, and the gain in f32.
    fn gain(&self, value: OutletId, k: usize) -> TractResult<Option<(OutletId, Tensor)>> {
        rule_if_some!((unit, gain) = self.product(value)?);
        let along_last = gain.len() == k && gain.shape().last() == Some(&k);
        rule_if!(along_last && gain.rank() <= self.model.outlet_fact(value)?.rank());
        let gain = gain.cast_to::<f32>()?.into_owned().into_shape(&[k])?;
        Ok(Some((unit, gain)))
    }

    /// What is divided by its root mean square along the last axis, and what is added under the root.
    fn unit(&self, value: OutletId) -> TractResult<Option<(OutletId, f32)>> {
        let last = self.model.outlet_fact(value)?.rank().checked_sub(1);
        rule_if_some!((op, inputs) = self.op::<RmsNorm>(value));
        rule_if!(Some(op.axis) == last);
        Ok(Some((inputs[0], op.eps.cast_to_scalar()?)))
    }
}
