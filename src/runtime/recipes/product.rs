//! Products with something fused into them.

use super::Table;
use crate::runtime::composite::{Attribute, Body, unsupported};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("Gemm : 3 alpha beta transA transB", gemm),
    ("com.microsoft.DynamicQuantizeMatMul : 5", dynamic_quantize_matmul),
    ("com.microsoft.FusedGemm : 3 activation alpha beta transA transB", fused_gemm),
    ("com.microsoft.FusedMatMul : 2 alpha transA transB transBatchA=0 transBatchB=0", fused_matmul),
    ("com.microsoft.TransposeMatMul : 2 alpha transA transB", fused_matmul),
    ("com.microsoft.MatMulIntegerToFloat : 7", matmul_integer_to_float),
];

/// `alpha · op(A) · op(B) + beta · C` in any float type; tract multiplies by constants of f32.
fn gemm(body: &mut Body) -> TractResult<Vec<String>> {
    let (a, b) = (body.input(0)?, body.input(1)?);
    let of_a = if body.node.flag("transA") { "km" } else { "mk" };
    let of_b = if body.node.flag("transB") { "nk" } else { "kn" };
    let equation = format!("{of_a},{of_b}->mn");
    let equation = [("equation", Attribute::Text(&equation))];
    let product = body.op("Einsum", &[&a.name, &b.name], &equation);
    let y = body.scaled(&product, body.float("alpha").unwrap_or(1.0), a.datum_type)?;
    let Some(c) = body.optional(2) else { return Ok(vec![y]) };
    ensure!(c.datum_type == a.datum_type, "its C is {:?}, its A {:?}", c.datum_type, a.datum_type);
    let c = body.scaled(&c.name, body.float("beta").unwrap_or(1.0), c.datum_type)?;
    Ok(vec![body.op("Add", &[&y, &c], &[])])
}

/// com.microsoft.FusedGemm: a `Gemm` and an activation without parameters.
fn fused_gemm(body: &mut Body) -> TractResult<Vec<String>> {
    let activation = body.text("activation");
    let plain = ["Relu", "Sigmoid", "Tanh", "Softplus", "Softsign"];
    if !plain.contains(&activation) {
        return Err(unsupported(format!("its activation `{activation}` is not supported")));
    }
    let product = gemm(body)?;
    Ok(vec![body.op(activation, &[&product[0]], &[])])
}

/// com.microsoft.FusedMatMul and its older name TransposeMatMul: `alpha · op(A) · op(B)`.
fn fused_matmul(body: &mut Body) -> TractResult<Vec<String>> {
    let a = turned(body, 0, "transA")?;
    let b = turned(body, 1, "transB")?;
    let product = body.op("MatMul", &[&a, &b], &[]);
    let (alpha, float) = (body.float("alpha").unwrap_or(1.0), body.input(0)?.datum_type);
    Ok(vec![body.scaled(&product, alpha, float)?])
}

/// com.microsoft.MatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
fn matmul_integer_to_float(body: &mut Body) -> TractResult<Vec<String>> {
    let [a, b, a_scale, b_scale] = body.names()?;
    let [a_zero, b_zero] = [4, 5].map(|i| body.name(i));
    let product = dequantized(body, [a, b], [a_zero, b_zero], [a_scale, b_scale]);
    Ok(vec![body.plus(product, 6)])
}

/// com.microsoft.DynamicQuantizeMatMul: A (float), B, b_scale, b_zero_point, bias.
fn dynamic_quantize_matmul(body: &mut Body) -> TractResult<Vec<String>> {
    let ([a, b, b_scale], b_zero) = (body.names()?, body.name(3));
    let quantized = body.ops("DynamicQuantizeLinear", &[a], &[], 3);
    let [a, a_scale, a_zero] = quantized.as_slice() else { bail!("DynamicQuantizeLinear") };
    let product = dequantized(body, [a, b], [a_zero, b_zero], [a_scale, b_scale]);
    Ok(vec![body.plus(product, 4)])
}

/// `(A - a_zero)·(B - b_zero)`, exact, times both scales. Zeros that are left out have no name.
pub(super) fn dequantized(
    body: &mut Body,
    [a, b]: [&str; 2],
    [a_zero, b_zero]: [&str; 2],
    [a_scale, b_scale]: [&str; 2],
) -> String {
    let product = body.op("MatMulInteger", &[a, b, a_zero, b_zero], &[]);
    let product = body.op("Cast", &[&product], &[("to", Attribute::Int(1))]);
    let scale = body.op("Mul", &[a_scale, b_scale], &[]);
    body.op("Mul", &[&product, &scale], &[])
}

/// An operand, its last two axes exchanged where the attribute says so.
fn turned(body: &mut Body, index: usize, attribute: &str) -> TractResult<String> {
    let given = body.input(index)?;
    let rank = given.shape.len();
    if !body.node.flag(attribute) || rank < 2 {
        return Ok(given.name.clone());
    }
    let mut axes: Vec<i64> = (0..rank as i64).collect();
    axes.swap(rank - 2, rank - 1);
    Ok(body.transpose(&given.name, &axes))
}
