//! The feed-forward part of a block: gated, plain, and behind a router.

use super::{
    Role,
    flow::{Flow, Level},
    wires::{Projection, Value},
};
use crate::graph::{NodeId, facts};
use std::collections::HashSet;

/// Marks the two factors of a low-rank branch `(x·V)·Uᵀ` that is added to another site's product.
pub(super) fn assign_low_rank(flow: &Flow, roles: &mut [Role]) {
    let sites = &flow.wires.sites;
    for (outer, site) in sites.iter().enumerate() {
        let Some(inner) = flow.site(flow.root[site.input]).filter(|inner| *inner != outer) else {
            continue;
        };
        let rank = site.in_features;
        let small = rank < sites[inner].in_features && rank < site.out_features;
        let linear = !flow.wires.is_activated(site.input);
        if small && linear && is_beside_another(flow, inner, outer) {
            roles[inner] = Role::LowRank;
            roles[outer] = Role::LowRank;
        }
    }
}

/// Whether `outer`'s product is added to that of a third site, which reads what `inner` reads.
fn is_beside_another(flow: &Flow, inner: usize, outer: usize) -> bool {
    let origin = |site: usize| flow.root[flow.wires.sites[site].input];
    let third = |value: &Value| {
        let sites = flow.source_sites(*value);
        sites.into_iter().any(|s| s != inner && s != outer && origin(s) == origin(inner))
    };
    flow.reach(flow.wires.sites[outer].product)
        .nodes
        .iter()
        .any(|id| flow.wires.nodes[*id].op == "Add" && flow.carried(*id).iter().any(third))
}

/// The sites of one gated MLP, by index.
pub(super) struct Gated {
    gate: usize,
    /// The same as `gate` where the two are packed.
    up: usize,
    downs: Vec<usize>,
}

/// Gives the sites around every product of a gate and what it gates their roles.
pub(super) fn assign_gated(flow: &Flow, roles: &mut [Role]) -> Vec<Gated> {
    let mut found = Vec::new();
    for (id, node) in flow.wires.nodes.iter() {
        let ("Mul", [left, right], Some(product)) = (node.op, flow.carried(id), node.output(0))
        else {
            continue;
        };
        if flow.level[*left] != Level::Hidden || flow.stop[product].is_some() {
            continue;
        }
        let Some((gate, up)) = gate_and_up(flow, *left, *right, roles) else { continue };
        let downs = flow.reach(product).sites;
        if downs.is_empty() || downs.iter().any(|down| roles[*down] != Role::Other) {
            continue;
        }
        if gate == up {
            roles[gate] = Role::GateUp;
        } else {
            (roles[gate], roles[up]) = (Role::Gate, Role::Up);
        }
        downs.iter().for_each(|down| roles[*down] = Role::Down);
        found.push(Gated { gate, up, downs });
    }
    found
}

/// The sites of the two factors of a product, if these are two projections or two parts of one.
fn gate_and_up(flow: &Flow, left: Value, right: Value, roles: &[Role]) -> Option<(usize, usize)> {
    if left == right {
        return None;
    }
    let (lefts, rights) = (parts(flow, left, roles)?, parts(flow, right, roles)?);
    if lefts.iter().any(|part| rights.contains(part)) {
        return None;
    }
    let (gate, up) = (only_site(&lefts)?, only_site(&rights)?);
    if roles[gate] != Role::Other || roles[up] != Role::Other {
        return None;
    }
    let swap = is_activated(flow, up, right) && !is_activated(flow, gate, left);
    Some(if swap { (up, gate) } else { (gate, up) })
}

/// What a value takes of a site's product: all, or the output of a cut.
type Part = Option<(NodeId, usize)>;

fn only_site(parts: &[(usize, Part)]) -> Option<usize> {
    let (site, _) = *parts.first()?;
    parts.iter().all(|part| part.0 == site).then_some(site)
}

/// The parts of sites' products that a value is made of; none if there is anything else in it.
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
        let index = node.outputs.iter().position(|o| *o == Some(value)).unwrap_or_default();
        let part = if facts::cuts(node.proto) { Some((id, index)) } else { part };
        stack.extend(flow.carried(id).iter().map(|v| (*v, part)).filter(|s| seen.insert(*s)));
    }
    Some(found)
}

/// Gives the two sites around a plain activation their roles.
///
/// What tells a block from a dense layer of a head: its result joins the residual stream, or at least
/// widens and comes back to the width it had.
pub(super) fn assign_plain(flow: &Flow, roles: &mut [Role]) {
    let sites = &flow.wires.sites;
    for (second, site) in sites.iter().enumerate() {
        let Some(first) = activated_site(flow, site, roles) else { continue };
        if roles[second] != Role::Other || roles[first] != Role::Other {
            continue;
        }
        let (wide, narrow) = (sites[first].out_features, sites[first].in_features);
        let returns = wide > narrow && site.out_features == narrow;
        if returns || joins_stream(flow, site, first) {
            roles[first] = Role::Fc1;
            roles[second] = Role::Fc2;
        }
    }
}

/// Whether a site's product is added to what a block read, and not to what its first projection made, as the
/// result of a state space is.
fn joins_stream(flow: &Flow, site: &Projection, first: usize) -> bool {
    let streams = flow.reach(site.product).streams;
    streams.iter().any(|stream| !flow.source_sites(flow.base(*stream)).contains(&first))
}

/// The one site that another reads through an activation.
fn activated_site(flow: &Flow, site: &Projection, roles: &[Role]) -> Option<usize> {
    let ends = flow.sources(site.input).ends;
    let mut ends: Vec<usize> = ends.iter().map(|v| flow.site(*v)).collect::<Option<_>>()?;
    ends.retain(|end| roles[*end] != Role::LowRank);
    match ends[..] {
        [only] if is_activated(flow, only, site.input) => Some(only),
        _ => None,
    }
}

/// Marks routers, which choose among experts. Gives the values that they have a say in.
pub(super) fn assign_routers(flow: &Flow, roles: &mut [Role]) -> HashSet<Value> {
    let mut routed = HashSet::new();
    for (role, site) in roles.iter_mut().zip(&flow.wires.sites) {
        if *role == Role::Other && site.out_features < site.in_features && picks(flow, site) {
            let influence = flow.influence(site.product);
            if decides(flow, &influence) {
                *role = Role::Router;
                routed.extend(influence);
            }
        }
    }
    routed
}

/// Marks the gated MLPs that a router chooses.
pub(super) fn assign_experts(
    flow: &Flow,
    mlps: &[Gated],
    routed: &HashSet<Value>,
    roles: &mut [Role],
) {
    for Gated { gate, up, downs } in mlps {
        if !is_chosen(flow, *gate, routed)
            && !downs.iter().any(|down| is_weighed(flow, *down, routed))
        {
            continue;
        }
        if gate != up {
            (roles[*gate], roles[*up]) = (Role::ExpertGate, Role::ExpertUp);
        }
        downs.iter().for_each(|down| roles[*down] = Role::ExpertDown);
    }
}

/// Whether the largest of the site's outputs are picked.
fn picks(flow: &Flow, site: &Projection) -> bool {
    let reached = flow.reach(site.product).nodes;
    reached.iter().any(|id| matches!(flow.wires.nodes[*id].op, "TopK" | "ArgMax"))
}

/// Whether a stop is computed from one of the values.
fn decides(flow: &Flow, values: &HashSet<Value>) -> bool {
    let readers = values.iter().flat_map(|v| &flow.wires.readers[*v]);
    let mut outputs = readers.flat_map(|id| flow.wires.nodes[*id].outputs.iter().flatten());
    outputs.any(|v| flow.stop[*v].is_some())
}

/// Whether a router chose what the site reads.
fn is_chosen(flow: &Flow, site: usize, routed: &HashSet<Value>) -> bool {
    let way = flow.sources(flow.wires.sites[site].input).nodes;
    let mut values = way.iter().flat_map(|id| flow.wires.nodes[*id].outputs.iter().flatten());
    values.any(|v| routed.contains(v))
}

/// Whether a router weighs what comes of the site.
fn is_weighed(flow: &Flow, site: usize, routed: &HashSet<Value>) -> bool {
    flow.reach(flow.wires.sites[site].product).nodes.iter().any(|id| {
        let inputs = flow.carried(*id);
        let said = inputs.iter().filter(|v| routed.contains(v)).count();
        flow.wires.nodes[*id].op == "Mul" && said > 0 && said < inputs.len()
    })
}

/// Whether an activation stands between a site's product and a value made of it, or is part of the
/// site's own node.
fn is_activated(flow: &Flow, site: usize, value: Value) -> bool {
    let node = flow.wires.nodes.get(flow.wires.sites[site].node);
    node.is_some_and(|n| !n.activation().is_empty()) || flow.wires.is_activated(value)
}
