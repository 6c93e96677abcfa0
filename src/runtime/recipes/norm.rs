//! Normalisations.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("BatchNormalization@7 : 5 epsilon momentum spatial=1 training_mode=0", batch),
    ("com.microsoft.SkipLayerNormalization : 5 -> 4 epsilon", skip_layer),
    ("com.microsoft.SkipSimplifiedLayerNormalization : 4 -> 4 epsilon", skip_simplified),
];

/// `x · slope + intercept` for each channel, the second axis: X, scale, B, mean, var.
fn batch(body: &mut Body) -> TractResult<Vec<String>> {
    let [x, scale, b, mean, var] = body.names()?;
    let (rank, float) = (body.input(0)?.shape.len(), body.input(4)?.datum_type);
    let epsilon = body.scalar(body.float("epsilon").unwrap_or(1e-5), float)?;
    let var = body.op("Add", &[var, &epsilon], &[]);
    let deviation = body.op("Sqrt", &[&var], &[]);
    let slope = body.op("Div", &[scale, &deviation], &[]);
    let shift = body.op("Mul", &[mean, &slope], &[]);
    let intercept = body.op("Sub", &[b, &shift], &[]);
    let mut shape = vec![1i64; rank.max(2) - 1];
    shape[0] = -1;
    let [slope, intercept] = [slope, intercept].map(|value| body.reshape(&value, &shape));
    let scaled = body.op("Mul", &[x, &slope], &[]);
    Ok(vec![body.op("Add", &[&scaled, &intercept], &[])])
}

/// input, skip, gamma, beta, bias. Gives the norm of their sum, the mean, the inverse deviation, the sum.
fn skip_layer(body: &mut Body) -> TractResult<Vec<String>> {
    let sum = sum(body, 4)?;
    let ([_, _, gamma], beta) = (body.names()?, body.name(3));
    let epsilon = [("epsilon", Attribute::Float(body.float("epsilon").unwrap_or(1e-12)))];
    let mut made = body.ops("LayerNormalization", &[&sum, gamma, beta], &epsilon, 3);
    made.push(sum);
    Ok(made)
}

/// input, skip, gamma, bias. Gives the norm of their sum, no mean, the inverse deviation, the sum.
fn skip_simplified(body: &mut Body) -> TractResult<Vec<String>> {
    let sum = sum(body, 3)?;
    let [_, _, gamma] = body.names()?;
    let epsilon = [("epsilon", Attribute::Float(body.float("epsilon").unwrap_or(1e-12)))];
    let made = body.ops("SimplifiedLayerNormalization", &[&sum, gamma], &epsilon, 2);
    let [norm, deviation] = <[String; 2]>::try_from(made).unwrap_or_default();
    Ok(vec![norm, String::new(), deviation, sum])
}

/// The first two inputs and a bias, where the node has one.
fn sum(body: &mut Body, bias: usize) -> TractResult<String> {
    let [x, skip] = body.names()?;
    let sum = body.op("Add", &[x, skip], &[]);
    Ok(body.plus(sum, bias))
}
