//! `QuantizeLinear` and `DequantizeLinear`.

use super::call::{Call, Outcome, Reason, no_such, same};
use super::elementwise::broadcast;
use super::number::Types;
use crate::array::{Array, Element, Elements, Wide, for_any};
use crate::proto::{
    tensor_proto::DataType::{self, Int8, Int32, Uint8},
    type_name,
};
use ndarray::{Axis, Zip};

const CODES: Types = &[Int8, Int32, Uint8];

/// `(x - zero_point) · scale`, the difference in integers.
pub fn dequantize_linear(call: &mut Call) -> Outcome {
    let x = call.take_of(0, CODES)?;
    let Steps { scale, zero, .. } = Steps::of(call, &x)?;
    call.limit.allow::<f32>(x.shape())?;
    let (scale, zero) = (broadcast(&scale, x.shape())?, broadcast(&zero, x.shape())?);
    let values = for_any!(&x, x => Zip::from(x).and(scale).and(zero).map_collect(
        |x, scale, zero| x.to_i64().wrapping_sub(*zero) as f32 * scale
    ));
    Ok(Array::F32(values.into_shared()))
}

/// `round(x / scale) + zero_point`, half to even, saturated. The result has the zero point's type,
/// else the one in the attribute `output_dtype`, else `uint8`.
pub fn quantize_linear(call: &mut Call) -> Outcome {
    fn quantized<T: Element>(x: Elements<f32>, steps: Steps) -> Outcome {
        let scale = broadcast(&steps.scale, x.shape())?;
        let zero = broadcast(&steps.zero, x.shape())?;
        let codes = Zip::from(&x).and(scale).and(zero).map_collect(|x, scale, zero| {
            let code = f64::from((x / scale).round_ties_even()) + *zero as f64;
            T::from_wide(Wide::Float(code.clamp(T::MIN.to_f64(), T::MAX.to_f64())))
        });
        Ok(T::wrap(codes.into_shared()))
    }
    let x = call.take(0)?;
    let steps = Steps::of(call, &x)?;
    let named =
        call.node.int("output_dtype").filter(|&t| t != 0).and_then(|t| i32::try_from(t).ok());
    let dtype = steps.dtype.map_or(named.unwrap_or(Uint8 as i32), |t| t as i32);
    let Array::F32(x) = x else { return Err(no_such(&x)) };
    call.limit.allow::<i16>(x.shape())?;
    match DataType::try_from(dtype) {
        Ok(Int8) => quantized::<i8>(x, steps),
        Ok(Uint8) => quantized::<u8>(x, steps),
        _ => Err(format!("it quantises to {}", type_name(dtype))),
    }
}

/// Codes of 0 to 255 for the range of all elements, with its scale and its zero point.
pub fn dynamic_quantize_linear(call: &mut Call) -> Result<Vec<Array>, Reason> {
    let x = call.take(0)?;
    let Array::F32(x) = x else { return Err(no_such(&x)) };
    let (low, high) = x.iter().fold((0f32, 0f32), |(low, high), &x| (low.min(x), high.max(x)));
    let scale = if high > low { (high - low) / 255.0 } else { 1.0 };
    let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0);
    let codes = x.mapv(|x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0) as u8);
    let codes = Array::U8(codes.into_shared());
    Ok(vec![codes, Array::from_scalar(scale), Array::from_scalar(zero as u8)])
}

/// Scale and zero point in forms that broadcast to the shape of what they belong to.
struct Steps {
    scale: Elements<f32>,
    zero: Elements<i64>,
    /// The type of the zero point, where there is one.
    dtype: Option<DataType>,
}

impl Steps {
    /// One step for all elements, one per index of an axis, or one per block of an axis.
    fn of(call: &mut Call, x: &Array) -> Result<Self, Reason> {
        let scale = same::<f32>(call.take(1)?)?;
        let zero = call.take_optional(2);
        if let Some(zero) = zero.as_ref().filter(|zero| zero.shape() != scale.shape()) {
            let (scale, zero) = (scale.shape(), zero.shape());
            return Err(format!("its scale has shape {scale:?}, its zero point {zero:?}"));
        }
        let single = scale.len() == 1 && scale.ndim() < 2;
        let axis = if single { None } else { Some(call.axis(Some(1), x.shape().len())?) };
        let block = call.node.int("block_size").unwrap_or(0);
        let dtype = zero.as_ref().map(Array::dtype);
        let zero = match zero {
            Some(zero) => for_any!(zero, z => z.mapv(Element::to_i64).into_shared()),
            None => Elements::zeros(scale.raw_dim()),
        };
        Ok(Steps {
            scale: along(scale, x.shape(), axis, block)?,
            zero: along(zero, x.shape(), axis, block)?,
            dtype,
        })
    }
}

fn along<T: Element>(
    steps: Elements<T>,
    shape: &[usize],
    axis: Option<usize>,
    block: i64,
) -> Result<Elements<T>, Reason> {
    let Some(axis) = axis else {
        return steps.into_shape_with_order(vec![]).map_err(|e| e.to_string());
    };
    let length = shape[axis];
    let block = usize::try_from(block).map_err(|_| format!("its block_size is {block}"))?;
    let mut expected = shape.to_vec();
    match block {
        0 => expected = vec![length],
        block => expected[axis] = length.div_ceil(block),
    }
    if steps.shape() != expected {
        return Err(format!("its scale of shape {:?} does not fit {shape:?}", steps.shape()));
    }
    if block > 0 {
        let blocks: Vec<usize> = (0..length).map(|i| i / block).collect();
        return Ok(steps.select(Axis(axis), &blocks).into_shared());
    }
    let mut broad = vec![1; shape.len()];
    broad[axis] = length;
    steps.into_shape_with_order(broad).map_err(|e| e.to_string())
}
