//! Attention, the standard one and those of com.microsoft.
//!
//! Each prepares queries, keys and values as `[batch, heads, seq, head]` and says what a query sees of
//! the keys; [`attend`] does the rest.

use super::{Table, product, reduce};
use crate::runtime::composite::{Attribute, Body, Given, unsupported};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[
    (
        "Attention : 7 -> 4 is_causal kv_num_heads left_window_size q_num_heads qk_matmul_output_mode
            right_window_size scale softcap softmax_precision",
        standard,
    ),
    (
        "com.microsoft.Attention : 6 -> 2 do_rotary=0 mask_filter_value num_heads
            past_present_share_buffer=0 qkv_hidden_sizes rotary_embedding_dim=0 scale unidirectional",
        fused,
    ),
    (
        "com.microsoft.GroupQueryAttention : 12 -> 3 causal=1 do_rotary k_quant_type=NONE
            kv_cache_bit_width=0 kv_num_heads local_window_size num_heads qk_output=0 rotary_interleaved
            scale sliding_window_cache=0 smooth_softmax softcap v_quant_type=NONE",
        group_query,
    ),
    (
        "com.microsoft.MultiHeadAttention : 8 -> 3 mask_filter_value num_heads scale unidirectional",
        multi_head,
    ),
    (
        "com.microsoft.QAttention : 9 -> 2 do_rotary=0 mask_filter_value num_heads
            past_present_share_buffer=0 scale unidirectional",
        quantized,
    ),
    (
        "com.microsoft.RotaryEmbedding : 4 interleaved is_packed_batching=0 num_heads
            rotary_embedding_dim scale=1",
        rotary,
    ),
];

/// What com.microsoft.Attention and MultiHeadAttention add where a mask is zero, by default.
const MASKED: f32 = -10_000.0;

/// A value `[batch, heads, seq, head]`.
#[derive(Clone)]
struct Heads {
    name: String,
    shape: [TDim; 4],
}

/// What becomes of scores `[b, n, s, t]` before the softmax.
#[derive(Default)]
struct Mask {
    /// What is added; fits the scores.
    bias: Option<String>,
    /// Bools: the keys that a query sees; fits the scores.
    seen: Option<String>,
    /// `[n]`: the score of a key that nothing stands for.
    sink: Option<String>,
}

/// The standard one: Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen.
fn standard(body: &mut Body) -> TractResult<Vec<String>> {
    let merged = body.input(0)?.shape.len() == 3;
    let q = input_heads(body, 0, "q_num_heads", None)?;
    let mut k = input_heads(body, 1, "kv_num_heads", None)?;
    let mut v = input_heads(body, 2, "kv_num_heads", None)?;
    let [mask, past_k, past_v, lengths] = [3, 4, 5, 6].map(|i| body.optional(i));
    let mut before = 0.to_dim();
    if let (Some(past_k), Some(past_v)) = (past_k, past_v) {
        before = past_k.shape.get(2).cloned().unwrap_or(before);
        k = append(body, past_k, None, &k)?;
        v = append(body, past_v, None, &v)?;
    }
    let (seq, total) = (q.shape[2].clone(), k.shape[2].clone());

    // Where a query is among the keys.
    let steps = body.range(&seq);
    let mut positions = body.reshape(&steps, &[seq.clone(), 1.to_dim()]);
    let mut seen = None;
    match lengths {
        Some(lengths) => {
            let lengths = body.reshape(&lengths.name, &[-1, 1, 1, 1]);
            let first = body.number(-seq.clone());
            let first = body.op("Add", &[&lengths, &first], &[]);
            positions = body.op("Add", &[&positions, &first], &[]);
            let keys = body.range(&total);
            seen = Some(body.op("Less", &[&keys, &lengths], &[]));
        }
        None => {
            let first = body.number(before);
            positions = body.op("Add", &[&positions, &first], &[]);
        }
    }
    let side = |body: &Body, name| body.int(name).filter(|n| *n >= 0);
    let causal = body.int("is_causal").unwrap_or(0) != 0;
    let right = if causal { Some(0) } else { side(body, "right_window_size") };
    let window = window(body, &positions, &total, side(body, "left_window_size"), right);
    seen = both(body, seen, window);
    let mut bias = None;
    if let Some(mask) = mask {
        let full = lengthened(body, mask, &total)?;
        match mask.datum_type {
            DatumType::Bool => seen = both(body, seen, Some(full)),
            _ => bias = Some(full),
        }
    }
    let (y, scores) = attend(body, [&q, &k, &v], Mask { bias, seen, sink: None })?;
    let y = if merged { merge(body, &y) } else { y.name };
    let mode = usize::try_from(body.int("qk_matmul_output_mode").unwrap_or(0))?;
    let scores = scores.get(mode).context("its qk_matmul_output_mode is not supported")?;
    let scores = if body.wants(3) { body.cast(scores, q_type(body)?)? } else { String::new() };
    Ok(vec![y, k.name, v.name, scores])
}

/// A mask with as many keys as there are: what it has not is not seen.
fn lengthened(body: &mut Body, mask: &Given, total: &TDim) -> TractResult<String> {
    let Some((last, outer)) = mask.shape.split_last() else { bail!("its mask is a scalar") };
    if last == total {
        return Ok(mask.name.clone());
    }
    let hidden = match mask.datum_type {
        DatumType::Bool => tensor0(false),
        other => tensor0(f32::NEG_INFINITY).cast_to_dt(other)?.into_owned(),
    };
    let hidden = body.constant(hidden);
    let shape: Vec<TDim> = outer.iter().cloned().chain([total.clone() - last]).collect();
    let shape = body.ints(&shape);
    let hidden = body.op("Expand", &[&hidden, &shape], &[]);
    Ok(body.op("Concat", &[&mask.name, &hidden], &[("axis", Attribute::Int(-1))]))
}

/// com.microsoft.Attention: input, weights, bias, mask_index, past, attention_bias.
fn fused(body: &mut Body) -> TractResult<Vec<String>> {
    let (x, w) = (body.input(0)?, body.input(1)?);
    let qkv = body.op("MatMul", &[&x.name, &w.name], &[]);
    let qkv = body.plus(qkv, 2);
    let [mask, past, bias] = [3, 4, 5].map(|i| body.optional(i));
    self_attention(body, &qkv, mask, past, bias)
}

/// com.microsoft.QAttention: input, weight, bias, input_scale, weight_scale, mask_index,
/// input_zero_point, weight_zero_point, past.
fn quantized(body: &mut Body) -> TractResult<Vec<String>> {
    let [x, w, bias, x_scale, w_scale] = body.names()?;
    let zeros = [6, 7].map(|i| body.name(i));
    let qkv = product::dequantized(body, [x, w], zeros, [x_scale, w_scale]);
    let qkv = body.op("Add", &[&qkv, bias], &[]);
    let [mask, past] = [5, 8].map(|i| body.optional(i));
    self_attention(body, &qkv, mask, past, None)
}

/// From the product `[b, s, q + k + v]` on.
fn self_attention(
    body: &mut Body,
    qkv: &str,
    mask: Option<&Given>,
    past: Option<&Given>,
    bias: Option<&Given>,
) -> TractResult<Vec<String>> {
    let (x, w) = (body.input(0)?, body.input(1)?);
    let ([batch, seq, _], [_, width]) = (&x.shape[..], &w.shape[..]) else {
        bail!("input and weights have shapes {:?} and {:?}", x.shape, w.shape)
    };
    let width = width.to_usize()?;
    let sizes = body.node.ints("qkv_hidden_sizes").unwrap_or_default();
    let sizes: Vec<usize> = sizes.iter().map(|&s| s as usize).collect();
    let [q_size, k_size, v_size] = match sizes[..] {
        [] => [width / 3; 3],
        [q, k, v] if q + k + v == width => [q, k, v],
        _ => bail!("its qkv_hidden_sizes are {sizes:?} of {width}"),
    };
    let part = |body: &mut Body, start: usize, size: usize| {
        let part = body.slice(qkv, 2, start, start + size);
        let count = count(body, "num_heads")?;
        split_heads(body, &part, [batch.clone(), seq.clone(), size.to_dim()], count)
    };
    let q = part(body, 0, q_size)?;
    let mut k = part(body, q_size, k_size)?;
    let mut v = part(body, q_size + k_size, v_size)?;
    if let Some(past) = past {
        k = append(body, past, Some(0), &k)?;
        v = append(body, past, Some(1), &v)?;
    }
    let present = if body.wants(1) { stack(body, &k, &v) } else { String::new() };
    let mask = mask_of(body, mask, bias, &q, &k)?;
    let (y, _) = attend(body, [&q, &k, &v], mask)?;
    Ok(vec![merge(body, &y), present])
}

/// com.microsoft.MultiHeadAttention: query, key, value, bias, key_padding_mask, attention_bias,
/// past_key, past_value.
fn multi_head(body: &mut Body) -> TractResult<Vec<String>> {
    let bias = body.optional(3);
    let part = |start: &TDim| bias.map(|bias| (&*bias.name, start.clone()));
    let q = input_heads(body, 0, "num_heads", part(&0.to_dim()))?;
    let width = q.shape[1].clone() * &q.shape[3];
    let mut k = input_heads(body, 1, "num_heads", part(&width))?;
    let mut v = input_heads(body, 2, "num_heads", part(&(width * 2)))?;
    let [mask, bias, past_k, past_v] = [4, 5, 6, 7].map(|i| body.optional(i));
    if let (Some(past_k), Some(past_v)) = (past_k, past_v) {
        k = append(body, past_k, None, &k)?;
        v = append(body, past_v, None, &v)?;
    }
    let mask = mask_of(body, mask, bias, &q, &k)?;
    let (y, _) = attend(body, [&q, &k, &v], mask)?;
    Ok(vec![merge(body, &y), k.name, v.name])
}

/// An input `[b, s, n·h]`, plus what begins at a place of a bias, or one that has its heads apart already.
fn input_heads(
    body: &mut Body,
    input: usize,
    heads: &str,
    bias: Option<(&str, TDim)>,
) -> TractResult<Heads> {
    let given = body.input(input)?;
    match &given.shape[..] {
        [batch, heads, seq, head] => {
            let shape = [batch, heads, seq, head].map(TDim::clone);
            Ok(Heads { name: given.name.clone(), shape })
        }
        [batch, seq, width] => {
            let value = match bias {
                None => given.name.clone(),
                Some((bias, start)) => {
                    let part = body.slice(bias, 0, &start, start.clone() + width);
                    body.op("Add", &[&given.name, &part], &[])
                }
            };
            let heads = count(body, heads)?;
            split_heads(body, &value, [batch, seq, width].map(TDim::clone), heads)
        }
        _ => bail!("input {input} of shape {:?} is not supported", given.shape),
    }
}

/// com.microsoft.GroupQueryAttention: query, key, value, past_key, past_value, seqlens_k,
/// total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias, head_sink.
///
/// `seqlens_k[b]` is the number of keys of a row, less one. Past keys that a row does not have are
/// at the end of its past; new ones follow at once those that it has.
fn group_query(body: &mut Body) -> TractResult<Vec<String>> {
    let (heads, kv_heads) = (count(body, "num_heads")?, count(body, "kv_num_heads")?);
    let query = body.input(0)?;
    let [batch, seq, width] = &query.shape[..] else {
        bail!("the query has shape {:?}", query.shape)
    };
    let width = width.to_usize()?;
    let (head, parts) = match [1, 2].map(|i| body.optional(i)) {
        [Some(key), Some(value)] => (width / heads, [query, key, value].map(|g| g.name.clone())),
        _ => {
            let head = width / (heads + 2 * kv_heads);
            let (q, kv) = (heads * head, kv_heads * head);
            let parts = [(0, q), (q, kv), (q + kv, kv)];
            (head, parts.map(|(start, size)| body.slice(&query.name, 2, start, start + size)))
        }
    };
    let mut split = |part: &str, count: usize| {
        split_heads(body, part, [batch.clone(), seq.clone(), (count * head).to_dim()], count)
    };
    let [q, k, v] = &parts;
    let (mut q, mut k, mut v) = (split(q, heads)?, split(k, kv_heads)?, split(v, kv_heads)?);

    let positions = positions(body, batch, seq)?;
    if body.int("do_rotary").unwrap_or(0) != 0 {
        let ids = body.optional(9).map_or(&positions, |given| &given.name);
        q = rotate(body, &q, ids)?;
        k = rotate(body, &k, ids)?;
    }
    if let [Some(past_k), Some(past_v)] = [3, 4].map(|i| body.optional(i)) {
        check_total(body, past_k.shape.get(2).cloned().unwrap_or_default() + seq)?;
        k = append_ragged(body, past_k, &k, &positions)?;
        v = append_ragged(body, past_v, &v, &positions)?;
    }
    let queries = body.reshape(&positions, &[batch.clone(), 1.to_dim(), seq.clone(), 1.to_dim()]);
    let left = body.int("local_window_size").filter(|w| *w > 0).map(|w| w - 1);
    let near = window(body, &queries, &k.shape[2], left, Some(0));
    // Padding stands after the last key of its sequence.
    let keys = body.range(&k.shape[2]);
    let last = body.cast(&body.input(5)?.name, DatumType::I64)?;
    let last = body.reshape(&last, &[-1, 1, 1, 1]);
    let there = body.op("LessOrEqual", &[&keys, &last], &[]);
    let seen = both(body, near, Some(there));
    let bias = body.optional(10).map(|g| g.name.clone());
    let mut sink = body.optional(11).map(|g| g.name.clone());
    if sink.is_none() && body.int("smooth_softmax").is_some_and(|s| s > 0) {
        sink = Some(body.constant(Tensor::zero_dt(DatumType::F32, &[heads])?));
    }
    let (y, _) = attend(body, [&q, &k, &v], Mask { bias, seen, sink })?;
    Ok(vec![merge(body, &y), k.name, v.name])
}

/// The absolute position of each new token: `[b, s]`, int64.
fn positions(body: &mut Body, batch: &TDim, seq: &TDim) -> TractResult<String> {
    let lengths = body.cast(&body.input(5)?.name, DatumType::I64)?;
    let lengths = body.reshape(&lengths, &[batch.clone(), 1.to_dim()]);
    let before = body.number(1.to_dim() - seq);
    let first = body.op("Add", &[&lengths, &before], &[]);
    let zero = body.number(0);
    let first = body.op("Max", &[&first, &zero], &[]);
    let steps = body.range(seq);
    Ok(body.op("Add", &[&first, &steps], &[]))
}

/// Refuses a past that is a buffer with room for new keys.
fn check_total(body: &Body, expected: TDim) -> TractResult<()> {
    let total = body.optional(6).and_then(Given::dims);
    match total.is_none_or(|total| total == [expected]) {
        true => Ok(()),
        false => {
            Err(unsupported("a past that is a buffer shared with the present is not supported"))
        }
    }
}

fn rotate(body: &mut Body, x: &Heads, positions: &str) -> TractResult<Heads> {
    let (cos, sin) = (body.input(7)?, body.input(8)?);
    let rotated = cos.shape.last().context("its cos_cache is a scalar")?.to_i64()? * 2;
    let partial = if rotated == x.shape[3].to_i64()? { 0 } else { rotated };
    let attributes = [
        ("interleaved", Attribute::Int(body.int("rotary_interleaved").unwrap_or(0))),
        ("rotary_embedding_dim", Attribute::Int(partial)),
    ];
    let inputs = [x.name.as_str(), &cos.name, &sin.name, positions];
    Ok(Heads { name: body.op("RotaryEmbedding", &inputs, &attributes), shape: x.shape.clone() })
}

/// com.microsoft.RotaryEmbedding: input, position_ids `[b, s]` or the first one `[1]`, cos and sin caches.
fn rotary(body: &mut Body) -> TractResult<Vec<String>> {
    let [x, given, cos, sin] = [0, 1, 2, 3].map(|i| body.input(i));
    let (x, given, cos, sin) = (x?, given?, cos?, sin?);
    let merged = x.shape.len() == 3;
    let mut ids = given.name.clone();
    if given.shape.len() == 1 {
        let steps = body.range(&x.shape[if merged { 1 } else { 2 }]);
        ids = body.op("Add", &[&ids, &steps], &[]);
        ids = body.reshape(&ids, &[1, -1]);
    }
    let mut heads = body.int("num_heads").unwrap_or(0);
    if merged && heads == 0 {
        heads = x.shape[2].to_i64()? / (cos.shape[1].to_i64()? * 2);
    }
    let attributes = [
        ("interleaved", Attribute::Int(body.int("interleaved").unwrap_or(0))),
        ("num_heads", Attribute::Int(heads)),
        ("rotary_embedding_dim", Attribute::Int(body.int("rotary_embedding_dim").unwrap_or(0))),
    ];
    let inputs = [x.name.as_str(), &cos.name, &sin.name, &ids];
    Ok(vec![body.op("RotaryEmbedding", &inputs, &attributes)])
}

/// The past, then the new ones; with several rows, each row's new ones after its own past.
fn append_ragged(
    body: &mut Body,
    past: &Given,
    new: &Heads,
    positions: &str,
) -> TractResult<Heads> {
    let [batch, _, seq, _] = &new.shape;
    let all = append(body, past, None, new)?;
    let total = &all.shape[2];
    let before = total.clone() - seq;
    if batch.is_one() || before == 0.to_dim() {
        return Ok(all);
    }
    // Of row b, slot t holds past token t where t < first[b], else new token t - first[b].
    let first = body.slice(positions, 1, 0, 1);
    let slots = body.range(total);
    let is_past = body.op("Less", &[&slots, &first], &[]);
    let before = body.number(before);
    let moved = body.op("Sub", &[&slots, &first], &[]);
    let moved = body.op("Add", &[&moved, &before], &[]);
    let last = body.number(total.clone() - 1);
    let moved = body.op("Min", &[&moved, &last], &[]);
    let from = body.op("Where", &[&is_past, &slots, &moved], &[]);
    let rows = [batch.clone(), 1.to_dim(), total.clone(), 1.to_dim()];
    let from = body.reshape(&from, &rows);
    let full = body.ints(&all.shape);
    let from = body.op("Expand", &[&from, &full], &[]);
    let from = body.cast(&from, DatumType::I64)?;
    let gathered = body.op("GatherElements", &[&all.name, &from], &[("axis", Attribute::Int(2))]);
    // What lies after a row's own is zero.
    let end = body.slice(positions, 1, seq.clone() - 1, seq);
    let held = body.op("LessOrEqual", &[&slots, &end], &[]);
    let held = body.reshape(&held, &rows);
    let zero = body.scalar(0.0, past.datum_type)?;
    Ok(Heads { name: body.op("Where", &[&held, &gathered, &zero], &[]), shape: all.shape })
}

/// Which of the keys `0..total` are no more than so many places before and after queries at these
/// positions `[…, s, 1]`; `None` where that leaves none out.
fn window(
    body: &mut Body,
    positions: &str,
    total: &TDim,
    left: Option<i64>,
    right: Option<i64>,
) -> Option<String> {
    let keys = body.range(total);
    let distance = body.op("Sub", &[positions, &keys], &[]);
    let mut seen = None;
    for (op, bound) in [("LessOrEqual", left), ("GreaterOrEqual", right.map(|r| -r))] {
        let Some(bound) = bound else { continue };
        let bound = body.number(bound);
        let near = body.op(op, &[&distance, &bound], &[]);
        seen = both(body, seen, Some(near));
    }
    seen
}

/// What two conditions both allow; one that is not there allows all.
fn both(body: &mut Body, a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(body.op("And", &[&a, &b], &[])),
        (a, b) => a.or(b),
    }
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
    [batch, seq, width]: [TDim; 3],
    count: usize,
) -> TractResult<Heads> {
    let width = width.to_usize()?;
    ensure!(width % count == 0, "{width} features do not make {count} heads");
    let (count, head) = (count.to_dim(), (width / count).to_dim());
    let shape = [batch, seq, count, head];
    let apart = body.reshape(value, &shape);
    let [batch, seq, count, head] = shape;
    Ok(Heads { name: body.transpose(&apart, &[0, 2, 1, 3]), shape: [batch, count, seq, head] })
}

/// Heads side by side again: `[b, s, n·h]`.
fn merge(body: &mut Body, heads: &Heads) -> String {
    let [batch, count, seq, head] = &heads.shape;
    let y = body.transpose(&heads.name, &[0, 2, 1, 3]);
    body.reshape(&y, &[batch.clone(), seq.clone(), count.clone() * head])
}

/// The past, or one part of a stacked one, then the new ones.
fn append(body: &mut Body, past: &Given, part: Option<usize>, new: &Heads) -> TractResult<Heads> {
    let [batch, heads, seq, head] = &new.shape;
    let past_shape = if part.is_some() { &past.shape[1..] } else { &past.shape[..] };
    let [b, n, before, h] = past_shape else { bail!("a past has shape {:?}", past.shape) };
    ensure!([b, n, h] == [batch, heads, head], "a past has shape {:?}", past.shape);
    let name = match part {
        None => past.name.clone(),
        Some(part) => {
            let one = body.slice(&past.name, 0, part, part + 1);
            body.reshape(&one, past_shape)
        }
    };
    let name = body.op("Concat", &[&name, &new.name], &[("axis", Attribute::Int(2))]);
    let total = before.clone() + seq;
    Ok(Heads { name, shape: [batch.clone(), heads.clone(), total, head.clone()] })
}

/// Keys and values as one present `[2, b, n, t, h]`.
fn stack(body: &mut Body, k: &Heads, v: &Heads) -> String {
    let one = |body: &mut Body, x: &Heads| {
        let shape: Vec<TDim> = [1.to_dim()].into_iter().chain(x.shape.clone()).collect();
        body.reshape(&x.name, &shape)
    };
    let (k, v) = (one(body, k), one(body, v));
    body.op("Concat", &[&k, &v], &[("axis", Attribute::Int(0))])
}

/// com.microsoft's masks: what is added to scores, and where keys come after queries.
fn mask_of(
    body: &mut Body,
    mask: Option<&Given>,
    bias: Option<&Given>,
    q: &Heads,
    k: &Heads,
) -> TractResult<Mask> {
    let ([batch, _, seq, _], [_, _, total, _]) = (&q.shape, &k.shape);
    let mut bias = bias.map(|b| b.name.clone());
    if let Some(mask) = mask {
        let seen = seen(body, mask, [batch, seq, total])?;
        let filter = body.float("mask_filter_value").unwrap_or(MASKED);
        let float = q_type(body)?;
        let (zero, filter) = (body.scalar(0.0, float)?, body.scalar(filter, float)?);
        let mask = body.op("Where", &[&seen, &zero, &filter], &[]);
        bias = Some(match bias {
            Some(bias) => body.op("Add", &[&mask, &bias], &[]),
            None => mask,
        });
    }
    let mut seen = None;
    if body.int("unidirectional").unwrap_or(0) != 0 {
        let before = total.clone() - seq;
        ensure!(
            before.to_i64().ok().is_none_or(|n| n >= 0),
            "it is causal and has more queries than keys"
        );
        let (steps, before) = (body.range(seq), body.number(before));
        let positions = body.op("Add", &[&steps, &before], &[]);
        let positions = body.reshape(&positions, &[seq.clone(), 1.to_dim()]);
        seen = window(body, &positions, total, None, Some(0));
    }
    Ok(Mask { bias, seen, sink: None })
}

/// The type of the queries, where they are floats.
fn q_type(body: &Body) -> TractResult<DatumType> {
    Ok(Some(body.input(0)?.datum_type).filter(DatumType::is_float).unwrap_or(DatumType::F32))
}

/// Which keys are seen, from any form of com.microsoft's mask, as bools that fit `[b, n, s, t]`.
fn seen(body: &mut Body, mask: &Given, [batch, seq, total]: [&TDim; 3]) -> TractResult<String> {
    let one = || 1.to_dim();
    let positive = |body: &mut Body, mask: &str, shape: [TDim; 4]| {
        let mask = body.cast(mask, DatumType::I64)?;
        let mask = body.reshape(&mask, &shape);
        let zero = body.number(0);
        Ok(body.op("Greater", &[&mask, &zero], &[]))
    };
    let keys_seen = [batch.clone(), one(), one(), total.clone()];
    let all_seen = [batch.clone(), one(), seq.clone(), total.clone()];
    match &mask.shape[..] {
        [n] if n == batch || *n == batch.clone() * 2 => {
            let keys = body.range(total);
            let mask = body.cast(&mask.name, DatumType::I64)?;
            let column = |body: &mut Body, start: TDim| {
                let part = body.slice(&mask, 0, &start, start.clone() + batch);
                body.reshape(&part, &[batch.clone(), one(), one(), one()])
            };
            let end = column(body, 0.to_dim());
            let before_end = body.op("Less", &[&keys, &end], &[]);
            if n == batch {
                return Ok(before_end);
            }
            let start = column(body, batch.clone());
            let after_start = body.op("GreaterOrEqual", &[&keys, &start], &[]);
            Ok(body.op("And", &[&before_end, &after_start], &[]))
        }
        [b, t] if b == batch && t == total => positive(body, &mask.name, keys_seen),
        [b, s, t] if [b, s, t] == [batch, seq, total] => positive(body, &mask.name, all_seen),
        [b, one, rows, columns] if b == batch && one.is_one() => {
            let total_n = total.to_usize()?;
            ensure!(
                rows.to_usize()? >= total_n && columns.to_usize()? >= total_n,
                "a mask of shape {:?} is not supported",
                mask.shape
            );
            let part = body.slice(&mask.name, 2, total.clone() - seq, total);
            let part = body.slice(&part, 3, 0, total);
            positive(body, &part, all_seen)
        }
        _ => bail!("a mask of shape {:?} is not supported", mask.shape),
    }
}

/// Attention proper, and its scores `[b, n, s, t]`: of the product, capped, with what is added, and as
/// weights. A query that sees no key gives zeros. Floats of 16 bits are computed in f32.
fn attend(
    body: &mut Body,
    [q, k, v]: [&Heads; 3],
    mask: Mask,
) -> TractResult<(Heads, [String; 4])> {
    let ([batch, heads, seq, head], [_, kv_heads, total, _]) = (&q.shape, &k.shape);
    let (n, kv) = (heads.to_usize()?, kv_heads.to_usize()?);
    ensure!(kv > 0 && n % kv == 0, "{n} heads do not share {kv} of keys evenly");
    let float = q_type(body)?;
    let wide = if float == DatumType::F16 { DatumType::F32 } else { float };
    let scale = body.float("scale").filter(|s| *s != 0.0);
    let scale = scale.unwrap_or(1.0 / (head.to_usize()? as f32).sqrt());

    // Heads that share their keys are one product.
    let rows = seq.clone() * (n / kv);
    let q = body.cast(&q.name, wide)?;
    let scale = body.scalar(scale, wide)?;
    let q = body.op("Mul", &[&q, &scale], &[]);
    let q = body.reshape(&q, &[batch.clone(), kv.to_dim(), rows.clone(), head.clone()]);
    let keys = body.cast(&k.name, wide)?;
    let keys = body.transpose(&keys, &[0, 1, 3, 2]);
    let product = body.op("MatMul", &[&q, &keys], &[]);
    let shape = [batch.clone(), heads.clone(), seq.clone(), total.clone()];
    let product = body.reshape(&product, &shape);

    let mut capped = product.clone();
    if let Some(cap) = body.float("softcap").filter(|c| *c > 0.0) {
        let cap = body.scalar(cap, wide)?;
        let ratio = body.op("Div", &[&product, &cap], &[]);
        let bounded = body.op("Tanh", &[&ratio], &[]);
        capped = body.op("Mul", &[&bounded, &cap], &[]);
    }
    let mut scores = capped.clone();
    if let Some(bias) = &mask.bias {
        let bias = body.cast(bias, wide)?;
        scores = body.op("Add", &[&scores, &bias], &[]);
    }
    let hidden = body.scalar(f32::NEG_INFINITY, wide)?;
    if let Some(seen) = &mask.seen {
        scores = body.op("Where", &[seen, &scores, &hidden], &[]);
    }
    let last = [("axis", Attribute::Int(-1))];
    let mut weights = match &mask.sink {
        None => body.op("Softmax", &[&scores], &last),
        Some(sink) => {
            let sink = body.cast(sink, wide)?;
            let sink = body.reshape(&sink, &[1, n, 1, 1]);
            let column = body.ints(&[batch.clone(), heads.clone(), seq.clone(), 1.to_dim()]);
            let column = body.op("Expand", &[&sink, &column], &[]);
            let all = body.op("Concat", &[&scores, &column], &last);
            let all = body.op("Softmax", &[&all], &last);
            body.slice(&all, 3, 0, total)
        }
    };
    if mask.seen.is_some() || mask.bias.is_some() {
        let most = reduce::largest(body, &scores, wide)?;
        let blind = body.op("Equal", &[&most, &hidden], &[]);
        let zero = body.scalar(0.0, wide)?;
        weights = body.op("Where", &[&blind, &zero, &weights], &[]);
    }
    let grouped = body.reshape(&weights, &[batch.clone(), kv.to_dim(), rows, total.clone()]);
    let values = body.cast(&v.name, wide)?;
    let y = body.op("MatMul", &[&grouped, &values], &[]);
    let shape = [batch.clone(), heads.clone(), seq.clone(), v.shape[3].clone()];
    let y = body.reshape(&y, &shape);
    Ok((Heads { name: body.cast(&y, float)?, shape }, [product, capped, scores, weights]))
}
