//! Quantised tensors, with one scale, or one for each part of an axis.

use super::Table;
use crate::runtime::composite::{Attribute, Body, Given, unsupported};
use half::f16;
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("DequantizeLinear : 3 axis block_size output_dtype=0|1|10", dequantize),
    ("QuantizeLinear : 3 axis block_size output_dtype=0|2|3|4|5 precision=0|1 saturate", quantize),
    ("com.microsoft.DequantizeLinear : 3 axis", dequantize),
    ("com.microsoft.QuantizeLinear : 3 axis", quantize),
    (
        "com.microsoft.GatherBlockQuantized : 4 bits=4 block_size gather_axis=0 quantize_axis",
        gather_blocks,
    ),
    (
        "com.microsoft.MatMulNBits : 6 K N accuracy_level bits block_size weight_prepacked=0",
        matmul_n_bits,
    ),
];

/// `(x - zero) · scale`: x, scale, zero point.
fn dequantize(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, scale) = (body.input(0)?, body.input(1)?);
    let mut value = body.cast(&x.name, DatumType::I32)?;
    if let Some(zero) = body.optional(2) {
        let zero = body.cast(&zero.name, DatumType::I32)?;
        let zero = spread(body, &zero, scale, x)?;
        value = body.op("Sub", &[&value, &zero], &[]);
    }
    let value = body.cast(&value, scale.datum_type)?;
    let factor = spread(body, &scale.name, scale, x)?;
    let y = body.op("Mul", &[&value, &factor], &[]);
    Ok(vec![match body.int("output_dtype").unwrap_or(0) {
        0 => y,
        to => body.op("Cast", &[&y], &[("to", Attribute::Int(to))]),
    }])
}

/// `x / scale`, rounded to even, plus the zero point, within the result's type: x, scale, zero point.
fn quantize(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, scale, zero) = (body.input(0)?, body.input(1)?, body.optional(2));
    let to = match (zero, body.int("output_dtype").unwrap_or(0)) {
        (Some(zero), _) => zero.datum_type,
        (None, 3) => DatumType::I8,
        (None, 4) => DatumType::U16,
        (None, 5) => DatumType::I16,
        (None, _) => DatumType::U8,
    };
    let value = body.cast(&x.name, DatumType::F32)?;
    let factor = body.cast(&scale.name, DatumType::F32)?;
    let factor = spread(body, &factor, scale, x)?;
    let steps = body.op("Div", &[&value, &factor], &[]);
    let mut steps = body.op("Round", &[&steps], &[]);
    if let Some(zero) = zero {
        let zero = body.cast(&zero.name, DatumType::F32)?;
        let zero = spread(body, &zero, scale, x)?;
        steps = body.op("Add", &[&steps, &zero], &[]);
    }
    let [low, high] = [to.min_value(), to.max_value()];
    let [low, high] = [low, high].map(|bound| {
        let bound = bound.cast_to::<f32>().map(|b| b.into_owned());
        bound.map(|bound| body.constant(bound))
    });
    let within = body.op("Clip", &[&steps, &low?, &high?], &[]);
    Ok(vec![body.cast(&within, to)?])
}

/// What is given for the scale's parts of an axis of x, as long as x is there.
fn spread(body: &mut Body, value: &str, scale: &Given, x: &Given) -> TractResult<String> {
    let rank = x.shape.len();
    let count: TDim = scale.shape.iter().product();
    if count.is_one() {
        return Ok(body.reshape(value, &vec![1; rank.min(1)]));
    }
    let axis = Body::axis(body.int("axis").unwrap_or(1), rank)?;
    let block = body.int("block_size").unwrap_or(0);
    if block == 0 {
        ensure!(scale.shape.len() == 1, "its scale has shape {:?}", scale.shape);
        let mut shape = vec![1; rank];
        shape[axis] = -1;
        return Ok(body.reshape(value, &shape));
    }
    ensure!(scale.shape.len() == rank, "its scale has shape {:?}", scale.shape);
    let (mut apart, mut together) = (scale.shape.to_vec(), scale.shape.to_vec());
    apart.insert(axis + 1, 1.to_dim());
    let mut repeated = apart.clone();
    repeated[axis + 1] = block.to_dim();
    together[axis] *= block;
    let value = body.reshape(value, &apart);
    let repeated = body.ints(&repeated);
    let value = body.op("Expand", &[&value, &repeated], &[]);
    let value = body.reshape(&value, &together);
    Ok(body.slice(&value, axis, 0, &x.shape[axis]))
}

/// `A · Bᵀ + bias`, B of few bits in blocks: A, B, scales, zero points, g_idx, bias.
fn matmul_n_bits(body: &mut Body) -> TractResult<Vec<String>> {
    let attributes = ["K", "N", "bits", "block_size"]
        .map(|name| (name, Attribute::Int(body.int(name).unwrap_or(4))));
    let product = |body: &mut Body, scale: &str| {
        let [a, b, zero] = [0, 1, 3].map(|i| body.name(i));
        body.op("MatMulNBits", &[a, b, scale, zero], &attributes)
    };
    if body.optional(4).is_some() {
        return Err(unsupported("its input 4 is not supported"));
    }
    let y = in_halves(body, product)?;
    Ok(vec![body.plus(y, 5)])
}

/// Rows of a table of 4 bits in blocks: data, indices, scales, zero points.
fn gather_blocks(body: &mut Body) -> TractResult<Vec<String>> {
    let attributes = [("block_size", 128), ("quantize_axis", 1)]
        .map(|(name, default)| (name, Attribute::Int(body.int(name).unwrap_or(default))));
    let indices = body.cast(&body.input(1)?.name, DatumType::I64)?;
    let rows = |body: &mut Body, scale: &str| {
        let (data, zero) = (body.name(0), body.name(3));
        body.op("GatherBlockQuantized", &[data, &indices, scale, zero], &attributes)
    };
    Ok(vec![in_halves(body, rows)?])
}

/// How much the rest of a scale is enlarged, so that f16 holds it.
const ENLARGED: f32 = 4096.0;

/// What is linear in its third input, the scale. tract holds that in f16, so one of f32 is the sum of two:
/// what f16 holds, and the rest.
fn in_halves(body: &mut Body, compute: impl Fn(&mut Body, &str) -> String) -> TractResult<String> {
    let scale = body.input(2)?;
    let value = scale.value.as_ref().filter(|v| v.datum_type() == DatumType::F32);
    let Some(value) = value else {
        return Ok(compute(body, &scale.name));
    };
    let value = value.to_plain_array_view::<f32>()?;
    let held = value.mapv(|s| f16::from_f32(s).to_f32());
    if !held.iter().all(|s| s.is_finite()) {
        return Err(unsupported("one of its scales is too large for f16"));
    }
    let rest = (&value - &held) * ENLARGED;
    let exact = rest.iter().all(|r| *r == 0.0);
    let held = body.constant(Tensor::from(held));
    let y = compute(body, &held);
    if exact {
        return Ok(y);
    }
    let rest = body.constant(Tensor::from(rest));
    let rest = compute(body, &rest);
    let less = body.constant(tensor0(1.0 / ENLARGED));
    let rest = body.op("Mul", &[&rest, &less], &[]);
    Ok(body.op("Add", &[&y, &rest], &[]))
}
