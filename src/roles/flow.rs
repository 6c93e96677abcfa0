//! Where the content of a value comes from, and where it goes.
//!
//! A walk follows *content*: through everything that reshapes, normalises, quantises, scales, rotates
//! or activates a value, but not along shapes, masks, norms' statistics or rotary angles. It stops at
//! what has a meaning of its own: a projection's product, an attention's scores and its result, the
//! residual stream.

use super::{
    cores::Core,
    wires::{Node, Value, Wires},
};
use crate::graph::{ByNode, NodeId, facts};
use std::collections::{HashMap, HashSet};

/// How much a value says. Of a node's inputs, those of the highest level are its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Constant,
    /// A reduction of a `Side` value.
    SideStatistic,
    /// From the graph's inputs, through no projection: masks, positions, embeddings.
    Side,
    /// A reduction of a `Hidden` value: a mean, a quantiser's scale.
    Statistic,
    /// Past a projection.
    Hidden,
}

impl Level {
    fn reduced(self) -> Self {
        match self {
            Level::Hidden => Level::Statistic,
            Level::Side => Level::SideStatistic,
            other => other,
        }
    }

    /// Whether it is content by itself, and not what scales or shifts some.
    pub fn is_content(self) -> bool {
        matches!(self, Level::Side | Level::Hidden)
    }
}

/// Why a walk ends at a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The product of a site.
    Site(usize),
    /// The query-key product of an attention.
    Scores,
    /// What an attention gives, by its core.
    Context(usize),
    /// The residual stream: a block's input plus what the block made of it.
    Stream,
}

pub(super) struct Flow<'v, 'm> {
    pub wires: Wires<'v, 'm>,
    pub level: Vec<Level>,
    /// By value: the nearest value that all its content passes through.
    pub root: Vec<Value>,
    pub stop: Vec<Option<Stop>>,
    /// By node: the inputs that are its content.
    carried: ByNode<Vec<Value>>,
    /// By value of the stream: what it was before the latest block.
    base: HashMap<Value, Value>,
}

/// What the content of a value reaches before the next stop.
#[derive(Default)]
pub(super) struct Reach {
    pub sites: Vec<usize>,
    /// Where it joins the residual stream.
    pub streams: Vec<Value>,
    pub attention: bool,
    pub output: bool,
    /// The nodes on the way.
    pub nodes: Vec<NodeId>,
}

impl Reach {
    /// Whether nothing comes of the value.
    pub fn leads_nowhere(&self) -> bool {
        !self.output && self.sites.is_empty() && self.streams.is_empty() && !self.attention
    }
}

impl<'v, 'm> Flow<'v, 'm> {
    pub fn new(wires: Wires<'v, 'm>, cores: &[Core]) -> Self {
        let view = wires.view;
        let count = wires.len();
        let level = wires.constant.iter().map(|c| if *c { Level::Constant } else { Level::Side });
        let mut flow = Flow {
            level: level.collect(),
            root: (0..count).collect(),
            stop: vec![None; count],
            carried: ByNode::new(view, |_| Vec::new()),
            base: HashMap::new(),
            wires,
        };
        for site in 0..flow.wires.sites.len() {
            flow.mark(flow.wires.sites[site].product, Stop::Site(site));
        }
        for (index, core) in cores.iter().enumerate() {
            core.scores.iter().for_each(|v| flow.mark(*v, Stop::Scores));
            core.context.iter().for_each(|v| flow.mark(*v, Stop::Context(index)));
        }
        for (id, _) in view.nodes() {
            flow.settle(id);
        }
        flow
    }

    fn mark(&mut self, value: Value, stop: Stop) {
        self.stop[value] = Some(stop);
        self.level[value] = Level::Hidden;
    }

    /// Fills in what is known of a node's outputs, its inputs being settled.
    fn settle(&mut self, id: NodeId) {
        let node = &self.wires.nodes[id];
        let payload = self.wires.payload(node);
        let Some(level) = payload.iter().map(|v| self.level[*v]).max() else { return };
        let carried: Vec<Value> =
            payload.iter().copied().filter(|v| self.level[*v] == level).collect();
        let outputs = node.outputs.clone();
        let reduces = facts::reduces(node.proto);
        let scales = node.op == "DynamicQuantizeLinear";
        let base = self.residual_base(id, &payload);
        let root = common(carried.iter().map(|v| self.root[*v]));
        for (index, value) in outputs.into_iter().enumerate() {
            let Some(value) = value.filter(|v| self.stop[*v].is_none()) else { continue };
            if let Some(base) = base {
                self.mark(value, Stop::Stream);
                self.base.insert(value, base);
                continue;
            }
            let statistic = reduces || (scales && index > 0);
            self.level[value] = if statistic { level.reduced() } else { level };
            self.root[value] = root.unwrap_or(value);
        }
        self.carried[id] = carried;
    }

    /// What the node adds something to that a block made of it.
    fn residual_base(&self, id: NodeId, payload: &[Value]) -> Option<Value> {
        let node = &self.wires.nodes[id];
        let skips = node.op.starts_with("Skip") && node.op.contains("Norm");
        if !(skips || matches!(node.op, "Add" | "Sum" | "BiasAdd")) {
            return None;
        }
        let made_by_block = |v: Value| {
            self.level[v] == Level::Hidden
                && !matches!(self.stop[self.root[v]], Some(Stop::Stream | Stop::Scores))
        };
        let base = |v: &&Value| self.level[**v].is_content();
        payload.iter().filter(|v| made_by_block(**v)).find_map(|&made| {
            let joins = |base: &&Value| {
                self.root[made] != self.root[**base] && self.reads(made, **base, id)
            };
            payload.iter().filter(base).find(joins).copied()
        })
    }

    /// Whether `made` is computed from `base`, or from what `base` was before a block beside it.
    fn reads(&self, made: Value, base: Value, at: NodeId) -> bool {
        let before = self.base.get(&self.root[base]);
        let mut bases = std::iter::once(&base).chain(before);
        bases.any(|v| self.is_ancestor(self.peeled(*v, at), made))
    }

    /// The value before casts, scalings and reshapings, made by the nodes before `at`.
    fn peeled(&self, mut value: Value, mut at: NodeId) -> Value {
        while self.stop[value].is_none()
            && let Some(id) = self.wires.producer[value].filter(|id| *id < at)
            && scales_or_reshapes(&self.wires.nodes[id])
            && let [before] = self.carried[id][..]
        {
            (value, at) = (before, id);
        }
        value
    }

    /// Whether `later` is computed from `earlier`, or from what its node makes.
    fn is_ancestor(&self, earlier: Value, later: Value) -> bool {
        let origin = self.wires.producer[earlier];
        let (mut stack, mut seen) = (vec![later], HashSet::new());
        while let Some(value) = stack.pop() {
            let producer = self.wires.producer[value];
            if value == earlier || (producer.is_some() && producer == origin) {
                return true;
            }
            let Some(id) = producer.filter(|id| origin.is_none_or(|o| *id > o)) else { continue };
            for input in self.wires.nodes[id].reads() {
                if !self.wires.constant[input] && seen.insert(input) {
                    stack.push(input);
                }
            }
        }
        false
    }

    /// The nodes and the ends of the walk back from a value: stops, and what nothing precedes.
    pub fn sources(&self, value: Value) -> Sources {
        let mut found = Sources::default();
        let mut stack = vec![value];
        let mut seen = HashSet::from([value]);
        while let Some(value) = stack.pop() {
            let carried = self.wires.producer[value].map_or(&[][..], |id| &self.carried[id]);
            if self.stop[value].is_some() || carried.is_empty() {
                found.ends.push(value);
                continue;
            }
            found.nodes.extend(self.wires.producer[value]);
            stack.extend(carried.iter().filter(|v| seen.insert(**v)));
        }
        found
    }

    /// Whatever a value has a say in before the next stop: content, indices and conditions.
    pub fn influence(&self, value: Value) -> HashSet<Value> {
        let mut found = HashSet::from([value]);
        let mut stack = vec![value];
        while let Some(value) = stack.pop() {
            let readers = self.wires.readers[value].iter().map(|id| &self.wires.nodes[*id]);
            let outputs = readers.flat_map(|node| node.outputs.iter().flatten());
            for &output in outputs.filter(|v| self.stop[**v].is_none()) {
                if found.insert(output) {
                    stack.push(output);
                }
            }
        }
        found
    }

    /// What a value of the residual stream was before the latest block.
    pub fn base(&self, stream: Value) -> Value {
        self.base.get(&stream).copied().unwrap_or(stream)
    }

    /// The sites that a value's content comes from.
    pub fn source_sites(&self, value: Value) -> Vec<usize> {
        self.sources(value).ends.iter().filter_map(|v| self.site(*v)).collect()
    }

    /// The site whose product the value is.
    pub fn site(&self, value: Value) -> Option<usize> {
        match self.stop[value] {
            Some(Stop::Site(site)) => Some(site),
            _ => None,
        }
    }

    /// The inputs that are a node's content.
    pub fn carried(&self, id: NodeId) -> &[Value] {
        &self.carried[id]
    }

    /// What a value's content reaches.
    pub fn reach(&self, value: Value) -> Reach {
        let mut found = Reach::default();
        let mut stack = vec![value];
        let mut seen = HashSet::from([value]);
        while let Some(value) = stack.pop() {
            found.output |= self.wires.is_output[value];
            for &id in &self.wires.readers[value] {
                if !self.carried[id].contains(&value) {
                    continue;
                }
                if let Some(site) = self.wires.site_at[id] {
                    if !found.sites.contains(&site) {
                        found.sites.push(site);
                    }
                    continue;
                }
                found.nodes.push(id);
                for &output in self.wires.nodes[id].outputs.iter().flatten() {
                    match self.stop[output] {
                        Some(Stop::Stream) => found.streams.push(output),
                        Some(Stop::Scores | Stop::Context(_)) => found.attention = true,
                        Some(Stop::Site(_)) => {}
                        None if seen.insert(output) => stack.push(output),
                        None => {}
                    }
                }
            }
        }
        found
    }
}

/// What a walk back from a value meets.
#[derive(Default)]
pub(super) struct Sources {
    pub nodes: Vec<NodeId>,
    pub ends: Vec<Value>,
}

fn scales_or_reshapes(node: &Node) -> bool {
    facts::passes(node.proto) || matches!(node.op, "Transpose" | "Mul" | "Div")
}

fn common(mut values: impl Iterator<Item = Value>) -> Option<Value> {
    let first = values.next()?;
    values.all(|v| v == first).then_some(first)
}
