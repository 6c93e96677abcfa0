//! Attention cores: where queries meet keys, and what comes out.

use super::wires::{Node, Projection, Value, Wires};
use crate::graph::{NodeId, facts};
use std::collections::HashSet;

/// One attention, spelled out or as one operator.
#[derive(Default)]
pub(super) struct Core {
    pub queries: Vec<Value>,
    pub keys: Vec<Value>,
    pub values: Vec<Value>,
    /// The query-key products.
    pub scores: Vec<Value>,
    /// What comes out.
    pub context: Vec<Value>,
}

/// Whether a node may stand between a query-key product, its Softmax and the product with the values: a scale,
/// mask, bias, soft cap, sinks.
fn is_between(node: &Node) -> bool {
    let of = node.proto;
    matches!(node.op, "Tanh" | "Where")
        || [facts::adjusts, facts::moves, facts::cuts, facts::quantizes].iter().any(|is| is(of))
}

/// Every attention of the graph.
pub(super) fn cores(wires: &Wires) -> Vec<Core> {
    let products: HashSet<Value> = wires.sites.iter().map(|site| site.product).collect();
    let each = wires.nodes.iter();
    each.filter_map(|(id, node)| match node.op {
        "Softmax" | "BiasSoftmax" => {
            let by_columns = node.proto.int("axis") == Some(-2);
            spelled_out(wires, &products, (node.input(0)?, by_columns), node)
        }
        _ if node.is_attention() => one_operator(wires, id, node),
        _ => spelled_out(wires, &products, wires.softmax_in_parts(node.output(0)?)?, node),
    })
    .collect()
}

/// Whether a site is itself an attention: an operator that multiplies with its weights inside.
pub(super) fn is_attention(wires: &Wires, site: &Projection) -> bool {
    wires.nodes.get(site.node).is_some_and(Node::is_attention)
}

/// What the operator lacks is packed in the input before: keys in queries, values in keys. One that
/// multiplies with its own weights has no projections before it.
fn one_operator(wires: &Wires, id: NodeId, node: &Node) -> Option<Core> {
    let (query, context) = (node.input(0)?, vec![node.output(0)?]);
    let weights = node.input(1).is_some_and(|v| wires.constant[v]);
    if weights || wires.site_at[id].is_some() {
        return Some(Core { context, ..Core::default() });
    }
    let key = node.input(1).unwrap_or(query);
    let value = node.input(2).unwrap_or(key);
    let [queries, keys, values] = [query, key, value].map(|v| vec![v]);
    Some(Core { queries, keys, values, scores: Vec::new(), context })
}

/// The attention around a softmax of `logits`, by rows or by columns, that ends with a node.
fn spelled_out(
    wires: &Wires,
    products: &HashSet<Value>,
    logits: (Value, bool),
    softmax: &Node,
) -> Option<Core> {
    let mut core = Core::default();
    find_scores(wires, products, logits, &mut core);
    if core.scores.is_empty() {
        return None;
    }
    find_context(wires, softmax.output(0)?, &mut core);
    (!core.context.is_empty()).then_some(core)
}

/// The products behind a Softmax. Where it works by columns, query and key are swapped, and so they are
/// where rows and columns were swapped on the way.
fn find_scores(wires: &Wires, products: &HashSet<Value>, logits: (Value, bool), core: &mut Core) {
    let mut stack = vec![logits];
    let mut seen = HashSet::from([logits.0]);
    while let Some((value, swapped)) = stack.pop() {
        let Some(id) = wires.producer[value].filter(|_| !products.contains(&value)) else {
            continue;
        };
        let node = &wires.nodes[id];
        if let Some([left, right]) = wires.product(id) {
            let swapped = swapped ^ rows_are_keys(node);
            let (query, key) = if swapped { (right, left) } else { (left, right) };
            core.queries.push(query);
            core.keys.push(key);
            core.scores.push(value);
        } else if is_between(node) {
            let swapped = swapped ^ swaps_last_axes(node);
            let next = wires.payload(node).into_iter().filter(|v| seen.insert(*v));
            stack.extend(next.map(|v| (v, swapped)));
        }
    }
}

fn find_context(wires: &Wires, weights: Value, core: &mut Core) {
    let mut stack = vec![weights];
    let mut seen = HashSet::from([weights]);
    while let Some(value) = stack.pop() {
        for &id in &wires.readers[value] {
            let node = &wires.nodes[id];
            if let Some([left, right]) = wires.product(id) {
                let Some(context) = node.output(0) else { continue };
                core.values.push(if left == value { right } else { left });
                core.context.push(context);
            } else if is_between(node) && wires.payload(node).contains(&value) {
                let outputs = if node.op == "Split" { node.outputs.len() } else { 1 };
                let next = node.outputs.iter().take(outputs).flatten();
                stack.extend(next.filter(|v| seen.insert(**v)));
            }
        }
    }
}

/// Whether the last index of an Einsum's result, the one that Softmax sums over, is the first operand's.
fn rows_are_keys(node: &Node) -> bool {
    let equation = node.proto.string("equation").and_then(|e| e.split_once("->"));
    let Some((operands, result)) = equation else { return false };
    let first = operands.split(',').next().unwrap_or_default();
    result.trim().chars().last().is_some_and(|last| first.contains(last))
}

/// Whether the node turns rows into columns.
fn swaps_last_axes(node: &Node) -> bool {
    let perm = node.proto.ints("perm").unwrap_or_default();
    let swapped = [perm.len() as i64 - 1, perm.len() as i64 - 2];
    node.op == "Transpose" && perm.ends_with(&swapped)
}
