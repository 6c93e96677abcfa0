//! Tensors whose element type is known at run time only.

use crate::proto::{TensorProto, element_size, raw_bytes, tensor_proto::DataType};
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
        $crate::array::for_any!($array, $elements => $body; F32 F64 F16 BF16 I8 I32 I64 U8 Bool)
    };
    ($array:expr, $elements:ident => $body:expr; $($variant:ident)+) => {
        match $array {
            $($crate::array::Array::$variant($elements) => $body,)+
        }
    };
}
pub(crate) use for_any;

/// Runs an expression with the Rust type of a [`DataType`]; `None` for one that no [`Array`] has.
macro_rules! for_type {
    ($dtype:expr, $type:ident => $body:expr) => {
        for_type!($dtype, $type => $body; Float f32, Double f64, Float16 f16, Bfloat16 bf16, Int8 i8,
            Int32 i32, Int64 i64, Uint8 u8, Bool bool)
    };
    ($dtype:expr, $type:ident => $body:expr; $($name:ident $element:ident),+) => {
        match $dtype {
            $(DataType::$name => {
                type $type = $element;
                Some($body)
            })+
            _ => None,
        }
    };
}

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
        let narrow = |bits| unpack(&shape, &bytes, bits);
        let signed = |bits: usize| {
            let extended = |code: u8| (code as i8) << (8 - bits) >> (8 - bits);
            Some(narrow(bits)?.into_iter().map(extended).collect())
        };
        match DataType::try_from(tensor.data_type()).ok()? {
            Uint4 => Self::from_vec::<u8>(&shape, narrow(4)?),
            Uint2 => Self::from_vec::<u8>(&shape, narrow(2)?),
            Int4 => Self::from_vec::<i8>(&shape, signed(4)?),
            Int2 => Self::from_vec::<i8>(&shape, signed(2)?),
            whole => for_type!(whole, T => Self::from_vec(&shape, T::from_bytes(&bytes)))?,
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
        let mut bytes = Vec::with_capacity(self.byte_len());
        for_any!(self, elements => elements.iter().for_each(|e| e.push_bytes(&mut bytes)));
        bytes.into()
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
        self.len().saturating_mul(element_size(self.dtype() as i32).unwrap_or_default())
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
        if to == self.dtype() {
            return Some(self);
        }
        for_type!(to, T => self.convert::<T>())
    }

    /// Whether the elements lie in memory in row-major order.
    pub(crate) fn is_standard_layout(&self) -> bool {
        for_any!(self, elements => elements.is_standard_layout())
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
    /// The least finite one.
    const MIN: Self;
    /// The greatest finite one.
    const MAX: Self;
    /// The variant for elements of this type.
    fn wrap(elements: Elements<Self>) -> Array;
    /// The elements, where they have this type.
    fn unwrap(array: Array) -> Option<Elements<Self>>;
    /// The element without loss.
    fn widen(self) -> Wide;
    /// The element that ONNX's `Cast` makes of a wider one.
    fn from_wide(wide: Wide) -> Self;
    /// Elements from their little-endian bytes; bytes left over are ignored.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    /// Appends the element's little-endian bytes.
    fn push_bytes(self, bytes: &mut Vec<u8>);
    /// The nearest double.
    #[inline]
    fn to_f64(self) -> f64 {
        self.widen().to_f64()
    }
    /// The integer that is left when a fraction is cut off.
    #[inline]
    fn to_i64(self) -> i64 {
        i64::from_wide(self.widen())
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

impl Wide {
    /// The nearest double.
    #[inline]
    pub fn to_f64(self) -> f64 {
        match self {
            Wide::Float(value) => value,
            Wide::Int(value) => value as f64,
        }
    }

    #[inline]
    fn to_f32(self) -> f32 {
        match self {
            Wide::Float(value) => value as f32,
            Wide::Int(value) => value as f32,
        }
    }
}

macro_rules! number {
    ($type:ident, $variant:ident, $dtype:ident, $widen:expr, $from_wide:expr) => {
        impl Element for $type {
            const DTYPE: DataType = DataType::$dtype;
            const MIN: Self = $type::MIN;
            const MAX: Self = $type::MAX;
            fn wrap(elements: Elements<Self>) -> Array {
                Array::$variant(elements)
            }
            fn unwrap(array: Array) -> Option<Elements<Self>> {
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
    (float $type:ident, $variant:ident, $dtype:ident, $from_wide:expr) => {
        number!($type, $variant, $dtype, |value| Wide::Float(f64::from(value)), $from_wide);
    };
    (integer $type:ident, $variant:ident, $dtype:ident) => {
        number!($type, $variant, $dtype, |value| Wide::Int(value as i64), |wide| match wide {
            // Through i64: what a narrow integer can't hold wraps, as in ONNX Runtime.
            Wide::Float(value) => value as i64 as $type,
            Wide::Int(value) => value as $type,
        });
    };
}

number!(integer i8, I8, Int8);
number!(integer i32, I32, Int32);
number!(integer i64, I64, Int64);
number!(integer u8, U8, Uint8);
number!(float f32, F32, Float, Wide::to_f32);
number!(float f64, F64, Double, Wide::to_f64);
number!(float f16, F16, Float16, |wide: Wide| f16::from_f32(wide.to_f32()));
number!(float bf16, BF16, Bfloat16, |wide: Wide| bf16::from_f32(wide.to_f32()));

impl Element for bool {
    const DTYPE: DataType = DataType::Bool;
    const MIN: Self = false;
    const MAX: Self = true;
    fn wrap(elements: Elements<Self>) -> Array {
        Array::Bool(elements)
    }
    fn unwrap(array: Array) -> Option<Elements<Self>> {
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

/// Codes of `bits` bits, the first in the low bits of a byte.
fn unpack(shape: &[usize], bytes: &[u8], bits: usize) -> Option<Vec<u8>> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let mask = (1u8 << bits) - 1;
    let codes =
        bytes.iter().flat_map(|&b| (0..8).step_by(bits).map(move |shift| b >> shift & mask));
    Some(codes.take(count).collect())
}

fn dtype_of<T: Element>(_: &Elements<T>) -> DataType {
    T::DTYPE
}
