//! Activations: functions of each element that bend.

use super::cut::{Cut, Sight};
use crate::{
    array::Array,
    graph::{Constants, View},
    proto::tensor_proto::DataType,
};

/// Whether an activation stands between a value and the product that it comes from. What is `aside`
/// takes no part, as a mask does not.
pub fn is_activated<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    value: &'m str,
    aside: &dyn Fn(&str) -> bool,
) -> bool {
    let sight = Sight { aside, ..Sight::new(view, constants) };
    let (mut value, mut passed) = (value, 0);
    sight.cuts(value).any(|cut| {
        // Only what lies before the last cut is new.
        let nodes = cut.nodes[..cut.nodes.len() - passed].to_vec();
        let piece = Cut { value, nodes, ..cut };
        (value, passed) = (cut.x, cut.nodes.len());
        piece.is_elementwise() && bends(&piece)
    })
}

/// Activations are told from clips that never clip, soft caps and roundings by how far they are from
/// a line where activations lie: over -8 to 8 more than this part of their range.
const BENT: f64 = 0.05;
const REACH: i32 = 16;

fn bends(piece: &Cut) -> bool {
    let x: Vec<f64> = (-REACH..=REACH).map(|i| f64::from(i) / 2.0).collect();
    let column = Array::from_vec(&[x.len(), 1], x.clone());
    let made = [DataType::Double, DataType::Float].into_iter().find_map(|float| {
        let values = piece.at(column.clone()?.cast(float)?).ok()?;
        values.get(piece.value)?.clone().cast(DataType::Double)
    });
    let Some(Array::F64(made)) = made else { return false };
    let features = made.len() / x.len();
    let made = made.as_standard_layout();
    // Each feature may have a bias and a slope of its own: the first stands for all.
    let y: Vec<f64> = made.iter().step_by(features.max(1)).copied().collect();
    y.len() == x.len() && distance(&x, &y) > BENT
}

/// How far values are from the nearest line, as a part of their range; the abscissae are even.
fn distance(x: &[f64], y: &[f64]) -> f64 {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let slope = product(x, y) / product(x, x);
    let (low, high) = y.iter().fold((f64::MAX, f64::MIN), |(l, h), y| (l.min(*y), h.max(*y)));
    let far = x.iter().zip(y).map(|(x, y)| (y - mean - slope * x).abs()).fold(0.0, f64::max);
    if high > low { far / (high - low) } else { 0.0 }
}
