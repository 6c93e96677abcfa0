//! Operators that reduce axes.

use super::Table;
use crate::runtime::composite::{Attribute, Body, Given};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("GlobalLpPool : 1 p", global_lp_pool),
    ("LogSoftmax : 1 axis", log_softmax),
    ("ReduceLogSumExp : 2 axes<18 keepdims noop_with_empty_axes", log_sum_exp),
    ("ReduceMax ReduceMin : 2 axes<18 keepdims noop_with_empty_axes", extreme),
    ("ReduceMean : 2 axes<18 keepdims noop_with_empty_axes", sum),
    ("ReduceSum : 2 axes<13 keepdims noop_with_empty_axes", sum),
];

/// The p-norm over all axes but the first two.
fn global_lp_pool(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let p = body.int("p").unwrap_or(2);
    ensure!(p > 0, "its attribute p is not positive");
    let (power, root) = (body.scalar(p as f32, x.datum_type)?, 1.0 / p as f32);
    let root = body.scalar(root, x.datum_type)?;
    let axes = body.ints(&(2..x.shape.len()).collect::<Vec<_>>());
    let size = body.op("Abs", &[&x.name], &[]);
    let powers = body.op("Pow", &[&size, &power], &[]);
    let sum = body.op("ReduceSum", &[&powers, &axes], &[]);
    Ok(vec![body.op("Pow", &[&sum, &root], &[])])
}

/// `x - log Σ exp(x)`; before opset 13 over all axes from one on.
fn log_softmax(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let rank = x.shape.len();
    let axes: Vec<usize> = match body.opset {
        ..13 => (Body::axis(body.int("axis").unwrap_or(1), rank)?..rank).collect(),
        _ => vec![Body::axis(body.int("axis").unwrap_or(-1), rank)?],
    };
    let axes = body.ints(&axes);
    let sum = stable(body, x, &axes, true)?;
    Ok(vec![body.op("Sub", &[&x.name, &sum], &[])])
}

fn log_sum_exp(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let axes = match body.optional(1) {
        Some(axes) => Some(axes.ints().context("its axes are not known before it runs")?),
        None => body.int_list("axes"),
    };
    let axes = axes.filter(|axes| !axes.is_empty());
    if axes.is_none() && body.int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return Ok(vec![x.name.clone()]);
    }
    let axes = axes.unwrap_or_else(|| (0..x.shape.len() as i64).collect());
    let axes = body.ints(&axes);
    let keep = body.int("keepdims").unwrap_or(1) != 0;
    Ok(vec![stable(body, x, &axes, keep)?])
}

/// ReduceMax and ReduceMin.
fn extreme(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    Ok(vec![in_halves(body, &x.name, x.datum_type, reduced)?])
}

/// ReduceMean and ReduceSum, over every axis accumulated in f64: a ternary weight's scale is one, and an
/// error in it changes codes.
fn sum(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let some = body.optional(1).is_some() || body.node.attribute("axes").is_some();
    if some || body.node.flag("noop_with_empty_axes") || x.datum_type != DatumType::F32 {
        return Ok(vec![reduced(body, &x.name)]);
    }
    let wide = body.cast(&x.name, DatumType::F64)?;
    let wide = reduced(body, &wide);
    Ok(vec![body.cast(&wide, x.datum_type)?])
}

/// The value reduced by tract's operator of the node's name, as the node says.
fn reduced(body: &mut Body, value: &str) -> String {
    let axes = match body.int_list("axes") {
        Some(axes) => body.ints(&axes),
        None => body.name(1).to_owned(),
    };
    let flags = [("keepdims", 1), ("noop_with_empty_axes", 0)]
        .map(|(name, default)| (name, Attribute::Int(body.int(name).unwrap_or(default))));
    body.op(body.node.op_type(), &[value, &axes], &flags)
}

/// The largest elements along the last axis, which is kept.
pub(super) fn largest(body: &mut Body, value: &str, datum_type: DatumType) -> TractResult<String> {
    in_halves(body, value, datum_type, |body, value| {
        let axes = body.ints(&[-1]);
        body.op("ReduceMax", &[value, &axes], &[])
    })
}

/// The largest or smallest of some elements. Bools are taken as bytes, and floats by halves: tract begins
/// with the least finite number, which twice is the infinity that it does not know.
fn in_halves(
    body: &mut Body,
    value: &str,
    datum_type: DatumType,
    reduce: impl FnOnce(&mut Body, &str) -> String,
) -> TractResult<String> {
    let wide = match datum_type {
        DatumType::Bool => DatumType::U8,
        // The least numbers of 16 bits have no half of that size.
        DatumType::F16 => DatumType::F32,
        other => other,
    };
    let (half, whole) = if wide.is_float() { (0.5, 2.0) } else { (1.0, 1.0) };
    let to = |body: &mut Body, value: &str, to| match wide == datum_type {
        true => Ok(value.to_owned()),
        false => body.cast(value, to),
    };
    let value = to(body, value, wide)?;
    let value = body.scaled(&value, half, wide)?;
    let made = reduce(body, &value);
    let made = body.scaled(&made, whole, wide)?;
    to(body, &made, datum_type)
}

/// `log Σ exp(x)` over these axes, of numbers of any size.
fn stable(body: &mut Body, x: &Given, axes: &str, keep: bool) -> TractResult<String> {
    let most = body.op("ReduceMax", &[&x.name, axes], &[]);
    // An infinite one is not taken off: that would be no number.
    let [low, high] = [x.datum_type.min_value(), x.datum_type.max_value()];
    let [low, high] = [low, high].map(|bound| body.constant(bound));
    let most = body.op("Clip", &[&most, &low, &high], &[]);
    let rest = body.op("Sub", &[&x.name, &most], &[]);
    let powers = body.op("Exp", &[&rest], &[]);
    let sum = body.op("ReduceSum", &[&powers, axes], &[]);
    let log = body.op("Log", &[&sum], &[]);
    let all = body.op("Add", &[&log, &most], &[]);
    Ok(if keep { all } else { body.op("Squeeze", &[&all, axes], &[]) })
}
