//! Operators that compute each element from the elements in its place, with broadcasting.

use super::call::{Call, Limit, Reason, type_name};
use super::number::Number;
use crate::array::{Array, Element, Elements, Wide, for_any};
use half::{bf16, f16};
use ndarray::{ArrayViewD, Zip};

type Outcome = Result<Array, Reason>;

/// An expression for the element types listed, a refusal for the others: of one array, whose type
/// the result has, or of two of one type.
macro_rules! match_types {
    ([$($variant:ident)+], $array:expr, $a:ident => $body:expr) => {
        match $array {
            $(Array::$variant($a) => Ok(Array::$variant($body)),)+
            other => Err(no_such(&other)),
        }
    };
    ([$($variant:ident)+], $pair:expr, ($a:ident, $b:ident) => $wrap:expr, $body:expr) => {
        match $pair {
            $((Array::$variant($a), Array::$variant($b)) => $body.map($wrap),)+
            (a, b) => Err(mismatch(&a, &b)),
        }
    };
}

macro_rules! numbers {
    ($($rest:tt)+) => { match_types!([F32 F64 I8 I32 I64 U8], $($rest)+) };
}

macro_rules! integers {
    ($($rest:tt)+) => { match_types!([I8 I32 I64 U8], $($rest)+) };
}

/// An operator of one float.
macro_rules! float_operator {
    ($name:ident, $single:expr, $double:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            match call.take(0)? {
                Array::F32(x) => Ok(Array::F32(x.mapv_into($single))),
                Array::F64(x) => Ok(Array::F64(x.mapv_into($double))),
                other => Err(no_such(&other)),
            }
        }
    };
}

/// An operator of two operands of one numeric type.
macro_rules! binary_operator {
    ($name:ident, $f:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            let (pair, limit) = (pair(call)?, call.limit);
            numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, $f))
        }
    };
}

macro_rules! comparison {
    ($name:ident, $f:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            let (pair, limit) = (pair(call)?, call.limit);
            numbers!(pair, (a, b) => Element::wrap, compare(&a, &b, limit, $f))
        }
    };
}

macro_rules! logical {
    ($name:ident, $f:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            let (pair, limit) = (pair(call)?, call.limit);
            match_types!([Bool], pair, (a, b) => Element::wrap, zip(a, b, limit, $f))
        }
    };
}

macro_rules! bitwise {
    ($name:ident, $f:expr) => {
        pub fn $name(call: &mut Call) -> Outcome {
            let (pair, limit) = (pair(call)?, call.limit);
            integers!(pair, (a, b) => Element::wrap, zip(a, b, limit, $f))
        }
    };
}

float_operator!(sqrt, f32::sqrt, f64::sqrt);
float_operator!(exp, f32::exp, f64::exp);
float_operator!(log, f32::ln, f64::ln);
float_operator!(sin, f32::sin, f64::sin);
float_operator!(cos, f32::cos, f64::cos);
float_operator!(tanh, f32::tanh, f64::tanh);
float_operator!(reciprocal, f32::recip, f64::recip);
float_operator!(floor, f32::floor, f64::floor);
float_operator!(ceil, f32::ceil, f64::ceil);
float_operator!(round, round_half_even, f64::round_ties_even);
binary_operator!(add, Number::add);
binary_operator!(sub, Number::sub);
binary_operator!(mul, Number::mul);
binary_operator!(prelu, |x, slope| if x < Default::default() { x.mul(slope) } else { x });
comparison!(less, |a, b| a < b);
comparison!(less_or_equal, |a, b| a <= b);
comparison!(greater, |a, b| a > b);
comparison!(greater_or_equal, |a, b| a >= b);
logical!(and, |a, b| a & b);
logical!(or, |a, b| a | b);
logical!(xor, |a, b| a ^ b);
bitwise!(bitwise_and, |a, b| a & b);
bitwise!(bitwise_or, |a, b| a | b);
bitwise!(bitwise_xor, |a, b| a ^ b);

pub fn abs(call: &mut Call) -> Outcome {
    numbers!(call.take(0)?, x => x.mapv_into(Number::abs))
}

pub fn sign(call: &mut Call) -> Outcome {
    numbers!(call.take(0)?, x => x.mapv_into(Number::sign))
}

pub fn neg(call: &mut Call) -> Outcome {
    match_types!([F32 F64 I8 I32 I64], call.take(0)?, x => x.mapv_into(Number::neg))
}

pub fn is_nan(call: &mut Call) -> Outcome {
    match call.take(0)? {
        Array::F32(x) => Ok(Array::Bool(x.mapv(f32::is_nan).into_shared())),
        Array::F64(x) => Ok(Array::Bool(x.mapv(f64::is_nan).into_shared())),
        other => Err(no_such(&other)),
    }
}

pub fn equal(call: &mut Call) -> Outcome {
    let limit = call.limit;
    match pair(call)? {
        (Array::Bool(a), Array::Bool(b)) => compare(&a, &b, limit, |a, b| a == b).map(Array::Bool),
        pair => numbers!(pair, (a, b) => Element::wrap, compare(&a, &b, limit, |a, b| a == b)),
    }
}

pub fn not(call: &mut Call) -> Outcome {
    match_types!([Bool], call.take(0)?, x => x.mapv_into(|e| !e))
}

pub fn bitwise_not(call: &mut Call) -> Outcome {
    integers!(call.take(0)?, x => x.mapv_into(|e| !e))
}

pub fn div(call: &mut Call) -> Outcome {
    let (pair, limit) = (pair(call)?, call.limit);
    refuse_zero_divisor(&pair.1)?;
    numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::div))
}

pub fn modulo(call: &mut Call) -> Outcome {
    let (pair, limit) = (pair(call)?, call.limit);
    refuse_zero_divisor(&pair.1)?;
    if call.node.flag("fmod") {
        return numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::remainder));
    }
    numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::modulo))
}

/// Bases and exponents may differ in type; the powers have the bases'. Computed in `f64`.
pub fn pow(call: &mut Call) -> Outcome {
    let (base, exponent) = pair(call)?;
    let exponent = for_any!(exponent, e => e.mapv(Element::to_f64).into_shared());
    let limit = call.limit;
    numbers!(base, x => {
        zip_onto(widened(x, exponent.shape(), limit)?, &exponent, &Number::pow)?
    })
}

/// The lower bound first, so that the upper one wins where they cross. A bound left out is the
/// type's last finite number, as ONNX says; NaN stays.
pub fn clip(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    macro_rules! clip_types {
        ($($variant:ident $type:ident)+) => {
            match x {
                $(Array::$variant(x) => {
                    let low = bound(call, 1, "min")?.unwrap_or($type::MIN);
                    let high = bound(call, 2, "max")?.unwrap_or($type::MAX);
                    Ok(Array::$variant(x.mapv_into(|e| between(e, low, high))))
                })+
                other => Err(no_such(&other)),
            }
        };
    }
    clip_types!(
        F32 f32 F64 f64 F16 f16 BF16 bf16
        I8 i8 I32 i32 I64 i64 U8 u8
    )
}

#[inline]
fn between<T: PartialOrd>(x: T, low: T, high: T) -> T {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// A bound of `Clip`: an input, or an attribute in old opsets.
fn bound<T: Element>(call: &mut Call, index: usize, name: &str) -> Result<Option<T>, Reason> {
    let Some(bound) = call.take_optional(index) else {
        return Ok(call.node.float(name).map(|value| T::from_wide(Wide::Float(value.into()))));
    };
    match T::unwrap(&bound).filter(|elements| elements.len() == 1) {
        Some(elements) => Ok(elements.first().copied()),
        None => {
            let (dtype, shape) = (type_name(bound.dtype() as i32), bound.shape());
            Err(format!("its bound {name} is of type {dtype} and shape {shape:?}"))
        }
    }
}

pub fn min(call: &mut Call) -> Outcome {
    fold(call, |pair, limit| numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::min)))
}

pub fn max(call: &mut Call) -> Outcome {
    fold(call, |pair, limit| numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::max)))
}

pub fn sum(call: &mut Call) -> Outcome {
    fold(call, |pair, limit| numbers!(pair, (a, b) => Element::wrap, zip(a, b, limit, Number::add)))
}

pub fn bit_shift(call: &mut Call) -> Outcome {
    let (pair, limit) = (pair(call)?, call.limit);
    macro_rules! shift {
        ($f:ident) => {
            match_types!([U8], pair, (a, b) => Element::wrap, zip(a, b, limit, |a, b| {
                u32::try_from(b).ok().and_then(|by| a.$f(by)).unwrap_or(0)
            }))
        };
    }
    match call.node.string("direction") {
        Some("LEFT") => shift!(checked_shl),
        Some("RIGHT") => shift!(checked_shr),
        _ => Err("its attribute direction is neither LEFT nor RIGHT".to_owned()),
    }
}

/// `Where`.
pub fn select(call: &mut Call) -> Outcome {
    let condition = match call.take(0)? {
        Array::Bool(condition) => condition,
        other => return Err(no_such(&other)),
    };
    let (yes, no) = (call.take(1)?, call.take(2)?);
    let shape = broadcast_shape(&broadcast_shape(condition.shape(), yes.shape())?, no.shape())?;
    let limit = call.limit;
    match_types!(
        [F32 F64 F16 BF16 I8 I32 I64 U8 Bool],
        (yes, no), (a, b) => Element::wrap,
        choose(&condition, &a, &b, &shape, limit)
    )
}

fn choose<T: Element>(
    condition: &Elements<bool>,
    yes: &Elements<T>,
    no: &Elements<T>,
    shape: &[usize],
    limit: Limit,
) -> Result<Elements<T>, Reason> {
    limit.allow::<T>(shape)?;
    let condition = broadcast(condition, shape)?;
    let (yes, no) = (broadcast(yes, shape)?, broadcast(no, shape)?);
    let chosen =
        Zip::from(condition).and(yes).and(no).map_collect(|&c, &a, &b| if c { a } else { b });
    Ok(chosen.into_shared())
}

fn pair(call: &mut Call) -> Result<(Array, Array), Reason> {
    if call.node.attribute("broadcast").is_some() {
        return Err("it broadcasts as before opset 7".to_owned());
    }
    Ok((call.take(0)?, call.take(1)?))
}

fn fold(call: &mut Call, f: impl Fn((Array, Array), Limit) -> Outcome) -> Outcome {
    let limit = call.limit;
    let mut operands = call.take_all()?.into_iter();
    let first = operands.next().ok_or("it has no inputs")?;
    operands.try_fold(first, |a, b| f((a, b), limit))
}

fn refuse_zero_divisor(divisor: &Array) -> Result<(), Reason> {
    fn has_zero<T: Element>(elements: &Elements<T>) -> bool {
        elements.iter().any(|e| matches!(e.widen(), Wide::Int(0)))
    }
    let zero = for_any!(divisor, elements => has_zero(elements));
    if zero { Err("it divides an integer by zero".to_owned()) } else { Ok(()) }
}

/// `f32::round_ties_even`, which is a function call unless the CPU is known to have an instruction.
///
/// Where floats are 1 apart, adding rounds to an integer, half to even.
#[inline]
fn round_half_even(x: f32) -> f32 {
    const ONE_APART: f32 = 8_388_608.0;
    let shift = ONE_APART.copysign(x);
    if x.abs() < ONE_APART { ((x + shift) - shift).copysign(x) } else { x }
}

/// `f` of each two elements, in the memory of whichever operand nothing else needs.
///
/// `f` is called through a pointer: one loop for each type, not for each operator and type.
fn zip<T: Element>(
    a: Elements<T>,
    b: Elements<T>,
    limit: Limit,
    f: fn(T, T) -> T,
) -> Result<Elements<T>, Reason> {
    let shape = broadcast_shape(a.shape(), b.shape())?;
    if b.shape() == shape && (a.shape() != shape || !a.is_unique() && b.is_unique()) {
        return zip_onto(b, &a, &|b, a| f(a, b));
    }
    zip_onto(widened(a, b.shape(), limit)?, &b, &f)
}

/// `f` of each element of `a` and the element of `b` in its place, in the memory of `a`.
fn zip_onto<T: Element, U: Element>(
    mut a: Elements<T>,
    b: &Elements<U>,
    f: &dyn Fn(T, U) -> T,
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

fn compare<T: Element>(
    a: &Elements<T>,
    b: &Elements<T>,
    limit: Limit,
    f: fn(T, T) -> bool,
) -> Result<Elements<bool>, Reason> {
    let shape = broadcast_shape(a.shape(), b.shape())?;
    limit.allow::<bool>(&shape)?;
    let (a, b) = (broadcast(a, &shape)?, broadcast(b, &shape)?);
    Ok(Zip::from(a).and(b).map_collect(|&a, &b| f(a, b)).into_shared())
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
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], axis: usize| {
        (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (1, n) | (n, 1) => Ok(n),
            (m, n) if m == n => Ok(m),
            _ => Err(format!("its operands of shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

pub fn no_such(array: &Array) -> Reason {
    format!("it has no definition for elements of type {}", type_name(array.dtype() as i32))
}

pub fn mismatch(a: &Array, b: &Array) -> Reason {
    if a.dtype() == b.dtype() {
        return no_such(a);
    }
    let (a, b) = (type_name(a.dtype() as i32), type_name(b.dtype() as i32));
    format!("its operands have elements of types {a} and {b}")
}
