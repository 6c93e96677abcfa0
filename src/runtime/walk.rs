//! From lowered ONNX to tract's typed model, node by node.
//!
//! tract's own loader looks operators up by name whatever their domain, copies every weight, takes the
//! shapes that the file declares, and infers the whole graph before it types any of it. This walk uses its
//! builders, one node at a time: what a node is given is known by then, in type and shape, and in value
//! where that depends on no input.

mod control;

use super::{
    OPERATORS,
    composite::{self, Given, Recipe, Unsupported},
    failure::{UNPLANNED, failed, reason},
    honoured::{Way, way},
    lower::{Lowered, Names, made_twice, opset_of},
};
use crate::{
    error::{Error, ErrorKind, Result},
    proto::{GraphProto, NodeProto},
};
use prost::Message as _;
use std::collections::{HashMap, HashSet};
use tract_hir::internal::*;
use tract_onnx::{model::ParsingContext, pb};

/// What is fed into the model.
pub(super) struct Feed<'f> {
    pub name: Cow<'f, str>,
    pub fact: TypedFact,
    /// The value, where the plan is for it.
    pub value: Option<Arc<Tensor>>,
}

/// The model as tract's, for these inputs. Their shapes may use the symbols of this scope.
pub(super) fn walk(
    lowered: &Lowered,
    feeds: Vec<Feed>,
    symbols: SymbolScope,
) -> Result<TypedModel> {
    let proto = pb::ModelProto::default();
    let context = ParsingContext {
        onnx_operator_set_version: lowered.opset,
        framework: &OPERATORS,
        model: &proto,
        parent_graphs: vec![],
        model_dir: None,
        template: InferenceModel { symbols, ..InferenceModel::default() },
    };
    let mut walk = Walk::new(context, lowered, None);
    for Feed { name, fact, value } in feeds {
        walk.source(&name, fact)?;
        if let Some(value) = value {
            walk.constant(&name, value)?;
        }
    }
    let outputs = walk.graph(&lowered.graph)?;
    Ok(walk.finish(&outputs)?.0)
}

/// The walk of one graph.
struct Walk<'a> {
    context: ParsingContext<'a>,
    lowered: &'a Lowered,
    model: TypedModel,
    /// Where each value is made.
    outlets: HashMap<String, OutletId>,
    node_names: Names,
    /// The walk of the graph that this one is nested in.
    outer: Option<&'a Walk<'a>>,
    /// What this graph reads of it: inputs of the model, in this order after those that it had before.
    captured: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(
        context: ParsingContext<'a>,
        lowered: &'a Lowered,
        outer: Option<&'a Walk<'a>>,
    ) -> Walk<'a> {
        let symbols = context.template.symbols.clone();
        Walk {
            context,
            lowered,
            model: TypedModel { symbols, ..TypedModel::default() },
            outlets: HashMap::new(),
            node_names: Names::default(),
            outer,
            captured: Vec::new(),
        }
    }

    fn source(&mut self, name: &str, fact: TypedFact) -> Result<OutletId> {
        self.node_names.take(name);
        let outlet = self.model.add_source(name, fact).map_err(|e| refused(name, &e))?;
        self.outlets.insert(name.to_owned(), outlet);
        Ok(outlet)
    }

    fn constant(&mut self, name: &str, value: Arc<Tensor>) -> Result<OutletId> {
        let node = self.node_names.unique(name);
        let outlet = self.model.add_const(node, value).map_err(|e| refused(name, &e))?;
        self.outlets.insert(name.to_owned(), outlet);
        Ok(outlet)
    }

    /// The model with these outputs, and what it reads of the graph around this one.
    fn finish(mut self, outputs: &[OutletId]) -> Result<(TypedModel, Vec<String>)> {
        self.model.select_output_outlets(outputs).map_err(|e| refused("outputs", &e))?;
        Ok((self.model, self.captured))
    }

    /// Adds the graph's nodes, each once what it reads is made, and gives where its outputs are.
    fn graph(&mut self, graph: &GraphProto) -> Result<TVec<OutletId>> {
        let mut made_later = HashSet::new();
        for value in graph.node.iter().flat_map(NodeProto::outputs) {
            let made = self.outlets.contains_key(value) || self.lowered.stored.contains_key(value);
            if made || !made_later.insert(value) {
                return Err(made_twice(value));
            }
        }
        let mut waiting: Vec<&NodeProto> = graph.node.iter().collect();
        while !waiting.is_empty() {
            let mut still = Vec::new();
            for &node in &waiting {
                if reads(node).iter().any(|value| made_later.contains(value)) {
                    still.push(node);
                    continue;
                }
                self.node(node)?;
                node.outputs().for_each(|value| {
                    made_later.remove(value);
                });
            }
            if still.len() == waiting.len() {
                return Err(unmade(reads(still[0]).into_iter().find(|v| made_later.contains(v))));
            }
            waiting = still;
        }
        graph.output.iter().map(|output| self.outlet(output.name())).collect()
    }

    fn node(&mut self, node: &NodeProto) -> Result<()> {
        let opset = opset_of(node).unwrap_or(self.lowered.opset);
        let made = match way(node, opset).map_err(|why| unsupported(node, why))? {
            Way::Tract => self.add(node, self.build(node, opset)?)?,
            Way::Graphs => self.control(node)?,
            Way::Recipe(recipe) => self.compose(node, opset, recipe)?,
        };
        let given = node.output.iter().enumerate().filter(|(_, output)| !output.is_empty());
        let count = given.clone().count();
        for (nth, (index, output)) in given.enumerate() {
            // Some operators of tract's have no outputs but those that the node has, others have all.
            let outlet = made.get(if made.len() == count { nth } else { index });
            let outlet = outlet.ok_or_else(|| {
                unsupported(node, format!("its output `{output}` is not supported"))
            })?;
            self.outlets.insert(output.clone(), *outlet);
        }
        Ok(())
    }

    /// Adds one of tract's operators for a node.
    fn add(&mut self, node: &NodeProto, op: Box<dyn InferenceOp>) -> Result<TVec<OutletId>> {
        let inputs = node.inputs().map(|i| self.outlet(i)).collect::<Result<TVec<_>>>()?;
        let name = self.node_names.unique(node.label());
        self.typed(&name, op, &inputs).map_err(|e| unplanned(node, &e))
    }

    /// Adds an operator of tract's typed ones for a node.
    fn wire(
        &mut self,
        node: &NodeProto,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> Result<TVec<OutletId>> {
        let name = self.node_names.unique(node.label());
        self.model.wire_node(name, op, inputs).map_err(|e| unplanned(node, &e))
    }

    /// Types an operator of tract's: a model of that one node is inferred, from what is known of its inputs.
    fn typed(
        &mut self,
        name: &str,
        op: Box<dyn InferenceOp>,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let symbols = self.model.symbols.clone();
        let mut site = InferenceModel { symbols, ..InferenceModel::default() };
        let mut mapping = HashMap::new();
        let facts = tvec![InferenceFact::default(); op.nboutputs()?];
        let id = site.add_node(name, op, facts)?;
        for (slot, &input) in inputs.iter().enumerate() {
            let fact = InferenceFact::from(self.model.outlet_fact(input)?);
            let source = site.add_source(format!("{name}.{slot}"), fact)?;
            site.add_edge(source, InletId::new(id, slot))?;
            mapping.insert(source, input);
        }
        site.analyse(false)?;
        let node = site.node(id);
        let values: Option<TVec<_>> = node.outputs.iter().map(|o| known(&o.fact)).collect();
        let stateless = node.op.state(&EvalContext::out_of_plan())?.is_none();
        match values.filter(|_| stateless) {
            Some(values) => values.into_iter().map(|v| self.model.add_const(name, v)).collect(),
            None => node.op.to_typed(&site, node, &mut self.model, &mapping),
        }
    }

    /// tract's operator for the node.
    fn build(&self, node: &NodeProto, opset: i64) -> Result<Box<dyn InferenceOp>> {
        let fail = |why: String| unsupported(node, why);
        let builder = self.context.framework.op_register.0.get(node.op_type());
        let builder = builder.ok_or_else(|| fail("tract has no such operator".into()))?;
        let mut node = node.clone();
        // What is left out last: builders count inputs and outputs.
        for values in [&mut node.input, &mut node.output] {
            values.truncate(values.iter().rposition(|v| !v.is_empty()).map_or(0, |i| i + 1));
        }
        let node =
            pb::NodeProto::decode(&*node.encode_to_vec()).map_err(|e| fail(e.to_string()))?;
        let context = ParsingContext { onnx_operator_set_version: opset, ..self.context.clone() };
        let (op, _) = builder(&context, &node).map_err(|e| fail(reason(&e)))?;
        Ok(op)
    }

    /// Adds the nodes that a recipe writes for a node.
    fn compose(&mut self, node: &NodeProto, opset: i64, recipe: Recipe) -> Result<TVec<OutletId>> {
        let mut inputs = vec![None; node.input.len()];
        let mut outlets = HashMap::new();
        for (input, value) in inputs.iter_mut().zip(&node.input).filter(|(_, v)| !v.is_empty()) {
            let outlet = self.outlet(value)?;
            let fact = self.model.outlet_fact(outlet).map_err(|e| refused(value, &e))?;
            let name = format!("input_{}", outlets.len());
            *input = Some(Given::new(name.clone(), fact));
            outlets.insert(name, outlet);
        }
        let lowered = composite::write(node, opset, recipe, &inputs);
        let lowered = lowered.map_err(|e| match e.downcast_ref() {
            Some(Unsupported(why)) => unsupported(node, why.clone()),
            None => unplanned(node, &e),
        })?;
        let mut body = Walk {
            context: self.context.clone(),
            lowered: &lowered,
            model: std::mem::take(&mut self.model),
            outlets,
            node_names: std::mem::take(&mut self.node_names),
            outer: None,
            captured: Vec::new(),
        };
        let made = body.graph(&lowered.graph);
        (self.model, self.node_names) = (body.model, body.node_names);
        // Nodes of the body are nobody's: their names tell nothing.
        made.map_err(|e| match e.kind() {
            ErrorKind::Unsupported => unsupported(node, e.why().to_owned()),
            _ => unplanned(node, &format_err!("{}", e.why())),
        })
    }

    /// Where a value is: made by a node, stored, or one of the graph around this one.
    fn outlet(&mut self, name: &str) -> Result<OutletId> {
        if let Some(outlet) = self.outlets.get(name) {
            return Ok(*outlet);
        }
        if let Some(stored) = self.lowered.stored.get(name) {
            return self.constant(name, stored.tensor().map_err(|e| refused(name, &e))?);
        }
        let fact =
            self.outer.and_then(|outer| outer.fact(name)).ok_or_else(|| unmade(Some(name)))?;
        match fact.konst {
            Some(value) => self.constant(name, value),
            None => {
                self.captured.push(name.to_owned());
                self.source(name, fact.without_value())
            }
        }
    }

    /// What is known of a value that a node of this graph, or of one around it, makes.
    fn fact(&self, name: &str) -> Option<TypedFact> {
        match self.outlets.get(name) {
            Some(outlet) => self.model.outlet_fact(*outlet).ok().cloned(),
            None => self.outer?.fact(name),
        }
    }

    /// The value, where that is known.
    fn value(&self, outlet: OutletId) -> Option<Arc<Tensor>> {
        self.model.outlet_fact(outlet).ok()?.konst.clone()
    }
}

/// A value that is inferred, or has no elements.
fn known(fact: &InferenceFact) -> Option<Arc<Tensor>> {
    let empty = || {
        let shape = fact.shape.as_concrete_finite().ok()??;
        let datum_type = fact.datum_type.concretize().filter(|_| shape.contains(&0))?;
        Some(Arc::new(Tensor::zero_dt(datum_type, &shape).ok()?))
    };
    fact.value.concretize().or_else(empty)
}

/// What a node reads, and the graphs nested in it.
fn reads(node: &NodeProto) -> Vec<&str> {
    let mut reads: Vec<&str> = node.inputs().collect();
    for graph in node.graphs() {
        reads.extend(graph.node.iter().flat_map(self::reads));
        reads.extend(graph.output.iter().map(|v| v.name()));
    }
    reads
}

fn unmade(value: Option<&str>) -> Error {
    Error::new(
        ErrorKind::InvalidModel,
        format!("value `{}` can't be computed", value.unwrap_or_default()),
        "a node or a graph output reads it, and nothing makes it",
        "check the model with onnx.checker",
    )
}

fn unplanned(node: &NodeProto, e: &TractError) -> Error {
    failed(&format!("node {}", node.described()), UNPLANNED, e)
}

fn unsupported(node: &NodeProto, why: String) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!("node {} can't be run", node.described()),
        why,
        "run the model with ONNX Runtime, or export it without this use of the operator",
    )
}

fn refused(what: &str, e: &TractError) -> Error {
    Error::new(
        ErrorKind::InvalidModel,
        format!("`{what}` can't be run"),
        reason(e),
        "check the model with onnx.checker; if it is valid, report the model to bitonnx",
    )
}
