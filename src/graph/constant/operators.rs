//! The operators that the evaluator knows.

use super::call::{Call, Reason};
use super::{einsum, elementwise, layout, quantize, reduce};
use crate::array::Array;
use crate::proto::tensor_proto::DataType;

/// How an operator is computed.
#[derive(Clone, Copy)]
pub enum Operator {
    /// Moves elements about, or converts them.
    Layout(fn(&mut Call) -> Result<Array, Reason>),
    /// The same with several outputs.
    Split(fn(&mut Call) -> Result<Vec<Array>, Reason>),
    /// Computes: half-precision floats are computed as `f32` and rounded once.
    Arithmetic(fn(&mut Call) -> Result<Array, Reason>),
}

impl Operator {
    /// The operator of ONNX's standard domain with this name.
    ///
    /// Only those are here whose result depends on nothing but inputs and attributes.
    pub fn named(name: &str) -> Option<Self> {
        use Operator::*;
        Some(match name {
            "Constant" => Layout(layout::constant),
            "ConstantOfShape" => Layout(layout::constant_of_shape),
            "Range" => Layout(layout::range),
            "Shape" => Layout(layout::shape),
            "Size" => Layout(layout::size),
            "Identity" => Layout(|call| call.take(0)),
            "Dropout" => Layout(layout::dropout),
            "Cast" => Layout(layout::cast),
            "CastLike" => Layout(layout::cast_like),
            "Transpose" => Layout(layout::transpose),
            "Reshape" => Layout(layout::reshape),
            "Flatten" => Layout(layout::flatten),
            "Squeeze" => Layout(layout::squeeze),
            "Unsqueeze" => Layout(layout::unsqueeze),
            "Expand" => Layout(layout::expand),
            "Tile" => Layout(layout::tile),
            "Concat" => Layout(layout::concat),
            "Split" => Split(layout::split),
            "Slice" => Layout(layout::slice),
            "Pad" => Layout(layout::pad),
            "Gather" => Layout(layout::gather),
            "ScatterND" => Layout(layout::scatter_nd),
            "Trilu" => Layout(layout::trilu),
            "Where" => Layout(elementwise::select),

            "Abs" => Arithmetic(elementwise::abs),
            "Neg" => Arithmetic(elementwise::neg),
            "Sign" => Arithmetic(elementwise::sign),
            "Sqrt" => Arithmetic(elementwise::sqrt),
            "Exp" => Arithmetic(elementwise::exp),
            "Log" => Arithmetic(elementwise::log),
            "Sin" => Arithmetic(elementwise::sin),
            "Cos" => Arithmetic(elementwise::cos),
            "Tanh" => Arithmetic(elementwise::tanh),
            "Reciprocal" => Arithmetic(elementwise::reciprocal),
            "Floor" => Arithmetic(elementwise::floor),
            "Ceil" => Arithmetic(elementwise::ceil),
            "Round" => Arithmetic(elementwise::round),
            "Clip" => Layout(elementwise::clip),
            "Min" => Arithmetic(elementwise::min),
            "Max" => Arithmetic(elementwise::max),
            "Add" => Arithmetic(elementwise::add),
            "Sub" => Arithmetic(elementwise::sub),
            "Mul" => Arithmetic(elementwise::mul),
            "Div" => Arithmetic(elementwise::div),
            "Mod" => Arithmetic(elementwise::modulo),
            "Pow" => Arithmetic(elementwise::pow),
            "IsNaN" => Arithmetic(elementwise::is_nan),
            "Equal" => Arithmetic(elementwise::equal),
            "Less" => Arithmetic(elementwise::less),
            "LessOrEqual" => Arithmetic(elementwise::less_or_equal),
            "Greater" => Arithmetic(elementwise::greater),
            "GreaterOrEqual" => Arithmetic(elementwise::greater_or_equal),
            "Not" => Layout(elementwise::not),
            "And" => Layout(elementwise::and),
            "Or" => Layout(elementwise::or),
            "Xor" => Layout(elementwise::xor),
            "BitShift" => Layout(elementwise::bit_shift),
            "BitwiseAnd" => Layout(elementwise::bitwise_and),
            "BitwiseOr" => Layout(elementwise::bitwise_or),
            "BitwiseXor" => Layout(elementwise::bitwise_xor),
            "BitwiseNot" => Layout(elementwise::bitwise_not),
            "DequantizeLinear" => Arithmetic(quantize::dequantize_linear),
            "QuantizeLinear" => Arithmetic(quantize::quantize_linear),

            "ReduceSum" => Arithmetic(reduce::sum),
            "ReduceMean" => Arithmetic(reduce::mean),
            "ReduceL1" => Arithmetic(reduce::l1),
            "ReduceL2" => Arithmetic(reduce::l2),
            "ReduceSumSquare" => Arithmetic(reduce::sum_square),
            "ReduceMax" => Arithmetic(reduce::max),
            "ReduceMin" => Arithmetic(reduce::min),
            "Einsum" => Arithmetic(einsum::einsum),
            "MatMul" => Arithmetic(reduce::mat_mul),
            "Gemm" => Arithmetic(reduce::gemm),
            _ => return None,
        })
    }

    pub fn run(self, mut call: Call) -> Result<Vec<Array>, Reason> {
        match self {
            Operator::Layout(run) => Ok(vec![run(&mut call)?]),
            Operator::Split(run) => run(&mut call),
            Operator::Arithmetic(run) => Ok(vec![in_single(run, &mut call)?]),
        }
    }
}

/// Half-precision inputs become `f32`; an `f32` result takes the type of the first float input.
fn in_single(
    run: fn(&mut Call) -> Result<Array, Reason>,
    call: &mut Call,
) -> Result<Array, Reason> {
    let float = call
        .inputs
        .iter()
        .flatten()
        .map(Array::dtype)
        .find(|&t| is_half(t) || t == DataType::Float);
    for input in call.inputs.iter_mut().filter(|i| i.as_ref().is_some_and(|a| is_half(a.dtype()))) {
        *input = input.take().and_then(|array| array.cast(DataType::Float));
    }
    let result = run(call)?;
    match float {
        Some(half) if is_half(half) && result.dtype() == DataType::Float => {
            result.cast(half).ok_or_else(|| "its type has no conversion".to_owned())
        }
        _ => Ok(result),
    }
}

fn is_half(dtype: DataType) -> bool {
    matches!(dtype, DataType::Float16 | DataType::Bfloat16)
}
