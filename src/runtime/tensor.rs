//! Stored tensors and [`Array`]s as tract's tensors, and back.

use crate::{
    npz::Array,
    proto::{self, TensorProto, tensor_proto::DataType},
};
use half::bf16;
use tract_hir::internal::{DatumType, Tensor, TractResult, bail};

/// The type that holds an ONNX element type in tract: bf16 is held as f32, four-bit and two-bit
/// integers as bytes.
pub(super) fn datum_type(data_type: i32) -> Option<DatumType> {
    use DataType::*;
    Some(match DataType::try_from(data_type).ok()? {
        Bool => DatumType::Bool,
        Uint8 | Uint4 | Uint2 => DatumType::U8,
        Int8 | Int4 | Int2 => DatumType::I8,
        Uint16 => DatumType::U16,
        Int16 => DatumType::I16,
        Uint32 => DatumType::U32,
        Int32 => DatumType::I32,
        Uint64 => DatumType::U64,
        Int64 => DatumType::I64,
        Float16 => DatumType::F16,
        Float | Bfloat16 => DatumType::F32,
        Double => DatumType::F64,
        _ => return None,
    })
}

/// numpy's name for an ONNX element type, as [`Array::dtype`] gives it.
pub(super) fn dtype_name(data_type: i32) -> Option<&'static str> {
    let empty = Tensor::zero_dt(datum_type(data_type)?, &[0]).ok()?;
    Some(to_array(empty).ok()?.dtype())
}

/// A stored tensor as tract holds it.
pub(super) fn from_proto(tensor: &TensorProto) -> TractResult<Tensor> {
    let name = tensor.name();
    let kind = DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined);
    let held = datum_type(tensor.data_type());
    let (Some(held), Some(bytes)) = (held, proto::raw_bytes(tensor)) else {
        bail!("tensor `{name}` of element type {kind:?} can't be read");
    };
    let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
    let count = shape.iter().product();
    use DataType::*;
    let mut dense = Tensor::zero_dt(held, &shape)?;
    let into = dense.as_bytes_mut();
    match kind {
        Bool => into.iter_mut().zip(&*bytes).for_each(|(to, b)| *to = u8::from(*b != 0)),
        Bfloat16 => {
            put(into, bytes.as_chunks().0, |b| bf16::from_le_bytes(b).to_f32().to_ne_bytes())
        }
        Uint4 => put(into, &parts(&bytes, count, 4), |v| v),
        Uint2 => put(into, &parts(&bytes, count, 2), |v| v),
        Int4 => put(into, &parts(&bytes, count, 4), |v| signed(v, 4)),
        Int2 => put(into, &parts(&bytes, count, 2), |v| signed(v, 2)),
        _ => into.copy_from_slice(&bytes),
    }
    Ok(dense)
}

/// What depends on the element type of an array, each of which tract calls as [`Array`] does.
macro_rules! arrays {
    ($($of:ident)*) => {
        /// The type of a caller's array.
        pub(super) fn array_type(array: &Array) -> DatumType {
            match array { $(Array::$of(_) => DatumType::$of,)* }
        }

        /// A caller's array as tract holds it.
        pub(super) fn from_array(array: &Array) -> Tensor {
            match array.clone() { $(Array::$of(array) => array.into(),)* }
        }

        /// A result of tract's as a caller's array. tract's symbolic integers become i64.
        pub(super) fn to_array(tensor: Tensor) -> TractResult<Array> {
            Ok(match tensor.datum_type() {
                $(DatumType::$of => Array::$of(tensor.into_plain_array()?),)*
                DatumType::TDim => {
                    Array::I64(tensor.cast_to::<i64>()?.into_owned().into_plain_array()?)
                }
                other => bail!("tract gave a value of type {other:?}"),
            })
        }
    };
}

arrays!(Bool I8 I16 I32 I64 U8 U16 U32 U64 F16 F32 F64);

/// Writes each element as another does its bytes.
fn put<A: Copy, const N: usize>(into: &mut [u8], from: &[A], bytes: impl Fn(A) -> [u8; N]) {
    for (to, element) in into.as_chunks_mut::<N>().0.iter_mut().zip(from) {
        *to = bytes(*element);
    }
}

/// Elements of a few bits each, the first in the low bits of a byte.
fn parts(bytes: &[u8], count: usize, bits: usize) -> Vec<[u8; 1]> {
    let mask = (1u8 << bits) - 1;
    let of = |&b: &u8| (0..8 / bits).map(move |i| [(b >> (i * bits)) & mask]);
    bytes.iter().flat_map(of).take(count).collect()
}

fn signed([value]: [u8; 1], bits: usize) -> [u8; 1] {
    let unused = 8 - bits;
    (((value << unused) as i8) >> unused).to_ne_bytes()
}
