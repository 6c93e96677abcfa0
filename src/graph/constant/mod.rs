//! The values that a graph's constant expressions have.
//!
//! A weight need not be stored as the product reads it: exporters leave transposes, casts, unpacking
//! of codes and whole quantisers between the initializer and the `MatMul`. [`Constants`] says which
//! values depend on stored tensors alone, and computes them as ONNX defines the operators.

mod activation;
mod call;
mod elementwise;
mod layout;
mod lengths;
mod live;
mod matrix;
mod normalize;
mod number;
mod operators;
mod product;
mod quantize;
mod reduce;

pub use layout::shape_list;
pub use matrix::{Fold, Matrix};

use super::{
    id::{GraphId, NodeId},
    view::{Definition, View},
};
use crate::array::Array;
use crate::proto::{
    ModelProto, NodeProto, SparseTensorProto, TensorProto, element_count, tensor_proto::DataType,
    type_name,
};
use call::{Call, Limit};
use live::{Key, Live};
use operators::Operator;
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Results up to this many bytes are kept for the next time that they are asked for.
const SMALL: usize = 1024;

/// Evaluates the constant expressions that the nodes of one graph can read.
///
/// Values that the graph does not define are looked up in the graphs around it. What takes time is
/// done anew for each call: hold on to a large result. What is known of a model's constants is shared by
/// all of its graphs.
#[derive(Clone, Copy)]
pub struct Constants<'v, 'm> {
    view: &'v View<'m>,
    /// Every graph of the model, by its id.
    views: &'v [Arc<View<'m>>],
    known: &'v Known<'m>,
    /// Whether an input that has a default counts as stored.
    assume_defaults: bool,
}

/// What is known of a model's constants.
pub(super) struct Known<'m> {
    model: &'m ModelProto,
    /// The most bytes that a result may take.
    limit: OnceLock<Limit>,
    memo: Mutex<Memo>,
    /// The same where defaults are assumed, for [`Constants::replaceable`].
    assumed: Mutex<Memo>,
}

impl<'m> Known<'m> {
    pub fn of(model: &'m ModelProto) -> Self {
        let (memo, assumed) = Default::default();
        Known { model, limit: OnceLock::new(), memo, assumed }
    }

    fn limit(&self) -> Limit {
        *self.limit.get_or_init(|| Limit::for_model(self.model.encoded_len()))
    }
}

#[derive(Default)]
struct Memo {
    verdicts: HashMap<NodeId, Result<(), NotConstant>>,
    /// The branch that each `If` takes, where its condition is constant.
    taken: HashMap<NodeId, Option<GraphId>>,
    /// The nodes that take lengths, each with whether those are known.
    measured: HashMap<NodeId, bool>,
    small: HashMap<Output, Array>,
}

/// One of a node's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Output {
    node: NodeId,
    index: usize,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Origin<'m> {
    Stored(&'m TensorProto),
    Sparse(&'m SparseTensorProto),
    Made(Output),
}

/// What a constant expression is made of.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Expression<'m> {
    /// The initializers, each once, in the order in which they are needed.
    pub initializers: Vec<&'m TensorProto>,
    /// The nodes, `Constant`s included, each after those that it reads.
    pub nodes: Vec<&'m NodeProto>,
}

/// Why a value is not a constant, or could not be computed.
///
/// `Display` gives a sentence without a full stop that names the culprit: a value, or a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConstant {
    culprit: String,
    why: String,
}

impl<'v, 'm> Constants<'v, 'm> {
    pub(super) fn new(
        view: &'v View<'m>,
        views: &'v [Arc<View<'m>>],
        known: &'v Known<'m>,
    ) -> Self {
        Constants { view, views, known, assume_defaults: false }
    }

    /// Whether the value depends on stored tensors alone, by operators that the evaluator knows.
    ///
    /// Computes nothing. [`value`](Self::value) may still refuse, for shapes or types that do not
    /// fit, for example.
    pub fn is_constant(&self, value: &str) -> bool {
        self.check(value).is_ok()
    }

    /// Like [`is_constant`](Self::is_constant), with the reason: what the value depends on.
    pub fn check(&self, value: &str) -> Result<(), NotConstant> {
        self.origin(value).and_then(|origin| self.verdict(origin))
    }

    /// The graph input that alone keeps the value from being constant: it has a default, which a caller
    /// may replace.
    pub fn replaceable(&self, value: &str) -> Option<&'m str> {
        if !self.scopes().any(View::has_defaults) {
            return None;
        }
        let assuming = Constants { assume_defaults: true, ..*self };
        let default = |tensor: &&TensorProto| {
            let stored = |t: &TensorProto| std::ptr::eq(t, *tensor);
            self.scopes().any(|view| view.default_of(tensor.name()).is_some_and(stored))
        };
        let made_of = assuming.expression(value).ok()?;
        made_of.initializers.into_iter().find(default).map(TensorProto::name)
    }

    /// The value, computed as ONNX defines it, each operation in the element type itself.
    ///
    /// `f16` and `bf16` are computed in `f32` and rounded once after each node; sums are accumulated
    /// in `f64`. Intermediate results are freed as soon as nothing else needs them. What would take
    /// more than 16 GiB or 64 times the model's own size at once is refused.
    pub fn value(&self, value: &str) -> Result<Array, NotConstant> {
        let origin = self.origin(value)?;
        self.verdict(origin)?;
        self.known(origin)
    }

    /// The one element of a value, however many axes it has; a stored tensor of more is not read.
    pub fn scalar(&self, value: &str) -> Option<f64> {
        match self.origin(value).ok()? {
            Origin::Stored(tensor) if element_count(tensor) != Some(1) => None,
            _ => self.value(value).ok()?.scalar(),
        }
    }

    /// The element type and the shape of a constant.
    pub fn kind(&self, value: &str) -> Option<(DataType, Vec<usize>)> {
        match self.origin(value).ok()? {
            Origin::Stored(tensor) => {
                let shape = tensor.dims.iter().map(|length| usize::try_from(*length).ok());
                Some((DataType::try_from(tensor.data_type()).ok()?, shape.collect::<Option<_>>()?))
            }
            Origin::Sparse(_) | Origin::Made(_) => {
                let array = self.value(value).ok()?;
                Some((array.dtype(), array.shape().to_vec()))
            }
        }
    }

    /// Whether a node calls a function that the model defines.
    pub fn calls_function(&self, node: &NodeProto) -> bool {
        let mut functions = self.known.model.functions.iter();
        functions.any(|function| function.identity().0 == node.operator())
    }

    /// What a node gives in integers, as an attribute or, from a later opset on, as a constant input.
    pub fn integers(&self, node: &NodeProto, attribute: &str, input: usize) -> Option<Vec<i64>> {
        match node.ints(attribute) {
            Some(given) => Some(given.to_vec()),
            None => self.value(node.input.get(input)?).ok()?.to_i64s(),
        }
    }

    /// The stored tensors and nodes that the value is computed from.
    pub fn expression(&self, value: &str) -> Result<Expression<'m>, NotConstant> {
        let origin = self.origin(value)?;
        self.verdict(origin)?;
        let order = match origin {
            Origin::Stored(_) | Origin::Sparse(_) => vec![],
            Origin::Made(output) => self.order(output.node, |_| false)?,
        };
        let mut origins = vec![origin];
        for &id in &order {
            origins.extend(self.inputs(id)?.into_iter().flatten());
        }
        let mut seen = HashSet::new();
        let leaves = origins.into_iter().filter_map(Origin::leaf);
        Ok(Expression {
            initializers: leaves
                .filter(|&tensor| seen.insert(std::ptr::from_ref(tensor)))
                .collect(),
            nodes: order.into_iter().map(|id| self.node(id)).collect(),
        })
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        let memo = if self.assume_defaults { &self.known.assumed } else { &self.known.memo };
        memo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The graph and those around it, outwards.
    fn scopes(&self) -> impl Iterator<Item = &'v View<'m>> {
        std::iter::successors(Some(self.view), |view| view.outer())
    }

    fn graph_of(&self, node: NodeId) -> &'v View<'m> {
        &self.views[node.graph().0]
    }

    /// The constants that a node can read.
    fn at(&self, node: NodeId) -> Self {
        Constants { view: self.graph_of(node), ..*self }
    }

    fn node(&self, id: NodeId) -> &'m NodeProto {
        self.graph_of(id).node(id)
    }

    /// The branch whose outputs are those of an `If`, where its condition is constant.
    fn taken(&self, id: NodeId) -> Option<&'v View<'m>> {
        let of_id = || self.memo().taken.get(&id).copied();
        if of_id().is_none() {
            // In order, so that none has to wait for another.
            let nodes = self.graph_of(id).nodes();
            for (at, node) in nodes.filter(|(at, node)| *at <= id && node.is("If")) {
                if !self.memo().taken.contains_key(&at) {
                    self.memo().taken.insert(at, None);
                    let branch = self.decide(at, node);
                    self.memo().taken.insert(at, branch);
                }
            }
        }
        of_id().flatten().map(|graph| &*self.views[graph.0])
    }

    fn decide(&self, id: NodeId, node: &NodeProto) -> Option<GraphId> {
        let condition = self.origin_from(self.graph_of(id), node.input(0)?).ok()?;
        self.verdict(condition).ok()?;
        let holds = self.known(condition).ok()?.scalar()? != 0.0;
        let name = if holds { "then_branch" } else { "else_branch" };
        let place =
            node.attribute.iter().filter(|a| a.g.is_some()).position(|a| a.name() == name)?;
        let mut nested = self.views.iter().filter(|view| view.holder() == Some(id));
        nested.nth(place).map(|view| view.id())
    }

    /// Where a value comes from that a node of the graph reads.
    fn origin(&self, name: &str) -> Result<Origin<'m>, NotConstant> {
        self.origin_from(self.view, name)
    }

    /// Where a value comes from that a node of this graph or one around it reads.
    fn origin_from(&self, view: &'v View<'m>, name: &str) -> Result<Origin<'m>, NotConstant> {
        match view.find(name) {
            Some((_, Definition::Dense(tensor))) => Ok(Origin::Stored(tensor)),
            Some((_, Definition::Input(Some(default)))) if self.assume_defaults => {
                Ok(Origin::Stored(default))
            }
            Some((_, Definition::Sparse(tensor))) => Ok(Origin::Sparse(tensor)),
            Some((_, Definition::Input(_))) => {
                Err(NotConstant::new(format!("`{name}`"), "is an input of the graph"))
            }
            Some((view, Definition::Made(node))) => {
                let index = view.node(node).output.iter().position(|o| o == name).unwrap_or(0);
                let branch = if view.node(node).is("If") { self.taken(node) } else { None };
                match branch.and_then(|branch| Some((branch, branch.outputs().get(index)?))) {
                    Some((branch, value)) => self.origin_from(branch, value),
                    None => Ok(Origin::Made(Output { node, index })),
                }
            }
            None => Err(NotConstant::new(format!("`{name}`"), "is made by nothing in the graph")),
        }
    }

    /// Where a node's inputs come from; `None` for those left out.
    fn inputs(&self, node: NodeId) -> Result<Vec<Option<Origin<'m>>>, NotConstant> {
        let view = self.graph_of(node);
        let origin = |name: &String| self.origin_from(view, name);
        let names = view.node(node).input.iter();
        names.map(|name| (!name.is_empty()).then(|| origin(name)).transpose()).collect()
    }

    fn verdict(&self, origin: Origin<'m>) -> Result<(), NotConstant> {
        let Origin::Made(Output { node, .. }) = origin else { return Ok(()) };
        if let Some(verdict) = self.memo().verdicts.get(&node) {
            return verdict.clone();
        }
        let known = |output: Output| self.memo().verdicts.get(&output.node) == Some(&Ok(()));
        let (mut order, mut waiting) = (vec![], vec![]);
        let verdict = self.visit(node, known, &mut order, &mut waiting);
        let mut memo = self.memo();
        memo.verdicts.extend(order.into_iter().map(|node| (node, Ok(()))));
        memo.verdicts.extend(waiting.into_iter().map(|(node, _)| (node, verdict.clone())));
        verdict
    }

    /// The nodes that a node needs, itself last, each after those it reads.
    fn order(
        &self,
        last: NodeId,
        skip: impl Fn(Output) -> bool,
    ) -> Result<Vec<NodeId>, NotConstant> {
        let mut order = vec![];
        self.visit(last, skip, &mut order, &mut vec![])?;
        Ok(order)
    }

    /// Walks from a node to all that it needs, except for what is skipped, and puts each into `order`
    /// after what it reads. After an error, `waiting` holds the nodes that depend on the culprit, each
    /// with the reads not followed yet.
    fn visit(
        &self,
        last: NodeId,
        skip: impl Fn(Output) -> bool,
        order: &mut Vec<NodeId>,
        waiting: &mut Vec<(NodeId, Vec<Output>)>,
    ) -> Result<(), NotConstant> {
        let mut done = HashMap::new();
        let mut next = Some(last);
        loop {
            if let Some(id) = next.take() {
                done.insert(id, false);
                waiting.push((id, vec![]));
                let reads = self.reads(id)?;
                if let Some((_, pending)) = waiting.last_mut() {
                    *pending = reads;
                }
            }
            let Some((id, reads)) = waiting.last_mut() else { return Ok(()) };
            let Some(output) = reads.pop() else {
                done.insert(*id, true);
                order.push(*id);
                waiting.pop();
                continue;
            };
            match done.get(&output.node) {
                Some(true) => {}
                Some(false) => {
                    return Err(NotConstant::at(self.node(output.node), "it is part of a cycle"));
                }
                None if skip(output) => {}
                None => next = Some(output.node),
            }
        }
    }

    /// The outputs of other nodes that a node reads, the first one last.
    fn reads(&self, id: NodeId) -> Result<Vec<Output>, NotConstant> {
        if let Some(Err(why)) = self.memo().verdicts.get(&id) {
            return Err(why.clone());
        }
        if self.is_measured(id) {
            return Ok(vec![]);
        }
        operator(self.node(id))?;
        let mut reads: Vec<Output> = self
            .inputs(id)?
            .into_iter()
            .filter_map(|origin| match origin {
                Some(Origin::Made(output)) => Some(output),
                _ => None,
            })
            .collect();
        reads.reverse();
        Ok(reads)
    }

    /// The value of what has been found constant.
    fn known(&self, origin: Origin<'m>) -> Result<Array, NotConstant> {
        match origin {
            Origin::Made(output) => self.evaluate(output),
            Origin::Stored(tensor) => stored(tensor),
            Origin::Sparse(tensor) => layout::densify(tensor, self.known.limit()).map_err(|why| {
                NotConstant::new(format!("`{}`", tensor.name()), &format!("can't be read: {why}"))
            }),
        }
    }

    fn evaluate(&self, target: Output) -> Result<Array, NotConstant> {
        if let Some(array) = self.memo().small.get(&target) {
            return Ok(array.clone());
        }
        let cached = |output| self.memo().small.contains_key(&output);
        let order = self.order(target.node, cached)?;
        let mut live = Live::default();
        live.expect(Key::Made(target));
        for &id in &order {
            self.inputs(id)?.into_iter().flatten().map(Key::of).for_each(|key| live.expect(key));
        }
        for id in order {
            self.run(id, &mut live)?;
        }
        self.take(Origin::Made(target), &mut live)
    }

    /// Computes a node's outputs from inputs that are live.
    fn run(&self, id: NodeId, live: &mut Live) -> Result<(), NotConstant> {
        let node = self.node(id);
        let mut inputs = Vec::new();
        for origin in self.inputs(id)? {
            inputs.push(origin.map(|origin| self.take(origin, live)).transpose()?);
        }
        let refused = |why: String| NotConstant::at(node, &why);
        let limit = self.known.limit().less(live.bytes()).map_err(refused)?;
        let outputs = operator(node)?.run(Call { node, inputs, limit }).map_err(refused)?;
        for (index, array) in outputs.into_iter().enumerate() {
            let output = Output { node: id, index };
            if array.byte_len() <= SMALL {
                self.memo().small.insert(output, array.clone());
            }
            live.insert(Key::Made(output), array);
        }
        Ok(())
    }

    /// A value for one of its readers; the last one owns it.
    fn take(&self, origin: Origin<'m>, live: &mut Live) -> Result<Array, NotConstant> {
        live.take(Key::of(origin), || match origin {
            Origin::Stored(_) | Origin::Sparse(_) => self.known(origin),
            Origin::Made(output) => self.memo().small.get(&output).cloned().ok_or_else(|| {
                let why = "it has more outputs than the operator gives";
                NotConstant::at(self.node(output.node), why)
            }),
        })
    }
}

impl<'m> Origin<'m> {
    fn tensor(self) -> Option<&'m TensorProto> {
        if let Origin::Stored(tensor) = self { Some(tensor) } else { None }
    }

    /// The tensor that the file has for it; of a sparse one, its values.
    fn leaf(self) -> Option<&'m TensorProto> {
        if let Origin::Sparse(tensor) = self { tensor.values.as_ref() } else { self.tensor() }
    }
}

fn stored(tensor: &TensorProto) -> Result<Array, NotConstant> {
    Array::from_tensor(tensor).ok_or_else(|| {
        let why = format!(
            "can't be read: shape {:?}, element type {}",
            tensor.dims,
            type_name(tensor.data_type())
        );
        NotConstant::new(format!("`{}`", tensor.name()), &why)
    })
}

/// A sparse tensor with all its elements. An error where it can't be read, as what can be said of it.
pub fn dense(sparse: &SparseTensorProto) -> Result<TensorProto, String> {
    layout::densify(sparse, Limit::for_model(sparse.encoded_len()))
        .map(|array| array.to_tensor(sparse.name()))
}

/// Whether the evaluator knows a node's operator.
pub fn is_computed(node: &NodeProto) -> bool {
    operator(node).is_ok()
}

/// Whether each element that a node makes is made of the elements in its place alone.
pub fn is_elementwise(node: &NodeProto) -> bool {
    operator(node).is_ok_and(|operator| operator.is_elementwise())
}

/// What a node makes of these inputs, in no more than so many bytes.
pub fn compute(
    node: &NodeProto,
    inputs: Vec<Option<Array>>,
    most: usize,
) -> Result<Vec<Array>, NotConstant> {
    let call = Call { node, inputs, limit: Limit::of(most) };
    operator(node)?.run(call).map_err(|why| NotConstant::at(node, &why))
}

fn operator(node: &NodeProto) -> Result<Operator, NotConstant> {
    if node.graphs().next().is_some() {
        return Err(NotConstant::at(node, "it runs a nested graph"));
    }
    if let Some(attribute) = node.attribute.iter().find(|a| !a.ref_attr_name().is_empty()) {
        let why = format!("its attribute {} is a function's", attribute.name());
        return Err(NotConstant::at(node, &why));
    }
    Operator::of(node)
        .ok_or_else(|| NotConstant::at(node, "the operator is not one the evaluator knows"))
}

impl NotConstant {
    fn new(culprit: impl Into<String>, why: &str) -> Self {
        NotConstant { culprit: culprit.into(), why: why.to_owned() }
    }

    fn at(node: &NodeProto, why: &str) -> Self {
        NotConstant { culprit: format!("{}:", node.described()), why: why.to_owned() }
    }
}

impl fmt::Display for NotConstant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.culprit, self.why)
    }
}

impl std::error::Error for NotConstant {}
