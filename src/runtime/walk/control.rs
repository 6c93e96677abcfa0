//! Operators that hold graphs: `If`, `Loop` and `Scan`.

use super::{Walk, refused, unsupported};
use crate::{
    error::Result,
    proto::{GraphProto, NodeProto},
};
use tract_core::ops::{
    array::TypedConcat,
    logic::IfThenElse,
    scan::{InputMapping, OutputMapping, Scan, ScanInfo},
};
use tract_hir::internal::*;

/// A `Loop` that runs more often is refused: each time it runs is a part of the plan.
const MOST_TIMES: i64 = 1 << 10;

impl Walk<'_> {
    /// Adds a node that holds graphs, and gives where its outputs are.
    pub(super) fn control(&mut self, node: &NodeProto) -> Result<TVec<OutletId>> {
        match node.standard() {
            "If" => self.branch(node),
            "Loop" => self.repeat(node),
            _ => self.scan(node),
        }
    }

    /// `If`: the branch that runs where that is known, else both.
    fn branch(&mut self, node: &NodeProto) -> Result<TVec<OutletId>> {
        let condition = self.input(node, 0)?;
        let [yes, no] = [held(node, "then_branch")?, held(node, "else_branch")?];
        if let Some(value) = self.value(condition) {
            let runs = value.cast_to_scalar().map_err(|e| refused(node.label(), &e))?;
            return self.graph(if runs { yes } else { no });
        }
        let (then_body, then_reads) = self.nested(yes)?;
        let (else_body, else_reads) = self.nested(no)?;
        let mut reads = then_reads.clone();
        reads.extend(else_reads.iter().filter(|v| !then_reads.contains(v)).cloned());
        let mapping = |of: &[String]| -> Vec<usize> {
            let position = |v| reads.iter().position(|r| r == v);
            of.iter().filter_map(position).map(|i| i + 1).collect()
        };
        let op = IfThenElse {
            then_input_mapping: mapping(&then_reads),
            else_input_mapping: mapping(&else_reads),
            then_body,
            else_body,
        };
        let mut inputs = tvec![condition];
        for value in &reads {
            inputs.push(self.outlet(value)?);
        }
        self.wire(node, op, &inputs)
    }

    /// A graph as a model of its own, and what it reads from outside.
    fn nested(&self, graph: &GraphProto) -> Result<(TypedModel, Vec<String>)> {
        let mut walk = Walk::new(self.context.clone(), self.lowered, Some(self));
        let outputs = walk.graph(graph)?;
        walk.finish(&outputs)
    }

    /// `Loop`: its body, as often as it runs. That must be known.
    fn repeat(&mut self, node: &NodeProto) -> Result<TVec<OutletId>> {
        let body = held(node, "body")?;
        let unknown = |what: &str| unsupported(node, format!("{what} is known only as it runs"));
        let mut most = i64::MAX;
        if node.input(0).is_some() {
            let value = self.input(node, 0)?;
            let value = self.value(value).and_then(|value| value.cast_to_scalar().ok());
            most = value.ok_or_else(|| unknown("how often it repeats"))?;
        }
        let mut goes_on = match node.input(1) {
            Some(_) => self.input(node, 1)?,
            None => self.number(node, tensor0(true))?,
        };
        let states = (2..node.input.len()).map(|index| self.input(node, index));
        let mut states = states.collect::<Result<TVec<_>>>()?;
        let mut stacks = vec![tvec![]; body.output.len().saturating_sub(1 + states.len())];
        for time in 0..most {
            let value = self.value(goes_on).and_then(|value| value.cast_to_scalar().ok());
            if !value.ok_or_else(|| unknown("whether it repeats"))? {
                break;
            }
            if time == MOST_TIMES {
                return Err(unsupported(node, format!("it repeats more than {MOST_TIMES} times")));
            }
            let given = [self.number(node, tensor0(time))?, goes_on].into_iter().chain(states);
            let before = self.outlets.clone();
            self.outlets.extend(body.input.iter().map(|v| v.name().to_owned()).zip(given));
            let made = self.graph(body)?;
            self.outlets = before;
            goes_on = made[0];
            states = made[1..].iter().copied().take(node.input.len() - 2).collect();
            let rows = stacks.iter_mut().zip(&made[1 + states.len()..]);
            rows.for_each(|(stack, row): (&mut TVec<OutletId>, _)| stack.push(*row));
        }
        for stack in stacks {
            states.push(self.stacked(node, &stack)?);
        }
        Ok(states)
    }

    /// Values of one shape, along a new first axis.
    fn stacked(&mut self, node: &NodeProto, values: &[OutletId]) -> Result<OutletId> {
        if values.is_empty() {
            return Err(unsupported(
                node,
                "it repeats no time: what it gathers has no shape".into(),
            ));
        }
        let rows = values.iter().map(|value| self.wire(node, AxisOp::Add(0), &[*value]));
        let rows = rows.map(|row| Ok(row?[0])).collect::<Result<TVec<_>>>()?;
        Ok(self.wire(node, TypedConcat::new(0), &rows)?[0])
    }

    /// `Scan`: tract's, whose body keeps the axes that rows are taken from.
    fn scan(&mut self, node: &NodeProto) -> Result<TVec<OutletId>> {
        let body = held(node, "body")?;
        let inputs = (0..node.input.len()).map(|index| self.input(node, index));
        let mut inputs = inputs.collect::<Result<TVec<_>>>()?;
        let rows = usize::try_from(node.int("num_scan_inputs").unwrap_or(0)).ok();
        let states = rows.and_then(|rows| inputs.len().checked_sub(rows));
        let fits =
            |states: &usize| body.input.len() == inputs.len() && body.output.len() >= *states;
        let states = states.filter(fits).ok_or_else(|| {
            unsupported(node, "its inputs and outputs are not those of its body".into())
        })?;
        let info = |which: &str, index: usize, rank: usize| -> Result<ScanInfo> {
            let of = |name: &str| node.ints(&format!("scan_{which}_{name}"))?.get(index).copied();
            let axis = of("axes").unwrap_or(0);
            let from_start = if axis < 0 { axis + rank as i64 } else { axis };
            let axis = usize::try_from(from_start).ok().filter(|axis| *axis < rank);
            let axis =
                axis.ok_or_else(|| unsupported(node, format!("an {which} has no such axis")))?;
            Ok(ScanInfo { axis, chunk: if of("directions") == Some(1) { -1 } else { 1 } })
        };

        let mut walk = Walk::new(self.context.clone(), self.lowered, Some(self));
        let (mut taken, mut given) = (Vec::new(), Vec::new());
        for (index, (value, outlet)) in body.input.iter().zip(&inputs).enumerate() {
            let fact = self.model.outlet_fact(*outlet).map_err(|e| refused(value.name(), &e))?;
            let mut fact = fact.datum_type.fact(fact.shape.clone());
            if index < states {
                walk.source(value.name(), fact)?;
                taken.push(InputMapping::State);
                continue;
            }
            let info = info("input", index - states, fact.rank())?;
            fact.shape.set(info.axis, 1.to_dim());
            let source = walk.source(value.name(), fact)?;
            let row = walk.wire(node, AxisOp::Rm(info.axis), &[source])?[0];
            walk.outlets.insert(value.name().to_owned(), row);
            taken.push(InputMapping::Scan(info));
        }
        let mut made = walk.graph(body)?;
        for (index, outlet) in made.iter_mut().enumerate() {
            if index < states {
                given.push(OutputMapping {
                    state: true,
                    last_value_slot: Some(index),
                    ..OutputMapping::default()
                });
                continue;
            }
            let rank =
                walk.model.outlet_fact(*outlet).map_err(|e| refused(node.label(), &e))?.rank();
            let info = info("output", index - states, rank + 1)?;
            *outlet = walk.wire(node, AxisOp::Add(info.axis), &[*outlet])?[0];
            given.push(OutputMapping { scan: Some((index, info)), ..OutputMapping::default() });
        }
        let (model, captured) = walk.finish(&made)?;
        taken.extend(captured.iter().map(|_| InputMapping::Full));
        for value in &captured {
            inputs.push(self.outlet(value)?);
        }
        let op = Scan::new(model, taken, given, 0).map_err(|e| refused(node.label(), &e))?;
        self.wire(node, op, &inputs)
    }

    /// Where an input is.
    fn input(&mut self, node: &NodeProto, index: usize) -> Result<OutletId> {
        match node.input(index) {
            Some(value) => self.outlet(value),
            None => Err(unsupported(node, format!("its input {index} is missing"))),
        }
    }

    fn number(&mut self, node: &NodeProto, value: Tensor) -> Result<OutletId> {
        let name = self.node_names.unique(node.label());
        self.model.add_const(name, value).map_err(|e| refused(node.label(), &e))
    }
}

/// The graph that a node holds under this name.
fn held<'n>(node: &'n NodeProto, name: &str) -> Result<&'n GraphProto> {
    let graph = node.attribute(name).and_then(|a| a.g.as_ref());
    graph.ok_or_else(|| unsupported(node, format!("it has no graph `{name}`")))
}
