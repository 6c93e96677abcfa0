//! Operators that make, convert and move elements without computing with them.

use super::call::{
    Call, Limit, Outcome, Reason, axis_index, axis_indices, converted, index, integers, same,
};
use super::elementwise::{broadcast, broadcast_shape};
use crate::array::{Array, Element, Elements, Wide, for_any};
use crate::proto::{
    NodeProto, SparseTensorProto, TensorProto,
    tensor_proto::DataType::{self, Double, Float, Int32, Int64},
    type_name,
};
use ndarray::{ArrayD, Axis, Slice};

pub fn constant(call: &mut Call) -> Outcome {
    let attribute = match call.node.attribute.as_slice() {
        [only] => only,
        others => return Err(format!("it has {} attributes instead of one", others.len())),
    };
    match attribute.name() {
        "value" => read(call.node.tensor("value").ok_or("its value holds no tensor")?),
        "sparse_value" => {
            let sparse = attribute.sparse_tensor.as_ref().ok_or("its value holds no tensor")?;
            densify(sparse, call.limit)
        }
        "value_float" => Ok(Array::from_scalar(attribute.f())),
        "value_floats" => list(attribute.floats.clone()),
        "value_int" => Ok(Array::from_scalar(attribute.i())),
        "value_ints" => list(attribute.ints.clone()),
        other => Err(format!("its attribute {other} holds no numbers")),
    }
}

fn list<T: Element>(elements: Vec<T>) -> Outcome {
    Ok(T::wrap(ndarray::arr1(&elements).into_dyn().into_shared()))
}

fn read(tensor: &TensorProto) -> Outcome {
    Array::from_tensor(tensor).ok_or_else(|| {
        let dtype = type_name(tensor.data_type());
        format!("its tensor can't be read: shape {:?}, element type {dtype}", tensor.dims)
    })
}

/// Indices are either linear, `[n]`, or one row of coordinates per value, `[n, rank]`.
pub fn densify(sparse: &SparseTensorProto, limit: Limit) -> Outcome {
    let shape = lengths(&sparse.dims)?;
    let values = read(sparse.values.as_ref().ok_or("its sparse tensor has no values")?)?;
    let indices = read(sparse.indices.as_ref().ok_or("its sparse tensor has no indices")?)?;
    for_any!(&values, values => {
        limit.allow_like(values, &shape)?;
        let (scattered, indices) = match indices.shape().len() {
            1 => (vec![shape.iter().product()], with_shape(indices, &[values.len(), 1])?),
            _ => (shape.clone(), indices),
        };
        let zeros = zeros_like(values, &scattered);
        with_shape(scatter(zeros, &indices, values.clone())?, &shape)
    })
}

pub fn constant_of_shape(call: &mut Call) -> Outcome {
    let shape = lengths(&integers(&call.take(0)?)?)?;
    let value = match call.node.tensor("value") {
        Some(tensor) => read(tensor)?,
        None => Array::from_scalar(0f32),
    };
    if value.len() != 1 {
        return Err(format!("its value has shape {:?}", value.shape()));
    }
    for_any!(with_shape(value, &[])?, value => filled(value, &shape, call.limit))
}

fn filled<T: Element>(value: Elements<T>, shape: &[usize], limit: Limit) -> Outcome {
    limit.allow::<T>(shape)?;
    Ok(T::wrap(broadcast(&value, shape)?.to_owned().into_shared()))
}

/// `start + i·delta` while that is short of the limit.
pub fn range(call: &mut Call) -> Outcome {
    fn of<T: Element>(start: Elements<T>, end: Array, delta: Array, limit: Limit) -> Outcome {
        let [end, delta] = [same::<T>(end)?, same::<T>(delta)?];
        let bounds = [&start, &end, &delta].map(|bound| bound.first().copied());
        let [Some(start), Some(end), Some(delta)] = bounds else {
            return Err("its bounds are empty".to_owned());
        };
        let count = ((end.to_f64() - start.to_f64()) / delta.to_f64()).ceil().max(0.0);
        if !count.is_finite() {
            return Err("its delta is zero".to_owned());
        }
        limit.allow::<T>(&[count as usize])?;
        let at = |i: i64| match start.widen() {
            Wide::Float(start) => Wide::Float(start + i as f64 * delta.to_f64()),
            Wide::Int(start) => Wide::Int(start.wrapping_add(delta.to_i64().wrapping_mul(i))),
        };
        list((0..count as i64).map(|i| T::from_wide(at(i))).collect())
    }
    let start = call.take_of(0, &[Float, Double, Int32, Int64])?;
    let (end, delta) = (call.take(1)?, call.take(2)?);
    for_any!(start, start => of(start, end, delta, call.limit))
}

pub fn shape(call: &mut Call) -> Outcome {
    let lengths: Vec<i64> = call.take(0)?.shape().iter().map(|&length| length as i64).collect();
    shape_list(call.node, &lengths)
}

/// The lengths that a `Shape` lists of all these.
pub fn shape_list(node: &NodeProto, lengths: &[i64]) -> Outcome {
    let rank = lengths.len() as i64;
    let clamp = |bound: i64| if bound < 0 { (bound + rank).max(0) } else { bound.min(rank) };
    let start = clamp(node.int("start").unwrap_or(0));
    let end = clamp(node.int("end").unwrap_or(rank)).max(start);
    list(lengths[start as usize..end as usize].to_vec())
}

pub fn size(call: &mut Call) -> Outcome {
    Ok(Array::from_scalar(call.take(0)?.len() as i64))
}

/// What inference makes of it: its input.
pub fn dropout(call: &mut Call) -> Outcome {
    match call.take_optional(2).map(|training| training.scalar()) {
        None | Some(Some(0.0)) => call.take(0),
        Some(_) => Err("it trains, which drops elements at random".to_owned()),
    }
}

pub fn cast(call: &mut Call) -> Outcome {
    let to = call.node.int("to").ok_or("its attribute to is missing")?;
    let dtype = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
    convert(call, dtype.ok_or_else(|| format!("its attribute to is {to}"))?)
}

pub fn cast_like(call: &mut Call) -> Outcome {
    let like = call.take(1)?.dtype();
    convert(call, like)
}

fn convert(call: &mut Call, to: DataType) -> Outcome {
    let x = call.take(0)?;
    call.limit.allow::<u64>(x.shape())?;
    converted(x, to)
}

pub fn transpose(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let rank = x.shape().len();
    let permutation = match call.node.ints("perm") {
        Some(perm) if perm.len() == rank => axis_indices(perm, rank)?,
        Some(perm) => return Err(format!("its perm {perm:?} does not fit {:?}", x.shape())),
        None => (0..rank).rev().collect(),
    };
    Ok(x.permuted(permutation))
}

pub fn reshape(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let target = call.ints_or_input("shape", 1)?.ok_or("its shape is missing")?;
    let shape = reshaped(x.shape(), &target, call.node.flag("allowzero"))?;
    with_shape(x, &shape)
}

/// The shape that `Reshape` gives: 0 copies a length unless `allow_zero`, -1 is what remains.
pub fn reshaped(from: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>, Reason> {
    let misfit = || format!("it reshapes {from:?} to {target:?}");
    let mut shape = Vec::new();
    let mut unknown = None;
    for (axis, &length) in target.iter().enumerate() {
        shape.push(match length {
            -1 if unknown.replace(axis).is_none() => 1,
            0 if !allow_zero => *from.get(axis).ok_or_else(misfit)?,
            length => usize::try_from(length).map_err(|_| misfit())?,
        });
    }
    let count: usize = from.iter().product();
    let known = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(misfit)?;
    if let Some(axis) = unknown {
        shape[axis] = count.checked_div(known).ok_or_else(misfit)?;
    }
    let total = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if total == Some(count) { Ok(shape) } else { Err(misfit()) }
}

pub fn flatten(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let rank = x.shape().len();
    let axis = match call.node.int("axis").unwrap_or(1) {
        axis if axis == rank as i64 => rank,
        axis => axis_index(axis, rank)?,
    };
    let (outer, inner) = x.shape().split_at(axis);
    let shape = [outer.iter().product(), inner.iter().product()];
    with_shape(x, &shape)
}

pub fn squeeze(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axes = match call.ints_or_input("axes", 1)? {
        Some(axes) => axis_indices(&axes, x.shape().len())?,
        None => (0..x.shape().len()).filter(|&axis| x.shape()[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| x.shape()[axis] != 1) {
        return Err(format!("it squeezes axis {axis} of {:?}", x.shape()));
    }
    let kept = x.shape().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let shape: Vec<usize> = kept.map(|(_, &length)| length).collect();
    with_shape(x, &shape)
}

pub fn unsqueeze(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axes = call.ints_or_input("axes", 1)?.ok_or("its axes are missing")?;
    let rank = x.shape().len() + axes.len();
    let axes = axis_indices(&axes, rank)?;
    let mut lengths = x.shape().iter().copied();
    let shape: Vec<usize> = (0..rank)
        .map(|axis| if axes.contains(&axis) { 1 } else { lengths.next().unwrap_or(1) })
        .collect();
    with_shape(x, &shape)
}

/// The same elements in row-major order under another shape of as many.
pub fn with_shape(x: Array, shape: &[usize]) -> Outcome {
    if x.shape() == shape {
        return Ok(x);
    }
    Limit::NONE.allow::<u64>(shape)?;
    for_any!(x, x => {
        let x = standard(x).into_shape_with_order(shape);
        Ok(Element::wrap(x.map_err(|e| e.to_string())?))
    })
}

/// The elements in row-major order, copied only where they are not.
pub fn standard<T: Element>(x: Elements<T>) -> Elements<T> {
    if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned().into_shared() }
}

pub fn expand(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let target = lengths(&integers(&call.take(1)?)?)?;
    let shape = broadcast_shape(x.shape(), &target)?;
    if x.shape() == shape {
        return Ok(x);
    }
    for_any!(x, x => filled(x, &shape, call.limit))
}

pub fn tile(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let repeats = lengths(&integers(&call.take(1)?)?)?;
    if repeats.len() != x.shape().len() {
        return Err(format!("it repeats {:?} by {repeats:?}", x.shape()));
    }
    let sizes = x.shape().iter().zip(&repeats);
    let shape = sizes.map(|(&n, &times)| n.saturating_mul(times)).collect::<Vec<_>>();
    let single: Vec<usize> = x.shape().iter().flat_map(|&length| [1, length]).collect();
    let repeated: Vec<usize> =
        x.shape().iter().zip(&repeats).flat_map(|(&length, &times)| [times, length]).collect();
    let tiled = for_any!(with_shape(x, &single)?, x => filled(x, &repeated, call.limit))?;
    with_shape(tiled, &shape)
}

pub fn concat(call: &mut Call) -> Outcome {
    let parts = call.take_all()?;
    let first = parts.first().ok_or("it has no inputs")?.clone();
    let axis = call.axis(None, first.shape().len())?;
    for_any!(first, first => concat_like(&first, parts, axis, call.limit))
}

fn concat_like<T: Element>(
    first: &Elements<T>,
    parts: Vec<Array>,
    axis: usize,
    limit: Limit,
) -> Outcome {
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    let mut joined = Vec::new();
    for part in parts {
        let elements = same::<T>(part)?;
        if elements.ndim() != shape.len() {
            return Err(format!("it joins {:?} and {:?}", first.shape(), elements.shape()));
        }
        shape[axis] = shape[axis].saturating_add(elements.len_of(Axis(axis)));
        joined.push(elements);
    }
    limit.allow::<T>(&shape)?;
    let views: Vec<_> = joined.iter().map(|part| part.view()).collect();
    let joined = ndarray::concatenate(Axis(axis), &views).map_err(|e| e.to_string())?;
    Ok(T::wrap(joined.into_shared()))
}

pub fn split(call: &mut Call) -> Result<Vec<Array>, Reason> {
    let x = call.take(0)?;
    let axis = call.axis(Some(0), x.shape().len())?;
    let length = x.shape()[axis];
    let sizes = match call.ints_or_input("split", 1)? {
        Some(sizes) => lengths(&sizes)?,
        None => even_parts(length, call.node.output.len()),
    };
    if sizes.iter().try_fold(0usize, |n, &size| n.checked_add(size)) != Some(length) {
        return Err(format!("it splits {length} into {sizes:?}"));
    }
    let mut start = 0;
    let mut part = |size| {
        let part = Slice::from(start..start + size);
        start += size;
        for_any!(&x, x => Element::wrap(x.slice_axis(Axis(axis), part).to_owned().into_shared()))
    };
    Ok(sizes.into_iter().map(&mut part).collect())
}

/// Parts of one length, the last one shorter where it does not divide.
fn even_parts(length: usize, parts: usize) -> Vec<usize> {
    let size = length.div_ceil(parts.max(1));
    (0..parts).map(|i| length.saturating_sub(i * size).min(size)).collect()
}

pub fn slice(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let rank = x.shape().len();
    let starts = call.ints_or_input("starts", 1)?.ok_or("its starts are missing")?;
    let ends = call.ints_or_input("ends", 2)?.ok_or("its ends are missing")?;
    let axes = match call.ints_or_input("axes", 3)? {
        Some(axes) => axis_indices(&axes, rank)?,
        None => (0..starts.len()).collect(),
    };
    let steps = call.ints_or_input("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > rank {
        return Err(format!("it cuts {:?} from {starts:?} to {ends:?}", x.shape()));
    }
    let mut cuts = Vec::new();
    for (i, axis) in axes.into_iter().enumerate() {
        cuts.push((Axis(axis), cut(x.shape()[axis], starts[i], ends[i], steps[i])?));
    }
    Ok(for_any!(x, x => {
        let mut view = x.view();
        cuts.into_iter().for_each(|(axis, cut)| view.slice_axis_inplace(axis, cut));
        Element::wrap(view.to_owned().into_shared())
    }))
}

/// ONNX's half-open range, whose bounds may lie outside, as ndarray's, which takes a range backwards
/// when the step is negative.
fn cut(length: usize, start: i64, end: i64, step: i64) -> Result<Slice, Reason> {
    let n = length as i64;
    let from_front = |bound: i64| if bound < 0 { bound.saturating_add(n) } else { bound };
    let (low, high) = match step {
        0 => return Err("its step is zero".to_owned()),
        1.. => (from_front(start).clamp(0, n), from_front(end).clamp(0, n)),
        // From `start` down to the one after `end`; as a range upwards: `end + 1 ..= start`.
        _ => (from_front(end).clamp(-1, n - 1) + 1, from_front(start).clamp(-1, n - 1) + 1),
    };
    let longest = n.max(1);
    Ok(Slice {
        start: low as isize,
        end: Some(high.max(low) as isize),
        step: step.clamp(-longest, longest) as isize,
    })
}

pub fn pad(call: &mut Call) -> Outcome {
    if !matches!(call.node.string("mode"), None | Some("constant")) {
        return Err("its mode is not constant".to_owned());
    }
    let x = call.take(0)?;
    let pads = lengths(&call.ints_or_input("pads", 1)?.ok_or("its pads are missing")?)?;
    let value = match (call.take_optional(2), call.node.float("value")) {
        (Some(value), _) => value,
        (None, value) => converted(Array::from_scalar(value.unwrap_or(0.0)), x.dtype())?,
    };
    let rank = x.shape().len();
    let axes = match call.take_optional(3) {
        Some(axes) => axis_indices(&integers(&axes)?, rank)?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() || value.len() != 1 {
        return Err(format!("it pads {:?} by {pads:?}", x.shape()));
    }
    let mut shape = x.shape().to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        shape[axis] = shape[axis].saturating_add(pads[i]).saturating_add(pads[i + axes.len()]);
    }
    let padded = for_any!(with_shape(value, &[])?, value => filled(value, &shape, call.limit))?;
    let limit = call.limit;
    for_any!(padded, padded => paste(padded, x, &axes, &pads, limit))
}

fn paste<T: Element>(
    mut onto: Elements<T>,
    x: Array,
    axes: &[usize],
    starts: &[usize],
    limit: Limit,
) -> Outcome {
    limit.allow::<T>(onto.shape())?;
    let x = same::<T>(x)?;
    let mut window = onto.view_mut();
    for (&axis, &start) in axes.iter().zip(starts) {
        window.slice_axis_inplace(Axis(axis), Slice::from(start..start + x.len_of(Axis(axis))));
    }
    window.assign(&x);
    Ok(T::wrap(onto))
}

pub fn gather(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let axis = call.axis(Some(0), x.shape().len())?;
    let indices = call.take(1)?;
    let length = x.shape()[axis];
    let flat = integers(&indices)?.into_iter().map(|i| index(i, length));
    let flat: Vec<usize> = flat.collect::<Result<_, _>>()?;
    let mut picked = x.shape().to_vec();
    picked[axis] = flat.len();
    let shape = [&x.shape()[..axis], indices.shape(), &x.shape()[axis + 1..]].concat();
    let gathered = for_any!(x, x => {
        call.limit.allow_like(&x, &picked)?;
        Element::wrap(x.select(Axis(axis), &flat).into_shared())
    });
    with_shape(gathered, &shape)
}

pub fn scatter_nd(call: &mut Call) -> Outcome {
    if !matches!(call.node.string("reduction"), None | Some("none")) {
        return Err("it reduces what it scatters".to_owned());
    }
    let (data, indices, updates) = (call.take(0)?, call.take(1)?, call.take(2)?);
    for_any!(data, data => scatter(data, &indices, same(updates)?))
}

/// Each row of `indices`, `[.., k]`, says where in the first k axes of `data` a slice of `updates`
/// goes.
fn scatter<T: Element>(mut data: Elements<T>, indices: &Array, updates: Elements<T>) -> Outcome {
    let misfit = || {
        let (data, at, updates) = (data.shape(), indices.shape(), updates.shape());
        format!("it scatters {updates:?} into {data:?} at indices of shape {at:?}")
    };
    let (&depth, rows) = indices.shape().split_last().ok_or_else(misfit)?;
    if depth > data.ndim() || *updates.shape() != [rows, &data.shape()[depth..]].concat() {
        return Err(misfit());
    }
    let coordinates = integers(indices)?;
    let slices = [&[rows.iter().product()][..], &data.shape()[depth..]].concat();
    let updates = standard(updates).into_shape_with_order(slices).map_err(|e| e.to_string())?;
    for (row, update) in updates.outer_iter().enumerate() {
        let mut target = data.view_mut();
        for &coordinate in &coordinates[row * depth..][..depth] {
            let at = index(coordinate, target.len_of(Axis(0)))?;
            target = target.index_axis_move(Axis(0), at);
        }
        target.assign(&update);
    }
    Ok(T::wrap(data))
}

pub fn trilu(call: &mut Call) -> Outcome {
    let x = call.take(0)?;
    let k = match call.take_optional(1) {
        Some(k) => integers(&k)?.first().copied().ok_or("its k is empty")?,
        None => 0,
    };
    let upper = call.node.int("upper").unwrap_or(1) != 0;
    let rank = x.shape().len();
    if rank < 2 {
        return Err(format!("it takes a triangle of {:?}", x.shape()));
    }
    Ok(for_any!(x, x => Element::wrap(triangle(x, k, upper))))
}

fn triangle<T: Element>(mut x: Elements<T>, k: i64, upper: bool) -> Elements<T> {
    let rank = x.ndim();
    for (at, element) in x.indexed_iter_mut() {
        let diagonal = at[rank - 1] as i64 - at[rank - 2] as i64;
        let outside = if upper { diagonal < k } else { diagonal > k };
        if outside {
            *element = T::default();
        }
    }
    x
}

fn zeros_like<T: Element>(_: &Elements<T>, shape: &[usize]) -> Elements<T> {
    ArrayD::from_elem(shape, T::default()).into_shared()
}

/// Lengths of axes, or counts: none may be negative.
fn lengths(values: &[i64]) -> Result<Vec<usize>, Reason> {
    values
        .iter()
        .map(|&v| usize::try_from(v).map_err(|_| format!("it needs {v} elements")))
        .collect()
}
