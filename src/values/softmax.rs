//! Softmax in parts: weights of each row that are positive and sum to one.

use super::cut::{Cut, Sight};
use crate::{
    array::{Array, Element as _},
    graph::{Constants, View},
};
use ndarray::Axis;

/// What a value is the softmax of, and whether each column sums to one instead of each row. What is
/// `aside` takes no part, as a mask does not.
pub fn softmax<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    value: &'m str,
    aside: &dyn Fn(&str) -> bool,
) -> Option<(&'m str, bool)> {
    let last = view.node(view.producer(value)?);
    // It ends with a sum that it is divided by, or with the logarithm of one taken off.
    if !matches!(last.standard(), "Div" | "Mul" | "Exp" | "LpNormalization") {
        return None;
    }
    let sight = Sight { aside, ..Sight::new(view, constants) };
    let exponential = |cut: &Cut| cut.nodes().any(|n| matches!(n.standard(), "Exp" | "Pow"));
    let mut cuts = sight.cuts(value).filter(|cut| exponential(cut) && !cut.is_elementwise());
    cuts.by_ref().take(NEAREST).find_map(|cut| Some((cut.x, columns_weigh(&cut)?)))
}

/// How many values are tried as what a softmax is of.
const NEAREST: usize = 4;

/// Whether the columns of what is made are positive and sum to one, or else the rows, if no more than a
/// sink has a part of it.
fn columns_weigh(cut: &Cut) -> Option<bool> {
    const SHAPE: [usize; 4] = [1, 1, 5, 5];
    let ranks = cut.sight.shape(cut.x).rank.map_or(vec![4, 3, 2], |rank| vec![rank]);
    ranks.into_iter().filter(|rank| (2..=4).contains(rank)).find_map(|rank| {
        let shape = &SHAPE[4 - rank..];
        // Below and above zero, and so large that what a sink adds does not count.
        let count: usize = shape.iter().product();
        let scores = (0..count).map(|i| (i * 7 % 11) as f64 * 4.0 - 8.0 - (i % 3) as f64).collect();
        let weights = Array::from_vec(shape, scores).and_then(|scores| cut.at(scores).ok());
        let weights = weights.and_then(|values| f64::unwrap(values.get(cut.value)?.clone()))?;
        let sums = |axis| weights.sum_axis(Axis(axis)).iter().all(|s| (s - 1.0).abs() < 1e-3);
        let fits = weights.shape().ends_with(&shape[rank - 2..])
            && weights.ndim() == rank
            && weights.iter().all(|weight| *weight >= 0.0);
        [rank - 1, rank - 2]
            .into_iter()
            .find(|axis| fits && sums(*axis))
            .map(|axis| axis != rank - 1)
    })
}
