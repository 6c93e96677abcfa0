//! The projections of attentions: q, k, v and o.

use super::{
    Role,
    cores::Core,
    flow::{Flow, Stop},
    wires::Value,
};

/// What a site feeds, over all attentions.
#[derive(Clone, Copy, Default)]
struct Feeds {
    query: bool,
    key: bool,
    value: bool,
    /// All the attentions it feeds look at another sequence.
    cross: bool,
}

/// Gives q, k, v (or what is packed of them) and o their roles.
pub(super) fn assign(flow: &Flow, cores: &[Core], roles: &mut [Role]) {
    let mut feeds = vec![Feeds::default(); roles.len()];
    let mut crossed = Vec::new();
    for core in cores {
        let sites = |values: &[Value]| -> Vec<usize> {
            values.iter().flat_map(|v| flow.source_sites(*v)).collect()
        };
        let (queries, keys, values) =
            (sites(&core.queries), sites(&core.keys), sites(&core.values));
        let cross = is_cross(flow, core, &queries, &keys);
        crossed.push(cross);
        let mut note = |sites: &[usize], what: fn(&mut Feeds)| {
            for &site in sites {
                let first = !(feeds[site].query || feeds[site].key || feeds[site].value);
                feeds[site].cross = cross && (first || feeds[site].cross);
                what(&mut feeds[site]);
            }
        };
        note(&queries, |f| f.query = true);
        note(&keys, |f| f.key = true);
        note(&values, |f| f.value = true);
    }
    for (role, feeds) in roles.iter_mut().zip(&feeds) {
        if *role == Role::Other {
            *role = feeds.role();
        }
    }
    assign_outputs(flow, &crossed, roles);
}

impl Feeds {
    fn role(self) -> Role {
        let role = match (self.query, self.key, self.value) {
            (false, false, false) => Role::Other,
            (true, false, false) => Role::Q,
            (false, true, false) => Role::K,
            (false, false, true) => Role::V,
            (false, true, true) => Role::Kv,
            (true, _, _) => Role::Qkv,
        };
        if self.cross { role.crossed() } else { role }
    }
}

/// Whether queries and keys come from different sequences.
///
/// Keys that no projection makes here come from a cache that was filled before: another sequence's.
fn is_cross(flow: &Flow, core: &Core, queries: &[usize], keys: &[usize]) -> bool {
    if keys.is_empty() {
        let outside = |v: &Value| flow.sources(*v).ends.iter().all(|end| flow.stop[*end].is_none());
        return !queries.is_empty() && core.keys.iter().all(outside);
    }
    let root = |site: &usize| flow.root[flow.wires.sites[*site].input];
    if queries.is_empty() {
        return core.queries.iter().all(|v| flow.wires.constant[*v]);
    }
    !queries.iter().any(|q| keys.iter().any(|k| root(q) == root(k)))
}

fn assign_outputs(flow: &Flow, crossed: &[bool], roles: &mut [Role]) {
    let free = roles.iter_mut().zip(&flow.wires.sites).filter(|(role, _)| **role == Role::Other);
    for (role, site) in free {
        let ends = flow.sources(site.input).ends;
        let mut contexts = ends.iter().filter_map(|v| match flow.stop[*v] {
            Some(Stop::Context(core)) => crossed.get(core),
            _ => None,
        });
        if let Some(cross) = contexts.next() {
            *role = if *cross { Role::CrossO } else { Role::O };
        }
    }
}
