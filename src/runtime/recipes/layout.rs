//! Operators that cut and enlarge tensors.

use super::{Table, index::from_start};
use crate::runtime::composite::{Attribute, Body, Given, unsupported};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    ("CenterCropPad : 2 axes", center),
    ("Pad@2 : 4 mode pads<11 value<11", pad),
    ("Slice : 5 axes<10 ends<10 starts<10", slice),
];

/// x, shape: as much before the middle of each axis as after it, or one less.
fn center(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let rank = x.shape.len();
    let shape = body.input(1)?.ints().context("its shape is not known before it runs")?;
    let axes = body.int_list("axes").unwrap_or_else(|| (0..rank as i64).collect());
    ensure!(shape.len() == axes.len(), "its shape does not fit its axes");
    let mut around = vec![(0, 0); rank];
    for (axis, size) in axes.into_iter().zip(shape) {
        let axis = Body::axis(axis, rank)?;
        let more = size - x.shape[axis].to_i64().context("the size of an axis is open")?;
        around[axis] = (more / 2, more - more / 2);
    }
    let zero = body.constant(Tensor::zero_scalar_dt(x.datum_type)?);
    padded(body, x, around, "constant", &zero)
}

/// x, pads, value, axes. Pads below zero crop.
fn pad(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let rank = x.shape.len();
    let (pads, value) = match body.opset {
        ..11 => {
            let value = body.float("value").unwrap_or(0.0);
            (body.int_list("pads"), body.scalar(value, x.datum_type)?)
        }
        _ => {
            let value = match body.optional(2) {
                Some(value) => body.rank_zero(value),
                None => body.constant(Tensor::zero_scalar_dt(x.datum_type)?),
            };
            (body.input(1)?.ints(), value)
        }
    };
    let pads = pads.context("its pads are not known before it runs")?;
    let axes = match body.optional(3) {
        Some(axes) => axes.ints().context("its axes are not known before it runs")?,
        None => (0..rank as i64).collect(),
    };
    ensure!(pads.len() == 2 * axes.len(), "its pads do not fit its axes");
    let mut around = vec![(0, 0); rank];
    for (i, axis) in axes.iter().enumerate() {
        around[Body::axis(*axis, rank)?] = (pads[i], pads[i + axes.len()]);
    }
    let mode = Some(body.text("mode")).filter(|mode| !mode.is_empty());
    padded(body, x, around, mode.unwrap_or("constant"), &value)
}

/// The value with so much before and after each axis; less than nothing crops.
fn padded(
    body: &mut Body,
    x: &Given,
    mut around: Vec<(i64, i64)>,
    mode: &str,
    value: &str,
) -> TractResult<Vec<String>> {
    let (mut y, mut sizes) = (x.name.clone(), x.shape.clone());
    for (axis, (before, after)) in around.iter_mut().enumerate() {
        let (start, end) = ((*before).min(0), (*after).min(0));
        if start < 0 || end < 0 {
            let past = sizes[axis].clone() + end;
            sizes[axis] += start + end;
            ensure!(
                sizes[axis].to_i64().ok().is_none_or(|n| n >= 0),
                "it crops more than there is"
            );
            y = body.slice(&y, axis, -start, past);
            (*before, *after) = (*before - start, *after - end);
        }
    }
    if mode == "constant" {
        let pads = around.iter().map(|p| p.0).chain(around.iter().map(|p| p.1));
        let pads = body.ints(&pads.collect::<Vec<_>>());
        return Ok(vec![body.op("Pad", &[&y, &pads, value], &[])]);
    }
    for (axis, (before, after)) in around.into_iter().enumerate() {
        if before > 0 || after > 0 {
            let size = sizes[axis].to_i64().context("the size of an axis is open")?;
            let places = (-before..size + after).map(|at| repeated(mode, at, size));
            let places = body.ints(&places.collect::<TractResult<Vec<_>>>()?);
            y = body.op("Gather", &[&y, &places], &[("axis", Attribute::Int(axis as i64))]);
        }
    }
    Ok(vec![y])
}

/// The place within an axis that has what a mode puts at a place before or after it.
fn repeated(mode: &str, at: i64, size: i64) -> TractResult<i64> {
    ensure!(size > 0, "it repeats an axis that is empty");
    Ok(match mode {
        "edge" => at.clamp(0, size - 1),
        "reflect" => {
            let back = at.rem_euclid((2 * (size - 1)).max(1));
            back.min(2 * (size - 1) - back)
        }
        "wrap" => at.rem_euclid(size),
        _ => return Err(unsupported(format!("its mode {mode} is not supported"))),
    })
}

/// x, starts, ends, axes, steps.
fn slice(body: &mut Body) -> TractResult<Vec<String>> {
    let x = body.input(0)?;
    let attributes = ["starts", "ends", "axes"].map(|name| body.int_list(name));
    let (starts, ends, axes) = match attributes {
        [Some(starts), Some(ends), axes] => {
            let known = |b: Vec<i64>| Bounds {
                name: "",
                count: b.len(),
                known: Some(b.iter().map(ToDim::to_dim).collect()),
            };
            (known(starts), known(ends), axes)
        }
        _ => {
            let axes = body.optional(3).map(|g| known(g, "axes")).transpose()?;
            let [starts, ends] = [1, 2].map(|i| body.input(i).map(Bounds::given));
            (starts?, ends?, axes)
        }
    };
    let axes = axes.unwrap_or_else(|| (0..starts.count as i64).collect());
    let axes: Vec<usize> =
        axes.iter().map(|a| Body::axis(*a, x.shape.len())).collect::<TractResult<_>>()?;
    let steps = body.optional(4).map(|g| known(g, "steps")).transpose()?;
    let steps = steps.unwrap_or_else(|| vec![1; axes.len()]);
    let sizes: Vec<TDim> = axes.iter().map(|a| x.shape[*a].clone()).collect();
    if let (Some(mut starts), Some(mut ends)) = (starts.known.clone(), ends.known.clone()) {
        ensure!([ends.len(), steps.len()] == [starts.len(); 2], "its bounds do not fit its axes");
        let cuts = starts.iter_mut().zip(&mut ends).zip(sizes.iter().zip(&steps));
        for ((start, end), (size, step)) in cuts {
            if let [Some(s), Some(e), Some(size)] = [&*start, end, size].map(TDim::as_i64) {
                [*start, *end] = cut(s, e, size, *step).map(|bound| bound.to_dim());
            }
        }
        let (starts, ends) = (body.ints(&starts), body.ints(&ends));
        let (axes, steps) = (body.ints(&axes), body.ints(&steps));
        return Ok(vec![body.op("Slice", &[&x.name, &starts, &ends, &axes, &steps], &[])]);
    }
    // Bounds that are computed: tract takes places one by one.
    let mut y = x.name.clone();
    for (i, (axis, step)) in axes.into_iter().zip(steps).enumerate() {
        let size = &sizes[i];
        let (least, most) =
            if step > 0 { (0.to_dim(), size.clone()) } else { ((-1).to_dim(), size.clone() - 1) };
        let (least, most) = (body.number(least), body.number(most));
        let mut bound = |bounds: &str| {
            let one = body.slice(bounds, 0, i, i + 1);
            let one = body.cast(&one, DatumType::I64)?;
            let one = from_start(body, &one, &[size]);
            let one = body.op("Max", &[&one, &least], &[]);
            let one = body.op("Min", &[&one, &most], &[]);
            TractResult::Ok(body.reshape::<i64>(&one, &[]))
        };
        let (start, end) = (bound(starts.name)?, bound(ends.name)?);
        let end = body.op(if step > 0 { "Max" } else { "Min" }, &[&start, &end], &[]);
        let step = body.number(step);
        let places = body.op("Range", &[&start, &end, &step], &[]);
        y = body.op("Gather", &[&y, &places], &[("axis", Attribute::Int(axis as i64))]);
    }
    Ok(vec![y])
}

/// Starts or ends of slices.
struct Bounds<'a> {
    name: &'a str,
    count: usize,
    /// In numbers or symbols, where they are known before it runs.
    known: Option<Vec<TDim>>,
}

impl Bounds<'_> {
    fn given(given: &Given) -> Bounds<'_> {
        let count = given.shape.first().and_then(|n| n.to_usize().ok()).unwrap_or_default();
        Bounds { name: &given.name, count, known: given.dims() }
    }
}

fn known(given: &Given, what: &str) -> TractResult<Vec<i64>> {
    let unknown = || unsupported(format!("its {what} are not known before it runs"));
    given.ints().ok_or_else(unknown)
}

/// ONNX's bounds of a slice as tract takes them: within the axis, counted from its start.
fn cut(start: i64, end: i64, size: i64, step: i64) -> [i64; 2] {
    let from_start = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
    let (least, most) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let [start, end] = [start, end].map(|bound| from_start(bound).clamp(least, most.max(least)));
    match step > 0 {
        true if start < end => [start, end],
        // Below zero, tract counts from the end.
        false if start > end => [start, if end < 0 { i64::MIN } else { end }],
        _ => [0, 0],
    }
}
