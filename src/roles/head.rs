//! What stands before and after the blocks: embedding projections, poolers, classifiers, LM heads.

use super::{
    Role,
    flow::{Flow, Level, Reach},
    wires::{Node, Projection, Value},
};
use crate::{graph::View, proto::TensorProto};
use std::collections::HashSet;

/// Gives the sites that no block claimed their roles.
pub(super) fn assign(view: &View, flow: &Flow, roles: &mut [Role]) {
    let sites = &flow.wires.sites;
    let free: Vec<usize> = (0..sites.len()).filter(|i| roles[*i] == Role::Other).collect();
    let vocabularies = vocabularies(view, flow);
    let pooled = pooled(flow, &free);
    let mut heads = HashSet::new();
    for &index in free.iter().rev() {
        let site = &sites[index];
        let reach = flow.reach(site.product);
        let in_block = reach.stream || reach.attention;
        let only_heads = reach.sites.iter().all(|next| heads.contains(next));
        if !in_block && only_heads && (reach.output || !reach.sites.is_empty()) {
            heads.insert(index);
            let spans_vocabulary = is_tied(flow, site) || vocabularies.contains(&site.out_features);
            roles[index] = match (reach.sites.is_empty(), pooled[index]) {
                (true, _) if spans_vocabulary => Role::LmHead,
                (true, true) if saturates(flow, &reach) => Role::Pooler,
                (true, false) if site.out_features > site.in_features => Role::LmHead,
                (true, _) => Role::Classifier,
                (false, true) => Role::Pooler,
                (false, false) => Role::Other,
            };
        } else if flow.level[site.input] <= Level::Side && !in_block && !only_heads {
            roles[index] = Role::Embedding;
        }
    }
}
fn saturates(flow: &Flow, reach: &Reach) -> bool {
    reach.nodes.iter().any(|id| flow.wires.nodes[*id].op == "Tanh")
}

/// By site: whether it reads one token of a sequence or what stands for all, itself or through
/// another of `free`.
fn pooled(flow: &Flow, free: &[usize]) -> Vec<bool> {
    let mut pooled = vec![false; flow.wires.sites.len()];
    for &site in free {
        let sources = flow.sources(flow.wires.sites[site].input);
        pooled[site] = sources.nodes.iter().any(|id| picks_tokens(&flow.wires.nodes[*id]))
            || sources.ends.iter().filter_map(|v| flow.site(*v)).any(|before| pooled[before]);
    }
    pooled
}

fn picks_tokens(node: &Node) -> bool {
    node.op.starts_with("Reduce")
        || node.op.starts_with("Global")
        || matches!(node.op, "Gather" | "GatherND" | "GatherElements")
}

/// Whether a lookup reads the site's weight too.
fn is_tied(flow: &Flow, site: &Projection) -> bool {
    let Some(node) = flow.wires.nodes.get(site.node) else { return false };
    let mut stack: Vec<Value> = node.reads().filter(|v| *v != site.input).collect();
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
