//! Normalisations, computed in `f64` and rounded once.

use super::call::{Call, Outcome, axis_indices, converted};
use super::elementwise::broadcast;
use crate::array::{Array, Element, for_any};
use ndarray::{ArrayD, Axis};

/// `(x - mean) / sqrt(variance + epsilon) · gain + shift` along the last axes, from `axis` on.
pub fn layer(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let from = call.axis(Some(-1), x.shape().len())?;
    let axes: Vec<usize> = (from..x.shape().len()).collect();
    let centred = call.node.op_type() == "LayerNormalization";
    let unit = unit(doubles(&x), &axes, centred, epsilon(call));
    scaled(call, unit, &x)
}

/// `InstanceNormalization`, and `GroupNormalization` with one gain a channel.
pub fn channels(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let shape = x.shape().to_vec();
    let [n, c, ..] = shape[..] else { return Err("its input has less than two axes".to_owned()) };
    let groups = call.node.int("num_groups").map_or(Some(c), |g| usize::try_from(g).ok());
    let groups = groups.filter(|g| *g > 0 && c % g == 0);
    let groups = groups.ok_or_else(|| format!("its {c} channels make no groups"))?;
    let grouped = [n, groups, shape.iter().skip(1).product::<usize>() / groups];
    let failed = |e: ndarray::ShapeError| e.to_string();
    let rows = doubles(&x).into_shape_with_order(&grouped[..]).map_err(failed)?;
    let unit = unit(rows, &[2], true, epsilon(call));
    scaled_by_channel(call, unit.into_shape_with_order(&shape[..]).map_err(failed)?, &x)
}

/// `BatchNormalization` in training, where mean and variance are those of each channel.
pub fn batch(call: &mut Call) -> Outcome {
    if !call.node.flag("training_mode") {
        return Err("its mean and variance are given".to_owned());
    }
    let x = call.take(0)?;
    let axes: Vec<usize> = (0..x.shape().len()).filter(|axis| *axis != 1).collect();
    let unit = unit(doubles(&x), &axes, true, epsilon(call));
    scaled_by_channel(call, unit, &x)
}

/// Gain and shift belong to the second axis.
fn scaled_by_channel(call: &mut Call, unit: ArrayD<f64>, like_x: &Array) -> Outcome {
    for operand in call.inputs.iter_mut().skip(1).take(2).flatten() {
        let broad = [vec![1, operand.len()], vec![1; unit.ndim().saturating_sub(2)]].concat();
        *operand = super::layout::with_shape(operand.clone(), &broad)?;
    }
    scaled(call, unit, like_x)
}

/// `x / ‖x‖` along an axis.
pub fn norm(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axis = Axis(call.axis(Some(-1), x.shape().len())?);
    let values = doubles(&x);
    let sum = match call.node.int("p").unwrap_or(2) {
        1 => values.mapv(f64::abs).sum_axis(axis),
        _ => values.mapv(|e| e * e).sum_axis(axis).mapv(f64::sqrt),
    };
    like(&x, values / sum.insert_axis(axis))
}

/// `(x - mean) / (sqrt(variance) + 1e-9)` along some axes.
pub fn mean_variance(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axes = call.node.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes = axis_indices(axes, x.shape().len())?;
    let values = doubles(&x);
    let centred = &values - &mean(values.clone(), &axes);
    let deviation = mean(centred.mapv(|e| e * e), &axes).mapv(|v| v.sqrt() + 1e-9);
    like(&x, centred / deviation)
}

/// The mean over all axes but the first two.
pub fn average_pool(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axes: Vec<usize> = (2..x.shape().len()).collect();
    like(&x, mean(doubles(&x), &axes))
}

fn epsilon(call: &Call) -> f64 {
    call.node.float("epsilon").unwrap_or(1e-5).into()
}

fn unit(x: ArrayD<f64>, axes: &[usize], centred: bool, epsilon: f64) -> ArrayD<f64> {
    let x = if centred { &x - &mean(x.clone(), axes) } else { x };
    let variance = mean(x.mapv(|e| e * e), axes);
    x / variance.mapv(|v| (v + epsilon).sqrt())
}

fn mean(x: ArrayD<f64>, axes: &[usize]) -> ArrayD<f64> {
    axes.iter().fold(x, |x, axis| {
        let count = x.len_of(Axis(*axis)).max(1) as f64;
        x.sum_axis(Axis(*axis)).insert_axis(Axis(*axis)) / count
    })
}

/// Multiplied with the second input, plus the third, as far as there are any.
fn scaled(call: &mut Call, mut unit: ArrayD<f64>, like_x: &Array) -> Outcome {
    let shape = unit.shape().to_vec();
    if let Some(gain) = call.take_optional(1) {
        unit *= &broadcast(&doubles(&gain).into_shared(), &shape)?;
    }
    if let Some(shift) = call.take_optional(2) {
        unit += &broadcast(&doubles(&shift).into_shared(), &shape)?;
    }
    like(like_x, unit)
}

fn doubles(x: &Array) -> ArrayD<f64> {
    for_any!(x, x => x.map(|e| e.to_f64()))
}

fn like(x: &Array, values: ArrayD<f64>) -> Outcome {
    converted(Array::F64(values.into_shared()), x.dtype())
}
