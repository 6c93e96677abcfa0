//! Tensors whose element type is known at run time only.

use crate::proto::{TensorProto, raw_bytes, tensor_proto::DataType};
use bytes::Bytes;
use half::{bf16, f16};
use ndarray::{ArcArray, IxDyn};

/// A tensor of one element type. Clones share the elements until one of them is written to.
pub type Elements<T> = ArcArray<T, IxDyn>;

/// The most axes that a tensor may have.
pub(crate) const MAX_RANK: usize = 64;

/// A tensor in memory, of any element type that the constant evaluator computes with.
///
/// Cloning costs nothing. A transposed or reshaped tensor may share its elements with the original.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each is named after its element type")]
pub enum Array {
    F32(Elements<f32>),
    F64(Elements<f64>),
    F16(Elements<f16>),
    BF16(Elements<bf16>),
    I8(Elements<i8>),
    I32(Elements<i32>),
    I64(Elements<i64>),
    U8(Elements<u8>),
    Bool(Elements<bool>),
}

/// Runs an expression for whichever element type an [`Array`] has; the arms have one type.
macro_rules! for_any {
    ($array:expr, $elements:ident => $body:expr) => {
        match $array {
            $crate::array::Array::F32($elements) => $body,
            $crate::array::Array::F64($elements) => $body,
            $crate::array::Array::F16($elements) => $body,
            $crate::array::Array::BF16($elements) => $body,
            $crate::array::Array::I8($elements) => $body,
            $crate::array::Array::I32($elements) => $body,
            $crate::array::Array::I64($elements) => $body,
            $crate::array::Array::U8($elements) => $body,
            $crate::array::Array::Bool($elements) => $body,
        }
    };
}
pub(crate) use for_any;

impl Array {
    /// The elements of a stored tensor.
    ///
    /// Integers of two and four bits come back as `I8` and `U8`. `None` for strings, eight-bit
    /// floats and complex numbers, for more than 64 axes, and where data and dimensions disagree.
    pub fn from_tensor(tensor: &TensorProto) -> Option<Array> {
        use DataType::*;
        let bytes = raw_bytes(tensor)?;
        let shape: Vec<usize> =
            tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        match DataType::try_from(tensor.data_type()).ok()? {
            Float => decode::<f32>(&shape, &bytes),
            Double => decode::<f64>(&shape, &bytes),
            Float16 => decode::<f16>(&shape, &bytes),
            Bfloat16 => decode::<bf16>(&shape, &bytes),
            Int8 => decode::<i8>(&shape, &bytes),
            Int32 => decode::<i32>(&shape, &bytes),
            Int64 => decode::<i64>(&shape, &bytes),
            Uint8 => decode::<u8>(&shape, &bytes),
            Bool => decode::<bool>(&shape, &bytes),
            Uint4 => Self::from_vec(&shape, unpack(&shape, &bytes, 4, |code| code)?),
            Uint2 => Self::from_vec(&shape, unpack(&shape, &bytes, 2, |code| code)?),
            Int4 => {
                Self::from_vec(&shape, unpack(&shape, &bytes, 4, |code| (code as i8) << 4 >> 4)?)
            }
            Int2 => {
                Self::from_vec(&shape, unpack(&shape, &bytes, 2, |code| (code as i8) << 6 >> 6)?)
            }
            _ => None,
        }
    }

    /// Elements in row-major order; `None` where their number does not fit the shape, and for more
    /// than 64 axes.
    pub fn from_vec<T: Element>(shape: &[usize], elements: Vec<T>) -> Option<Array> {
        if shape.len() > MAX_RANK {
            return None;
        }
        Some(T::wrap(Elements::from_shape_vec(shape, elements).ok()?))
    }

    /// A tensor without axes.
    pub fn from_scalar<T: Element>(element: T) -> Array {
        T::wrap(ndarray::arr0(element).into_dyn().into_shared())
    }

    /// The tensor as ONNX stores it, under this name.
    pub fn to_tensor(&self, name: &str) -> TensorProto {
        TensorProto {
            name: Some(name.to_owned()),
            data_type: Some(self.dtype() as i32),
            dims: self.shape().iter().map(|&d| d as i64).collect(),
            raw_data: Some(self.to_bytes()),
            ..Default::default()
        }
    }

    /// The elements in row-major order, little-endian.
    pub fn to_bytes(&self) -> Bytes {
        for_any!(self, elements => encode(elements))
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        for_any!(self, elements => elements.shape())
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        for_any!(self, elements => elements.len())
    }

    /// Whether an axis has length 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the elements take.
    pub fn byte_len(&self) -> usize {
        for_any!(self, elements => size_of_val_of(elements))
    }

    /// ONNX's name for the element type.
    pub fn dtype(&self) -> DataType {
        for_any!(self, elements => dtype_of(elements))
    }

    /// The one element, whatever the number of axes; an integer beyond 2^53 is rounded.
    pub fn scalar(&self) -> Option<f64> {
        if self.len() != 1 {
            return None;
        }
        for_any!(self, elements => elements.first().map(|e| e.to_f64()))
    }

    /// The elements of an `I64` or `I32` tensor in row-major order: how ONNX gives shapes and axes.
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match self {
            Array::I64(elements) => Some(elements.iter().copied().collect()),
            Array::I32(elements) => Some(elements.iter().map(|&e| e.into()).collect()),
            _ => None,
        }
    }

    /// The elements in another type, as ONNX's `Cast` converts them: floats are truncated to
    /// integers, integers wrap, what is too long for a float is rounded half to even.
    ///
    /// `None` for a type that no variant has.
    pub fn cast(self, to: DataType) -> Option<Array> {
        use DataType::*;
        if to == self.dtype() {
            return Some(self);
        }
        Some(match to {
            Float => self.convert::<f32>(),
            Double => self.convert::<f64>(),
            Float16 => self.convert::<f16>(),
            Bfloat16 => self.convert::<bf16>(),
            Int8 => self.convert::<i8>(),
            Int32 => self.convert::<i32>(),
            Int64 => self.convert::<i64>(),
            Uint8 => self.convert::<u8>(),
            Bool => self.convert::<bool>(),
            _ => return None,
        })
    }

    /// Whether the elements lie in memory in row-major order.
    pub(crate) fn is_standard_layout(&self) -> bool {
        for_any!(self, elements => elements.is_standard_layout())
    }

    /// The transpose, sharing the elements.
    pub(crate) fn reversed_axes(self) -> Array {
        for_any!(self, elements => Element::wrap(elements.reversed_axes()))
    }

    /// The axes in this order, sharing the elements.
    pub(crate) fn permuted(self, order: Vec<usize>) -> Array {
        for_any!(self, elements => Element::wrap(elements.permuted_axes(order)))
    }

    fn convert<T: Element>(self) -> Array {
        // By way of `Wide` and a pointer: one loop for each type, not for each pair of types.
        let mut wide: Box<dyn Iterator<Item = Wide>> =
            for_any!(&self, elements => Box::new(elements.iter().map(|e| e.widen())));
        let converted = ndarray::ArrayD::from_shape_fn(self.shape(), |_| {
            wide.by_ref().next().map_or(T::default(), T::from_wide)
        });
        T::wrap(converted.into_shared())
    }
}

/// A type that an element of an [`Array`] can have.
pub trait Element: Copy + Default + PartialEq + PartialOrd + Send + Sync + 'static {
    /// ONNX's name for it.
    const DTYPE: DataType;
    /// The variant for elements of this type.
    fn wrap(elements: Elements<Self>) -> Array;
    /// The elements, where they have this type.
    fn unwrap(array: &Array) -> Option<&Elements<Self>>;
    /// The element without loss.
    fn widen(self) -> Wide;
    /// The element that ONNX's `Cast` makes of a wider one.
    fn from_wide(wide: Wide) -> Self;
    /// Elements from their little-endian bytes; bytes left over are ignored.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    /// Appends the element's little-endian bytes.
    fn push_bytes(self, bytes: &mut Vec<u8>);
    /// The nearest double.
    fn to_f64(self) -> f64 {
        match self.widen() {
            Wide::Float(value) => value,
            Wide::Int(value) => value as f64,
        }
    }
}

/// An element of any type without loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Wide {
    /// A float of any width.
    Float(f64),
    /// An integer, or a bool as 0 or 1.
    Int(i64),
}

macro_rules! element {
    ($type:ident, $variant:ident, $dtype:ident, $widen:expr, $from_wide:expr) => {
        impl Element for $type {
            const DTYPE: DataType = DataType::$dtype;
            fn wrap(elements: Elements<Self>) -> Array {
                Array::$variant(elements)
            }
            fn unwrap(array: &Array) -> Option<&Elements<Self>> {
                if let Array::$variant(elements) = array { Some(elements) } else { None }
            }
            #[inline]
            fn widen(self) -> Wide {
                $widen(self)
            }
            #[inline]
            fn from_wide(wide: Wide) -> Self {
                $from_wide(wide)
            }
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$type>() }>();
                chunks.iter().map(|&chunk| <$type>::from_le_bytes(chunk)).collect()
            }
            #[inline]
            fn push_bytes(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    };
}

macro_rules! integer {
    ($type:ident, $variant:ident, $dtype:ident) => {
        element!($type, $variant, $dtype, |value| Wide::Int(value as i64), |wide| match wide {
            // Through i64: what a narrow integer can't hold wraps, as in ONNX Runtime.
            Wide::Float(value) => value as i64 as $type,
            Wide::Int(value) => value as $type,
        });
    };
}

macro_rules! float {
    ($type:ident, $variant:ident, $dtype:ident, $from:expr) => {
        element!($type, $variant, $dtype, |value| Wide::Float(f64::from(value)), $from);
    };
}

integer!(i8, I8, Int8);
integer!(i32, I32, Int32);
integer!(i64, I64, Int64);
integer!(u8, U8, Uint8);
float!(f32, F32, Float, f32_from);
float!(f64, F64, Double, |wide| match wide {
    Wide::Float(value) => value,
    Wide::Int(value) => value as f64,
});
float!(f16, F16, Float16, |wide| f16::from_f32(f32_from(wide)));
float!(bf16, BF16, Bfloat16, |wide| bf16::from_f32(f32_from(wide)));

impl Element for bool {
    const DTYPE: DataType = DataType::Bool;
    fn wrap(elements: Elements<Self>) -> Array {
        Array::Bool(elements)
    }
    fn unwrap(array: &Array) -> Option<&Elements<Self>> {
        if let Array::Bool(elements) = array { Some(elements) } else { None }
    }
    fn widen(self) -> Wide {
        Wide::Int(self.into())
    }
    fn from_wide(wide: Wide) -> Self {
        !matches!(wide, Wide::Float(0.0) | Wide::Int(0))
    }
    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.iter().map(|&byte| byte != 0).collect()
    }
    fn push_bytes(self, bytes: &mut Vec<u8>) {
        bytes.push(self.into());
    }
}

fn f32_from(wide: Wide) -> f32 {
    match wide {
        Wide::Float(value) => value as f32,
        Wide::Int(value) => value as f32,
    }
}

fn decode<T: Element>(shape: &[usize], bytes: &[u8]) -> Option<Array> {
    Array::from_vec(shape, T::from_bytes(bytes))
}

fn encode<T: Element>(elements: &Elements<T>) -> Bytes {
    let mut bytes = Vec::with_capacity(size_of_val_of(elements));
    elements.iter().for_each(|e| e.push_bytes(&mut bytes));
    bytes.into()
}

/// Codes of `bits` bits, the first in the low bits of a byte, made elements by `read`.
fn unpack<T>(shape: &[usize], bytes: &[u8], bits: usize, read: impl Fn(u8) -> T) -> Option<Vec<T>> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let mask = (1u8 << bits) - 1;
    let codes =
        bytes.iter().flat_map(|&b| (0..8).step_by(bits).map(move |shift| b >> shift & mask));
    Some(codes.take(count).map(read).collect())
}

fn size_of_val_of<T: Element>(elements: &Elements<T>) -> usize {
    elements.len().saturating_mul(size_of::<T>())
}

fn dtype_of<T: Element>(_: &Elements<T>) -> DataType {
    T::DTYPE
}
