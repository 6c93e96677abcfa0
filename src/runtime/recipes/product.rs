//! Products with something fused into them.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("com.microsoft.DynamicQuantizeMatMul : 5", dynamic_quantize_matmul),
    ("com.microsoft.FusedGemm : 3 activation alpha beta transA transB", fused_gemm),
    ("com.microsoft.FusedMatMul : 2 alpha transA transB transBatchA=0 transBatchB=0", fused_matmul),
    ("com.microsoft.TransposeMatMul : 2 alpha transA transB", fused_matmul),
    ("com.microsoft.MatMulIntegerToFloat : 7", matmul_integer_to_float),
];

/// com.microsoft.FusedMatMul and its older name TransposeMatMul: `alpha · op(A) · op(B)`.
fn fused_matmul(body: &mut Body) -> TractResult<Vec<String>> {
    let a = turned(body, 0, "transA")?;
    let b = turned(body, 1, "transB")?;
    let product = body.op("MatMul", &[&a, &b], &[]);
    let alpha = body.float("alpha").unwrap_or(1.0);
    Ok(vec![if alpha == 1.0 {
        product
    } else {
        let alpha = body.scalar(alpha, body.input(0)?.datum_type)?;
        body.op("Mul", &[&product, &alpha], &[])
    }])
}

/// com.microsoft.FusedGemm: a `Gemm` and an activation without parameters.
fn fused_gemm(body: &mut Body) -> TractResult<Vec<String>> {
    let activation = body.text("activation");
    let plain = ["Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"];
    ensure!(plain.contains(&activation), "its activation `{activation}` is not supported");
    let inputs = (0..3).filter_map(|i| body.optional(i)).map(|g| g.name.clone());
    let inputs: Vec<String> = inputs.collect();
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let attributes = [
        ("alpha", Attribute::Float(body.float("alpha").unwrap_or(1.0))),
        ("beta", Attribute::Float(body.float("beta").unwrap_or(1.0))),
        ("transA", Attribute::Int(body.int("transA").unwrap_or(0))),
        ("transB", Attribute::Int(body.int("transB").unwrap_or(0))),
    ];
    let product = body.op("Gemm", &inputs, &attributes);
    Ok(vec![body.op(activation, &[&product], &[])])
}

/// com.microsoft.MatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
fn matmul_integer_to_float(body: &mut Body) -> TractResult<Vec<String>> {
    let name = |body: &Body, i| body.input(i).map(|g| g.name.clone());
    let (a, b) = (name(body, 0)?, name(body, 1)?);
    let (a_scale, b_scale) = (name(body, 2)?, name(body, 3)?);
    let zero = |i| body.optional(i).map(|g| g.name.clone());
    let (a_zero, b_zero, bias) = (zero(4), zero(5), zero(6));
    let product = dequantized(body, [&a, &b], [a_zero, b_zero], [&a_scale, &b_scale]);
    Ok(vec![plus(body, product, bias)])
}

/// com.microsoft.DynamicQuantizeMatMul: A (float), B, b_scale, b_zero_point, bias.
fn dynamic_quantize_matmul(body: &mut Body) -> TractResult<Vec<String>> {
    let name = |body: &Body, i| body.input(i).map(|g| g.name.clone());
    let (a, b, b_scale) = (name(body, 0)?, name(body, 1)?, name(body, 2)?);
    let optional = |i| body.optional(i).map(|g| g.name.clone());
    let (b_zero, bias) = (optional(3), optional(4));
    let quantized = body.ops("DynamicQuantizeLinear", &[&a], &[], 3);
    let [a, a_scale, a_zero] = quantized.as_slice() else { bail!("DynamicQuantizeLinear") };
    let zeros = [Some(a_zero.clone()), b_zero];
    let product = dequantized(body, [a, &b], zeros, [a_scale, &b_scale]);
    Ok(vec![plus(body, product, bias)])
}

/// `(A - a_zero)·(B - b_zero)`, exact, times both scales.
pub(super) fn dequantized(
    body: &mut Body,
    [a, b]: [&str; 2],
    [a_zero, b_zero]: [Option<String>; 2],
    [a_scale, b_scale]: [&str; 2],
) -> String {
    let (a_zero, b_zero) = (a_zero.unwrap_or_default(), b_zero.unwrap_or_default());
    let product = body.op("MatMulInteger", &[a, b, &a_zero, &b_zero], &[]);
    let product = body.op("Cast", &[&product], &[("to", Attribute::Int(1))]);
    let scale = body.op("Mul", &[a_scale, b_scale], &[]);
    body.op("Mul", &[&product, &scale], &[])
}

fn plus(body: &mut Body, value: String, bias: Option<String>) -> String {
    match bias {
        Some(bias) => body.op("Add", &[&value, &bias], &[]),
        None => value,
    }
}

/// An operand, its last two axes exchanged where the attribute says so.
fn turned(body: &mut Body, index: usize, attribute: &str) -> TractResult<String> {
    let given = body.input(index)?.clone();
    let rank = given.shape.len() as i64;
    if body.int(attribute).unwrap_or(0) == 0 || rank < 2 {
        return Ok(given.name);
    }
    let mut axes: Vec<i64> = (0..rank).collect();
    axes.swap(rank as usize - 2, rank as usize - 1);
    Ok(body.transpose(&given.name, &axes))
}
