//! Operators that take places in a tensor.

use super::Table;
use crate::runtime::composite::{Attribute, Body, Given};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("Compress : 2 axis", compress),
    ("GatherND : 2 batch_dims", gather_nd),
    ("OneHot : 3 axis", one_hot),
    ("Range : 3 stash_type=1", range),
    ("ScatterND : 3 reduction", scatter_nd),
    ("TensorScatter : 3 axis mode", tensor_scatter),
];

/// The slices along an axis, or without one the elements, for which a condition holds.
fn compress(body: &mut Body) -> TractResult<Vec<String>> {
    let [x, condition] = body.names()?;
    let held = body.op("NonZero", &[condition], &[]);
    let held = body.reshape(&held, &[-1]);
    Ok(vec![match body.int("axis") {
        Some(axis) => body.op("Gather", &[x, &held], &[("axis", Attribute::Int(axis))]),
        None => {
            let flat = body.reshape(x, &[-1]);
            body.op("Gather", &[&flat, &held], &[])
        }
    }])
}

fn gather_nd(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let batch = body.int("batch_dims").unwrap_or(0);
    let indices = tuples(body, x, usize::try_from(batch)?)?;
    let attributes = [("batch_dims", Attribute::Int(batch))];
    Ok(vec![body.op("GatherND", &[&x.name, &indices], &attributes)])
}

fn scatter_nd(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, updates) = (body.input(0)?, body.input(2)?);
    let indices = tuples(body, x, 0)?;
    let reduction = Some(body.text("reduction")).filter(|r| !r.is_empty());
    let reduction = reduction.unwrap_or("none");
    let attributes = [("reduction", Attribute::Text(reduction))];
    Ok(vec![body.op("ScatterND", &[&x.name, &indices, &updates.name], &attributes)])
}

/// Tuples of indices into axes of a value from one on, those from the end made ones from the start.
fn tuples(body: &mut Body, x: &Given, first: usize) -> TractResult<String> {
    let indices = body.input(1)?;
    let count = indices.shape.last().context("its indices are a scalar")?.to_usize()?;
    let axes = x.shape.get(first..first + count).context("its indices have too many parts")?;
    Ok(from_start(body, &indices.name, axes))
}

/// Indices, those below zero counted from the end of axes of these sizes.
pub(super) fn from_start<D: ToDim>(body: &mut Body, indices: &str, sizes: &[D]) -> String {
    let zero = body.ints(&[0]);
    let sizes = body.ints(sizes);
    let below = body.op("Less", &[indices, &zero], &[]);
    let moved = body.op("Add", &[indices, &sizes], &[]);
    body.op("Where", &[&below, &moved, indices], &[])
}

/// indices, depth, values: `values[1]` where an index is, along a new axis, else `values[0]`.
fn one_hot(body: &mut Body) -> TractResult<Vec<String>> {
    let (indices, depth, values) = (body.input(0)?, body.input(1)?, &body.input(2)?.name);
    let depth = depth.ints().and_then(|d| d.first().copied());
    let depth = depth.context("its depth is not known before it runs")?.to_dim();
    let rank = indices.shape.len() + 1;
    let axis = Body::axis(body.int("axis").unwrap_or(-1), rank)?;
    let whole = body.cast(&indices.name, DatumType::I64)?;
    let whole = from_start(body, &whole, &[&depth]);
    let (mut around, mut along) = (indices.shape.to_vec(), vec![1.to_dim(); rank]);
    around.insert(axis, 1.to_dim());
    let whole = body.reshape(&whole, &around);
    along[axis] = depth.clone();
    let places = body.range(&depth);
    let places = body.reshape(&places, &along);
    let hot = body.op("Equal", &[&whole, &places], &[]);
    let [off, on] = [0, 1].map(|i| body.slice(values, 0, i, i + 1));
    Ok(vec![body.op("Where", &[&hot, &on, &off], &[])])
}

/// start, limit, delta. tract has no room for floats and for what is empty.
fn range(body: &mut Body) -> TractResult<Vec<String>> {
    let (start, limit, delta) = (body.input(0)?, body.input(1)?, body.input(2)?);
    let number = |given: &Given| {
        let value = given.value.as_ref().filter(|v| v.datum_type() != DatumType::TDim);
        value.and_then(|v| v.cast_to_scalar::<f64>().ok())
    };
    if let [Some(from), Some(to), Some(by)] = [start, limit, delta].map(number) {
        ensure!(by != 0.0, "its delta is zero");
        let count = ((to - from) / by).ceil().max(0.0);
        if count == 0.0 || start.datum_type.is_float() && count < 1e6 {
            let values: Vec<f64> = (0..count as usize).map(|i| from + i as f64 * by).collect();
            let values = tensor1(&values).cast_to_dt(start.datum_type)?.into_owned();
            return Ok(vec![body.constant(values)]);
        }
    }
    let bounds = [start, limit, delta].map(|bound| body.rank_zero(bound));
    Ok(vec![body.op("Range", &bounds.each_ref().map(String::as_str), &[])])
}

/// past `[b, …]`, update, write_indices `[b]`: the past with the update along an axis from there on.
fn tensor_scatter(body: &mut Body) -> TractResult<Vec<String>> {
    let (past, update) = (body.input(0)?, body.input(1)?);
    let axis = Body::axis(body.int("axis").unwrap_or(-2), past.shape.len())?;
    let (room, count) = (past.shape[axis].clone(), update.shape[axis].clone());
    let mut places = body.range(&count);
    let mut shape = vec![1.to_dim(); past.shape.len()];
    shape[axis] = count;
    places = body.reshape(&places, &shape);
    if let Some(first) = body.optional(2) {
        let mut rows = vec![1.to_dim(); past.shape.len()];
        rows[0] = past.shape[0].clone();
        let first = body.reshape(&first.name, &rows);
        places = body.op("Add", &[&places, &first], &[]);
    }
    if body.text("mode") == "circular" {
        let room = body.number(room);
        places = body.op("Mod", &[&places, &room], &[]);
    }
    let full = body.ints(&update.shape);
    let places = body.op("Expand", &[&places, &full], &[]);
    let places = body.cast(&places, DatumType::I64)?;
    let attributes = [("axis", Attribute::Int(axis as i64))];
    Ok(vec![body.op("ScatterElements", &[&past.name, &places, &update.name], &attributes)])
}
