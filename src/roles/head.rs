//! What stands before and after the blocks: embedding projections, poolers, classifiers, LM heads.

use super::{
    Role,
    flow::{Flow, Level, Reach},
    wires::{Node, Projection, Value},
};
use crate::{graph::facts, proto::TensorProto};
use std::collections::HashSet;

/// Gives the sites after the last block their roles. By site: whether it is one of them.
pub(super) fn assign_heads(flow: &Flow, roles: &mut [Role]) -> Vec<bool> {
    let sites = &flow.wires.sites;
    let free: Vec<usize> = (0..sites.len()).filter(|i| roles[*i] == Role::Other).collect();
    let vocabularies = vocabularies(flow);
    let pooled = pooled(flow, &free);
    let mut heads = vec![false; sites.len()];
    for &index in free.iter().rev() {
        let site = &sites[index];
        let reach = flow.reach(site.product);
        let only_heads = reach.sites.iter().all(|next| heads[*next]);
        if !reach.streams.is_empty() || reach.attention || !only_heads || reach.leads_nowhere() {
            continue;
        }
        heads[index] = true;
        let last = reach.sites.is_empty();
        let spans_vocabulary = is_tied(flow, site) || vocabularies.contains(&site.out_features);
        roles[index] = match pooled[index] {
            _ if last && spans_vocabulary => Role::LmHead,
            true if !last || saturates(flow, site, &reach) => Role::Pooler,
            false if !last => Role::Other,
            false if site.out_features > site.in_features => Role::LmHead,
            _ => Role::Classifier,
        };
    }
    heads
}

/// Marks what makes hidden states of embeddings, patches or features: the stream starts with it, and
/// the first block reads it.
pub(super) fn assign_embeddings(flow: &Flow, heads: &[bool], roles: &mut [Role]) {
    for ((role, site), head) in roles.iter_mut().zip(&flow.wires.sites).zip(heads) {
        if *role != Role::Other || *head || flow.level[site.input] > Level::Side {
            continue;
        }
        let reach = flow.reach(site.product);
        if !reach.streams.is_empty() && (reach.attention || !reach.sites.is_empty()) {
            *role = Role::Embedding;
        }
    }
}

/// Whether a tanh follows, as after a pooler.
fn saturates(flow: &Flow, site: &Projection, reach: &Reach) -> bool {
    let fused = flow.wires.nodes.get(site.node).is_some_and(|n| n.activation() == "Tanh");
    fused || reach.nodes.iter().any(|id| flow.wires.nodes[*id].op == "Tanh")
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
    facts::reduces(node.proto) || facts::gathers(node.proto)
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
    let readers = |value: Value| flow.wires.readers[value].iter().map(|id| &flow.wires.nodes[*id]);
    let picked = |value: Value| {
        let name = flow.wires.name(value);
        readers(value).any(|node| facts::lookups(node.proto).any(|lookup| lookup.table == name))
    };
    let copies = readers(table).filter(|n| facts::passes(n.proto) || facts::quantizes(n.proto));
    picked(table) || copies.filter_map(|n| n.output(0)).any(picked)
}

/// The number of rows of every stored matrix that rows are picked from.
fn vocabularies(flow: &Flow) -> HashSet<usize> {
    let view = flow.wires.view;
    let lookups = view.nodes().flat_map(|(_, node)| facts::lookups(node));
    let picks = lookups.filter(|lookup| !flow.wires.is_constant(lookup.index));
    picks.filter_map(|lookup| rows(view.initializer(lookup.table)?)).collect()
}

fn rows(table: &TensorProto) -> Option<usize> {
    match table.dims[..] {
        [rows, _] => usize::try_from(rows).ok(),
        _ => None,
    }
}
