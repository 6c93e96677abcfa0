//! The feed-forward part of a block: gated, plain, and behind a router.

use super::{
    Role, Site,
    flow::{Flow, Level},
    wires::Value,
};
use crate::graph::NodeId;
use std::collections::HashSet;

/// Marks the two factors of a low-rank branch `(x·V)·Uᵀ` that is added to another site's product.
pub(super) fn assign_low_rank(
    flow: &Flow,
    sites: &[Site],
    inputs: &[Option<Value>],
    products: &[Option<Value>],
    roles: &mut [Role],
) {
    for (outer, site) in sites.iter().enumerate() {
        let (Some(input), Some(product)) = (inputs[outer], products[outer]) else { continue };
        let Some(inner) = flow.site(flow.root[input]).filter(|inner| *inner != outer) else {
            continue;
        };
        let rank = site.in_features;
        let small = rank < sites[inner].in_features && rank < site.out_features;
        let linear = !flow.sources(input).nodes.iter().any(|id| is_activation(flow, *id));
        let same_input = |other: usize| {
            let origin = |site: usize| inputs[site].map(|v| flow.root[v]);
            other != inner && other != outer && origin(other) == origin(inner)
        };
        let beside = flow.reach(product).nodes.iter().any(|id| {
            flow.wires.nodes[*id].op == "Add"
                && flow
                    .carried(*id)
                    .iter()
                    .any(|v| flow.site(flow.root[*v]).is_some_and(same_input))
        });
        if small && linear && beside {
            roles[inner] = Role::LowRank;
            roles[outer] = Role::LowRank;
        }
    }
}

/// Marks what feeds a TopK: the routers of a mixture of experts.
pub(super) fn assign_routers(
    flow: &Flow,
    sites: &[Site],
    products: &[Option<Value>],
    roles: &mut [Role],
) {
    for (index, site) in sites.iter().enumerate() {
        let (Role::Other, Some(product)) = (roles[index], products[index]) else { continue };
        let picks = |id: &NodeId| matches!(flow.wires.nodes[*id].op, "TopK" | "ArgMax");
        let reach = flow.reach(product);
        if site.out_features < site.in_features && !reach.output && reach.nodes.iter().any(picks) {
            roles[index] = Role::Router;
        }
    }
}

/// Gives the sites around every product of a gate and what it gates their roles.
pub(super) fn assign_gated(flow: &Flow, products: &[Option<Value>], roles: &mut [Role]) {
    for (id, node) in flow.wires.nodes.iter().enumerate() {
        let ("Mul", [left, right], Some(product)) = (node.op, flow.carried(id), node.output(0))
        else {
            continue;
        };
        if flow.level[*left] != Level::Hidden || flow.stop[product].is_some() {
            continue;
        }
        let Some(pair) = gate_and_up(flow, *left, *right, products, roles) else { continue };
        let downs = flow.reach(product).sites;
        let free = |site: &usize| roles[*site] == Role::Other;
        if downs.is_empty() || !downs.iter().all(free) {
            continue;
        }
        match pair {
            (gate, up) if gate == up => roles[gate] = Role::GateUp,
            (gate, up) => (roles[gate], roles[up]) = (Role::Gate, Role::Up),
        }
        downs.into_iter().for_each(|down| roles[down] = Role::Down);
    }
}

/// The sites of the two factors of a product, if these are two projections or two parts of one.
fn gate_and_up(
    flow: &Flow,
    left: Value,
    right: Value,
    products: &[Option<Value>],
    roles: &[Role],
) -> Option<(usize, usize)> {
    let (left, right) = (parts(flow, left, roles)?, parts(flow, right, roles)?);
    if left.iter().any(|part| right.contains(part)) {
        return None;
    }
    let only = |parts: &[(usize, Part)]| {
        let (site, _) = *parts.first()?;
        parts.iter().all(|p| p.0 == site).then_some(site)
    };
    let (left, right) = (only(&left)?, only(&right)?);
    if roles[left] != Role::Other || roles[right] != Role::Other {
        return None;
    }
    let activated = |site: usize| {
        products[site]
            .is_some_and(|v| flow.reach(v).nodes.iter().any(|id| is_activation(flow, *id)))
    };
    let swap = activated(right) && !activated(left);
    Some(if swap { (right, left) } else { (left, right) })
}

/// What a value takes of a site's product: all, or the output of a cut.
type Part = Option<(NodeId, usize)>;

/// The parts of sites' products that a value is made of, or nothing if there is something else in it.
fn parts(flow: &Flow, value: Value, roles: &[Role]) -> Option<Vec<(usize, Part)>> {
    let mut found = Vec::new();
    let mut stack = vec![(value, None)];
    let mut seen = HashSet::from([(value, None)]);
    while let Some((value, part)) = stack.pop() {
        if let Some(site) = flow.site(value) {
            if roles[site] != Role::LowRank {
                found.push((site, part));
            }
            continue;
        }
        let id = flow.wires.producer[value].filter(|_| flow.stop[value].is_none())?;
        let node = &flow.wires.nodes[id];
        if flow.carried(id).is_empty() {
            return None;
        }
        let cut = matches!(node.op, "Split" | "Slice" | "Gather" | "GatherND");
        let index = node.outputs.iter().position(|o| *o == Some(value)).unwrap_or_default();
        let part = if cut { Some((id, index)) } else { part };
        stack.extend(flow.carried(id).iter().map(|v| (*v, part)).filter(|s| seen.insert(*s)));
    }
    (!found.is_empty()).then_some(found)
}

/// Gives the two sites around a plain activation their roles.
///
/// What tells a block from a dense layer of a head: its result joins the residual stream, or at least
/// widens and comes back to the width it had.
pub(super) fn assign_plain(
    flow: &Flow,
    sites: &[Site],
    inputs: &[Option<Value>],
    products: &[Option<Value>],
    roles: &mut [Role],
) {
    for second in 0..sites.len() {
        let (Role::Other, Some(input), Some(product)) =
            (roles[second], inputs[second], products[second])
        else {
            continue;
        };
        let sources = flow.sources(input);
        let ends: Option<Vec<usize>> = sources.ends.iter().map(|v| flow.site(*v)).collect();
        let mut ends = ends.unwrap_or_default();
        ends.retain(|site| roles[*site] != Role::LowRank);
        let [first] = ends[..] else { continue };
        if roles[first] != Role::Other || !sources.nodes.iter().any(|id| is_activation(flow, *id)) {
            continue;
        }
        let (wide, narrow) = (sites[first].out_features, sites[first].in_features);
        let returns = wide > narrow && sites[second].out_features == narrow;
        if returns || flow.reach(product).stream {
            roles[first] = Role::Fc1;
            roles[second] = Role::Fc2;
        }
    }
}

/// Whether the node is, or is the heart of, an activation function.
fn is_activation(flow: &Flow, id: NodeId) -> bool {
    let node = &flow.wires.nodes[id];
    match node.op {
        "Sigmoid" | "Tanh" | "Erf" | "Relu" | "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Celu"
        | "Softplus" | "Softsign" | "HardSigmoid" | "HardSwish" | "Mish" | "Swish" | "Silu" => true,
        op => op.ends_with("Gelu"),
    }
}
