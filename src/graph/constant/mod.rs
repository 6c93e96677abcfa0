//! The values that a graph's constant expressions have.
//!
//! A weight need not be stored as the product reads it: exporters leave transposes, casts, unpacking
//! of codes and whole quantisers between the initializer and the `MatMul`. [`Constants`] says which
//! values depend on stored tensors alone, and computes them as ONNX defines the operators.

mod activation;
mod call;
mod elementwise;
mod layout;
mod live;
mod matrix;
mod normalize;
mod number;
mod operators;
mod quantize;
mod reduce;

pub use matrix::Matrix;

use super::view::{NodeId, View};
use crate::array::Array;
use crate::proto::{NodeProto, TensorProto, element_count};
use call::{Call, Limit};
use live::{Key, Live};
use operators::Operator;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Results up to this many bytes are kept for the next time that they are asked for.
const SMALL: usize = 1024;

/// Evaluates the constant expressions of a graph.
///
/// Values that the graph does not define are looked up in the graphs around it. What takes time is
/// done anew for each call: hold on to a large result.
pub struct Constants<'v, 'm> {
    /// The graph and those around it, outwards.
    scopes: Vec<&'v View<'m>>,
    /// Whether an input that has a default counts as stored.
    assume_defaults: bool,
    memo: Mutex<Memo>,
    /// What is known where defaults are assumed, for [`replaceable`](Self::replaceable).
    assumed: Mutex<Memo>,
}

#[derive(Default)]
struct Memo {
    verdicts: HashMap<Place, Result<(), NotConstant>>,
    small: HashMap<Output, Array>,
}

/// A node, by how far out its graph is and where it stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    depth: usize,
    node: NodeId,
}

/// One of a node's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Output {
    place: Place,
    index: usize,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Origin<'m> {
    Stored(&'m TensorProto),
    Made(Output),
}

/// What a constant expression is made of.
#[derive(Debug, Clone, Default)]
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
    /// The constants that the nodes of this graph can read.
    pub fn new(view: &'v View<'m>) -> Self {
        let mut scopes = vec![view];
        while let Some(outer) = scopes.last().and_then(|view| view.outer()) {
            scopes.push(outer);
        }
        Self::over(scopes, false, Memo::default())
    }

    fn over(scopes: Vec<&'v View<'m>>, assume_defaults: bool, memo: Memo) -> Self {
        let memo = Mutex::new(memo);
        Constants { scopes, assume_defaults, memo, assumed: Mutex::default() }
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
        self.origin(0, value).and_then(|origin| self.verdict(origin))
    }

    /// The graph input that alone keeps the value from being constant: it has a default, which a caller
    /// may replace.
    pub fn replaceable(&self, value: &str) -> Option<&'m str> {
        if !self.scopes.iter().any(|view| view.has_defaults()) {
            return None;
        }
        let known = std::mem::take(&mut *lock(&self.assumed));
        let assuming = Self::over(self.scopes.clone(), true, known);
        let made_of = assuming.expression(value);
        *lock(&self.assumed) = std::mem::take(&mut *assuming.memo());
        let default = |tensor: &&TensorProto| {
            let stored = |t: &TensorProto| std::ptr::eq(t, *tensor);
            self.scopes.iter().any(|view| view.default_of(tensor.name()).is_some_and(stored))
        };
        made_of.ok()?.initializers.into_iter().find(default).map(TensorProto::name)
    }

    /// The value, computed as ONNX defines it, each operation in the element type itself.
    ///
    /// `f16` and `bf16` are computed in `f32` and rounded once after each node; sums are accumulated
    /// in `f64`. Intermediate results are freed as soon as nothing else needs them. What would take
    /// more than 16 GiB or 64 times the model's own size at once is refused.
    pub fn value(&self, value: &str) -> Result<Array, NotConstant> {
        let origin = self.origin(0, value)?;
        self.verdict(origin)?;
        self.known(origin)
    }

    /// The one element of a value, however many axes it has; a stored tensor of more is not read.
    pub fn scalar(&self, value: &str) -> Option<f64> {
        match self.origin(0, value).ok()? {
            Origin::Stored(tensor) if element_count(tensor) != Some(1) => None,
            _ => self.value(value).ok()?.scalar(),
        }
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
        let origin = self.origin(0, value)?;
        self.verdict(origin)?;
        let order = match origin {
            Origin::Stored(_) => vec![],
            Origin::Made(output) => self.order(output.place, |_| false)?,
        };
        let mut origins = vec![origin];
        for &place in &order {
            origins.extend(self.inputs(place)?.into_iter().flatten());
        }
        let mut seen = HashSet::new();
        let stored = origins.into_iter().filter_map(Origin::tensor);
        Ok(Expression {
            initializers: stored
                .filter(|&tensor| seen.insert(std::ptr::from_ref(tensor)))
                .collect(),
            nodes: order.into_iter().map(|place| self.node(place)).collect(),
        })
    }

    fn memo(&self) -> MutexGuard<'_, Memo> {
        lock(&self.memo)
    }

    fn node(&self, place: Place) -> &'m NodeProto {
        self.scopes[place.depth].node(place.node)
    }

    /// Where a value comes from that a node `depth` graphs further out reads.
    fn origin(&self, depth: usize, name: &str) -> Result<Origin<'m>, NotConstant> {
        for (depth, view) in self.scopes.iter().enumerate().skip(depth) {
            if let Some(tensor) = view.default_of(name).filter(|_| self.assume_defaults) {
                return Ok(Origin::Stored(tensor));
            }
            if view.is_input(name) {
                return Err(NotConstant::new(format!("`{name}`"), "is an input of the graph"));
            }
            if let Some(node) = view.producer(name) {
                let index = view.node(node).output.iter().position(|o| o == name).unwrap_or(0);
                return Ok(Origin::Made(Output { place: Place { depth, node }, index }));
            }
            if let Some(tensor) = view.initializer(name) {
                return Ok(Origin::Stored(tensor));
            }
        }
        Err(NotConstant::new(format!("`{name}`"), "is made by nothing in the graph"))
    }

    /// Where a node's inputs come from; `None` for those left out.
    fn inputs(&self, place: Place) -> Result<Vec<Option<Origin<'m>>>, NotConstant> {
        let names = self.node(place).input.iter();
        names.map(|n| (!n.is_empty()).then(|| self.origin(place.depth, n)).transpose()).collect()
    }

    fn verdict(&self, origin: Origin<'m>) -> Result<(), NotConstant> {
        let Origin::Made(Output { place, .. }) = origin else { return Ok(()) };
        if let Some(verdict) = self.memo().verdicts.get(&place) {
            return verdict.clone();
        }
        let known = |output: Output| self.memo().verdicts.get(&output.place) == Some(&Ok(()));
        let (mut order, mut waiting) = (vec![], vec![]);
        let verdict = self.visit(place, known, &mut order, &mut waiting);
        let mut memo = self.memo();
        memo.verdicts.extend(order.into_iter().map(|place| (place, Ok(()))));
        memo.verdicts.extend(waiting.into_iter().map(|(place, _)| (place, verdict.clone())));
        verdict
    }

    /// The nodes that a node needs, itself last, each after those it reads.
    fn order(&self, last: Place, skip: impl Fn(Output) -> bool) -> Result<Vec<Place>, NotConstant> {
        let mut order = vec![];
        self.visit(last, skip, &mut order, &mut vec![])?;
        Ok(order)
    }

    /// Walks from a node to all that it needs, except for what is skipped, and puts each into `order`
    /// after what it reads. After an error, `waiting` holds the nodes that depend on the culprit, each
    /// with the reads not followed yet.
    fn visit(
        &self,
        last: Place,
        skip: impl Fn(Output) -> bool,
        order: &mut Vec<Place>,
        waiting: &mut Vec<(Place, Vec<Output>)>,
    ) -> Result<(), NotConstant> {
        let mut done = HashMap::new();
        let mut next = Some(last);
        loop {
            if let Some(place) = next.take() {
                done.insert(place, false);
                waiting.push((place, vec![]));
                let reads = self.reads(place)?;
                if let Some((_, pending)) = waiting.last_mut() {
                    *pending = reads;
                }
            }
            let Some((place, reads)) = waiting.last_mut() else { return Ok(()) };
            let Some(output) = reads.pop() else {
                done.insert(*place, true);
                order.push(*place);
                waiting.pop();
                continue;
            };
            match done.get(&output.place) {
                Some(true) => {}
                Some(false) => {
                    return Err(NotConstant::at(self.node(output.place), "it is part of a cycle"));
                }
                None if skip(output) => {}
                None => next = Some(output.place),
            }
        }
    }

    /// The outputs of other nodes that a node reads, the first one last.
    fn reads(&self, place: Place) -> Result<Vec<Output>, NotConstant> {
        if let Some(Err(why)) = self.memo().verdicts.get(&place) {
            return Err(why.clone());
        }
        operator(self.node(place))?;
        let mut reads: Vec<Output> = self
            .inputs(place)?
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
            Origin::Stored(tensor) => stored(tensor),
            Origin::Made(output) => self.evaluate(output),
        }
    }

    fn evaluate(&self, target: Output) -> Result<Array, NotConstant> {
        if let Some(array) = self.memo().small.get(&target) {
            return Ok(array.clone());
        }
        let cached = |output| self.memo().small.contains_key(&output);
        let order = self.order(target.place, cached)?;
        let mut live = Live::default();
        live.expect(Key::Made(target));
        for &place in &order {
            self.inputs(place)?.into_iter().flatten().map(Key::of).for_each(|key| live.expect(key));
        }
        for place in order {
            self.run(place, &mut live)?;
        }
        self.take(Origin::Made(target), &mut live)
    }

    /// Computes a node's outputs from inputs that are live.
    fn run(&self, place: Place, live: &mut Live) -> Result<(), NotConstant> {
        let node = self.node(place);
        let mut inputs = Vec::new();
        for origin in self.inputs(place)? {
            inputs.push(origin.map(|origin| self.take(origin, live)).transpose()?);
        }
        let refused = |why: String| NotConstant::at(node, &why);
        let limit = Limit::for_model(self.scopes[0].model_bytes());
        let limit = limit.less(live.bytes()).map_err(refused)?;
        let outputs = operator(node)?.run(Call { node, inputs, limit }).map_err(refused)?;
        for (index, array) in outputs.into_iter().enumerate() {
            let output = Output { place, index };
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
            Origin::Stored(tensor) => stored(tensor),
            Origin::Made(output) => self.memo().small.get(&output).cloned().ok_or_else(|| {
                let why = "it has more outputs than the operator gives";
                NotConstant::at(self.node(output.place), why)
            }),
        })
    }
}

impl<'m> Origin<'m> {
    fn tensor(self) -> Option<&'m TensorProto> {
        if let Origin::Stored(tensor) = self { Some(tensor) } else { None }
    }
}

fn lock(memo: &Mutex<Memo>) -> MutexGuard<'_, Memo> {
    memo.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stored(tensor: &TensorProto) -> Result<Array, NotConstant> {
    Array::from_tensor(tensor).ok_or_else(|| {
        let why = format!(
            "can't be read: shape {:?}, element type {}",
            tensor.dims,
            call::type_name(tensor.data_type())
        );
        NotConstant::new(format!("`{}`", tensor.name()), &why)
    })
}

/// Whether the evaluator knows a node's operator.
pub fn is_computed(node: &NodeProto) -> bool {
    operator(node).is_ok()
}

/// Whether each element that a node makes is made of the elements in its place alone.
pub fn is_elementwise(node: &NodeProto) -> bool {
    operator(node).is_ok_and(|operator| operator.is_elementwise(node.op_type()))
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
