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
    let [x, scale, b, mean, var] = [0, 1, 2, 3, 4].map(|i| body.input(i).cloned());
    let (x, scale, b, mean, var) = (x?, scale?.name, b?.name, mean?.name, var?);
    let epsilon = body.scalar(body.float("epsilon").unwrap_or(1e-5), var.datum_type)?;
    let var = body.op("Add", &[&var.name, &epsilon], &[]);
    let deviation = body.op("Sqrt", &[&var], &[]);
    let slope = body.op("Div", &[&scale, &deviation], &[]);
    let shift = body.op("Mul", &[&mean, &slope], &[]);
    let intercept = body.op("Sub", &[&b, &shift], &[]);
    let mut shape = vec![1i64; x.shape.len().max(2) - 1];
    shape[0] = -1;
    let [slope, intercept] = [slope, intercept].map(|value| body.reshape(&value, &shape));
    let scaled = body.op("Mul", &[&x.name, &slope], &[]);
    Ok(vec![body.op("Add", &[&scaled, &intercept], &[])])
}

/// input, skip, gamma, beta, bias. Gives the norm of their sum, the mean, the inverse deviation, the sum.
fn skip_layer(body: &mut Body) -> TractResult<Vec<String>> {
    let sum = sum(body, 4)?;
    let gamma = body.input(2)?.name.clone();
    let beta = body.optional(3).map(|g| g.name.clone()).unwrap_or_default();
    let epsilon = [("epsilon", Attribute::Float(body.float("epsilon").unwrap_or(1e-12)))];
    let mut made = body.ops("LayerNormalization", &[&sum, &gamma, &beta], &epsilon, 3);
    made.push(sum);
    Ok(made)
}

/// input, skip, gamma, bias. Gives the norm of their sum, no mean, the inverse deviation, the sum.
fn skip_simplified(body: &mut Body) -> TractResult<Vec<String>> {
    let sum = sum(body, 3)?;
    let gamma = body.input(2)?.name.clone();
    let epsilon = [("epsilon", Attribute::Float(body.float("epsilon").unwrap_or(1e-12)))];
    let made = body.ops("SimplifiedLayerNormalization", &[&sum, &gamma], &epsilon, 2);
    let [norm, deviation] = <[String; 2]>::try_from(made).unwrap_or_default();
    Ok(vec![norm, String::new(), deviation, sum])
}

/// The first two inputs and a bias, where the node has one.
fn sum(body: &mut Body, bias: usize) -> TractResult<String> {
    let (x, skip) = (body.input(0)?.name.clone(), body.input(1)?.name.clone());
    let sum = body.op("Add", &[&x, &skip], &[]);
    let bias = body.optional(bias).map(|g| g.name.clone());
    Ok(match bias {
        Some(bias) => body.op("Add", &[&sum, &bias], &[]),
        None => sum,
    })
}
