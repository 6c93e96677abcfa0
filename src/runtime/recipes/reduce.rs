//! Operators that reduce axes.

use super::Table;
use crate::runtime::composite::{Body, Given};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("GlobalLpPool : 1 p", global_lp_pool),
    ("LogSoftmax : 1 axis", log_softmax),
    ("ReduceLogSumExp : 2 axes<18 keepdims noop_with_empty_axes", log_sum_exp),
];

/// The p-norm over all axes but the first two.
fn global_lp_pool(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?.clone();
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
    let x = body.input(0)?.clone();
    let rank = x.shape.len();
    let axes: Vec<usize> = match body.opset {
        ..13 => (Body::axis(body.int("axis").unwrap_or(1), rank)?..rank).collect(),
        _ => vec![Body::axis(body.int("axis").unwrap_or(-1), rank)?],
    };
    let axes = body.ints(&axes);
    let sum = stable(body, &x, &axes, true)?;
    Ok(vec![body.op("Sub", &[&x.name, &sum], &[])])
}

fn log_sum_exp(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?.clone();
    let axes = match body.optional(1) {
        Some(axes) => Some(axes.ints().context("its axes are not known before it runs")?),
        None => body.int_list("axes"),
    };
    let axes = axes.filter(|axes| !axes.is_empty());
    if axes.is_none() && body.int("noop_with_empty_axes").unwrap_or(0) != 0 {
        return Ok(vec![x.name]);
    }
    let axes = axes.unwrap_or_else(|| (0..x.shape.len() as i64).collect());
    let axes = body.ints(&axes);
    let keep = body.int("keepdims").unwrap_or(1) != 0;
    Ok(vec![stable(body, &x, &axes, keep)?])
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
