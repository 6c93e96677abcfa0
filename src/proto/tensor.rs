//! Sizes and bytes of stored tensors.

use super::{ModelProto, TensorProto, tensor_proto::DataType, tensors_mut};
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;

/// Number of elements; `None` where a dimension is negative or the product overflows.
pub fn element_count(tensor: &TensorProto) -> Option<usize> {
    tensor.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
}

/// The element type of this name: `float16`.
pub fn type_named(name: &str) -> Option<DataType> {
    let known = DataType::from_str_name(&name.to_ascii_uppercase());
    known.filter(|known| type_name(*known as i32) == name)
}

/// The name of an element type in lower case, as ONNX's text has it; `undefined` for a number that ONNX does
/// not know.
pub fn type_name(data_type: i32) -> String {
    DataType::try_from(data_type).unwrap_or_default().as_str_name().to_lowercase()
}

/// Whether an element type is a float of 16, 32 or 64 bits.
pub fn is_float(data_type: i32) -> bool {
    use DataType::*;
    [Float, Double, Float16, Bfloat16].iter().any(|float| *float as i32 == data_type)
}

/// Bits of one element as raw data stores it; `None` for strings and unknown types.
pub fn element_bits(data_type: i32) -> Option<usize> {
    use DataType::*;
    Some(match DataType::try_from(data_type).ok()? {
        Uint2 | Int2 => 2,
        Uint4 | Int4 | Float4e2m1 => 4,
        Uint8 | Int8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz
        | Float8e8m0 => 8,
        Uint16 | Int16 | Float16 | Bfloat16 => 16,
        Float | Int32 | Uint32 => 32,
        Double | Int64 | Uint64 | Complex64 => 64,
        Complex128 => 128,
        // ONNX packs six-bit floats in a way of its own, which nothing here needs to read.
        Undefined | String | Float6e2m3 | Float6e3m2 => return None,
    })
}

/// Bytes of one element; `None` for strings, sub-byte and unknown types.
pub fn element_size(data_type: i32) -> Option<usize> {
    element_bits(data_type).filter(|b| b % 8 == 0).map(|b| b / 8)
}

/// Bytes of the tensor's elements as raw data; `None` for strings and types of unknown width, and where no
/// tensor has the shape.
pub(super) fn raw_len(tensor: &TensorProto) -> Option<usize> {
    let bits = element_bits(tensor.data_type())?.checked_mul(element_count(tensor)?)?;
    Some(bits.div_ceil(8))
}

/// Bytes of the tensor's elements; 0 for strings and unknown types.
pub fn tensor_bytes(tensor: &TensorProto) -> usize {
    raw_len(tensor).unwrap_or(0)
}

/// The tensor's elements as little-endian bytes, row-major, wherever the message keeps them.
///
/// `None` for strings and six-bit floats, and where their number does not fit the dimensions.
pub fn raw_bytes(tensor: &TensorProto) -> Option<Cow<'_, [u8]>> {
    let needed = raw_len(tensor)?;
    let bytes: Cow<[u8]> = match &tensor.raw_data {
        Some(raw) => Cow::Borrowed(raw),
        None => Cow::Owned(from_typed_fields(tensor)?),
    };
    (bytes.len() == needed).then_some(bytes)
}

fn from_typed_fields(tensor: &TensorProto) -> Option<Vec<u8>> {
    use DataType::*;
    let ints = &tensor.int32_data;
    Some(match DataType::try_from(tensor.data_type()).ok()? {
        Float | Complex64 => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Double | Complex128 => tensor.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Int64 => tensor.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Uint64 => tensor.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Uint32 => tensor.uint64_data.iter().flat_map(|v| (*v as u32).to_le_bytes()).collect(),
        Int32 => ints.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Int16 | Uint16 | Float16 | Bfloat16 => {
            ints.iter().flat_map(|v| (*v as u16).to_le_bytes()).collect()
        }
        // Types of less than a byte are packed here as they are in raw data.
        Int8 | Uint8 | Bool | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz
        | Float8e8m0 | Int4 | Uint4 | Float4e2m1 | Int2 | Uint2 => {
            ints.iter().map(|v| *v as u8).collect()
        }
        Undefined | String | Float6e2m3 | Float6e3m2 => return None,
    })
}

/// Refuses a model in which a stored tensor's data do not fit its shape.
pub(super) fn check_sizes(model: &mut ModelProto, name: &str) -> Result<()> {
    tensors_mut(
        model,
        |owner, tensor| if fits(tensor) { Ok(()) } else { Err(misfit(owner, tensor)) },
    )
    .map_err(|why| {
        Error::new(
            ErrorKind::InvalidFile,
            format!("{name} is broken"),
            why,
            "export or download the model again",
        )
    })
}

fn misfit(owner: &str, tensor: &TensorProto) -> String {
    format!(
        "tensor `{owner}` has shape {:?}, which its data ({} bytes of element type {}) do not fit",
        tensor.dims,
        tensor.raw_data.as_ref().map_or(0, |r| r.len()),
        tensor.data_type()
    )
}

fn fits(tensor: &TensorProto) -> bool {
    match &tensor.raw_data {
        Some(raw) if element_bits(tensor.data_type()).is_some() => {
            raw_len(tensor) == Some(raw.len())
        }
        _ => element_count(tensor).is_some(),
    }
}
