//! From lowered ONNX to tract's inference model, node by node.
//!
//! tract's own loader looks operators up by name whatever their domain, copies every weight, and
//! takes the shapes that the file declares. This walk uses its builders, one node at a time, with
//! the domain checked, weights shared between plans, and shapes that come from the actual inputs.

use super::{
    OPERATORS,
    composite::Composite,
    failure::reason,
    honoured::{Way, way},
    lower::{Lowered, Names, made_twice, opset_of},
};
use crate::{
    error::{Error, ErrorKind, Result},
    proto::{GraphProto, NodeProto},
};
use prost::Message as _;
use std::collections::HashMap;
use tract_hir::{internal::*, ops::konst::Const};
use tract_onnx::{model::ParsingContext, ops::logic::If, pb};

/// What is fed into the model.
pub(super) struct Feed<'f> {
    pub name: Cow<'f, str>,
    pub fact: InferenceFact,
    /// The value, where the plan is for it.
    pub value: Option<Arc<Tensor>>,
}

/// The model as tract's, for these inputs. Their shapes may use the symbols of this scope.
pub(super) fn walk(
    lowered: &Lowered,
    feeds: Vec<Feed>,
    symbols: SymbolScope,
) -> Result<InferenceModel> {
    let proto = pb::ModelProto::default();
    let context = ParsingContext {
        onnx_operator_set_version: lowered.opset,
        framework: &OPERATORS,
        model: &proto,
        parent_graphs: vec![],
        model_dir: None,
        template: InferenceModel { symbols, ..InferenceModel::default() },
    };
    let mut walk = Walk::new(context, lowered);
    for feed in feeds {
        walk.source(&feed.name, feed.fact)?;
        if let Some(value) = feed.value {
            walk.outlets.remove(&*feed.name);
            walk.known.insert(feed.name.into_owned(), value);
        }
    }
    walk.graph(&lowered.graph)?;
    match walk.unresolved.first() {
        None => Ok(walk.model),
        Some(value) => Err(Error::new(
            ErrorKind::InvalidModel,
            format!("value `{value}` can't be computed"),
            "a node or a graph output reads it, and nothing makes it",
            "check the model with onnx.checker",
        )),
    }
}

/// A node of tract's, its name, and the values to wire to its inputs.
struct ToWire {
    id: usize,
    name: String,
    inputs: Vec<String>,
}

struct Walk<'a> {
    context: ParsingContext<'a>,
    lowered: &'a Lowered,
    model: InferenceModel,
    outlets: HashMap<String, OutletId>,
    /// Outputs of an `If` whose branch is known, and what makes them.
    same: HashMap<String, String>,
    /// Inputs whose values the plan is for.
    known: HashMap<String, Arc<Tensor>>,
    node_names: Names,
    /// Values that this graph reads and does not define: inputs of the model, in this order after
    /// those that were there before.
    unresolved: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(context: ParsingContext<'a>, lowered: &'a Lowered) -> Self {
        Walk {
            model: context.template.clone(),
            context,
            lowered,
            outlets: HashMap::new(),
            same: HashMap::new(),
            known: HashMap::new(),
            node_names: Names::default(),
            unresolved: Vec::new(),
        }
    }

    fn source(&mut self, name: &str, fact: InferenceFact) -> Result<OutletId> {
        self.node_names.take(name);
        let outlet = self.model.add_source(name, fact).map_err(|e| refused(name, &e))?;
        self.outlets.insert(name.to_owned(), outlet);
        Ok(outlet)
    }

    fn graph(&mut self, graph: &GraphProto) -> Result<()> {
        let mut to_wire = Vec::with_capacity(graph.node.len());
        self.nodes(graph, &mut to_wire)?;
        for ToWire { id, name, inputs } in to_wire {
            for (slot, input) in inputs.iter().enumerate() {
                let outlet = self.outlet(input)?;
                self.model
                    .add_edge(outlet, InletId::new(id, slot))
                    .map_err(|e| refused(&name, &e))?;
            }
        }
        let mut outputs = Vec::with_capacity(graph.output.len());
        for output in &graph.output {
            outputs.push(self.outlet(output.name())?);
        }
        self.model.select_output_outlets(&outputs).map_err(|e| refused("outputs", &e))
    }

    /// Adds the graph's nodes, and those of branches that are known to run.
    fn nodes(&mut self, graph: &GraphProto, to_wire: &mut Vec<ToWire>) -> Result<()> {
        for node in &graph.node {
            let Some(branch) = self.decided(node) else {
                to_wire.push(self.node(node)?);
                continue;
            };
            let made = node.output.iter().zip(&branch.output);
            self.same.extend(made.map(|(outer, inner)| (outer.clone(), inner.name().to_owned())));
            self.nodes(branch, to_wire)?;
        }
        Ok(())
    }

    /// The branch of an `If` that will run, where that is known.
    fn decided<'n>(&self, node: &'n NodeProto) -> Option<&'n GraphProto> {
        let condition = node.input.first().filter(|_| node.is("If"))?;
        branch(node, self.constant(condition).ok()??.cast_to_scalar::<bool>().ok()?)
    }

    /// A value that is stored, or that the plan is for.
    fn constant(&self, name: &str) -> TractResult<Option<Arc<Tensor>>> {
        match (self.known.get(name), self.lowered.stored.get(name)) {
            (Some(known), _) => Ok(Some(known.clone())),
            (None, Some(stored)) => stored.tensor().map(Some),
            (None, None) => Ok(None),
        }
    }

    fn node(&mut self, node: &NodeProto) -> Result<ToWire> {
        let opset = opset_of(node).unwrap_or(self.lowered.opset);
        let (op, captured) = match way(node, opset).map_err(|why| unsupported(node, why))? {
            Way::Recipe(recipe) => {
                let symbols = self.context.template.symbols.clone();
                (Composite::new(node.clone(), opset, recipe, symbols).into(), vec![])
            }
            Way::Tract if node.op_type() == "If" => self.branches(node)?,
            Way::Tract => self.build(node, opset)?,
        };
        let name = self.node_names.unique(node.label());
        // Some operators of tract's have no outputs but those that the node has, others have all.
        let has = op.nboutputs().map_err(|e| unsupported(node, reason(&e)))?;
        let given: Vec<(usize, &String)> =
            node.output.iter().enumerate().filter(|(_, o)| !o.is_empty()).collect();
        let facts = tvec![InferenceFact::default(); has];
        let id = self.model.add_node(&*name, op, facts).map_err(|e| refused(&name, &e))?;
        for (nth, &(index, output)) in given.iter().enumerate() {
            let slot = if has == given.len() { nth } else { index };
            let before = self.outlets.insert(output.clone(), OutletId::new(id, slot));
            if before.is_some() || self.lowered.stored.contains_key(output) {
                return Err(made_twice(output));
            }
        }
        let given = node.input.iter().filter(|i| !i.is_empty()).cloned();
        Ok(ToWire { id, name, inputs: given.chain(captured).collect() })
    }

    /// tract's operator for the node, and the values that graphs nested in it read from outside.
    fn build(&self, node: &NodeProto, opset: i64) -> Result<(Box<dyn InferenceOp>, Vec<String>)> {
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
        builder(&context, &node).map_err(|e| fail(reason(&e)))
    }

    /// Both branches of an `If`, and what they read from outside.
    fn branches(&self, node: &NodeProto) -> Result<(Box<dyn InferenceOp>, Vec<String>)> {
        let (then_body, then_reads) = self.nested(node, true)?;
        let (else_body, else_reads) = self.nested(node, false)?;
        let mut captured = then_reads.clone();
        captured.extend(else_reads.iter().filter(|v| !then_reads.contains(v)).cloned());
        let inputs = |reads: &[String]| -> Vec<usize> {
            let position = |v| captured.iter().position(|c| c == v);
            reads.iter().filter_map(position).map(|i| i + 1).collect()
        };
        let (then_inputs, else_inputs) = (inputs(&then_reads), inputs(&else_reads));
        Ok((Box::new(If::new(then_body, then_inputs, else_body, else_inputs)), captured))
    }

    /// One branch of an `If` as a model of its own, and what it reads from outside.
    fn nested(&self, node: &NodeProto, condition: bool) -> Result<(InferenceModel, Vec<String>)> {
        let graph = branch(node, condition).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidModel,
                format!("node {} can't be run", node.described()),
                "it has no graph for one of its branches",
                "check the model with onnx.checker",
            )
        })?;
        let mut walk = Walk::new(self.context.clone(), self.lowered);
        walk.known = self.known.clone();
        walk.graph(graph)?;
        Ok((walk.model, walk.unresolved))
    }

    /// The outlet of a value: made by a node, stored, or else an input.
    fn outlet(&mut self, name: &str) -> Result<OutletId> {
        if let Some(outlet) = self.outlets.get(name) {
            return Ok(*outlet);
        }
        // Taken out, so that a value that a broken model makes of itself is one that nothing makes.
        if let Some(same) = self.same.remove(name) {
            let outlet = self.outlet(&same)?;
            self.outlets.insert(name.to_owned(), outlet);
            return Ok(outlet);
        }
        let Some(value) = self.constant(name).map_err(|e| refused(name, &e))? else {
            self.unresolved.push(name.to_owned());
            return self.source(name, InferenceFact::default());
        };
        let outlet = self.add_constant(name, value).map_err(|e| refused(name, &e))?;
        self.outlets.insert(name.to_owned(), outlet);
        Ok(outlet)
    }

    fn add_constant(&mut self, name: &str, value: Arc<Tensor>) -> TractResult<OutletId> {
        let fact = InferenceFact::from(TypedFact::try_from(value.clone())?);
        let name = self.node_names.unique(name);
        self.model.add_node(name, Const::new(value)?, tvec!(fact)).map(OutletId::from)
    }
}

/// The branch of an `If` that runs when its condition has this value.
fn branch(node: &NodeProto, condition: bool) -> Option<&GraphProto> {
    node.attribute(if condition { "then_branch" } else { "else_branch" })?.g.as_ref()
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
