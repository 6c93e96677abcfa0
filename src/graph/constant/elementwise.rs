//! Operators that compute each element from the elements in its place, with broadcasting.

use super::call::{Call, Limit, Outcome, Reason, no_such, of_types, same};
use super::number::{Arithmetic, FLOATS, NUMBERS, SHIFT_LEFT, SHIFT_RIGHT, Types};
use crate::array::{Array, Element, Elements, Wide, for_any};
use crate::proto::{tensor_proto::DataType, type_name};
use ndarray::{ArrayViewD, Zip};
use std::cmp::Ordering;

/// What becomes of each number: of floats in `f64`, of integers in `i64`, where they wrap.
pub fn each(
    call: &mut Call,
    types: Types,
    floats: impl Fn(f64) -> f64,
    integers: impl Fn(i64) -> i64,
) -> Outcome {
    let x = call.take_of(0, types)?;
    let of = |element| match element {
        Wide::Float(x) => Wide::Float(floats(x)),
        Wide::Int(x) => Wide::Int(integers(x)),
    };
    Ok(for_any!(x, x => mapped(x, of)))
}

pub fn each_float(call: &mut Call, f: impl Fn(f64) -> f64) -> Outcome {
    each(call, FLOATS, f, |x| x)
}

pub fn each_integer(call: &mut Call, types: Types, f: impl Fn(i64) -> i64) -> Outcome {
    each(call, types, |x| x, f)
}

pub fn is_nan(call: &mut Call) -> Outcome {
    let x = call.take_of(0, FLOATS)?;
    Ok(Array::Bool(for_any!(x, x => x.mapv(|e| e.to_f64().is_nan()).into_shared())))
}

/// What becomes of each two elements of one type.
pub fn pairs(call: &mut Call, types: Types, f: Arithmetic) -> Outcome {
    let (a, b) = pair(call)?;
    combined(a, b, types, f, call.limit)
}

/// The same with a divisor: an integer that is zero has no quotient.
pub fn quotients(call: &mut Call, f: Arithmetic) -> Outcome {
    let (a, b) = pair(call)?;
    if for_any!(&b, b => b.iter().any(|e| e.widen() == Wide::Int(0))) {
        return Err("it divides an integer by zero".to_owned());
    }
    combined(a, b, NUMBERS, f, call.limit)
}

/// The same of any number of operands.
pub fn fold(call: &mut Call, f: Arithmetic) -> Outcome {
    let limit = call.limit;
    let mut operands = call.take_all()?.into_iter();
    let first = operands.next().ok_or("it has no inputs")?;
    operands.try_fold(first, |a, b| combined(a, b, NUMBERS, f, limit))
}

pub fn bit_shift(call: &mut Call) -> Outcome {
    match call.node.string("direction") {
        Some("LEFT") => pairs(call, &[DataType::Uint8], SHIFT_LEFT),
        Some("RIGHT") => pairs(call, &[DataType::Uint8], SHIFT_RIGHT),
        _ => Err("its attribute direction is neither LEFT nor RIGHT".to_owned()),
    }
}

/// Whether each two elements are ordered in a way; NaN is in none.
pub fn compare(call: &mut Call, types: Types, holds: fn(Ordering) -> bool) -> Outcome {
    fn compared<T: Element>(
        a: Elements<T>,
        b: Array,
        holds: fn(Ordering) -> bool,
        limit: Limit,
    ) -> Outcome {
        let b = same::<T>(b)?;
        let shape = broadcast_shape(a.shape(), b.shape())?;
        limit.allow::<bool>(&shape)?;
        let (a, b) = (broadcast(&a, &shape)?, broadcast(&b, &shape)?);
        let found = Zip::from(a).and(b).map_collect(|a, b| a.partial_cmp(b).is_some_and(holds));
        Ok(Array::Bool(found.into_shared()))
    }
    let (a, b) = pair(call)?;
    for_any!(of_types(a, types)?, a => compared(a, b, holds, call.limit))
}

/// Bases and exponents may differ in type; the powers have the bases'.
pub fn pow(call: &mut Call) -> Outcome {
    fn powers<T: Element>(x: Elements<T>, exponent: &Elements<f64>, limit: Limit) -> Outcome {
        let power = |x: T, e: f64| T::from_wide(Wide::Float(x.to_f64().powf(e)));
        zip_onto(widened(x, exponent.shape(), limit)?, exponent, power).map(T::wrap)
    }
    let (base, exponent) = pair(call)?;
    let exponent = for_any!(exponent, e => e.mapv(Element::to_f64).into_shared());
    for_any!(of_types(base, NUMBERS)?, x => powers(x, &exponent, call.limit))
}

/// The lower bound first, so that the upper one wins where they cross. A bound left out is the
/// type's last finite number, as ONNX says; NaN stays.
pub fn clip(call: &mut Call) -> Outcome {
    fn clipped<T: Element>(x: Elements<T>, call: &mut Call) -> Outcome {
        let low = bound(call, 1, "min")?.unwrap_or(T::MIN);
        let high = bound(call, 2, "max")?.unwrap_or(T::MAX);
        let raised = |e| if e < low { low } else { e };
        let between = |e| if e > high { high } else { e };
        Ok(T::wrap(x.mapv_into(|e| between(raised(e)))))
    }
    for_any!(call.take_of(0, NUMBERS)?, x => clipped(x, call))
}

/// A bound of `Clip`: an input, or an attribute in old opsets.
fn bound<T: Element>(call: &mut Call, index: usize, name: &str) -> Result<Option<T>, Reason> {
    let Some(bound) = call.take_optional(index) else {
        return Ok(call.node.float(name).map(|value| T::from_wide(Wide::Float(value.into()))));
    };
    let (dtype, shape) = (type_name(bound.dtype() as i32), bound.shape().to_vec());
    match T::unwrap(bound).filter(|elements| elements.len() == 1) {
        Some(elements) => Ok(elements.first().copied()),
        None => Err(format!("its bound {name} is of type {dtype} and shape {shape:?}")),
    }
}

/// `Where`.
pub fn select(call: &mut Call) -> Outcome {
    fn chosen<T: Element>(
        condition: &Elements<bool>,
        yes: Elements<T>,
        no: Array,
        limit: Limit,
    ) -> Outcome {
        let no = same::<T>(no)?;
        let shape = broadcast_shape(condition.shape(), yes.shape())?;
        let shape = broadcast_shape(&shape, no.shape())?;
        limit.allow::<T>(&shape)?;
        let condition = broadcast(condition, &shape)?;
        let (yes, no) = (broadcast(&yes, &shape)?, broadcast(&no, &shape)?);
        let chosen =
            Zip::from(condition).and(yes).and(no).map_collect(|&c, &a, &b| if c { a } else { b });
        Ok(T::wrap(chosen.into_shared()))
    }
    let condition = match call.take(0)? {
        Array::Bool(condition) => condition,
        other => return Err(no_such(&other)),
    };
    let (yes, no) = (call.take(1)?, call.take(2)?);
    for_any!(yes, yes => chosen(&condition, yes, no, call.limit))
}

/// What becomes of each two elements of two operands.
pub fn combined(a: Array, b: Array, types: Types, f: Arithmetic, limit: Limit) -> Outcome {
    for_any!(of_types(a, types)?, a => zip(a, same(b)?, f, limit))
}

pub fn mapped<T: Element>(x: Elements<T>, f: impl Fn(Wide) -> Wide) -> Array {
    T::wrap(x.mapv_into(|e| T::from_wide(f(e.widen()))))
}

pub fn broadcast<'a, T>(
    elements: &'a Elements<T>,
    shape: &[usize],
) -> Result<ArrayViewD<'a, T>, Reason> {
    elements.broadcast(shape).ok_or_else(|| {
        format!("its operand of shape {:?} does not broadcast to {shape:?}", elements.shape())
    })
}

/// The shape that two shapes broadcast to, as numpy and ONNX define it.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Reason> {
    let fits = |lengths| match lengths {
        (1, n) | (n, 1) => Ok(n),
        (m, n) if m == n => Ok(m),
        _ => Err(format!("its operands of shapes {a:?} and {b:?} do not broadcast")),
    };
    aligned(a, b, 1).map(fits).collect()
}

/// The lengths of two shapes, the last axes side by side; `one` where the shorter has none.
pub fn aligned<T: Copy>(a: &[T], b: &[T], one: T) -> impl Iterator<Item = (T, T)> {
    let rank = a.len().max(b.len());
    let length = move |shape: &[T], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(one, |axis| shape[axis])
    };
    (0..rank).map(move |axis| (length(a, axis), length(b, axis)))
}

fn pair(call: &mut Call) -> Result<(Array, Array), Reason> {
    if call.node.attribute("broadcast").is_some() {
        return Err("it broadcasts as before opset 7".to_owned());
    }
    Ok((call.take(0)?, call.take(1)?))
}

/// In the memory of whichever operand nothing else needs.
fn zip<T: Element>(a: Elements<T>, b: Elements<T>, f: Arithmetic, limit: Limit) -> Outcome {
    let shape = broadcast_shape(a.shape(), b.shape())?;
    let onto_b = b.shape() == shape && (a.shape() != shape || !a.is_unique() && b.is_unique());
    let zipped = match onto_b {
        true => zip_onto(b, &a, |b, a| f.of(a, b)),
        false => zip_onto(widened(a, b.shape(), limit)?, &b, |a, b| f.of(a, b)),
    };
    zipped.map(T::wrap)
}

/// `f` of each element of `a` and the element of `b` in its place, in the memory of `a`.
fn zip_onto<T: Element, U: Element>(
    mut a: Elements<T>,
    b: &Elements<U>,
    f: impl Fn(T, U) -> T,
) -> Result<Elements<T>, Reason> {
    let b = broadcast(b, a.shape())?;
    a.zip_mut_with(&b, |a, &b| *a = f(*a, b));
    Ok(a)
}

/// The operand repeated to the shape that it and `other` broadcast to.
fn widened<T: Element>(
    a: Elements<T>,
    other: &[usize],
    limit: Limit,
) -> Result<Elements<T>, Reason> {
    let shape = broadcast_shape(a.shape(), other)?;
    if a.shape() == shape {
        return Ok(a);
    }
    limit.allow::<T>(&shape)?;
    Ok(broadcast(&a, &shape)?.to_owned().into_shared())
}
