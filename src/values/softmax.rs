//! Softmax in parts: weights of each row that are positive and sum to one.

use super::cut::{Cut, Sight};
use crate::{
    array::{Array, Element as _},
    graph::{Constants, View},
};
use ndarray::Axis;

/// What a value is the softmax of, along one of its last two axes. What is `aside` takes no part, as a
/// mask does not.
pub fn softmax<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    value: &'m str,
    aside: &dyn Fn(&str) -> bool,
) -> Option<&'m str> {
    let last = view.node(view.producer(value)?);
    // It ends with a sum that it is divided by, or with the logarithm of one taken off.
    if !matches!(last.standard(), "Div" | "Mul" | "Exp") {
        return None;
    }
    let sight = Sight { aside, ..Sight::new(view, constants) };
    let exponential = |cut: &Cut| cut.nodes().any(|n| matches!(n.standard(), "Exp" | "Pow"));
    let mut cuts = sight.cuts(value).filter(|cut| exponential(cut) && !cut.is_elementwise());
    cuts.by_ref().take(NEAREST).find(weighs).map(|cut| cut.x)
}

/// How many values are tried as what a softmax is of.
const NEAREST: usize = 4;

/// Whether the results are positive and sum to one, if no more than a sink has a part of it.
fn weighs(cut: &Cut) -> bool {
    const SHAPE: [usize; 4] = [1, 1, 5, 5];
    let ranks = cut.sight.shape(cut.x).rank.map_or(vec![4, 3, 2], |rank| vec![rank]);
    ranks.into_iter().filter(|rank| (2..=4).contains(rank)).any(|rank| {
        let shape = &SHAPE[4 - rank..];
        // Below and above zero, and so large that what a sink adds does not count.
        let count: usize = shape.iter().product();
        let scores = (0..count).map(|i| (i * 7 % 11) as f64 * 4.0 - 8.0 - (i % 3) as f64).collect();
        let weights = Array::from_vec(shape, scores).and_then(|scores| cut.at(scores).ok());
        let weights = weights.and_then(|values| f64::unwrap(values.get(cut.value)?).cloned());
        weights.is_some_and(|weights| {
            let sums = |axis| weights.sum_axis(Axis(axis)).iter().all(|s| (s - 1.0).abs() < 1e-3);
            weights.shape().ends_with(&shape[rank - 2..])
                && weights.ndim() == rank
                && weights.iter().all(|weight| *weight >= 0.0)
                && (sums(rank - 1) || sums(rank - 2))
        })
    })
}
