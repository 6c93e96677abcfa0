//! Operators of tract's that are not right for every model, mended where no nodes of its say the same.

use super::{composite::TRACT, key::OPEN};
use tract_core::ops::cast::cast;
use tract_hir::{internal::*, ops::array::ConstantOfShape};
use tract_onnx::{Onnx, model::ParsingContext, pb::NodeProto};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Puts the mended operators in the place of tract's.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Cast", cast_to);
    onnx.op_register.insert("ConstantOfShape", constant_of_shape);
}

/// `ConstantOfShape`, of f32 where it has no value; tract takes f64.
fn constant_of_shape(context: &ParsingContext, node: &NodeProto) -> Built {
    let value = match node.get_attr_opt("value")? {
        Some(value) => context.load_tensor(value)?.into_shape(&[])?,
        None => tensor0(0f32),
    };
    Ok((expand(ConstantOfShape::new(value.into_arc_tensor())), vec![]))
}

/// `Cast`, to 64-bit integers as such where no shape is open, and for recipes. tract makes its symbolic
/// ones of them, which open shapes need and several of its operators do not take.
fn cast_to(context: &ParsingContext, node: &NodeProto) -> Built {
    let to: DatumType = node.get_attr("to")?;
    let open = node.domain != TRACT && context.template.symbols.get(OPEN).is_some();
    let op = if open && to == DatumType::I64 { expand(OpenCast) } else { Box::new(cast(to)) };
    Ok((op, vec![]))
}

/// A cast to 64-bit integers where shapes are open: to symbolic ones, but of floats, which tract would take
/// through 32 bits on that way, and cut what is larger.
#[derive(Debug, Clone)]
struct OpenCast;

impl OpenCast {
    fn to(from: DatumType) -> DatumType {
        if from.is_float() { DatumType::I64 } else { DatumType::TDim }
    }
}

impl Expansion for OpenCast {
    fn name(&self) -> StaticName {
        "Cast".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].rank, &inputs[0].rank)?;
        s.equals(&outputs[0].shape, &inputs[0].shape)?;
        s.given(&inputs[0].datum_type, move |s, from| {
            s.equals(&outputs[0].datum_type, OpenCast::to(from))
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let from = model.outlet_fact(inputs[0])?.datum_type;
        model.wire_node(prefix, cast(OpenCast::to(from)), inputs)
    }
}
