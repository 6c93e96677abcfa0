//! Quantised tensors with a scale for each block.

use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

/// DequantizeLinear with a `block_size`: x, scale and zero point with one element for each block
/// along the axis.
pub(super) fn dequantize_blocks(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, scale) = (body.input(0)?.clone(), body.input(1)?.clone());
    let block = body.int("block_size").unwrap_or(0) as usize;
    let rank = x.shape.len() as i64;
    let axis = body.int("axis").unwrap_or(1);
    let axis = usize::try_from(if axis < 0 { axis + rank } else { axis })?;
    ensure!(axis < x.shape.len() && scale.shape.len() == x.shape.len(), "its axis is out of range");
    let to = Attribute::Int(if scale.datum_type == DatumType::F16 { 10 } else { 1 });
    let mut value = body.op("Cast", &[&x.name], &[("to", to)]);
    if let Some(zero) = body.optional(2).cloned() {
        let zero = body.op("Cast", &[&zero.name], &[("to", to)]);
        let zero = spread(body, &zero, &scale.shape, axis, block, x.shape[axis]);
        value = body.op("Sub", &[&value, &zero], &[]);
    }
    let scale = spread(body, &scale.name, &scale.shape, axis, block, x.shape[axis]);
    Ok(vec![body.op("Mul", &[&value, &scale], &[])])
}

/// Repeats each element along the axis `block` times, up to `length`.
fn spread(
    body: &mut Body,
    value: &str,
    shape: &[usize],
    axis: usize,
    block: usize,
    length: usize,
) -> String {
    let mut apart = shape.to_vec();
    apart.insert(axis + 1, 1);
    let mut repeated = apart.clone();
    repeated[axis + 1] = block;
    let mut together = shape.to_vec();
    together[axis] *= block;
    let value = body.reshape(value, &apart);
    let repeated = body.ints(&repeated);
    let value = body.op("Expand", &[&value, &repeated], &[]);
    let value = body.reshape(&value, &together);
    if together[axis] == length { value } else { body.slice(&value, axis, 0, length) }
}
