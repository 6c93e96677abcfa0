//! Finds every projection of a model, whatever will become of it.

use super::{
    rule::{Effect, NoMatch, Projection, Rule},
    template::INPUT,
};
use crate::{
    draft::corrected,
    graph::{Constants, GraphId, Graphs, NodeId, View, facts},
    pattern::{Bindings, Miss, is_constant_name},
    proto::NodeProto,
    roles::{self, Role},
    values::{norm, part_sizes},
};
use std::collections::{HashMap, HashSet};

/// One projection as the survey found it.
pub(super) struct Site<'r> {
    /// The rule that found it.
    pub rule: &'r Rule,
    /// The root of the rule's match: what the new nodes replace.
    pub root: NodeId,
    /// The node that multiplies.
    pub node: NodeId,
    /// What to call it: its name, or the value it makes.
    pub name: String,
    /// Its operator.
    pub op: String,
    /// What the rule's names stand for.
    pub bound: Bindings,
    /// The projection, or why it stays as it is.
    pub found: Result<Projection, String>,
    /// How many features it takes and makes, where that is known.
    pub features: Option<[usize; 2]>,
    /// What holds its weight: an initializer, or another constant.
    pub weight: String,
    /// The BitLinear that it is in the correction of.
    pub corrects: Option<String>,
    /// What it is for.
    pub role: Role,
    /// The node that reads its weight as an embedding table.
    pub tied: Option<String>,
    /// The constant that is added to it.
    pub bias: Option<String>,
    /// How many rows each part has into which the graph cuts its output; empty where it does not.
    pub part_sizes: Vec<usize>,
    /// The normalisation that makes its input.
    pub norm: Option<NodeId>,
}

impl Site<'_> {
    /// Bytes of the weight as the source stores it.
    pub fn stored_bytes(&self) -> u64 {
        self.found.as_ref().map_or(0, |p| p.weight.stored_bytes)
    }

    /// Whether the rule matched the node, as the projection's own or beside it.
    pub fn covers(&self, node: NodeId) -> bool {
        self.root == node || self.node == node || self.bound.nodes.contains(&Some(node))
    }
}

/// The projections of a model, each graph's before those of graphs nested in it.
pub(super) fn survey<'r>(graphs: &Graphs, recipe: Recipe<'r>) -> Vec<Site<'r>> {
    let tables: Tables = graphs
        .iter()
        .flat_map(|view| embedding_tables(view, &graphs.constants(view.id())))
        .collect();
    let of_graph = |view| survey_graph(view, &graphs.constants(view.id()), recipe, &tables);
    let mut sites: Vec<Site> = graphs.iter().flat_map(of_graph).collect();
    forget_most(&mut sites);
    sites
}

/// The rules, and the opset of the model that they are tried on.
#[derive(Clone, Copy)]
pub(super) struct Recipe<'r> {
    pub rules: &'r [Rule],
    pub opset: i64,
}

/// Initializers that are read as embedding tables, by graph and name, with the node that does.
type Tables = HashMap<(GraphId, String), String>;

fn survey_graph<'r>(
    view: &View,
    constants: &Constants,
    recipe: Recipe<'r>,
    tables: &Tables,
) -> Vec<Site<'r>> {
    let table = |leaf: &String| tables.get(&(view.scope(leaf)?.id(), leaf.clone())).cloned();
    let mut sites = match_rules(view, constants, recipe);
    let corrected = corrected(view);
    for site in &mut sites {
        let Ok(projection) = &site.found else { continue };
        let output = view.node(site.root).output.first().map_or("", String::as_str);
        let own_bias = projection.bias.clone();
        site.corrects = corrected.get(&site.node).map(|of| view.node(*of).label().to_owned());
        site.tied = projection.weight.leaves.iter().find_map(table);
        let norm = norm(view, constants, &projection.input, Some(projection.weight.k));
        site.norm = norm.map(|norm| norm.node);
        site.bias = own_bias.or_else(|| added_constant(view, constants, output));
        site.part_sizes = match &projection.part_sizes[..] {
            [] => {
                let shape = projection.lists.get("shape").map(Vec::as_slice);
                part_sizes(view, constants, output, projection.weight.n, shape)
            }
            known => known.to_vec(),
        };
    }
    assign_roles(view, constants, &mut sites);
    sites
}

/// Bytes of computed weights that are held until they are converted: what is beyond is computed twice.
const MOST_HELD: usize = 1 << 30;

fn forget_most(sites: &mut [Site]) {
    let mut held = 0;
    for weight in sites.iter_mut().filter_map(|s| s.found.as_mut().ok()).map(|p| &mut p.weight) {
        held += if weight.stored_as_is.is_none() { weight.data.len() } else { 0 };
        if held > MOST_HELD {
            weight.forget();
        }
    }
}

/// The first rule that takes or refuses a node has it; later ones don't see it.
fn match_rules<'r>(view: &View, constants: &Constants, recipe: Recipe<'r>) -> Vec<Site<'r>> {
    let mut sites: Vec<Site> = Vec::new();
    let mut claimed = HashSet::new();
    for rule in recipe.rules {
        for (root, node) in view.nodes().filter(|(_, n)| rule.pattern.may_start_at(n)) {
            let constant = node.output.iter().all(|o| constants.is_constant(o));
            if claimed.contains(&root) || constant {
                continue;
            }
            let (bound, found) = match rule.at(view, constants, recipe.opset, root) {
                Ok((bound, projection)) => (bound, Ok(projection)),
                Err(NoMatch::Refused(bound, why)) => (bound, Err(why)),
                Err(NoMatch::Kept(bound, why)) => {
                    (bound, Err(kept(view, constants, recipe, root, why)))
                }
                Err(NoMatch::Missed(_)) => continue,
            };
            let product = found.as_ref().map_or(root, |p| p.node);
            if claimed.contains(&product) {
                continue;
            }
            claim(view, &bound, [root, product], &mut claimed);
            let weights = match &found {
                Ok(projection) => vec![projection.weight.name.clone()],
                Err(_) => constants_held(rule, &bound),
            };
            sites.extend(weights.into_iter().map(|weight| Site {
                rule,
                root,
                node: product,
                name: view.node(product).label().to_owned(),
                op: view.node(product).operator().to_string(),
                bound: bound.clone(),
                found: found.clone(),
                features: match &found {
                    Ok(Projection { weight, .. }) => Some([weight.k, weight.n]),
                    Err(_) => features(constants, view.node(product)),
                },
                weight,
                corrects: None,
                role: Role::Other,
                tied: None,
                bias: None,
                part_sizes: Vec::new(),
                norm: None,
            }));
        }
    }
    sites.sort_by_key(|site| site.node);
    sites
}

/// How many features a product takes and makes, as it states them or as its weight has them.
fn features(constants: &Constants, node: &NodeProto) -> Option<[usize; 2]> {
    if let Some(stated) = facts::features(node) {
        return Some(stated);
    }
    let [_, weight] = facts::factors(node).filter(|_| !node.is("Einsum"))?;
    match constants.kind(weight)?.1[..] {
        [n, k] if node.flag("transB") => Some([k, n]),
        [k, n] => Some([k, n]),
        _ => None,
    }
}

/// The constants that a node holds for which a rule keeps it: each has a line of its own.
fn constants_held(rule: &Rule, bound: &Bindings) -> Vec<String> {
    let constants = rule.pattern.names().filter(|name| is_constant_name(name));
    let held: Vec<String> = constants.filter_map(|name| bound.values.get(name).cloned()).collect();
    if held.is_empty() { vec![String::new()] } else { held }
}

/// Claims the root and the product of a match, and its other nodes whose values nothing else reads.
fn claim(view: &View, bound: &Bindings, own: [NodeId; 2], claimed: &mut HashSet<NodeId>) {
    claimed.extend(own);
    let mut inner: Vec<NodeId> = bound.nodes.iter().flatten().copied().collect();
    // Readers come after what they read.
    inner.sort_unstable_by(|a, b| b.cmp(a));
    for id in inner {
        let read_here = |output: &String| {
            !view.is_output(output) && view.uses(output).iter().all(|u| claimed.contains(&u.node))
        };
        if view.node(id).output.iter().all(read_here) {
            claimed.insert(id);
        }
    }
}

/// Why a node stays that a rule keeps: what it is, and what stopped the rule that came nearest to
/// replacing it, if there are such rules for its operator.
fn kept(view: &View, constants: &Constants, recipe: Recipe, id: NodeId, why: &str) -> String {
    match furthest(view, constants, recipe, id, |rule| rule.effect() != Effect::Keep) {
        Some((_, miss)) => format!("it {why}: {}", miss.why),
        None => format!("node `{}` {why}", view.node(id).label()),
    }
}

fn assign_roles(view: &View, constants: &Constants, sites: &mut [Site]) {
    if sites.is_empty() {
        return;
    }
    let described: Vec<roles::Site> =
        sites.iter().map(|site| as_roles_see_it(view, site)).collect();
    let roles = roles::find(view, constants, &described);
    for (site, role) in sites.iter_mut().zip(roles) {
        site.role = role;
    }
}

fn as_roles_see_it<'v>(view: &'v View, site: &'v Site) -> roles::Site<'v> {
    let node = view.node(site.node);
    let first = |values: &'v [String]| values.first().map_or("", String::as_str);
    let input = match &site.found {
        Ok(projection) => &projection.input,
        Err(_) => site.bound.values.get(INPUT).map_or(first(&node.input), String::as_str),
    };
    let [in_features, out_features] = site.features.unwrap_or_default();
    roles::Site {
        node: site.node,
        input,
        output: first(&view.node(site.root).output),
        in_features,
        out_features,
    }
}

/// Weights that rows are looked up in, directly or by way of constant nodes.
fn embedding_tables(view: &View, constants: &Constants) -> Tables {
    let computed = |n: &NodeProto| n.output.iter().any(|o| !constants.is_constant(o));
    let computed = view.nodes().filter(|(_, node)| computed(node));
    let lookups =
        computed.flat_map(|(_, node)| facts::lookups(node).map(move |lookup| (node, lookup.table)));
    let tables =
        lookups.filter(|(_, table)| constants.is_constant(table)).filter_map(|(node, table)| {
            let leaves = constants.expression(table).ok()?.initializers.into_iter();
            let scoped = leaves
                .filter_map(|leaf| Some((view.scope(leaf.name())?.id(), leaf.name().to_owned())));
            Some(scoped.map(|leaf| (leaf, node.label().to_owned())))
        });
    tables.flatten().collect()
}

/// The vector that an `Add` right after `value` adds.
fn added_constant(view: &View, constants: &Constants, value: &str) -> Option<String> {
    let add = view.node(view.only_use(value)?.node);
    let other = add.input.iter().find(|i| *i != value)?;
    let vector =
        |v: &str| constants.is_constant(v) && view.initializer(v).is_none_or(|t| t.dims.len() <= 1);
    (add.is("Add") && vector(other)).then(|| other.clone())
}

/// For a node that no rule took: the rule that came nearest, if any starts at such an operator, and what
/// stopped it, as a sentence.
pub(super) fn nearest<'r>(
    view: &View,
    constants: &Constants,
    recipe: Recipe<'r>,
    id: NodeId,
) -> (Option<&'r Rule>, String) {
    let node = view.node(id);
    if node.output.iter().all(|o| constants.is_constant(o)) {
        let label = node.label();
        return (None, format!("node `{label}` computes a constant; it may be part of a weight"));
    }
    let replaces = |rule: &Rule| rule.effect() != Effect::Keep;
    let nearest = furthest(view, constants, recipe, id, replaces)
        .or_else(|| furthest(view, constants, recipe, id, |rule| !replaces(rule)));
    match nearest {
        Some((rule, Miss { why, .. })) => (Some(rule), why),
        None => (None, format!("no rule starts at {}", node.operator())),
    }
}

/// The rule, of those asked about, that came furthest at a node before it missed.
fn furthest<'r>(
    view: &View,
    constants: &Constants,
    recipe: Recipe<'r>,
    id: NodeId,
    asked: impl Fn(&Rule) -> bool,
) -> Option<(&'r Rule, Miss)> {
    let node = view.node(id);
    let rules = recipe.rules.iter().filter(|r| r.pattern.starts_at(node) && asked(r));
    let misses = rules.filter_map(|rule| match rule.at(view, constants, recipe.opset, id) {
        Err(NoMatch::Missed(miss)) => Some((rule, miss)),
        _ => None,
    });
    // Of rules that come equally far the last is the plainest.
    misses.max_by_key(|(_, miss)| miss.matched)
}
