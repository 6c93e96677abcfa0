//! Operators that sum up: reductions along axes, and matrix products.

use super::call::{Call, Reason, axis_indices};
use super::elementwise::{broadcast, mismatch, no_such};
use super::layout::{standard, with_shape};
use super::number::Number;
use crate::array::{Array, Element, Elements};
use ndarray::{Array2, ArrayView2, Ix2, LinalgScalar};

type Outcome = Result<Array, Reason>;

pub fn sum(call: &mut Call) -> Outcome {
    match Lanes::of(call)? {
        (Array::I32(x), lanes) => lanes.fold(x, integer_sum).map(Array::I32),
        (Array::I64(x), lanes) => lanes.fold(x, integer_sum).map(Array::I64),
        (x, lanes) => totals(x, &lanes, |term| term, |sum, _| sum),
    }
}

/// An operator that adds up a term for each element.
macro_rules! total {
    ($name:ident, $term:expr, $finish:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            let (x, lanes) = Lanes::of(call)?;
            totals(x, &lanes, $term, $finish)
        }
    };
}

total!(mean, |term| term, |sum, count| sum / count);
total!(l1, f64::abs, |sum, _| sum);
total!(l2, |term| term * term, |sum, _| sum.sqrt());
total!(sum_square, |term| term * term, |sum, _| sum);
total!(log_sum, |term| term, |sum, _| sum.ln());

pub fn log_sum_exp(call: &mut Call) -> Outcome {
    let (x, lanes) = Lanes::of(call)?;
    match x {
        Array::F32(x) => lanes.fold(x, |lane| log_total(lane) as f32).map(Array::F32),
        Array::F64(x) => lanes.fold(x, log_total).map(Array::F64),
        other => Err(no_such(&other)),
    }
}

/// The logarithm of the sum of powers of e, the largest taken out: none overflows.
fn log_total<T: Into<f64> + Copy>(lane: &[T]) -> f64 {
    let largest = lane.iter().map(|&e| e.into()).fold(f64::NEG_INFINITY, f64::max);
    total(lane, |e| (e - largest).exp(), |sum, _| sum.ln()) + largest
}

/// `Softmax` and `LogSoftmax` along the last axis: other axes mean something else before opset 13.
pub fn softmax(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let rank = x.shape().len();
    if call.axis(None, rank)? + 1 != rank {
        return Err("its axis is not the last".to_owned());
    }
    let log = call.node.op_type() == "LogSoftmax";
    macro_rules! along_rows {
        ($($variant:ident $type:ident)+) => {
            match x {
                $(Array::$variant(x) => {
                    let mut x = standard(x);
                    for mut row in x.rows_mut() {
                        let sum = log_total(&row.to_vec());
                        let part = |e: $type| (f64::from(e) - sum) as $type;
                        row.mapv_inplace(|e| if log { part(e) } else { part(e).exp() });
                    }
                    Ok(Array::$variant(x))
                })+
                other => Err(no_such(&other)),
            }
        };
    }
    along_rows!(F32 f32 F64 f64)
}

macro_rules! fold {
    ($name:ident, $f:ident) => {
        pub fn $name(call: &mut Call) -> Outcome {
            fold!(@types $f, Lanes::of(call)?; F32 F64 I8 I32 I64 U8)
        }
    };
    (@types $f:ident, $input:expr; $($variant:ident)+) => {
        match $input {
            $((Array::$variant(x), lanes) => lanes
                .fold(x, |lane| lane.iter().copied().reduce(Number::$f).unwrap_or_default())
                .map(Array::$variant),)+
            (other, _) => Err(no_such(&other)),
        }
    };
}

fold!(max, max);
fold!(min, min);
fold!(product_of, mul);

/// The values of a `TopK` that asks for the one largest element.
pub fn top_one(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axes = vec![call.axis(Some(-1), x.shape().len())?];
    let k = call.ints_or_input("k", 1)?.or(call.node.int("k").map(|k| vec![k]));
    if k != Some(vec![1]) || call.node.int("largest") == Some(0) {
        return Err("it asks for more than the one largest element".to_owned());
    }
    fold!(@types max, (x, Lanes { axes, keep: true }); F32 F64 I8 I32 I64 U8)
}

/// Sums are accumulated in `f64` and rounded once.
fn totals(
    x: Array,
    lanes: &Lanes,
    term: impl Fn(f64) -> f64,
    finish: impl Fn(f64, f64) -> f64,
) -> Outcome {
    match x {
        Array::F32(x) => lanes.fold(x, |lane| total(lane, &term, &finish) as f32).map(Array::F32),
        Array::F64(x) => lanes.fold(x, |lane| total(lane, &term, &finish)).map(Array::F64),
        other => Err(no_such(&other)),
    }
}

fn total<T: Into<f64> + Copy>(
    lane: &[T],
    term: impl Fn(f64) -> f64,
    finish: impl Fn(f64, f64) -> f64,
) -> f64 {
    let sum: f64 = lane.iter().map(|&element| term(element.into())).sum();
    finish(sum, lane.len() as f64)
}

fn integer_sum<T: Number>(lane: &[T]) -> T {
    lane.iter().fold(T::default(), |sum, &element| sum.add(element))
}

/// Which axes are reduced.
struct Lanes {
    axes: Vec<usize>,
    keep: bool,
}

impl Lanes {
    /// The input and its axes; where none are named, all of them or none, as the node says.
    fn of(call: &mut Call) -> Result<(Array, Self), Reason> {
        let x = call.take(0)?;
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

    /// One result for the elements that differ along the reduced axes only, taken in row-major order
    /// whatever the order in memory: sums are the same each time.
    fn fold<T: Element, U: Element>(
        &self,
        x: Elements<T>,
        f: impl Fn(&[T]) -> U,
    ) -> Result<Elements<U>, Reason> {
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
        Elements::from_shape_vec(result, lanes.map(f).collect()).map_err(|e| e.to_string())
    }
}

/// The product of two matrices, the first of which may be a stack.
pub fn mat_mul(call: &mut Call) -> Outcome {
    let (a, b) = (call.take(0)?, call.take(1)?);
    let shape = a.shape().to_vec();
    if let ([stack @ .., rows, k], [_, n]) = (&shape[..], b.shape())
        && !stack.is_empty()
    {
        let (total, n) = (stack.iter().product::<usize>() * rows, *n);
        call.inputs = vec![Some(with_shape(a, &[total, *k])?), Some(b)];
        return with_shape(mat_mul(call)?, &[stack, &[*rows, n]].concat());
    }
    match (a, b) {
        (Array::F32(a), Array::F32(b)) => product(call, &a, &b).map(from_matrix),
        (Array::F64(a), Array::F64(b)) => product(call, &a, &b).map(from_matrix),
        (a, b) => Err(mismatch(&a, &b)),
    }
}

/// `alpha · A' · B' + beta · C`.
pub fn gemm(call: &mut Call) -> Outcome {
    let (Array::F32(a), Array::F32(b)) = (call.take(0)?, call.take(1)?) else {
        return Err("it is computed for floats of 16 and 32 bits only".to_owned());
    };
    let a = if call.node.flag("transA") { a.reversed_axes() } else { a };
    let b = if call.node.flag("transB") { b.reversed_axes() } else { b };
    let mut y = product(call, &a, &b)?.into_dyn();
    let (alpha, beta) =
        (call.node.float("alpha").unwrap_or(1.0), call.node.float("beta").unwrap_or(1.0));
    y.mapv_inplace(|e| e * alpha);
    let shape = y.shape().to_vec();
    match call.take_optional(2) {
        Some(Array::F32(c)) => y.zip_mut_with(&broadcast(&c, &shape)?, |y, c| *y += beta * c),
        Some(other) => return Err(no_such(&other)),
        None => {}
    }
    Ok(Array::F32(y.into_shared()))
}

fn product<T: LinalgScalar + Element>(
    call: &Call,
    a: &Elements<T>,
    b: &Elements<T>,
) -> Result<Array2<T>, Reason> {
    let (a, b) = (matrix(a)?, matrix(b)?);
    if a.ncols() != b.nrows() {
        return Err(format!("it multiplies {:?} by {:?}", a.shape(), b.shape()));
    }
    call.limit.allow::<T>(&[a.nrows(), b.ncols()])?;
    Ok(a.dot(&b))
}

fn matrix<T>(elements: &Elements<T>) -> Result<ArrayView2<'_, T>, Reason> {
    let view = elements.view().into_dimensionality::<Ix2>();
    view.map_err(|_| format!("its operand has shape {:?}, which is no matrix", elements.shape()))
}

fn from_matrix<T: Element>(matrix: Array2<T>) -> Array {
    T::wrap(matrix.into_dyn().into_shared())
}
