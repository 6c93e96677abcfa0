//! Operators that sum up along axes.

use super::call::{Call, Outcome, Reason, axis_indices};
use super::layout::standard;
use super::number::{ADD, Arithmetic, FLOATS, MAX, NUMBERS, Types};
use crate::array::{Array, Element, Elements, Wide, for_any};
use crate::proto::tensor_proto::DataType::{Int32, Int64};

/// The elements of each lane, two at a time.
pub fn fold(call: &mut Call, types: Types, f: Arithmetic) -> Outcome {
    let (x, lanes) = Lanes::of(call, types)?;
    for_any!(x, x => lanes.fold(x, f))
}

/// The sum of a term for each element of a lane, and what becomes of it and the number of elements:
/// accumulated in `f64`, rounded once.
pub fn totals(
    call: &mut Call,
    term: impl Fn(f64) -> f64,
    finish: impl Fn(f64, f64) -> f64,
) -> Outcome {
    let (x, lanes) = Lanes::of(call, FLOATS)?;
    for_any!(x, x => lanes.floats(x, |lane| finish(total(lane, &term), lane.len() as f64)))
}

pub fn sum(call: &mut Call) -> Outcome {
    match call.inputs.first().and_then(Option::as_ref).map(Array::dtype) {
        Some(Int32 | Int64) => fold(call, &[Int32, Int64], ADD),
        _ => totals(call, |term| term, |sum, _| sum),
    }
}

pub fn log_sum_exp(call: &mut Call) -> Outcome {
    let (x, lanes) = Lanes::of(call, FLOATS)?;
    for_any!(x, x => lanes.floats(x, log_total))
}

/// `Softmax` and `LogSoftmax` along the last axis: other axes mean something else before opset 13.
pub fn softmax(call: &mut Call) -> Outcome {
    fn by_rows<T: Element>(x: Elements<T>, log: bool) -> Array {
        let mut x = standard(x);
        for mut row in x.rows_mut() {
            let sum = log_total(&row.to_vec());
            let part = |e: T| if log { e.to_f64() - sum } else { (e.to_f64() - sum).exp() };
            row.mapv_inplace(|e| T::from_wide(Wide::Float(part(e))));
        }
        T::wrap(x)
    }
    let x = call.take_of(0, FLOATS)?;
    let rank = x.shape().len();
    if call.axis(None, rank)? + 1 != rank {
        return Err("its axis is not the last".to_owned());
    }
    Ok(for_any!(x, x => by_rows(x, call.node.op_type() == "LogSoftmax")))
}

/// The values of a `TopK` that asks for the one largest element.
pub fn top_one(call: &mut Call) -> Outcome {
    let x = call.take_of(0, NUMBERS)?;
    let axes = vec![call.axis(Some(-1), x.shape().len())?];
    let k = call.ints_or_input("k", 1)?.or(call.node.int("k").map(|k| vec![k]));
    if k != Some(vec![1]) || call.node.int("largest") == Some(0) {
        return Err("it asks for more than the one largest element".to_owned());
    }
    for_any!(x, x => Lanes { axes, keep: true }.fold(x, MAX))
}

/// The logarithm of the sum of powers of e, the largest taken out: none overflows.
fn log_total<T: Element>(lane: &[T]) -> f64 {
    let largest = lane.iter().map(|e| e.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    total(lane, |e| (e - largest).exp()).ln() + largest
}

fn total<T: Element>(lane: &[T], term: impl Fn(f64) -> f64) -> f64 {
    lane.iter().map(|element| term(element.to_f64())).sum()
}

/// Which axes are reduced.
struct Lanes {
    axes: Vec<usize>,
    keep: bool,
}

impl Lanes {
    /// The input and its axes; where none are named, all of them or none, as the node says.
    fn of(call: &mut Call, types: Types) -> Result<(Array, Self), Reason> {
        let x = call.take_of(0, types)?;
        let rank = x.shape().len();
        let axes = match call.ints_or_input("axes", 1)? {
            Some(axes) if !axes.is_empty() => axis_indices(&axes, rank)?,
            _ if call.node.flag("noop_with_empty_axes") => vec![],
            _ => (0..rank).collect(),
        };
        if axes.iter().any(|&axis| x.shape()[axis] == 0) {
            return Err(format!("it reduces {:?}, which is empty", x.shape()));
        }
        Ok((x, Lanes { axes, keep: call.node.int("keepdims").unwrap_or(1) != 0 }))
    }

    fn fold<T: Element>(&self, x: Elements<T>, f: Arithmetic) -> Outcome {
        self.each(x, |lane| lane.iter().copied().reduce(|a, b| f.of(a, b)).unwrap_or_default())
    }

    fn floats<T: Element>(&self, x: Elements<T>, f: impl Fn(&[T]) -> f64) -> Outcome {
        self.each(x, |lane| T::from_wide(Wide::Float(f(lane))))
    }

    /// One result for the elements that differ along the reduced axes only, taken in row-major order
    /// whatever the order in memory: sums are the same each time.
    fn each<T: Element>(&self, x: Elements<T>, f: impl Fn(&[T]) -> T) -> Outcome {
        let shape = x.shape().to_vec();
        let (reduced, kept): (Vec<usize>, Vec<usize>) =
            (0..shape.len()).partition(|axis| self.axes.contains(axis));
        let length: usize = reduced.iter().map(|&axis| shape[axis]).product();
        let x = standard(x.permuted_axes([kept.clone(), reduced].concat()));
        let lanes = x.as_slice().ok_or("its input is not contiguous")?.chunks_exact(length);
        let result: Vec<usize> = match self.keep {
            true => {
                (0..shape.len()).map(|a| if kept.contains(&a) { shape[a] } else { 1 }).collect()
            }
            false => kept.iter().map(|&axis| shape[axis]).collect(),
        };
        let reduced = Elements::from_shape_vec(result, lanes.map(f).collect());
        reduced.map(T::wrap).map_err(|e| e.to_string())
    }
}
