//! The operators that the evaluator knows.

use super::call::{Call, Outcome, Reason, converted};
use super::elementwise::{
    bit_shift, clip, compare, each, each_float, each_integer, fold, is_nan, pairs, pow, quotients,
    select,
};
use super::number::{self, ANY, BOOLS, FLOATS, INTEGERS, NUMBERS, SIGNED, round_half_even, sign};
use super::{activation::activation, layout, normalize, product, quantize, reduce};
use crate::array::Array;
use crate::proto::{NodeProto, tensor_proto::DataType};
use std::cmp::Ordering;

/// How an operator is computed.
#[derive(Clone, Copy)]
pub enum Operator {
    /// In whatever type the elements have: floats in `f64`, rounded once.
    Typed(fn(&mut Call) -> Outcome),
    /// The same, each element from the elements in its place.
    Elementwise(fn(&mut Call) -> Outcome),
    /// Half-precision floats as `f32`, rounded once.
    Single(fn(&mut Call) -> Outcome),
    /// Several outputs.
    Several(fn(&mut Call) -> Result<Vec<Array>, Reason>),
}

impl Operator {
    /// A node's operator.
    pub fn of(node: &NodeProto) -> Option<Self> {
        match (node.operator().domain, node.op_type()) {
            ("", name) => Self::named(name),
            ("com.microsoft", "BiasGelu" | "FastGelu" | "QuickGelu") => {
                Some(Operator::Elementwise(activation))
            }
            // ONNX Runtime had these before ONNX.
            ("com.microsoft", name @ ("DequantizeLinear" | "Gelu" | "QuantizeLinear")) => {
                Self::named(name)
            }
            _ => None,
        }
    }

    /// The operator of ONNX's own with this name.
    ///
    /// Only those are here whose result depends on nothing but inputs and attributes.
    fn named(name: &str) -> Option<Self> {
        use Operator::*;
        Some(match name {
            "Constant" => Elementwise(layout::constant),
            "ConstantOfShape" => Typed(layout::constant_of_shape),
            "Range" => Typed(layout::range),
            "Shape" => Typed(layout::shape),
            "Size" => Typed(layout::size),
            "Identity" => Elementwise(|call| call.take(0)),
            "Dropout" => Elementwise(layout::dropout),
            "Cast" => Elementwise(layout::cast),
            "CastLike" => Elementwise(layout::cast_like),
            "Transpose" => Typed(layout::transpose),
            "Reshape" => Typed(layout::reshape),
            "Flatten" => Typed(layout::flatten),
            "Squeeze" => Typed(layout::squeeze),
            "Unsqueeze" => Typed(layout::unsqueeze),
            "Expand" => Typed(layout::expand),
            "Tile" => Typed(layout::tile),
            "Concat" => Typed(layout::concat),
            "Split" => Several(layout::split),
            "Slice" => Typed(layout::slice),
            "Pad" => Typed(layout::pad),
            "Gather" => Typed(layout::gather),
            "ScatterND" => Typed(layout::scatter_nd),
            "Trilu" => Typed(layout::trilu),
            "Where" => Elementwise(select),

            "Abs" => Elementwise(|call| each(call, NUMBERS, f64::abs, i64::wrapping_abs)),
            "Neg" => Elementwise(|call| each(call, SIGNED, |x| -x, i64::wrapping_neg)),
            "Sign" => Elementwise(|call| each(call, NUMBERS, sign, i64::signum)),
            "Sqrt" => Elementwise(|call| each_float(call, f64::sqrt)),
            "Exp" => Elementwise(|call| each_float(call, f64::exp)),
            "Log" => Elementwise(|call| each_float(call, f64::ln)),
            "Sin" => Elementwise(|call| each_float(call, f64::sin)),
            "Cos" => Elementwise(|call| each_float(call, f64::cos)),
            "Tanh" => Elementwise(|call| each_float(call, f64::tanh)),
            "Reciprocal" => Elementwise(|call| each_float(call, f64::recip)),
            "Floor" => Elementwise(|call| each_float(call, f64::floor)),
            "Ceil" => Elementwise(|call| each_float(call, f64::ceil)),
            "Round" => Elementwise(|call| each_float(call, round_half_even)),
            "Not" => Elementwise(|call| each_integer(call, BOOLS, |x| x ^ 1)),
            "BitwiseNot" => Elementwise(|call| each_integer(call, INTEGERS, |x| !x)),
            "IsNaN" => Elementwise(is_nan),
            "Clip" => Elementwise(clip),
            "Relu" | "Sigmoid" | "Erf" | "Softsign" | "Softplus" | "Mish" | "HardSwish"
            | "HardSigmoid" | "LeakyRelu" | "Elu" | "Celu" | "Selu" | "ThresholdedRelu"
            | "Swish" | "Gelu" => Elementwise(activation),

            "Add" => Elementwise(|call| pairs(call, NUMBERS, number::ADD)),
            "Sub" => Elementwise(|call| pairs(call, NUMBERS, number::SUB)),
            "Mul" => Elementwise(|call| pairs(call, NUMBERS, number::MUL)),
            "Div" => Elementwise(|call| quotients(call, number::DIV)),
            "Mod" => Elementwise(|call| match call.node.flag("fmod") {
                true => quotients(call, number::REMAINDER),
                false => quotients(call, number::MODULO),
            }),
            "Pow" => Elementwise(pow),
            "PRelu" => Elementwise(|call| pairs(call, NUMBERS, number::SLOPE)),
            "Min" => Elementwise(|call| fold(call, number::MIN)),
            "Max" => Elementwise(|call| fold(call, number::MAX)),
            "Sum" => Elementwise(|call| fold(call, number::ADD)),
            "Equal" => Elementwise(|call| compare(call, ANY, Ordering::is_eq)),
            "Less" => Elementwise(|call| compare(call, NUMBERS, Ordering::is_lt)),
            "LessOrEqual" => Elementwise(|call| compare(call, NUMBERS, Ordering::is_le)),
            "Greater" => Elementwise(|call| compare(call, NUMBERS, Ordering::is_gt)),
            "GreaterOrEqual" => Elementwise(|call| compare(call, NUMBERS, Ordering::is_ge)),
            "And" => Elementwise(|call| pairs(call, BOOLS, number::AND)),
            "Or" => Elementwise(|call| pairs(call, BOOLS, number::OR)),
            "Xor" => Elementwise(|call| pairs(call, BOOLS, number::XOR)),
            "BitwiseAnd" => Elementwise(|call| pairs(call, INTEGERS, number::AND)),
            "BitwiseOr" => Elementwise(|call| pairs(call, INTEGERS, number::OR)),
            "BitwiseXor" => Elementwise(|call| pairs(call, INTEGERS, number::XOR)),
            "BitShift" => Elementwise(bit_shift),

            "DequantizeLinear" => Single(quantize::dequantize_linear),
            "QuantizeLinear" => Single(quantize::quantize_linear),
            "DynamicQuantizeLinear" => Several(quantize::dynamic_quantize_linear),

            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
                Typed(normalize::layer)
            }
            "InstanceNormalization" | "GroupNormalization" => Typed(normalize::channels),
            "BatchNormalization" => Typed(normalize::batch),
            "MeanVarianceNormalization" => Typed(normalize::mean_variance),
            "LpNormalization" => Typed(normalize::norm),
            "GlobalAveragePool" => Typed(normalize::average_pool),

            "ReduceSum" => Typed(reduce::sum),
            "ReduceMean" => Typed(|call| reduce::totals(call, |e| e, |sum, count| sum / count)),
            "ReduceL1" => Typed(|call| reduce::totals(call, f64::abs, |sum, _| sum)),
            "ReduceL2" => Typed(|call| reduce::totals(call, |e| e * e, |sum, _| sum.sqrt())),
            "ReduceSumSquare" => Typed(|call| reduce::totals(call, |e| e * e, |sum, _| sum)),
            "ReduceLogSum" => Typed(|call| reduce::totals(call, |e| e, |sum, _| sum.ln())),
            "ReduceLogSumExp" => Typed(reduce::log_sum_exp),
            "ReduceMax" => Typed(|call| reduce::fold(call, NUMBERS, number::MAX)),
            "ReduceMin" => Typed(|call| reduce::fold(call, NUMBERS, number::MIN)),
            "ReduceProd" => Typed(|call| reduce::fold(call, NUMBERS, number::MUL)),
            "Softmax" | "LogSoftmax" => Typed(reduce::softmax),
            "TopK" => Typed(reduce::top_one),
            "Einsum" => Single(product::einsum),
            "MatMul" => Single(product::mat_mul),
            "Gemm" => Single(product::gemm),
            _ => return None,
        })
    }

    /// Whether each element of the result is made of the elements in its place alone.
    pub fn is_elementwise(self) -> bool {
        matches!(self, Operator::Elementwise(_))
    }

    pub fn run(self, mut call: Call) -> Result<Vec<Array>, Reason> {
        match self {
            Operator::Typed(run) | Operator::Elementwise(run) => Ok(vec![run(&mut call)?]),
            Operator::Single(run) => Ok(vec![in_single(run, &mut call)?]),
            Operator::Several(run) => run(&mut call),
        }
    }
}

/// Half-precision inputs become `f32`; an `f32` result takes the type of the first float input.
fn in_single(run: fn(&mut Call) -> Outcome, call: &mut Call) -> Outcome {
    let is_half = |dtype| matches!(dtype, DataType::Float16 | DataType::Bfloat16);
    let mut floats = call.inputs.iter().flatten().map(Array::dtype);
    let first = floats.find(|dtype| FLOATS.contains(dtype));
    for input in &mut call.inputs {
        *input = match input.take() {
            Some(half) if is_half(half.dtype()) => Some(converted(half, DataType::Float)?),
            other => other,
        };
    }
    let result = run(call)?;
    match first {
        Some(half) if is_half(half) && result.dtype() == DataType::Float => converted(result, half),
        _ => Ok(result),
    }
}
