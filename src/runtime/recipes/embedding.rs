//! com.microsoft.EmbedLayerNormalization.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table =
    &[("com.microsoft.EmbedLayerNormalization : 9 -> 3 epsilon mask_index_type", embed_layer_norm)];

/// input_ids `[b, s]`, segment_ids, word, position and segment embeddings, gamma, beta, mask `[b, s]`,
/// position_ids. Gives the normalised sum, the number of unmasked tokens of each row, and the sum.
fn embed_layer_norm(body: &mut Body) -> TractResult<Vec<String>> {
    let ids = body.input(0)?;
    let [batch, seq] = &ids.shape[..] else { bail!("input_ids have shape {:?}", ids.shape) };
    let [word, position, gamma, beta] = [2, 3, 5, 6].map(|i| body.input(i));
    let (word, position, gamma, beta) = (word?, position?, gamma?, beta?);
    let [segments, segment, mask, positions] = [1, 4, 7, 8].map(|i| body.optional(i));

    let words = body.op("Gather", &[&word.name, &ids.name], &[]);
    let positions = match positions {
        Some(ids) => body.op("Gather", &[&position.name, &ids.name], &[]),
        None => body.slice(&position.name, 0, 0, seq),
    };
    let mut sum = body.op("Add", &[&words, &positions], &[]);
    if let (Some(ids), Some(table)) = (segments, segment) {
        let segments = body.op("Gather", &[&table.name, &ids.name], &[]);
        sum = body.op("Add", &[&sum, &segments], &[]);
    }
    let epsilon = Attribute::Float(body.float("epsilon").unwrap_or(1e-12));
    let axis = Attribute::Int(-1);
    let attributes = [("axis", axis), ("epsilon", epsilon)];
    let normal = body.op("LayerNormalization", &[&sum, &gamma.name, &beta.name], &attributes);
    let lengths = match mask {
        Some(mask) => {
            let axes = body.ints(&[1]);
            let count =
                body.op("ReduceSum", &[&mask.name, &axes], &[("keepdims", Attribute::Int(0))]);
            body.cast(&count, DatumType::I32)?
        }
        None => body.constant(tensor1(&vec![0i32; batch.to_usize()?])),
    };
    Ok(vec![normal, lengths, sum])
}
