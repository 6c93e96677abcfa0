//! The attention operators of com.microsoft.
//!
//! Each prepares queries, keys and values as `[batch, heads, seq, head]` and one additive mask, and
//! leaves the rest to the standard `Attention`.

use super::product;
use crate::runtime::composite::{Attribute, Body, Given};
use ndarray::{ArrayD, IxDyn};
use tract_hir::internal::*;

/// What com.microsoft.Attention and MultiHeadAttention add where a mask is zero, by default.
const MASKED: f32 = -10_000.0;

/// A value `[batch, heads, seq, head]`.
#[derive(Clone)]
struct Heads {
    name: String,
    shape: [usize; 4],
}

/// com.microsoft.Attention: input, weights, bias, mask_index, past, attention_bias.
pub(super) fn attention(body: &mut Body) -> TractResult<Vec<String>> {
    body.unused(&["do_rotary", "past_present_share_buffer"])?;
    body.no_inputs_from(6)?;
    let (x, w) = (body.input(0)?.clone(), body.input(1)?.clone());
    let mut qkv = body.op("MatMul", &[&x.name, &w.name], &[]);
    if let Some(bias) = body.optional(2).cloned() {
        qkv = body.op("Add", &[&qkv, &bias.name], &[]);
    }
    let [mask, past, bias] = [3, 4, 5].map(|i| body.optional(i).cloned());
    self_attention(body, &qkv, &x, &w, mask, past, bias)
}

/// com.microsoft.QAttention: input, weight, bias, input_scale, weight_scale, mask_index,
/// input_zero_point, weight_zero_point, past.
pub(super) fn quantized(body: &mut Body) -> TractResult<Vec<String>> {
    body.unused(&["do_rotary", "past_present_share_buffer"])?;
    body.no_inputs_from(9)?;
    let (x, w, bias) = (body.input(0)?.clone(), body.input(1)?.clone(), body.input(2)?.clone());
    let (x_scale, w_scale) = (body.input(3)?.clone(), body.input(4)?.clone());
    let [x_zero, w_zero] = [6, 7].map(|i| body.optional(i).map(|g| g.name.clone()));
    let scales = [x_scale.name.as_str(), w_scale.name.as_str()];
    let qkv = product::dequantized(body, [&x.name, &w.name], [x_zero, w_zero], scales);
    let qkv = body.op("Add", &[&qkv, &bias.name], &[]);
    let [mask, past] = [5, 8].map(|i| body.optional(i).cloned());
    self_attention(body, &qkv, &x, &w, mask, past, None)
}

/// From the product `[b, s, q + k + v]` on.
fn self_attention(
    body: &mut Body,
    qkv: &str,
    x: &Given,
    w: &Given,
    mask: Option<Given>,
    past: Option<Given>,
    bias: Option<Given>,
) -> TractResult<Vec<String>> {
    let (&[batch, seq, _], &[_, width]) = (&x.shape[..], &w.shape[..]) else {
        bail!("input and weights have shapes {:?} and {:?}", x.shape, w.shape)
    };
    let count = count(body, "num_heads")?;
    let sizes = body.node.ints("qkv_hidden_sizes").unwrap_or_default();
    let sizes: Vec<usize> = sizes.iter().map(|&s| s as usize).collect();
    let [q_size, k_size, v_size] = match sizes[..] {
        [] => [width / 3; 3],
        [q, k, v] if q + k + v == width => [q, k, v],
        _ => bail!("its qkv_hidden_sizes are {sizes:?} of {width}"),
    };
    let part = |body: &mut Body, start: usize, size: usize| {
        let part = body.slice(qkv, 2, start, start + size);
        split_heads(body, &part, [batch, seq, size], count)
    };
    let q = part(body, 0, q_size)?;
    let mut k = part(body, q_size, k_size)?;
    let mut v = part(body, q_size + k_size, v_size)?;
    if let Some(past) = past {
        k = append(body, &past, Some(0), &k)?;
        v = append(body, &past, Some(1), &v)?;
    }
    let present = if body.wants(1) { stack(body, &k, &v) } else { String::new() };
    let mask = mask_of(body, mask, bias, &q, &k)?;
    let y = attend(body, &q, &k, &v, mask)?;
    Ok(vec![y, present])
}

/// com.microsoft.MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias,
/// past_key, past_value.
pub(super) fn multi_head(body: &mut Body) -> TractResult<Vec<String>> {
    body.no_inputs_from(8)?;
    let bias = body.optional(3).map(|g| g.name.clone());
    let q = biased_heads(body, 0, bias.as_deref(), 0)?;
    let width = q.shape[1] * q.shape[3];
    let mut k = biased_heads(body, 1, bias.as_deref(), width)?;
    let mut v = biased_heads(body, 2, bias.as_deref(), 2 * width)?;
    let [mask, bias, past_k, past_v] = [4, 5, 6, 7].map(|i| body.optional(i).cloned());
    if let (Some(past_k), Some(past_v)) = (past_k, past_v) {
        k = append(body, &past_k, None, &k)?;
        v = append(body, &past_v, None, &v)?;
    }
    let mask = mask_of(body, mask, bias, &q, &k)?;
    let y = attend(body, &q, &k, &v, mask)?;
    Ok(vec![y, k.name, v.name])
}

/// An input `[b, s, n·h]` plus its part of the bias, or one that has its heads apart already.
fn biased_heads(
    body: &mut Body,
    input: usize,
    bias: Option<&str>,
    start: usize,
) -> TractResult<Heads> {
    let given = body.input(input)?.clone();
    match given.shape[..] {
        [batch, heads, seq, head] => {
            Ok(Heads { name: given.name, shape: [batch, heads, seq, head] })
        }
        [batch, seq, width] => {
            let value = match bias {
                None => given.name,
                Some(bias) => {
                    let part = body.slice(bias, 0, start, start + width);
                    body.op("Add", &[&given.name, &part], &[])
                }
            };
            let heads = count(body, "num_heads")?;
            split_heads(body, &value, [batch, seq, width], heads)
        }
        _ => bail!("input {input} of shape {:?} is not supported", given.shape),
    }
}

/// com.microsoft.GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k,
/// total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias.
///
/// `seqlens_k[b]` is the number of keys of a row, less one. Past keys that a row does not have are
/// at the end of its past; new ones follow at once those that it has.
pub(super) fn group_query(body: &mut Body) -> TractResult<Vec<String>> {
    body.unused(&["softcap", "smooth_softmax", "qk_output", "sliding_window_cache"])?;
    body.no_inputs_from(11)?;
    let (heads, kv_heads) = (count(body, "num_heads")?, count(body, "kv_num_heads")?);
    let query = body.input(0)?.clone();
    let [batch, seq, width] = query.shape[..] else {
        bail!("the query has shape {:?}", query.shape)
    };
    let [q, k, v] = match [1, 2].map(|i| body.optional(i).cloned()) {
        [Some(key), Some(value)] => [query.name, key.name, value.name],
        _ => {
            let head = width / (heads + 2 * kv_heads);
            let (q, kv) = (heads * head, kv_heads * head);
            [(0, q), (q, kv), (q + kv, kv)]
                .map(|(start, size)| body.slice(&query.name, 2, start, start + size))
        }
    };
    let packed = body.optional(1).is_none();
    let head = if packed { width / (heads + 2 * kv_heads) } else { width / heads };
    let mut q = split_heads(body, &q, [batch, seq, heads * head], heads)?;
    let mut k = split_heads(body, &k, [batch, seq, kv_heads * head], kv_heads)?;
    let mut v = split_heads(body, &v, [batch, seq, kv_heads * head], kv_heads)?;

    let positions = positions(body, batch, seq)?;
    if body.int("do_rotary").unwrap_or(0) != 0 {
        let given = body.optional(9).map(|g| g.name.clone());
        let ids = given.unwrap_or_else(|| positions.clone());
        q = rotate(body, &q, &ids)?;
        k = rotate(body, &k, &ids)?;
    }
    if let [Some(past_k), Some(past_v)] = [3, 4].map(|i| body.optional(i).cloned()) {
        check_total(body, past_k.shape.get(2).copied().unwrap_or(0) + seq)?;
        k = append_ragged(body, &past_k, &k, &positions)?;
        v = append_ragged(body, &past_v, &v, &positions)?;
    }
    let mask = causal_from(body, &positions, &q, &k)?;
    let bias = body.optional(10).cloned();
    let mask = match bias {
        None => mask,
        Some(bias) => body.op("Add", &[&mask, &bias.name], &[]),
    };
    let y = attend(body, &q, &k, &v, Some(mask))?;
    Ok(vec![y, k.name, v.name])
}

/// The absolute position of each new token: `[b, s]`, int64.
fn positions(body: &mut Body, batch: usize, seq: usize) -> TractResult<String> {
    let lengths = body.input(5)?.name.clone();
    let lengths = body.op("Cast", &[&lengths], &[("to", Attribute::Int(7))]);
    let lengths = body.reshape(&lengths, &[batch, 1]);
    let before = body.constant(tensor0(1 - seq as i64));
    let first = body.op("Add", &[&lengths, &before], &[]);
    let zero = body.constant(tensor0(0i64));
    let first = body.op("Max", &[&first, &zero], &[]);
    let steps: Vec<usize> = (0..seq).collect();
    let steps = body.ints(&steps);
    Ok(body.op("Add", &[&first, &steps], &[]))
}

/// Refuses a past that is a buffer with room for new keys.
fn check_total(body: &Body, expected: usize) -> TractResult<()> {
    let total = body.optional(6).and_then(|g| g.value.as_ref());
    if let Some(total) = total {
        let total = total.cast_to_scalar::<i64>()?;
        ensure!(
            total == expected as i64,
            "a past that is a buffer shared with the present is not supported"
        );
    }
    Ok(())
}

fn rotate(body: &mut Body, x: &Heads, positions: &str) -> TractResult<Heads> {
    let (cos, sin) = (body.input(7)?.clone(), body.input(8)?.clone());
    let half = cos.shape.get(1).copied().unwrap_or(0) as i64;
    let partial = if 2 * half == x.shape[3] as i64 { 0 } else { 2 * half };
    let attributes = [
        ("interleaved", Attribute::Int(body.int("rotary_interleaved").unwrap_or(0))),
        ("rotary_embedding_dim", Attribute::Int(partial)),
    ];
    let inputs = [x.name.as_str(), &cos.name, &sin.name, positions];
    Ok(Heads { name: body.op("RotaryEmbedding", &inputs, &attributes), shape: x.shape })
}

/// The past, then the new ones; with several rows, each row's new ones after its own past.
fn append_ragged(
    body: &mut Body,
    past: &Given,
    new: &Heads,
    positions: &str,
) -> TractResult<Heads> {
    let [batch, heads, seq, head] = new.shape;
    let all = append(body, past, None, new)?;
    let total = all.shape[2];
    let before = total - seq;
    if batch == 1 || before == 0 {
        return Ok(all);
    }
    // Of row b, slot t holds past token t where t < first[b], else new token t - first[b].
    let first = body.slice(positions, 1, 0, 1);
    let slots: Vec<usize> = (0..total).collect();
    let slots = body.ints(&slots);
    let is_past = body.op("Less", &[&slots, &first], &[]);
    let before = body.constant(tensor0(before as i64));
    let moved = body.op("Sub", &[&slots, &first], &[]);
    let moved = body.op("Add", &[&moved, &before], &[]);
    let last = body.constant(tensor0(total as i64 - 1));
    let moved = body.op("Min", &[&moved, &last], &[]);
    let from = body.op("Where", &[&is_past, &slots, &moved], &[]);
    let from = body.reshape(&from, &[batch, 1, total, 1]);
    let full = body.ints(&[batch, heads, total, head]);
    let from = body.op("Expand", &[&from, &full], &[]);
    let gathered = body.op("GatherElements", &[&all.name, &from], &[("axis", Attribute::Int(2))]);
    // What lies after a row's own is zero.
    let end = body.slice(positions, 1, seq - 1, seq);
    let held = body.op("LessOrEqual", &[&slots, &end], &[]);
    let held = body.reshape(&held, &[batch, 1, total, 1]);
    let zero = body.scalar(0.0, past.datum_type)?;
    Ok(Heads { name: body.op("Where", &[&held, &gathered, &zero], &[]), shape: all.shape })
}

/// `[b, 1, s, t]`: zero where key t is not after the query, nor out of its window.
fn causal_from(body: &mut Body, positions: &str, q: &Heads, k: &Heads) -> TractResult<String> {
    let ([batch, _, seq, _], [_, _, total, _]) = (q.shape, k.shape);
    let queries = body.reshape(positions, &[batch, 1, seq, 1]);
    let keys: Vec<usize> = (0..total).collect();
    let keys = body.ints(&keys);
    let mut seen = body.op("LessOrEqual", &[&keys, &queries], &[]);
    let window = body.int("local_window_size").unwrap_or(-1);
    if window > 0 {
        let window = body.constant(tensor0(window));
        let distance = body.op("Sub", &[&queries, &keys], &[]);
        let near = body.op("Less", &[&distance, &window], &[]);
        seen = body.op("And", &[&seen, &near], &[]);
    }
    additive(body, &seen, f32::MIN)
}

/// The number that an attribute gives.
fn count(body: &Body, name: &str) -> TractResult<usize> {
    let count = body.int(name).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    count.with_context(|| format!("its attribute {name} is missing or not positive"))
}

/// `[b, s, n·h]` as `[b, n, s, h]`.
fn split_heads(
    body: &mut Body,
    value: &str,
    [batch, seq, width]: [usize; 3],
    count: usize,
) -> TractResult<Heads> {
    ensure!(width % count == 0, "{width} features do not make {count} heads");
    let head = width / count;
    let apart = body.reshape(value, &[batch, seq, count, head]);
    Ok(Heads { name: body.transpose(&apart, &[0, 2, 1, 3]), shape: [batch, count, seq, head] })
}

/// The past, or one part of a stacked one, then the new ones.
fn append(body: &mut Body, past: &Given, part: Option<usize>, new: &Heads) -> TractResult<Heads> {
    let [batch, heads, seq, head] = new.shape;
    let past_shape = if part.is_some() { &past.shape[1..] } else { &past.shape[..] };
    let &[b, n, before, h] = past_shape else { bail!("a past has shape {:?}", past.shape) };
    ensure!([b, n, h] == [batch, heads, head], "a past has shape {:?}", past.shape);
    let past = match part {
        None => past.name.clone(),
        Some(part) => {
            let one = body.slice(&past.name, 0, part, part + 1);
            body.reshape(&one, past_shape)
        }
    };
    let name = body.op("Concat", &[&past, &new.name], &[("axis", Attribute::Int(2))]);
    Ok(Heads { name, shape: [batch, heads, before + seq, head] })
}

/// Keys and values as one present `[2, b, n, t, h]`.
fn stack(body: &mut Body, k: &Heads, v: &Heads) -> String {
    let one = |body: &mut Body, x: &Heads| {
        let [b, n, t, h] = x.shape;
        body.reshape(&x.name, &[1, b, n, t, h])
    };
    let (k, v) = (one(body, k), one(body, v));
    body.op("Concat", &[&k, &v], &[("axis", Attribute::Int(0))])
}

/// The sum of all that says which keys are seen; `None` when all are.
fn mask_of(
    body: &mut Body,
    mask: Option<Given>,
    bias: Option<Given>,
    q: &Heads,
    k: &Heads,
) -> TractResult<Option<String>> {
    let ([batch, _, seq, _], [_, _, total, _]) = (q.shape, k.shape);
    let mut terms = Vec::new();
    if let Some(mask) = mask {
        let seen = seen(body, &mask, batch, seq, total)?;
        let filter = body.float("mask_filter_value").unwrap_or(MASKED);
        terms.push(additive(body, &seen, filter)?);
    }
    if body.int("unidirectional").unwrap_or(0) != 0 {
        let before = total.saturating_sub(seq);
        let causal = ArrayD::from_shape_fn(IxDyn(&[1, 1, seq, total]), |i| i[3] <= before + i[2]);
        let causal = body.constant(Tensor::from(causal));
        terms.push(additive(body, &causal, f32::MIN)?);
    }
    terms.extend(bias.map(|b| b.name));
    let mut terms = terms.into_iter();
    let Some(first) = terms.next() else { return Ok(None) };
    Ok(Some(terms.fold(first, |sum, term| body.op("Add", &[&sum, &term], &[]))))
}

/// Which keys are seen, from any form of com.microsoft's mask, as bools that fit `[b, n, s, t]`.
fn seen(
    body: &mut Body,
    mask: &Given,
    batch: usize,
    seq: usize,
    total: usize,
) -> TractResult<String> {
    let positive = |body: &mut Body, mask: &str, shape: &[usize]| {
        let mask = body.op("Cast", &[mask], &[("to", Attribute::Int(7))]);
        let mask = body.reshape(&mask, shape);
        let zero = body.constant(tensor0(0i64));
        body.op("Greater", &[&mask, &zero], &[])
    };
    match mask.shape[..] {
        [n] if n == batch || n == 2 * batch => {
            let keys: Vec<usize> = (0..total).collect();
            let keys = body.ints(&keys);
            let mask = body.op("Cast", &[&mask.name], &[("to", Attribute::Int(7))]);
            let column = |body: &mut Body, start: usize| {
                let part = body.slice(&mask, 0, start, start + batch);
                body.reshape(&part, &[batch, 1, 1, 1])
            };
            let end = column(body, 0);
            let before_end = body.op("Less", &[&keys, &end], &[]);
            if n == batch {
                return Ok(before_end);
            }
            let start = column(body, batch);
            let after_start = body.op("GreaterOrEqual", &[&keys, &start], &[]);
            Ok(body.op("And", &[&before_end, &after_start], &[]))
        }
        [b, t] if b == batch && t == total => Ok(positive(body, &mask.name, &[batch, 1, 1, total])),
        [b, s, t] if [b, s, t] == [batch, seq, total] => {
            Ok(positive(body, &mask.name, &[batch, 1, seq, total]))
        }
        [b, 1, rows, columns] if b == batch && rows >= total && columns >= total => {
            let part = body.slice(&mask.name, 2, total - seq, total);
            let part = body.slice(&part, 3, 0, total);
            Ok(positive(body, &part, &[batch, 1, seq, total]))
        }
        _ => bail!("a mask of shape {:?} is not supported", mask.shape),
    }
}

/// Zero where the condition holds, else `filter`, in the type of the first input's floats.
fn additive(body: &mut Body, seen: &str, filter: f32) -> TractResult<String> {
    let f16 = body.input(0)?.datum_type == DatumType::F16;
    let (zero, filter) = match f16 {
        true => (tensor0(f16::ZERO), tensor0(f16::from_f32(filter.max(f16::MIN.to_f32())))),
        false => (tensor0(0f32), tensor0(filter)),
    };
    let (zero, filter) = (body.constant(zero), body.constant(filter));
    Ok(body.op("Where", &[seen, &zero, &filter], &[]))
}

/// Attention proper, its heads side by side again: `[b, s, n·h]`.
fn attend(
    body: &mut Body,
    q: &Heads,
    k: &Heads,
    v: &Heads,
    mask: Option<String>,
) -> TractResult<String> {
    let [batch, heads, seq, head] = q.shape;
    let scale = body.float("scale").filter(|s| *s != 0.0);
    let scale = scale.unwrap_or_else(|| 1.0 / (head as f32).sqrt());
    let mut inputs = vec![q.name.as_str(), &k.name, &v.name];
    inputs.extend(mask.as_deref());
    let y = body.op("Attention", &inputs, &[("scale", Attribute::Float(scale))]);
    let y = body.transpose(&y, &[0, 2, 1, 3]);
    Ok(body.reshape(&y, &[batch, seq, heads * v.shape[3]]))
}
