//! What names say, for sites that the structure says nothing about.

use super::{
    Role,
    flow::Flow,
    wires::{Node, Projection, Value},
};

/// Gives the sites that no rule claimed the roles that their names tell. `heads` are left alone.
pub(super) fn assign(flow: &Flow, heads: &[bool], roles: &mut [Role]) {
    let sites = flow.wires.sites.iter().zip(heads);
    for (role, (site, head)) in roles.iter_mut().zip(sites) {
        if *role == Role::Other && !head {
            *role = names(flow, site).into_iter().find_map(role_of).unwrap_or(Role::Other);
        }
    }
}

/// The names around a site: its node's, its exporter's scopes, its weight's and its bias's.
fn names<'f>(flow: &'f Flow, site: &Projection) -> Vec<&'f str> {
    let Some(node) = flow.wires.nodes.get(site.node) else { return Vec::new() };
    let scopes = node.proto.metadata_props.iter().filter(|p| p.key().ends_with("name_scopes"));
    let readers = flow.wires.readers[site.product].iter().map(|id| &flow.wires.nodes[*id]);
    let biases = readers.filter(|reader| reader.op == "Add");
    let mut found = vec![node.proto.name()];
    found.extend(scopes.map(|p| p.value()));
    found.extend(stored(flow, node));
    found.extend(biases.flat_map(|bias| stored(flow, bias)));
    found
}

/// The names of a node's constant inputs that it does not share.
fn stored<'f>(flow: &'f Flow, node: &'f Node) -> impl Iterator<Item = &'f str> {
    let named = node.inputs.iter().zip(&node.proto.input);
    let own = |v: Value| flow.wires.constant[v] && flow.wires.readers[v].len() == 1;
    named.filter(move |(value, _)| value.is_some_and(own)).map(|(_, n)| n.as_str())
}

/// The role that the last telling part of a module path names.
fn role_of(path: &str) -> Option<Role> {
    let parts = path.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let mut parts = parts.map(unnumbered);
    let said = |part: &&str| {
        !matches!(*part, "" | "MatMul" | "Gemm" | "Add" | "weight" | "bias" | "linear" | "kernel")
    };
    match parts.find(said)? {
        "q_proj" | "q_lin" | "query" => Some(Role::Q),
        "k_proj" | "k_lin" | "key" => Some(Role::K),
        "v_proj" | "v_lin" | "value" => Some(Role::V),
        "qkv_proj" | "qkv" | "query_key_value" | "c_attn" => Some(Role::Qkv),
        "o_proj" | "out_lin" => Some(Role::O),
        "gate_proj" => Some(Role::Gate),
        "up_proj" => Some(Role::Up),
        "gate_up_proj" => Some(Role::GateUp),
        "down_proj" => Some(Role::Down),
        "fc1" => Some(Role::Fc1),
        "fc2" => Some(Role::Fc2),
        _ => None,
    }
}

/// A name without the counter that exporters put behind a second one of its kind.
fn unnumbered(part: &str) -> &str {
    match part.rsplit_once('_') {
        Some((name, count)) if count.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => part,
    }
}
