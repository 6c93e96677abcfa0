//! Operators that tract lacks, said in those that it has.
//!
//! A [`Recipe`] writes the ONNX nodes that compute the same, each run by tract's own operator. It knows the
//! shapes of the node's inputs, in numbers or where a plan leaves sizes open in symbols, so it needs no
//! arithmetic on shapes in the graph and may depend on ranks.

use super::{
    lower::{ByValue, Lowered, Stored},
    tensor,
};
use crate::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, attribute_proto};
use std::{fmt, sync::Arc};
use tract_hir::internal::*;

/// The domain of nodes that recipes write, which are right for tract as they are.
pub(super) const TRACT: &str = "bitonnx.tract";

/// The opset that recipes are written in.
const OPSET: i64 = 18;

/// Writes the nodes that compute `body.node`, and says which values are its outputs: as many as the
/// node has, empty for those that it leaves out.
pub(super) type Recipe = fn(body: &mut Body) -> TractResult<Vec<String>>;

/// Why a recipe can't write a node, where that is no fault of the inputs.
#[derive(Debug)]
pub(super) struct Unsupported(pub String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// The error of a recipe that can't write a node.
pub(super) fn unsupported(why: impl Into<String>) -> TractError {
    Unsupported(why.into()).into()
}

/// An input of a node as a recipe sees it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub name: String,
    pub datum_type: DatumType,
    pub shape: TVec<TDim>,
    /// Its value, where that is known.
    pub value: Option<Arc<Tensor>>,
}

impl Given {
    pub fn new(name: String, fact: &TypedFact) -> Given {
        let (shape, value) = (fact.shape.to_tvec(), fact.konst.clone());
        Given { name, datum_type: fact.datum_type, shape, value }
    }

    /// Its value as integers, where that is known in numbers.
    pub fn ints(&self) -> Option<Vec<i64>> {
        let ints = self.value.as_ref()?.cast_to::<i64>().ok()?;
        Some(ints.to_plain_array_view::<i64>().ok()?.iter().copied().collect())
    }

    /// Its value as integers or symbols, where that is known.
    pub fn dims(&self) -> Option<Vec<TDim>> {
        // tract makes a zero of the least integer, which is an end that exporters write.
        if let Some(ints) = self.ints() {
            return Some(ints.iter().map(ToDim::to_dim).collect());
        }
        let dims = self.value.as_ref()?.cast_to::<TDim>().ok()?;
        Some(dims.to_plain_array_view::<TDim>().ok()?.iter().cloned().collect())
    }
}

/// The nodes that compute a node with these inputs.
pub(super) fn write(
    node: &NodeProto,
    opset: i64,
    recipe: Recipe,
    inputs: &[Option<Given>],
) -> TractResult<Lowered> {
    let (graph, stored) = (GraphProto::default(), HashMap::new());
    let mut body = Body { node, opset, inputs, graph, stored };
    let outputs = recipe(&mut body)?;
    let Body { mut graph, stored, .. } = body;
    let wanted = node.output.iter().zip(outputs).filter(|(wanted, _)| !wanted.is_empty());
    let made = wanted.map(|(_, made)| made).filter(|made| !made.is_empty());
    let output = |name| ValueInfoProto { name: Some(name), ..ValueInfoProto::default() };
    graph.output = made.map(output).collect();
    if graph.output.len() != node.outputs().count() {
        return Err(unsupported("one of its outputs is not supported"));
    }
    Ok(Lowered { opset: OPSET, graph, stored, by_value: ByValue::default() })
}

/// The nodes that a recipe has written so far.
pub(super) struct Body<'a> {
    pub node: &'a NodeProto,
    /// The standard opset that the node is of.
    pub opset: i64,
    inputs: &'a [Option<Given>],
    graph: GraphProto,
    stored: HashMap<String, Stored>,
}

impl<'a> Body<'a> {
    /// The input at an index of the node's; an error where it is left out.
    pub fn input(&self, index: usize) -> TractResult<&'a Given> {
        self.optional(index).with_context(|| format!("input {index} is missing"))
    }

    /// The input at an index of the node's; `None` where it is left out.
    pub fn optional(&self, index: usize) -> Option<&'a Given> {
        self.inputs.get(index)?.as_ref()
    }

    /// What the first inputs are called; an error where one is left out.
    pub fn names<const N: usize>(&self) -> TractResult<[&'a str; N]> {
        (0..N).try_for_each(|index| self.input(index).map(drop))?;
        Ok(std::array::from_fn(|index| self.name(index)))
    }

    /// What the input at an index is called; nothing where it is left out, which nodes take as that.
    pub fn name(&self, index: usize) -> &'a str {
        self.optional(index).map_or("", |given| &given.name)
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.node.int(name)
    }

    /// An attribute of integers.
    pub fn int_list(&self, name: &str) -> Option<Vec<i64>> {
        self.node.ints(name).map(<[i64]>::to_vec)
    }

    /// A text attribute; empty where it is left out.
    pub fn text(&self, name: &str) -> &'a str {
        self.node.string(name).unwrap_or_default()
    }

    /// An axis of a value of this rank, counted from the end where it is negative.
    pub fn axis(axis: i64, rank: usize) -> TractResult<usize> {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let found = usize::try_from(from_start).ok().filter(|a| *a < rank);
        found.with_context(|| format!("axis {axis} is out of range for {rank} axes"))
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.node.float(name)
    }

    /// Whether the node has an output at this index.
    pub fn wants(&self, output: usize) -> bool {
        self.node.output.get(output).is_some_and(|o| !o.is_empty())
    }

    /// Adds a node with one output.
    pub fn op(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let made = self.fresh();
        self.add(op_type, inputs, attributes, vec![made.clone()]);
        made
    }

    /// Adds a node with several outputs.
    pub fn ops(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<String> {
        let first = self.fresh();
        let made: Vec<String> = (0..outputs).map(|i| format!("{first}.{i}")).collect();
        self.add(op_type, inputs, attributes, made.clone());
        made
    }

    fn add(
        &mut self,
        op_type: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
        output: Vec<String>,
    ) {
        self.graph.node.push(NodeProto {
            op_type: Some(op_type.into()),
            domain: Some(TRACT.into()),
            input: inputs.iter().map(|&i| i.into()).collect(),
            attribute: attributes.iter().map(|(name, value)| value.named(name)).collect(),
            output,
            ..NodeProto::default()
        });
    }

    /// A stored tensor.
    pub fn constant(&mut self, value: impl Into<Tensor>) -> String {
        let name = format!("{}.constant_{}", self.node.label(), self.stored.len());
        self.stored.insert(name.clone(), Stored::Held(Arc::new(value.into())));
        name
    }

    /// A stored number of this float type.
    pub fn scalar(&mut self, value: f32, datum_type: DatumType) -> TractResult<String> {
        Ok(self.constant(tensor0(value).cast_to_dt(datum_type)?.into_owned()))
    }

    /// A stored integer, or what is open as symbols.
    pub fn number(&mut self, value: impl ToDim) -> String {
        let dim = value.to_dim();
        self.constant(dim.as_i64().map_or_else(|| tensor0(dim), tensor0))
    }

    /// A stored vector of integers, or of symbols where one is open.
    pub fn ints<D: ToDim>(&mut self, values: &[D]) -> String {
        let dims: Vec<TDim> = values.iter().map(ToDim::to_dim).collect();
        let ints: Option<Vec<i64>> = dims.iter().map(TDim::as_i64).collect();
        self.constant(ints.map_or_else(|| tensor1(&dims), |ints| tensor1(&ints)))
    }

    /// `0..end`.
    pub fn range(&mut self, end: &TDim) -> String {
        if let Ok(end) = end.to_i64() {
            return self.ints(&(0..end).collect::<Vec<_>>());
        }
        let bounds = [0.to_dim(), end.clone(), 1.to_dim()].map(|d| self.constant(tensor0(d)));
        self.op("Range", &bounds.each_ref().map(String::as_str), &[])
    }

    /// The value in another type.
    pub fn cast(&mut self, value: &str, to: DatumType) -> TractResult<String> {
        let code = (1..32).find(|code| tensor::datum_type(*code) == Some(to));
        let code = code.with_context(|| format!("ONNX has no type {to:?}"))?;
        Ok(self.op("Cast", &[value], &[("to", Attribute::Int(code.into()))]))
    }

    /// The value times a number, in its own type.
    pub fn scaled(
        &mut self,
        value: &str,
        factor: f32,
        datum_type: DatumType,
    ) -> TractResult<String> {
        if factor == 1.0 {
            return Ok(value.to_owned());
        }
        let factor = self.scalar(factor, datum_type)?;
        Ok(self.op("Mul", &[value, &factor], &[]))
    }

    /// The value plus the input at an index, where the node has that.
    pub fn plus(&mut self, value: String, input: usize) -> String {
        match self.optional(input) {
            Some(given) => self.op("Add", &[&value, &given.name], &[]),
            None => value,
        }
    }

    /// The value in another shape.
    pub fn reshape<D: ToDim>(&mut self, value: &str, shape: &[D]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[value, &shape], &[("allowzero", Attribute::Int(1))])
    }

    /// A number, which exporters write as a vector of one too.
    pub fn rank_zero(&mut self, number: &Given) -> String {
        let scalar = number.shape.is_empty();
        if scalar { number.name.clone() } else { self.reshape::<i64>(&number.name, &[]) }
    }

    /// The value with its axes in another order.
    pub fn transpose(&mut self, value: &str, axes: &[i64]) -> String {
        self.op("Transpose", &[value], &[("perm", Attribute::Ints(axes))])
    }

    /// `start..end` of one axis.
    pub fn slice(
        &mut self,
        value: &str,
        axis: usize,
        start: impl ToDim,
        end: impl ToDim,
    ) -> String {
        let [start, end, axis] =
            [start.to_dim(), end.to_dim(), axis.to_dim()].map(|v| self.ints(&[v]));
        self.op("Slice", &[value, &start, &end, &axis], &[])
    }

    fn fresh(&self) -> String {
        format!("{}.{}", self.node.label(), self.graph.node.len())
    }
}

/// A value for an attribute of a node.
#[derive(Clone, Copy)]
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
    Text(&'a str),
}

impl Attribute<'_> {
    fn named(&self, name: &str) -> AttributeProto {
        use attribute_proto::AttributeType;
        let mut attribute = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
        let kind = match *self {
            Attribute::Int(i) => {
                attribute.i = Some(i);
                AttributeType::Int
            }
            Attribute::Float(f) => {
                attribute.f = Some(f);
                AttributeType::Float
            }
            Attribute::Text(text) => {
                attribute.s = Some(text.to_owned().into());
                AttributeType::String
            }
            Attribute::Ints(ints) => {
                attribute.ints = ints.to_vec();
                AttributeType::Ints
            }
        };
        attribute.r#type = Some(kind.into());
        attribute
    }
}
