//! The operators that the evaluator knows.

use super::call::{Call, Reason};
use super::{activation::activation, einsum, elementwise, layout, normalize, quantize, reduce};
use crate::array::Array;
use crate::proto::{NodeProto, tensor_proto::DataType};

/// How an operator is computed.
#[derive(Clone, Copy)]
pub enum Operator {
    /// Moves elements about, or converts them.
    Layout(fn(&mut Call) -> Result<Array, Reason>),
    /// Computes several outputs.
    Several(fn(&mut Call) -> Result<Vec<Array>, Reason>),
    /// Computes: half-precision floats are computed as `f32` and rounded once.
    Arithmetic(fn(&mut Call) -> Result<Array, Reason>),
    /// The same, each element from the elements in its place.
    Elementwise(fn(&mut Call) -> Result<Array, Reason>),
    /// Each element from the elements in its place, in whatever type they have.
    InPlace(fn(&mut Call) -> Result<Array, Reason>),
}

impl Operator {
    /// A node's operator.
    pub fn of(node: &NodeProto) -> Option<Self> {
        match node.operator().domain {
            "" => Self::named(node.op_type()),
            "com.microsoft" => Self::contributed(node.op_type()),
            _ => None,
        }
    }

    /// The operator with this name that ONNX Runtime adds to ONNX's own.
    fn contributed(name: &str) -> Option<Self> {
        use Operator::*;
        Some(match name {
            "Gelu" | "QuickGelu" | "FastGelu" | "BiasGelu" => Elementwise(activation),
            "QuantizeLinear" => Arithmetic(quantize::quantize_linear),
            "DequantizeLinear" => Arithmetic(quantize::dequantize_linear),
            _ => return None,
        })
    }

    /// The operator of ONNX's own with this name.
    ///
    /// Only those are here whose result depends on nothing but inputs and attributes.
    fn named(name: &str) -> Option<Self> {
        use Operator::*;
        Some(match name {
            "Constant" => InPlace(layout::constant),
            "ConstantOfShape" => Layout(layout::constant_of_shape),
            "Range" => Layout(layout::range),
            "Shape" => Layout(layout::shape),
            "Size" => Layout(layout::size),
            "Identity" => InPlace(|call| call.take(0)),
            "Dropout" => InPlace(layout::dropout),
            "Cast" => InPlace(layout::cast),
            "CastLike" => InPlace(layout::cast_like),
            "Transpose" => Layout(layout::transpose),
            "Reshape" => Layout(layout::reshape),
            "Flatten" => Layout(layout::flatten),
            "Squeeze" => Layout(layout::squeeze),
            "Unsqueeze" => Layout(layout::unsqueeze),
            "Expand" => Layout(layout::expand),
            "Tile" => Layout(layout::tile),
            "Concat" => Layout(layout::concat),
            "Split" => Several(layout::split),
            "Slice" => Layout(layout::slice),
            "Pad" => Layout(layout::pad),
            "Gather" => Layout(layout::gather),
            "ScatterND" => Layout(layout::scatter_nd),
            "Trilu" => Layout(layout::trilu),
            "Where" => InPlace(elementwise::select),

            "Abs" => Elementwise(elementwise::abs),
            "Neg" => Elementwise(elementwise::neg),
            "Sign" => Elementwise(elementwise::sign),
            "Sqrt" => Elementwise(elementwise::sqrt),
            "Exp" => Elementwise(elementwise::exp),
            "Log" => Elementwise(elementwise::log),
            "Sin" => Elementwise(elementwise::sin),
            "Cos" => Elementwise(elementwise::cos),
            "Tanh" => Elementwise(elementwise::tanh),
            "Reciprocal" => Elementwise(elementwise::reciprocal),
            "Floor" => Elementwise(elementwise::floor),
            "Ceil" => Elementwise(elementwise::ceil),
            "Round" => Elementwise(elementwise::round),
            "Clip" => InPlace(elementwise::clip),
            "Min" => Elementwise(elementwise::min),
            "Max" => Elementwise(elementwise::max),
            "Add" => Elementwise(elementwise::add),
            "Sub" => Elementwise(elementwise::sub),
            "Mul" => Elementwise(elementwise::mul),
            "Div" => Elementwise(elementwise::div),
            "Mod" => Elementwise(elementwise::modulo),
            "Pow" => Elementwise(elementwise::pow),
            "IsNaN" => Elementwise(elementwise::is_nan),
            "Equal" => Elementwise(elementwise::equal),
            "Less" => Elementwise(elementwise::less),
            "LessOrEqual" => Elementwise(elementwise::less_or_equal),
            "Greater" => Elementwise(elementwise::greater),
            "GreaterOrEqual" => Elementwise(elementwise::greater_or_equal),
            "Not" => InPlace(elementwise::not),
            "And" => InPlace(elementwise::and),
            "Or" => InPlace(elementwise::or),
            "Xor" => InPlace(elementwise::xor),
            "BitShift" => Layout(elementwise::bit_shift),
            "BitwiseAnd" => Layout(elementwise::bitwise_and),
            "BitwiseOr" => Layout(elementwise::bitwise_or),
            "BitwiseXor" => Layout(elementwise::bitwise_xor),
            "BitwiseNot" => Layout(elementwise::bitwise_not),
            "Sum" => Elementwise(elementwise::sum),
            "PRelu" => Elementwise(elementwise::prelu),
            "Relu" | "Sigmoid" | "Erf" | "Softsign" | "Softplus" | "Mish" | "HardSwish"
            | "HardSigmoid" | "LeakyRelu" | "Elu" | "Celu" | "Selu" | "ThresholdedRelu"
            | "Swish" | "Gelu" => Elementwise(activation),

            "DequantizeLinear" => Arithmetic(quantize::dequantize_linear),
            "QuantizeLinear" => Arithmetic(quantize::quantize_linear),
            "DynamicQuantizeLinear" => Several(quantize::dynamic_quantize_linear),

            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
                Arithmetic(normalize::layer)
            }
            "InstanceNormalization" | "GroupNormalization" => Arithmetic(normalize::channels),
            "BatchNormalization" => Arithmetic(normalize::batch),
            "MeanVarianceNormalization" => Arithmetic(normalize::mean_variance),
            "LpNormalization" => Arithmetic(normalize::norm),
            "GlobalAveragePool" => Arithmetic(normalize::average_pool),

            "ReduceSum" => Arithmetic(reduce::sum),
            "ReduceMean" => Arithmetic(reduce::mean),
            "ReduceL1" => Arithmetic(reduce::l1),
            "ReduceL2" => Arithmetic(reduce::l2),
            "ReduceSumSquare" => Arithmetic(reduce::sum_square),
            "ReduceLogSum" => Arithmetic(reduce::log_sum),
            "ReduceLogSumExp" => Arithmetic(reduce::log_sum_exp),
            "Softmax" | "LogSoftmax" => Arithmetic(reduce::softmax),
            "TopK" => Arithmetic(reduce::top_one),
            "ReduceMax" => Arithmetic(reduce::max),
            "ReduceMin" => Arithmetic(reduce::min),
            "ReduceProd" => Arithmetic(reduce::product_of),
            "Einsum" => Arithmetic(einsum::einsum),
            "MatMul" => Arithmetic(reduce::mat_mul),
            "Gemm" => Arithmetic(reduce::gemm),
            _ => return None,
        })
    }

    /// Whether each element of the result is made of the elements in its place alone.
    pub fn is_elementwise(self) -> bool {
        matches!(self, Operator::Elementwise(_) | Operator::InPlace(_))
    }

    pub fn run(self, mut call: Call) -> Result<Vec<Array>, Reason> {
        match self {
            Operator::Layout(run) | Operator::InPlace(run) => Ok(vec![run(&mut call)?]),
            Operator::Several(run) => run(&mut call),
            Operator::Arithmetic(run) | Operator::Elementwise(run) => {
                Ok(vec![in_single(run, &mut call)?])
            }
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
