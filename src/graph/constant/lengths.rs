//! Lengths of axes that are known though the value is not.
//!
//! `Shape` of a value is no constant where a batch may have any size, yet the width in it is one. So the elements
//! of such a list are followed through the nodes, [`UNKNOWN`] among them, and a node that takes none but known
//! ones has a constant value.

use super::{Constants, Origin, Output, SMALL, compute, elementwise::aligned, layout};
use crate::array::Array;
use crate::graph::{
    facts,
    id::{GraphId, NodeId},
    view::{Definition, View},
};
use crate::proto::{
    NodeProto, TensorProto, element_count, tensor_shape_proto::dimension::Value::DimValue,
};

/// Stands for a length that is not known, which no axis has.
const UNKNOWN: i64 = i64::MIN;

/// The most nodes between a list of lengths and what tells them.
const STEPS: usize = 12;

impl Constants<'_, '_> {
    /// Whether a node takes lengths that are known: its value is among the small ones then.
    pub(super) fn is_measured(&self, id: NodeId) -> bool {
        let view = self.graph_of(id);
        let measured = || self.memo().measured.get(&id).copied();
        if takes_lengths(view, view.node(id)) && measured().is_none() {
            // In order, so that none has to wait for another.
            let nodes = view.nodes().filter(|(at, node)| *at <= id && takes_lengths(view, node));
            nodes.for_each(|(at, _)| self.measure(at));
        }
        measured().unwrap_or(false)
    }

    fn measure(&self, id: NodeId) {
        if self.memo().measured.contains_key(&id) {
            return;
        }
        self.memo().measured.insert(id, false);
        let is_known = |list: &Array| list.to_i64s().is_some_and(|list| !list.contains(&UNKNOWN));
        if let Some(list) = self.made_list(id, STEPS).filter(is_known) {
            let mut memo = self.memo();
            memo.measured.insert(id, true);
            memo.small.insert(Output { node: id, index: 0 }, list);
        }
    }

    /// A list of lengths that a node of the graph reads.
    fn list(&self, value: &str, steps: usize) -> Option<Array> {
        match self.origin(value).ok()? {
            Origin::Stored(tensor) if !is_small(tensor) => None,
            origin if self.verdict(origin).is_ok() => self.known(origin).ok(),
            Origin::Made(Output { node, index: 0 }) => self.made_list(node, steps.checked_sub(1)?),
            _ => None,
        }
    }

    /// The list that a node makes, where it computes nothing with the elements.
    fn made_list(&self, id: NodeId, steps: usize) -> Option<Array> {
        let (node, around) = (self.node(id), self.at(id));
        let (first, others) = node.input.split_first()?;
        let list = |value: &String| around.list(value, steps).map(Some);
        let given = |value: &String| match value.is_empty() {
            true => Some(None),
            false => around.value(value).ok().map(Some),
        };
        let inputs = match node.standard() {
            "Shape" => {
                let lengths = around.lengths(first, steps)?;
                return layout::shape_list(node, &lengths).ok();
            }
            "Concat" => node.input.iter().map(list).collect::<Option<_>>()?,
            "Gather" | "Identity" | "Reshape" | "Slice" | "Squeeze" | "Unsqueeze" => {
                let mut inputs = others.iter().map(given).collect::<Option<Vec<_>>>()?;
                inputs.insert(0, list(first)?);
                inputs
            }
            _ => return None,
        };
        compute(node, inputs, SMALL).ok()?.pop()
    }

    /// The lengths of the axes of a value that a node of the graph reads.
    fn lengths(&self, value: &str, steps: usize) -> Option<Vec<i64>> {
        let told = match self.origin(value) {
            Ok(Origin::Stored(tensor)) => Some(tensor.dims.clone()),
            Ok(Origin::Made(Output { node, index: 0 })) if steps > 0 => {
                self.made_lengths(node, steps - 1)
            }
            _ => None,
        };
        told.or_else(|| declared(self.view, value))
    }

    fn made_lengths(&self, id: NodeId, steps: usize) -> Option<Vec<i64>> {
        let (node, around) = (self.node(id), self.at(id));
        let of = |index: usize| around.lengths(node.input(index)?, steps);
        let list = |index: usize| around.list(node.input(index)?, steps)?.to_i64s();
        match node.standard() {
            "Constant" => Some(node.tensor("value")?.dims.clone()),
            "Transpose" => {
                let from = of(0)?;
                let of_axis = |axis: &i64| from.get(usize::try_from(*axis).ok()?).copied();
                match node.ints("perm") {
                    Some(perm) => perm.iter().map(of_axis).collect(),
                    None => Some(from.into_iter().rev().collect()),
                }
            }
            "Reshape" => {
                let known = |length: i64| if length > 0 { length } else { UNKNOWN };
                Some(list(1)?.into_iter().map(known).collect())
            }
            "Tile" => {
                let (from, times) = (of(0)?, list(1)?);
                let tiled = |(length, times): (i64, i64)| match [length, times].contains(&UNKNOWN) {
                    true => Some(UNKNOWN),
                    false => length.checked_mul(times),
                };
                from.into_iter().zip(times).map(tiled).collect()
            }
            "Expand" => broadcast(&of(0)?, &list(1)?),
            "Add" | "Div" | "Mul" | "Sub" if node.attribute("broadcast").is_none() => {
                broadcast(&of(0)?, &of(1)?)
            }
            "MatMul" => {
                let mut rows = of(0).filter(|rows| rows.len() > 1)?;
                let [_, width] = of(1)?.try_into().ok()?;
                *rows.last_mut()? = width;
                Some(rows)
            }
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => of(0),
            _ if facts::keeps(node) => of(0),
            _ => {
                let list = self.made_list(id, steps)?;
                Some(list.shape().iter().map(|&length| length as i64).collect())
            }
        }
    }
}

/// Whether a node lists lengths, or takes some from such a list.
fn takes_lengths(view: &View, node: &NodeProto) -> bool {
    let is_list = |value| match view.find(value) {
        Some((view, Definition::Made(node))) => view.node(node).is("Shape"),
        _ => false,
    };
    match node.standard() {
        "Shape" => true,
        "Gather" | "Slice" => node.input(0).is_some_and(is_list),
        _ => false,
    }
}

/// Whether a tensor has few enough elements for a list of lengths.
fn is_small(tensor: &TensorProto) -> bool {
    element_count(tensor).is_some_and(|count| count <= SMALL / size_of::<i64>())
}

/// The lengths that the file declares: what the model is given has them, of what it makes they tell how many.
fn declared(view: &View, value: &str) -> Option<Vec<i64>> {
    let shape = view.declared(value)?.shape.as_ref()?;
    let holds =
        matches!(view.find(value), Some((at, Definition::Input(_))) if at.id() == GraphId::MAIN);
    let length = |value| match value {
        Some(DimValue(length)) if holds => length,
        _ => UNKNOWN,
    };
    Some(shape.dim.iter().map(|dim| length(dim.value.clone())).collect())
}

/// The lengths of what is made of operands that are repeated to fit each other.
fn broadcast(a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    let fits = |lengths| match lengths {
        (1, n) | (n, 1) | (UNKNOWN, n) | (n, UNKNOWN) => Some(n),
        (m, n) => (m == n).then_some(m),
    };
    aligned(a, b, 1).map(fits).collect()
}
