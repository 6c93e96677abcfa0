//! Into which parts a graph cuts the rows of a value.
//!
//! ```text
//! y[…, 96] ─ Add ─ Reshape[…, 3, 4, 8] ─ Transpose ─ Gather(0), Gather(1), Gather(2)   ⇒   32 each
//! ```
//!
//! The elements of one row are numbered, and the numbers evaluated through the nodes that only move elements
//! about, until nodes take some of them.

use super::cut::Sight;
use crate::{
    array::Array,
    graph::{Constants, View, compute, facts, is_elementwise, shape_list},
    proto::NodeProto,
};
use std::{borrow::Cow, collections::HashMap};

/// How many elements each part has into which the graph cuts a value's rows of `n`; empty where it does not, or
/// where the elements of a part do not follow each other, as where heads are cut one by one.
///
/// A `shape` is the value's where a row is several axes, with 0 for those before them.
pub fn part_sizes<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    value: &'m str,
    n: usize,
    shape: Option<&[i64]>,
) -> Vec<usize> {
    let sight = Sight::new(view, constants);
    let one_row = |rank: usize| [vec![1; rank.saturating_sub(1)], vec![n]].concat();
    let shapes: Vec<Vec<usize>> = match shape {
        Some(shape) => vec![shape.iter().map(|length| (*length).max(1) as usize).collect()],
        None => sight.shape(value).ranks().into_iter().map(one_row).collect(),
    };
    let sizes = shapes.into_iter().find_map(|shape| {
        let numbers = Array::from_vec(&shape, (0..n as i64).collect())?;
        let mut row = Row { sight, rank: shape.len(), known: HashMap::new() };
        sizes(&row.parts(value, numbers), n)
    });
    sizes.unwrap_or_default()
}

/// The sizes of parts that follow each other from the first number to the last.
fn sizes(parts: &[Array], n: usize) -> Option<Vec<usize>> {
    let mut parts: Vec<Vec<i64>> = parts.iter().map(Array::to_i64s).collect::<Option<_>>()?;
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts.sort_unstable();
    parts.dedup();
    let all = parts.iter().flatten().copied().eq(0..n as i64);
    (all && parts.len() > 1).then(|| parts.iter().map(Vec::len).collect())
}

/// The most bytes that a node's result may take.
const MOST_BYTES: usize = 16 << 20;
/// The most integers of a vector, and the most values, that are looked at.
const MANY: usize = 64;
/// The length of an axis that is not known, as it depends on the batch: whatever is computed of it is no length.
const OPEN: i64 = -1 << 40;

/// One row of a value, as it is moved through the graph.
struct Row<'a, 'm> {
    sight: Sight<'a, 'm>,
    /// How many axes the value has.
    rank: usize,
    /// The numbers of its elements where these are, and integers made of stored ones and of shapes.
    known: HashMap<&'m str, Option<Array>>,
}

impl<'m> Row<'_, 'm> {
    /// The numbers that each part holds.
    fn parts(&mut self, value: &'m str, numbers: Array) -> Vec<Array> {
        let (view, n) = (self.sight.view, numbers.len());
        let (mut parts, mut ahead) = (Vec::new(), vec![(value, numbers)]);
        while let Some((value, numbers)) = ahead.pop() {
            self.known.insert(value, Some(numbers.clone()));
            let readers = view.uses(value).iter().map(|reader| view.node(reader.node));
            let readers: Vec<&'m NodeProto> =
                readers.filter(|node| !matches!(node.standard(), "Shape" | "Size")).collect();
            let cuts = readers.iter().copied().filter(|node| facts::cuts(node));
            let cuts = cuts.filter(|node| node.input(0) == Some(value));
            let taken = cuts.filter_map(|node| self.moved(node)).flatten();
            let before = parts.len();
            parts.extend(taken.filter(|part| (1..n).contains(&part.len())));
            if parts.len() > before {
                continue;
            }
            for node in readers.iter().copied() {
                let next = match node.standard() {
                    // Beside other readers, arithmetic is more than the way to a part.
                    _ if is_elementwise(node) => (readers.len() == 1).then(|| numbers.clone()),
                    "Flatten" | "Reshape" | "Squeeze" | "Transpose" | "Unsqueeze" => {
                        self.moved(node).and_then(|made| made.into_iter().next())
                    }
                    _ => None,
                };
                ahead.extend(node.output(0).zip(next));
            }
        }
        parts
    }

    /// What a node makes of the numbers.
    fn moved(&mut self, node: &'m NodeProto) -> Option<Vec<Array>> {
        let mut inputs = self.inputs(node)?;
        let mut node = Cow::Borrowed(node);
        match node.standard() {
            "Reshape" => {
                let count = inputs.first()?.as_ref()?.len();
                let shape = inputs.get_mut(1)?.as_mut()?;
                *shape = shape_of_row(&shape.to_i64s()?, count)?;
            }
            "SplitToSequence" => node.to_mut().op_type = Some("Split".to_owned()),
            _ => {}
        }
        compute(&node, inputs, MOST_BYTES).ok()
    }

    fn inputs(&mut self, node: &'m NodeProto) -> Option<Vec<Option<Array>>> {
        let read = |input: &'m String| match input.as_str() {
            "" => Some(None),
            input => self.known(input).map(Some),
        };
        node.input.iter().map(read).collect()
    }

    fn known(&mut self, value: &'m str) -> Option<Array> {
        if let Some(known) = self.known.get(value) {
            return known.clone();
        }
        if self.known.len() >= MANY {
            return None;
        }
        self.known.insert(value, None);
        let found = self.integers(value).filter(|integers| integers.len() <= MANY);
        self.known.insert(value, found.clone());
        found
    }

    fn integers(&mut self, value: &'m str) -> Option<Array> {
        let Sight { view, constants, .. } = self.sight;
        if constants.is_constant(value) {
            let few = constants.kind(value)?.1.iter().product::<usize>() <= MANY;
            return few.then(|| constants.value(value).ok()).flatten();
        }
        let node = view.node(view.producer(value)?);
        if node.is("Shape") {
            return self.lengths(node);
        }
        let at = node.output.iter().position(|output| output == value)?;
        compute(node, self.inputs(node)?, MOST_BYTES).ok()?.into_iter().nth(at)
    }

    /// What a `Shape` gives.
    fn lengths(&self, node: &NodeProto) -> Option<Array> {
        let value = node.input(0)?;
        let axes: Vec<Option<usize>> = match self.known.get(value) {
            Some(Some(numbers)) => {
                numbers.shape().iter().map(|length| Some(*length).filter(|n| *n > 1)).collect()
            }
            _ => {
                let open = || vec![None; self.sight.shape(value).rank.unwrap_or(self.rank)];
                self.sight.lengths(value).unwrap_or_else(open)
            }
        };
        let lengths: Vec<i64> = axes.into_iter().map(|n| n.map_or(OPEN, |n| n as i64)).collect();
        shape_list(node, &lengths).ok()
    }
}

/// What a shape is for one row of `count` elements, which are those of its last axes. One of their lengths may be
/// unknown, if the axes before them come before a known one.
fn shape_of_row(shape: &[i64], count: usize) -> Option<Array> {
    let is_row = |at: &usize| {
        let product = shape[*at..].iter().try_fold(1usize, |product, length| {
            product.checked_mul(usize::try_from(*length).ok()?)
        });
        product == Some(count)
    };
    let first = (0..shape.len()).rev().find(is_row);
    let first = first.or_else(|| shape.iter().position(|length| *length > 0))?;
    let of_row = |(at, length): (usize, &i64)| match (at < first, *length) {
        (true, _) => 1,
        (false, length) if length > 0 => length,
        _ => -1,
    };
    Array::from_vec(&[shape.len()], shape.iter().enumerate().map(of_row).collect())
}
