//! What stands before and after the blocks: embedding projections, poolers, classifiers, LM heads.

use super::{
    Role, Site,
    flow::{Flow, Level, Reach},
    wires::{Node, Value},
};
use crate::{graph::View, proto::TensorProto};
use std::collections::HashSet;

/// Gives the sites that no block claimed their roles.
pub(super) fn assign(
    view: &View,
    flow: &Flow,
    sites: &[Site],
    inputs: &[Option<Value>],
    products: &[Option<Value>],
    roles: &mut [Role],
) {
    let free: Vec<usize> = (0..sites.len()).filter(|i| roles[*i] == Role::Other).collect();
    let vocabularies = vocabularies(view, flow);
    let mut pooled = vec![false; sites.len()];
    for &site in &free {
        let Some(input) = inputs[site] else { continue };
        let sources = flow.sources(input);
        pooled[site] = sources.nodes.iter().any(|id| picks_tokens(&flow.wires.nodes[*id]))
            || sources.ends.iter().filter_map(|v| flow.site(*v)).any(|before| pooled[before]);
    }
    let mut heads = HashSet::new();
    for &site in free.iter().rev() {
        let Some(product) = products[site] else { continue };
        let reach = flow.reach(product);
        let ends_here = !reach.stream && !reach.attention;
        let into_heads = reach.sites.iter().all(|next| heads.contains(next));
        let is_last = reach.sites.is_empty();
        if ends_here && into_heads && (reach.output || !is_last) {
            heads.insert(site);
            let known = tied(flow, &sites[site], inputs[site])
                || vocabularies.contains(&sites[site].out_features);
            roles[site] = if is_last {
                last(flow, &sites[site], &reach, pooled[site], known)
            } else {
                before_last(flow, &reach, pooled[site])
            };
        } else if inputs[site].is_some_and(|v| flow.level[v] < Level::Statistic) {
            roles[site] = Role::Embedding;
        }
    }
}

/// The role of a site whose product is a graph output. `known`: it spans the vocabulary.
fn last(flow: &Flow, site: &Site, reach: &Reach, pooled: bool, known: bool) -> Role {
    match pooled {
        _ if known => Role::LmHead,
        true if saturates(flow, reach) => Role::Pooler,
        false if site.out_features > site.in_features => Role::LmHead,
        _ => Role::Classifier,
    }
}

/// The role of a dense layer before others of a head.
fn before_last(flow: &Flow, reach: &Reach, pooled: bool) -> Role {
    match pooled {
        true if saturates(flow, reach) => Role::Pooler,
        true => Role::Classifier,
        false => Role::Other,
    }
}

fn saturates(flow: &Flow, reach: &Reach) -> bool {
    reach.nodes.iter().any(|id| flow.wires.nodes[*id].op == "Tanh")
}

/// Whether the node keeps some of a sequence's tokens, or one for all.
fn picks_tokens(node: &Node) -> bool {
    node.op.starts_with("Reduce")
        || node.op.starts_with("Global")
        || matches!(node.op, "Gather" | "GatherND" | "GatherElements" | "Slice" | "Flatten")
}

/// Whether a lookup reads the site's weight too.
fn tied(flow: &Flow, site: &Site, input: Option<Value>) -> bool {
    let Some(node) = flow.wires.nodes.get(site.node) else { return false };
    let mut stack: Vec<Value> = node.reads().filter(|v| Some(*v) != input).collect();
    let mut seen = HashSet::new();
    while let Some(value) = stack.pop() {
        if !flow.wires.constant[value] || !seen.insert(value) {
            continue;
        }
        match flow.wires.maker(value) {
            Some(maker) => stack.extend(maker.reads()),
            None if is_looked_up(flow, value) => return true,
            None => {}
        }
    }
    false
}

fn is_looked_up(flow: &Flow, table: Value) -> bool {
    flow.wires.readers[table].iter().any(|id| {
        let node = &flow.wires.nodes[*id];
        let direct = node.op == "Gather" && node.input(0) == Some(table);
        let then = matches!(node.op, "Cast" | "Identity" | "DequantizeLinear");
        direct || (then && node.output(0).is_some_and(|v| is_looked_up(flow, v)))
    })
}

/// The number of rows of every stored matrix that rows are picked from.
fn vocabularies(view: &View, flow: &Flow) -> HashSet<usize> {
    let lookups = view.nodes().filter(|(_, n)| n.op_type() == "Gather");
    let picks = lookups
        .filter(|(id, _)| flow.wires.nodes[*id].input(1).is_some_and(|v| !flow.wires.constant[v]));
    let tables = picks.filter_map(|(_, n)| view.initializer(n.input.first()?));
    tables.filter_map(rows).collect()
}

fn rows(table: &TensorProto) -> Option<usize> {
    match table.dims[..] {
        [rows, _] => usize::try_from(rows).ok(),
        _ => None,
    }
}
