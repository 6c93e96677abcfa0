//! The part of a graph between two values, found and evaluated.

use crate::{
    array::{Array, Elements},
    graph::{Constants, NodeId, View, compute, is_computed, is_elementwise},
    proto::{
        NodeProto, TensorProto, element_count, is_float,
        tensor_proto::DataType,
        tensor_shape_proto::{Dimension, dimension},
    },
};
use std::collections::{BTreeMap, HashMap};

/// The most nodes of a cut: a norm with its casts has about twenty.
const MOST_NODES: usize = 64;
/// The most bytes that the values of one evaluation take together.
const MOST_BYTES: usize = 256 << 20;
/// The most elements of a constant that is read.
const MOST_ELEMENTS: usize = 1 << 20;
/// The length of an axis that nothing tells: a prime, so that nothing fits it by chance.
const UNKNOWN: usize = 1009;

/// A graph, and how cuts are made in it.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a, 'm> {
    pub view: &'a View<'m>,
    pub constants: &'a Constants<'a, 'm>,
    /// A product that counts as its first operand: what is done before it and after it is one.
    pub product: Option<NodeId>,
    /// What is given from elsewhere, as a mask is: it counts as a constant of ones.
    pub aside: &'a dyn Fn(&str) -> bool,
}

/// The nodes that compute `value` of `x`, constants and nothing else, in graph order.
#[derive(Clone)]
pub(super) struct Cut<'a, 'm> {
    pub sight: Sight<'a, 'm>,
    pub x: &'m str,
    pub value: &'m str,
    pub nodes: Vec<NodeId>,
}

/// The values of a cut.
pub(super) type Values<'m> = HashMap<&'m str, Array>;

impl<'a, 'm> Sight<'a, 'm> {
    pub fn new(view: &'a View<'m>, constants: &'a Constants<'a, 'm>) -> Self {
        Sight { view, constants, product: None, aside: &|_| false }
    }

    pub fn node(&self, id: NodeId) -> &'m NodeProto {
        self.view.node(id)
    }

    /// The cuts that end at a value, the one with the nearest `x` first: every value that all ways to
    /// it pass through.
    pub fn cuts(self, value: &'m str) -> Cuts<'a, 'm> {
        let ahead = BTreeMap::from([(self.view.producer(value), vec![value])]);
        Cuts { sight: self, value, ahead, nodes: Vec::new() }
    }

    /// Whether a node multiplies with a stored matrix: what comes before it is another layer's.
    fn is_projection(&self, node: &NodeProto) -> bool {
        let matrix = |value: &String| {
            let leaves = self.constants.expression(value).map(|e| e.initializers);
            leaves.is_ok_and(|leaves| {
                leaves.iter().any(|t| element_count(t) > t.dims.iter().max().map(|d| *d as usize))
            })
        };
        matches!(node.op_type(), "MatMul" | "Gemm" | "Einsum") && node.input.iter().any(matrix)
    }

    /// Whether a value only says what shape a node's result has, on the way to a product. What else is looked
    /// at is of the value whose shape that is.
    fn is_shape(&self, id: NodeId, value: &str) -> bool {
        let node = self.node(id);
        self.product.is_some()
            && matches!(node.standard(), "Expand" | "Reshape")
            && node.input(0) != Some(value)
    }

    fn is_given(&self, value: &str) -> bool {
        value.is_empty() || (self.aside)(value) || self.constants.is_constant(value)
    }
}

/// Goes back from a value, the latest node first: where one value alone is left ahead, the nodes passed
/// are a cut.
pub(super) struct Cuts<'a, 'm> {
    sight: Sight<'a, 'm>,
    value: &'m str,
    /// The values that are still to be followed, by the node that makes them.
    ahead: BTreeMap<Option<NodeId>, Vec<&'m str>>,
    nodes: Vec<NodeId>,
}

impl<'a, 'm> Iterator for Cuts<'a, 'm> {
    type Item = Cut<'a, 'm>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let id = self.ahead.pop_last()?.0?;
            // What was taken in as a shape has been followed.
            if !self.nodes.contains(&id) {
                self.pass(id)?;
            }
            if self.nodes.len() > MOST_NODES {
                return None;
            }
            if self.ahead.len() == 1
                && let Some([x]) = self.ahead.values().next().map(Vec::as_slice)
            {
                let (Cuts { sight, value, .. }, x) = (&*self, *x);
                let mut nodes = self.nodes.clone();
                nodes.sort_unstable();
                return Some(Cut { sight: *sight, x, value, nodes });
            }
        }
    }
}

impl<'m> Cuts<'_, 'm> {
    /// Takes in a node; what it reads is ahead.
    fn pass(&mut self, id: NodeId) -> Option<()> {
        self.nodes.push(id);
        for value in self.follow(id)? {
            if self.sight.is_shape(id, value) && self.take_shape(value) {
                continue;
            }
            let values = self.ahead.entry(self.sight.view.producer(value)).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Some(())
    }

    /// Takes in the nodes that make a shape of those of other values, wherever in the graph they stand: they
    /// may come before `x`. False where it is made of anything else.
    fn take_shape(&mut self, shape: &'m str) -> bool {
        let (mut taken, mut ahead) = (Vec::new(), vec![shape]);
        while let Some(value) = ahead.pop() {
            let Some(id) = self.sight.view.producer(value) else { return false };
            if self.nodes.contains(&id) || taken.contains(&id) {
                continue;
            }
            let Some(read) = self.follow(id).filter(|_| taken.len() < MOST_NODES) else {
                return false;
            };
            taken.push(id);
            ahead.extend(read);
        }
        self.nodes.append(&mut taken);
        true
    }

    /// What a node's result is made of, constants left out; `None` where it leads to another layer or
    /// can't be computed.
    fn follow(&self, id: NodeId) -> Option<Vec<&'m str>> {
        let Sight { product, .. } = self.sight;
        let node = self.sight.node(id);
        let count = match node.standard() {
            "Shape" | "Size" => 0,
            _ if product == Some(id) => 1,
            _ if !is_computed(node) || self.sight.is_projection(node) => return None,
            _ => node.input.len(),
        };
        let inputs = node.input.iter().take(count).map(String::as_str);
        Some(inputs.filter(|value| !self.sight.is_given(value)).collect())
    }
}

impl<'m> Cut<'_, 'm> {
    /// Whether each element of `value` is made of the element of `x` in its place.
    pub fn is_elementwise(&self) -> bool {
        self.nodes().all(is_elementwise)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &'m NodeProto> {
        self.nodes.iter().map(|id| self.sight.node(*id))
    }

    /// The constants that its nodes read.
    pub fn constants(&self) -> impl Iterator<Item = &'m str> {
        let read = self.nodes().flat_map(|node| node.input.iter().map(String::as_str));
        read.filter(|value| self.sight.constants.is_constant(value))
    }

    /// Every value of the cut where `x` is this array. All floats are computed in the array's type,
    /// whichever width the graph gives them.
    pub fn at(&self, x: Array) -> Result<Values<'m>, String> {
        let (values, end) = self.until(x);
        end.map(|()| values).map_err(|(_, why)| why)
    }

    /// The same up to a node that can't be computed, and why.
    pub fn until(&self, x: Array) -> (Values<'m>, Result<(), (NodeId, String)>) {
        let (float, mut bytes) = (x.dtype(), 0);
        let mut values = Values::from([(self.x, x)]);
        for &id in &self.nodes {
            let node = self.sight.node(id);
            let left = MOST_BYTES.saturating_sub(bytes);
            let outputs = match self.outputs(id, &values, left) {
                Ok(outputs) => outputs,
                Err(why) => return (values, Err((id, why))),
            };
            for (name, output) in node.output.iter().zip(outputs) {
                bytes += output.byte_len();
                values.insert(name, in_float(output, float));
            }
        }
        (values, Ok(()))
    }

    fn outputs(&self, id: NodeId, values: &Values, most: usize) -> Result<Vec<Array>, String> {
        let node = self.sight.node(id);
        if self.sight.product == Some(id) {
            return Ok(vec![self.read(node, &node.input[0], values)?]);
        }
        let inputs = match self.shaped_as_x(node, values) {
            Some(inputs) => inputs,
            None => self.inputs(node, values)?,
        };
        if is_float_cast(node, &inputs) {
            return Ok(inputs.into_iter().take(1).flatten().collect());
        }
        compute(node, inputs, most).map_err(|why| why.to_string())
    }

    /// What a `Reshape` is given whose result is declared with the dimensions of `x`.
    fn shaped_as_x(&self, node: &NodeProto, values: &Values) -> Option<Vec<Option<Array>>> {
        let told = |dim: &Dimension| match &dim.value {
            Some(dimension::Value::DimParam(name)) => !name.is_empty(),
            size => size.is_some(),
        };
        let dims = |value: &str| {
            let shape = self.sight.view.declared(value)?.shape.as_ref()?;
            shape.dim.iter().all(told).then_some(&shape.dim)
        };
        if !node.is("Reshape") || dims(node.output(0)?)? != dims(self.x)? {
            return None;
        }
        let shape = values[self.x].shape();
        let target = Array::from_vec(&[shape.len()], shape.iter().map(|n| *n as i64).collect());
        Some(vec![Some(values.get(node.input(0)?)?.clone()), Some(target?)])
    }

    fn inputs(&self, node: &NodeProto, values: &Values) -> Result<Vec<Option<Array>>, String> {
        let read = |input: &String| match input.as_str() {
            "" => Ok(None),
            input => self.read(node, input, values).map(Some),
        };
        node.input.iter().map(read).collect()
    }

    fn read(&self, node: &NodeProto, input: &str, values: &Values) -> Result<Array, String> {
        let x = &values[self.x];
        if let Some(known) = values.get(input) {
            return Ok(known.clone());
        }
        let constants = self.sight.constants;
        if constants.is_constant(input) {
            let made_of = constants.expression(input).map_err(|why| why.to_string())?;
            let large =
                |t: &&TensorProto| element_count(t).is_none_or(|count| count > MOST_ELEMENTS);
            if made_of.initializers.iter().any(large) {
                return Err(format!("`{input}` is too large to try it"));
            }
            let value = constants.value(input).map_err(|why| why.to_string())?;
            return Ok(in_float(value, x.dtype()));
        }
        match node.standard() {
            "Shape" => Ok(self.stand_in(input, x)),
            _ if !(self.sight.aside)(input) => Err(format!("`{input}` is not known")),
            name => {
                let condition = name == "Where" && node.input[0] == input;
                let dtype = if condition { DataType::Bool } else { x.dtype() };
                Array::from_scalar(1i64).cast(dtype).ok_or_else(|| "no type".to_owned())
            }
        }
    }

    /// Something of the shape that a value outside of the cut may have: as many rows as `x`.
    fn stand_in(&self, value: &str, x: &Array) -> Array {
        let known = self.sight.shape(value);
        let rank = known.rank.unwrap_or(x.shape().len());
        let mut shape: Vec<usize> = x.shape().iter().copied().chain([1; 8]).take(rank).collect();
        if let Some(last) = shape.last_mut() {
            *last = known.width.unwrap_or(UNKNOWN);
        }
        Array::Bool(Elements::default(shape))
    }
}

fn in_float(array: Array, float: DataType) -> Array {
    if is_float(array.dtype() as i32) { array.clone().cast(float).unwrap_or(array) } else { array }
}

/// Whether a node only changes the width of floats.
fn is_float_cast(node: &NodeProto, inputs: &[Option<Array>]) -> bool {
    let to = node.int("to").map(|to| to as i32);
    let target = match (node.standard(), inputs) {
        ("Cast", _) => to,
        ("CastLike", [_, Some(like)]) => Some(like.dtype() as i32),
        _ => None,
    };
    let float = inputs.first().and_then(Option::as_ref).is_some_and(|x| is_float(x.dtype() as i32));
    float && target.is_some_and(is_float)
}

/// What an array holds, row after row.
pub(super) fn numbers(array: &Array) -> Option<Vec<f64>> {
    let Array::F64(array) = array.clone().cast(DataType::Double)? else { return None };
    Some(array.iter().copied().collect())
}

/// Rows in a tensor of this rank, over its last two axes and the one before.
pub(super) fn at_rank(rows: &[Vec<f64>], rank: usize, float: DataType) -> Option<Array> {
    let mut shape = vec![1; rank.checked_sub(1)?];
    match &mut shape[..] {
        [.., outer, inner] => (*outer, *inner) = (2, rows.len() / 2),
        [only] => *only = rows.len(),
        [] => return None,
    }
    shape.push(rows[0].len());
    Array::from_vec(&shape, rows.concat())?.cast(float)
}

/// Numbers between -1 and 1 that are the same everywhere: splitmix64.
pub(super) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
