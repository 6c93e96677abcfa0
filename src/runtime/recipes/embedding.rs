//! com.microsoft.EmbedLayerNormalization.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table =
    &[("com.microsoft.EmbedLayerNormalization : 9 -> 3 epsilon mask_index_type", embed_layer_norm)];

/// input_ids `[b, s]`, segment_ids, word, position and segment embeddings, gamma, beta, mask `[b, s]`,
/// position_ids. Gives the normalised sum, the number of unmasked tokens of each row, and the sum.
fn embed_layer_norm(body: &mut Body) -> TractResult<Vec<String>> {
    let name = |i| body.optional(i).map(|g| g.name.clone());
    let ids = body.input(0)?.clone();
    let [batch, seq] = &ids.shape[..] else { bail!("input_ids have shape {:?}", ids.shape) };
    let (word, position) = (body.input(2)?.name.clone(), body.input(3)?.name.clone());
    let (gamma, beta) = (body.input(5)?.name.clone(), body.input(6)?.name.clone());
    let (segments, segment, mask, positions) = (name(1), name(4), name(7), name(8));

    let words = body.op("Gather", &[&word, &ids.name], &[]);
    let positions = match positions {
        Some(ids) => body.op("Gather", &[&position, &ids], &[]),
        None => body.slice(&position, 0, 0, seq),
    };
    let mut sum = body.op("Add", &[&words, &positions], &[]);
    if let (Some(ids), Some(table)) = (segments, segment) {
        let segments = body.op("Gather", &[&table, &ids], &[]);
        sum = body.op("Add", &[&sum, &segments], &[]);
    }
    let epsilon = Attribute::Float(body.float("epsilon").unwrap_or(1e-12));
    let axis = Attribute::Int(-1);
    let attributes = [("axis", axis), ("epsilon", epsilon)];
    let normal = body.op("LayerNormalization", &[&sum, &gamma, &beta], &attributes);
    let lengths = match mask {
        Some(mask) => {
            let axes = body.ints(&[1]);
            let count = body.op("ReduceSum", &[&mask, &axes], &[("keepdims", Attribute::Int(0))]);
            body.cast(&count, DatumType::I32)?
        }
        None => body.constant(tensor1(&vec![0i32; batch.to_usize()?])),
    };
    Ok(vec![normal, lengths, sum])
}
