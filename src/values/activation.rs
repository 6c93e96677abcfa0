//! Activations: functions of each element that bend.

use super::cut::{Cut, Sight, numbers};
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
    // The longest part that is elementwise, and the value and the nodes after it.
    let (mut run, mut end, mut after): (Option<Cut>, _, _) = (None, value, 0);
    for cut in sight.cuts(value) {
        let length = cut.nodes.len();
        let part = Cut { value: end, nodes: cut.nodes[..length - after].to_vec(), ..cut };
        if part.is_elementwise() {
            run = Some(part);
            continue;
        }
        if run.take().is_some_and(|run| bends(&run)) {
            return true;
        }
        (end, after) = (part.x, length);
    }
    run.is_some_and(|run| bends(&run))
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
        numbers(values.get(piece.value)?)
    });
    let Some(made) = made else { return false };
    // Each feature may have a bias and a slope of its own.
    let features = (made.len() / x.len()).max(1);
    let feature = |i: usize| made.iter().skip(i).step_by(features).copied().collect::<Vec<f64>>();
    made.len() == features * x.len() && (0..features).any(|i| distance(&x, &feature(i)) > BENT)
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
