//! Activation functions, computed in `f64` and rounded once.

use super::call::{Call, Outcome, converted};
use super::elementwise::{combined, mapped};
use super::number::{ADD, FLOATS};
use crate::array::{Wide, for_any};
use crate::proto::tensor_proto::DataType;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// The function that the node's operator is, of its first input; a second one is a bias.
pub fn activation(call: &mut Call) -> Outcome {
    let function = function(call).ok_or("it is no activation that the evaluator knows")?;
    let of = |element: Wide| Wide::Float(function(element.to_f64()));
    let mut x = call.take_of(0, FLOATS)?;
    let dtype = x.dtype();
    if let Some(bias) = call.take_optional(1) {
        let wide = |operand| converted(operand, DataType::Double);
        x = combined(wide(x)?, wide(bias)?, FLOATS, ADD, call.limit)?;
    }
    converted(for_any!(x, x => mapped(x, of)), dtype)
}

fn function(call: &Call) -> Option<Box<dyn Fn(f64) -> f64>> {
    let attribute = |name, default| call.node.float(name).map_or(default, f64::from);
    let alpha = |default| attribute("alpha", default);
    Some(match call.node.op_type() {
        "Relu" => below_zero(0.0, |_, _| 0.0),
        "Erf" => Box::new(erf),
        "Sigmoid" => Box::new(sigmoid),
        "Softsign" => Box::new(|x| x / (1.0 + x.abs())),
        "Softplus" => Box::new(softplus),
        "Mish" => Box::new(|x| x * softplus(x).tanh()),
        "HardSwish" => Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0)),
        "HardSigmoid" => {
            let (alpha, beta) = (alpha(0.2), attribute("beta", 0.5));
            Box::new(move |x| (alpha * x + beta).clamp(0.0, 1.0))
        }
        "LeakyRelu" => below_zero(alpha(0.01), |alpha, x| alpha * x),
        "Elu" => below_zero(alpha(1.0), |alpha, x| alpha * x.exp_m1()),
        "Celu" => below_zero(alpha(1.0), |alpha, x| alpha * (x / alpha).exp_m1()),
        "Selu" => {
            let elu = below_zero(alpha(1.673_263_2), |alpha, x| alpha * x.exp_m1());
            let gamma = attribute("gamma", 1.050_701);
            Box::new(move |x| gamma * elu(x))
        }
        "ThresholdedRelu" => {
            let alpha = alpha(1.0);
            Box::new(move |x| if x > alpha { x } else { 0.0 })
        }
        "Swish" | "QuickGelu" => {
            let alpha = alpha(if call.node.op_type() == "Swish" { 1.0 } else { 1.702 });
            Box::new(move |x| x * sigmoid(alpha * x))
        }
        "Gelu" | "BiasGelu" if call.node.string("approximate") != Some("tanh") => {
            Box::new(|x| x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)))
        }
        "Gelu" | "FastGelu" => Box::new(|x| {
            let inner = SQRT_2 * FRAC_2_SQRT_PI / 2.0 * (x + 0.044715 * x * x * x);
            x * 0.5 * (1.0 + inner.tanh())
        }),
        _ => return None,
    })
}

/// `x` itself above zero, a function of `alpha` and `x` below.
fn below_zero(alpha: f64, below: fn(f64, f64) -> f64) -> Box<dyn Fn(f64) -> f64> {
    Box::new(move |x| if x < 0.0 { below(alpha, x) } else { x })
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!`, whose terms have one sign (Abramowitz and Stegun 7.1.6).
fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > sum.abs() * f64::EPSILON {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}
