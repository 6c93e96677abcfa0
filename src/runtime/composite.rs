//! Operators that tract lacks, said in those that it has.
//!
//! A [`Recipe`] writes the ONNX nodes that compute the same. It is asked once the shapes of the
//! node's inputs are known, so it needs no arithmetic on shapes in the graph and may depend on ranks.

use super::{
    lower::{ByValue, Lowered, Stored},
    walk::{Feed, walk},
};
use crate::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto, attribute_proto};
use std::sync::Arc;
use tract_hir::internal::*;

/// The opset that recipes are written in.
const OPSET: i64 = 18;

/// Writes the nodes that compute `body.node`, and says which values are its outputs: as many as the
/// node has, empty for those that it leaves out.
pub(super) type Recipe = fn(body: &mut Body) -> TractResult<Vec<String>>;

/// An input of a node as a recipe sees it.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub name: String,
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
    /// Its value, where that is known.
    pub value: Option<Arc<Tensor>>,
}

/// The nodes that a recipe has written so far.
pub(super) struct Body<'a> {
    pub node: &'a NodeProto,
    inputs: Vec<Option<Given>>,
    graph: GraphProto,
    stored: HashMap<String, Stored>,
}

impl Body<'_> {
    /// The input at an index of the node's; an error where it is left out.
    pub fn input(&self, index: usize) -> TractResult<&Given> {
        self.optional(index).with_context(|| format!("input {index} is missing"))
    }

    /// The input at an index of the node's; `None` where it is left out.
    pub fn optional(&self, index: usize) -> Option<&Given> {
        self.inputs.get(index)?.as_ref()
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.node.int(name)
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.node.float(name)
    }

    /// Whether the node has an output at this index.
    pub fn wants(&self, output: usize) -> bool {
        self.node.output.get(output).is_some_and(|o| !o.is_empty())
    }

    /// Refuses attributes that are set to anything but what means that they are not used.
    pub fn unused(&self, attributes: &[&str]) -> TractResult<()> {
        for name in attributes {
            let used =
                self.int(name).is_some_and(|i| i > 0) || self.float(name).is_some_and(|f| f > 0.0);
            ensure!(!used, "its attribute {name} is not supported");
        }
        Ok(())
    }

    /// Refuses inputs that the node has from this index on.
    pub fn no_inputs_from(&self, index: usize) -> TractResult<()> {
        let extra = (index..self.inputs.len()).find(|i| self.optional(*i).is_some());
        ensure!(extra.is_none(), "its input {} is not supported", extra.unwrap_or_default());
        Ok(())
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
        let first = self.graph.node.len();
        let made: Vec<String> = (0..outputs).map(|i| format!("{op_type}_{first}_{i}")).collect();
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
            input: inputs.iter().map(|&i| i.into()).collect(),
            attribute: attributes.iter().map(|(name, value)| value.named(name)).collect(),
            output,
            ..NodeProto::default()
        });
    }

    /// A stored tensor.
    pub fn constant(&mut self, value: impl Into<Tensor>) -> String {
        let name = format!("constant_{}", self.stored.len());
        self.stored.insert(name.clone(), Stored::Held(Arc::new(value.into())));
        name
    }

    /// A stored number of this float type.
    pub fn scalar(&mut self, value: f32, datum_type: DatumType) -> TractResult<String> {
        Ok(self.constant(tensor0(value).cast_to_dt(datum_type)?.into_owned()))
    }

    /// A stored vector of integers.
    pub fn ints(&mut self, values: &[usize]) -> String {
        let values: Vec<i64> = values.iter().map(|&v| v as i64).collect();
        self.constant(tensor1(&values))
    }

    /// The value in another shape.
    pub fn reshape(&mut self, value: &str, shape: &[usize]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[value, &shape], &[("allowzero", Attribute::Int(1))])
    }

    /// The value with its axes in another order.
    pub fn transpose(&mut self, value: &str, axes: &[i64]) -> String {
        self.op("Transpose", &[value], &[("perm", Attribute::Ints(axes))])
    }

    /// `start..end` of one axis.
    pub fn slice(&mut self, value: &str, axis: usize, start: usize, end: usize) -> String {
        let [start, end, axis] = [start, end, axis].map(|v| self.ints(&[v]));
        self.op("Slice", &[value, &start, &end, &axis], &[])
    }

    fn fresh(&self) -> String {
        let last = self.graph.node.len();
        format!("value_{last}")
    }
}

/// A value for an attribute of a node.
#[derive(Clone, Copy)]
pub(super) enum Attribute<'a> {
    Int(i64),
    Float(f32),
    Ints(&'a [i64]),
}

impl Attribute<'_> {
    fn named(&self, name: &str) -> AttributeProto {
        use attribute_proto::AttributeType;
        let attribute = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
        match *self {
            Attribute::Int(i) => {
                AttributeProto { i: Some(i), r#type: Some(AttributeType::Int.into()), ..attribute }
            }
            Attribute::Float(f) => AttributeProto {
                f: Some(f),
                r#type: Some(AttributeType::Float.into()),
                ..attribute
            },
            Attribute::Ints(ints) => AttributeProto {
                ints: ints.to_vec(),
                r#type: Some(AttributeType::Ints.into()),
                ..attribute
            },
        }
    }
}

/// tract's operator for a node that a recipe computes.
#[derive(Debug, Clone)]
pub(super) struct Composite {
    node: NodeProto,
    recipe: Recipe,
    /// What the recipe made, once the inputs are known.
    body: Option<TypedModel>,
}

impl Composite {
    pub fn new(node: NodeProto, recipe: Recipe) -> Composite {
        Composite { node, recipe, body: None }
    }

    fn outputs(&self) -> usize {
        self.node.output.iter().filter(|o| !o.is_empty()).count()
    }

    /// Asks the recipe and analyses what it made; `None` as long as an input is not known.
    fn cook(&self, facts: &[InferenceFact]) -> TractResult<Option<TypedModel>> {
        rule_if_some!(known = facts.iter().map(known).collect::<Option<Vec<_>>>());
        let mut feeds = Vec::new();
        let mut inputs = vec![None; self.node.input.len()];
        let given = inputs.iter_mut().zip(&self.node.input).filter(|(_, name)| !name.is_empty());
        for (index, ((input, _), fact)) in given.zip(known).enumerate() {
            let name = format!("input_{index}");
            let source = fact.datum_type.fact(&*fact.shape);
            let value = fact.value.clone();
            feeds.push(Feed { name: name.clone().into(), fact: source, value });
            *input = Some(Given { name, ..fact });
        }
        let mut body =
            Body { node: &self.node, inputs, graph: GraphProto::default(), stored: HashMap::new() };
        let outputs = (self.recipe)(&mut body)?;
        let Body { mut graph, stored, .. } = body;
        let wanted = self.node.output.iter().zip(outputs).filter(|(o, _)| !o.is_empty());
        graph.output = wanted
            .map(|(_, name)| ValueInfoProto { name: Some(name), ..ValueInfoProto::default() })
            .collect();
        ensure!(graph.output.len() == self.outputs(), "one of its outputs is not supported");
        let lowered = Lowered { opset: OPSET, graph, stored, by_value: ByValue::default() };
        let model = walk(&lowered, feeds, SymbolScope::default());
        model.map(Some).map_err(|e| format_err!("{}: {}", e.what(), e.why()))
    }
}

impl PartialEq for Composite {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Eq for Composite {}

impl Op for Composite {
    fn name(&self) -> StaticName {
        self.node.op_type().to_owned().into()
    }

    not_a_typed_op!();
}

impl EvalOp for Composite {
    not_out_of_plan!();
}

impl InferenceOp for Composite {
    fn infer_facts(
        &mut self,
        inputs: TVec<&InferenceFact>,
        outputs: TVec<&InferenceFact>,
        observed: TVec<&InferenceFact>,
    ) -> TractResult<(TVec<InferenceFact>, TVec<InferenceFact>, TVec<InferenceFact>)> {
        let owned = |facts: TVec<&InferenceFact>| facts.into_iter().cloned().collect::<TVec<_>>();
        let (inputs, mut outputs, observed) = (owned(inputs), owned(outputs), owned(observed));
        if self.body.is_none() {
            self.body = self.cook(&inputs)?;
        }
        if let Some(body) = &self.body {
            for (slot, output) in outputs.iter_mut().enumerate() {
                let found = InferenceFact::from(body.output_fact(slot)?);
                output.datum_type.unify_with(&found.datum_type)?;
                output.shape.unify_with(&found.shape)?;
            }
        }
        Ok((inputs, outputs, observed))
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.outputs())
    }

    /// Puts the nodes of the body among those of the target. Where tract could not infer the shapes of
    /// inputs, they are known by now.
    fn to_typed(
        &self,
        _: &InferenceModel,
        node: &InferenceNode,
        target: &mut TypedModel,
        mapping: &HashMap<OutletId, OutletId>,
    ) -> TractResult<TVec<OutletId>> {
        let body = match &self.body {
            Some(body) => body.clone(),
            None => {
                let facts = node.inputs.iter().map(|i| target.outlet_fact(mapping[i]));
                let facts =
                    facts.map(|f| f.map(InferenceFact::from)).collect::<TractResult<Vec<_>>>()?;
                self.cook(&facts)?.context("the shapes of its inputs depend on data")?
            }
        };
        let sources = body.input_outlets()?.iter().zip(&node.inputs);
        let mut wired: HashMap<OutletId, OutletId> =
            sources.map(|(inner, outer)| (*inner, mapping[outer])).collect();
        for id in body.eval_order()? {
            let inner = body.node(id);
            if TypedModel::is_source(&inner.op) {
                continue;
            }
            let inputs: TVec<OutletId> = inner.inputs.iter().map(|i| wired[i]).collect();
            let name = format!("{}.{}", node.name, inner.name);
            let made = target.wire_node(name, inner.op.clone(), &inputs)?;
            wired.extend(made.into_iter().enumerate().map(|(s, o)| (OutletId::new(id, s), o)));
        }
        Ok(body.output_outlets()?.iter().map(|o| wired[o]).collect())
    }

    as_op!();
}

fn known(fact: &InferenceFact) -> Option<Given> {
    let dims = fact.shape.concretize()?;
    let shape = dims.iter().map(|d| d.to_usize().ok()).collect::<Option<Vec<_>>>()?;
    let datum_type = fact.datum_type.concretize()?;
    Some(Given { name: String::new(), datum_type, shape, value: fact.value.concretize() })
}
