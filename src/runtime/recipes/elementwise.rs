//! Operators on each element.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("BitShift : 2 direction", bit_shift),
    ("Celu : 1 alpha", celu),
    ("Swish : 1 alpha", swish),
    ("SwiGLU : 2 alpha", swiglu),
];

/// `x << y` or `x >> y`; nothing of x is left, but for its sign, where y is negative or all of its bits.
fn bit_shift(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, y) = (body.input(0)?, body.input(1)?);
    let direction = body.text("direction");
    let attributes = [("direction", Attribute::Text(direction))];
    let bits = 8 * x.datum_type.size_of() as i64;
    if y.ints().is_some_and(|y| y.iter().all(|y| (0..bits).contains(y))) {
        return Ok(vec![body.op("BitShift", &[&x.name, &y.name], &attributes)]);
    }
    let number = |body: &mut Body, n: i64, of: DatumType| {
        TractResult::Ok(body.constant(tensor0(n).cast_to_dt(of)?.into_owned()))
    };
    let (zero, bits) = (number(body, 0, y.datum_type)?, number(body, bits, y.datum_type)?);
    let not_negative = body.op("GreaterOrEqual", &[&y.name, &zero], &[]);
    let within = body.op("Less", &[&y.name, &bits], &[]);
    let within = body.op("And", &[&not_negative, &within], &[]);
    let y = body.op("Where", &[&within, &y.name, &zero], &[]);
    let shifted = body.op("BitShift", &[&x.name, &y], &attributes);
    let mut left = number(body, 0, x.datum_type)?;
    if direction == "RIGHT" && !x.datum_type.is_unsigned() {
        let sign = number(body, -1, x.datum_type)?;
        let negative = body.op("Less", &[&x.name, &left], &[]);
        left = body.op("Where", &[&negative, &sign, &left], &[]);
    }
    Ok(vec![body.op("Where", &[&within, &shifted, &left], &[])])
}

/// `alpha · Elu(x / alpha)`, which is `x` where that is positive, else `alpha · (exp(x / alpha) - 1)`.
fn celu(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let alpha = body.scalar(body.float("alpha").unwrap_or(1.0), x.datum_type)?;
    let ratio = body.op("Div", &[&x.name, &alpha], &[]);
    let elu = body.op("Elu", &[&ratio], &[]);
    Ok(vec![body.op("Mul", &[&elu, &alpha], &[])])
}

/// `x · Sigmoid(alpha · x)`.
fn swish(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let scaled = body.scaled(&x.name, body.float("alpha").unwrap_or(1.0), x.datum_type)?;
    let gate = body.op("Sigmoid", &[&scaled], &[]);
    Ok(vec![body.op("Mul", &[&x.name, &gate], &[])])
}

/// `Swish(a) · b`.
fn swiglu(body: &mut Body) -> TractResult<Vec<String>> {
    let (swish, b) = (swish(body)?, body.input(1)?);
    Ok(vec![body.op("Mul", &[&swish[0], &b.name], &[])])
}
