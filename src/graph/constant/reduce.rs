//! Operators that sum up: reductions along axes, and matrix products.

use super::call::{Call, Reason, axis_indices};
use super::elementwise::{broadcast, mismatch, no_such};
use super::layout::{standard, with_shape};
use crate::array::{Array, Element, Elements, Wide};
use ndarray::{ArrayView2, Ix2, LinalgScalar};

type Outcome = Result<Array, Reason>;

pub fn sum(call: &mut Call) -> Outcome {
    reduce(call, Total { term: |x| x, finish: |sum, _| sum })
}

pub fn mean(call: &mut Call) -> Outcome {
    reduce(call, Total { term: |x| x, finish: |sum, count| sum / count })
}

pub fn l1(call: &mut Call) -> Outcome {
    reduce(call, Total { term: f64::abs, finish: |sum, _| sum })
}

pub fn l2(call: &mut Call) -> Outcome {
    reduce(call, Total { term: |x| x * x, finish: |sum, _| sum.sqrt() })
}

pub fn sum_square(call: &mut Call) -> Outcome {
    reduce(call, Total { term: |x| x * x, finish: |sum, _| sum })
}

pub fn max(call: &mut Call) -> Outcome {
    reduce(call, Extreme { better: |new, old| new > old })
}

pub fn min(call: &mut Call) -> Outcome {
    reduce(call, Extreme { better: |new, old| new < old })
}
