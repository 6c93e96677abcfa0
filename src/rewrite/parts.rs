//! Into which parts a graph cuts the outputs of a fused projection.
//!
//! ```text
//! y[…, 96] ─ Add ─ Reshape[…, 3, 4, 8] ─ Transpose ─ Gather(0), Gather(1), Gather(2)   ⇒   32 rows each
//! ```
//!
//! A projection has a row of its weight for each of its `n` outputs. Its value is followed through the nodes
//! that only move the outputs about, with the rows that each axis holds, until nodes cut one of these axes.

use crate::{
    graph::{Constants, View, facts},
    proto::{NodeProto, tensor_shape_proto::dimension},
};
use std::{cell::RefCell, collections::HashMap, ops::Range};

/// How many rows each part has into which the graph cuts the outputs of a projection of `n` rows; empty
/// where it does not, or where the rows of a part do not follow each other, as where heads are cut one by
/// one.
///
/// A `shape` is that of the output where it has the rows along several axes.
pub(super) fn part_sizes(
    view: &View,
    constants: &Constants,
    output: &str,
    n: usize,
    shape: Option<&Vec<i64>>,
) -> Vec<usize> {
    let mut rows = Rows { rank: view.rank(output), ..Rows::of(n) };
    if let Some(shape) = shape {
        let shape: Vec<_> = shape.iter().copied().map(Some).collect();
        let Some(several) = rows.reshaped(&shape) else { return Vec::new() };
        rows = several;
    }
    let mut integers =
        Integers { view, constants, n, whole: vec![output], known: RefCell::default() };
    let (mut pieces, mut values) = (Vec::new(), vec![(output, rows)]);
    while let Some((value, rows)) = values.pop() {
        let readers = view.uses(value).iter().map(|u| view.node(u.node));
        let readers: Vec<&NodeProto> =
            readers.filter(|node| !matches!(node.standard(), "Shape" | "Size")).collect();
        let first = readers.iter().copied().filter(|node| node.input(0) == Some(value));
        let cuts: Vec<Rows> =
            first.filter_map(|node| rows.cut(node, &integers)).flatten().collect();
        if !cuts.is_empty() {
            pieces.extend(cuts);
            continue;
        }
        for node in &readers {
            let in_place = is_in_place(node);
            // Beside other readers, arithmetic is more than the way to a part.
            let on_the_way = readers.len() == 1 || !in_place;
            let moved = rows.moved(node, &integers).filter(|_| on_the_way);
            let Some((moved, next)) = moved.zip(node.output(0)) else { continue };
            if in_place {
                integers.whole.push(next);
            }
            values.push((next, moved));
        }
    }
    sizes(&pieces, n).unwrap_or_default()
}

/// Whether a node leaves each element where it is.
fn is_in_place(node: &NodeProto) -> bool {
    facts::adjusts(node) || facts::keeps(node)
}

/// The sizes of parts that follow each other from the first row to the last.
fn sizes(pieces: &[Rows], n: usize) -> Option<Vec<usize>> {
    let mut parts: Vec<Range<usize>> = pieces.iter().map(Rows::range).collect::<Option<_>>()?;
    parts.sort_unstable_by_key(|part| (part.start, part.end));
    parts.dedup();
    let joined = parts.windows(2).all(|pair| pair[0].end == pair[1].start);
    let covers = parts.first()?.start == 0 && parts.last()?.end == n;
    (parts.len() > 1 && joined && covers)
        .then(|| parts.into_iter().map(|part| part.len()).collect())
}

/// Which rows a value holds.
#[derive(Debug, Clone)]
struct Rows {
    /// How many axes the value has, where that is known.
    rank: Option<usize>,
    /// The row at the first place of each axis.
    start: usize,
    /// The axes along which the row changes, in the order in which they count them.
    axes: Vec<Axis>,
}

#[derive(Debug, Clone, Copy)]
struct Axis {
    /// How many axes of the value come after it.
    back: usize,
    length: usize,
    /// How many rows lie between one place and the next.
    stride: usize,
}

impl Rows {
    /// The rows of a last axis of this length.
    fn of(length: usize) -> Self {
        Rows { rank: None, start: 0, axes: vec![Axis { back: 0, length, stride: 1 }] }
    }

    /// The rows, if they follow each other.
    fn range(&self) -> Option<Range<usize>> {
        let mut axes = self.axes.clone();
        axes.sort_unstable_by_key(|axis| axis.stride);
        let mut count = 1;
        for axis in axes.into_iter().filter(|axis| axis.length > 1) {
            if axis.stride != count {
                return None;
            }
            count *= axis.length;
        }
        Some(self.start..self.start + count)
    }

    /// What a node takes of the rows, for each of its outputs, if it cuts one of the axes.
    fn cut(&self, node: &NodeProto, integers: &Integers) -> Option<Vec<Rows>> {
        match node.standard() {
            "Split" => self.split(node, node.output.len(), integers),
            "SplitToSequence" => self.split(node, 1, integers),
            "Slice" => self.sliced(node, integers),
            "Gather" => self.gathered(node, integers),
            _ => None,
        }
    }

    /// Parts of given sizes, or else as many of one size.
    fn split(&self, node: &NodeProto, count: usize, integers: &Integers) -> Option<Vec<Rows>> {
        let at = self.cut_along(node.int("axis").unwrap_or(0))?;
        let length = self.axes[at].length;
        let sizes = match integers.given(node, "split", 1) {
            Some(sizes) => lengths(&sizes)?,
            None => vec![length.checked_div(count)?; count],
        };
        let total = sizes.iter().try_fold(0usize, |total, size| total.checked_add(*size));
        let mut end = 0;
        let part = |size: &usize| {
            end += size;
            self.part(at, end - size..end, 1)
        };
        (total == Some(length) && sizes.len() > 1).then(|| sizes.iter().map(part).collect())
    }

    fn sliced(&self, node: &NodeProto, integers: &Integers) -> Option<Vec<Rows>> {
        let starts = integers.given(node, "starts", 1)?;
        let ends = integers.given(node, "ends", 2)?;
        let axes = integers.given(node, "axes", 3);
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = integers.given(node, "steps", 4).unwrap_or_else(|| vec![1; starts.len()]);
        let mut along =
            axes.iter().enumerate().filter_map(|(i, axis)| Some((i, self.cut_along(*axis)?)));
        let (i, at) = along.next()?;
        let length = self.axes[at].length as i64;
        let place = |bound: &i64| {
            let from_front = if *bound < 0 { bound.saturating_add(length) } else { *bound };
            from_front.clamp(0, length) as usize
        };
        let range = place(starts.get(i)?)..place(ends.get(i)?);
        let step = usize::try_from(*steps.get(i)?).ok().filter(|step| *step > 0)?;
        (!range.is_empty()).then(|| vec![self.part(at, range, step)])
    }

    fn gathered(&self, node: &NodeProto, integers: &Integers) -> Option<Vec<Rows>> {
        let at = self.cut_along(node.int("axis").unwrap_or(0))?;
        let length = self.axes[at].length as i64;
        let from_front =
            |index: &i64| if *index < 0 { index.saturating_add(length) } else { *index };
        let places: Vec<i64> = integers.given(node, "indices", 1)?.iter().map(from_front).collect();
        let (first, last) = (*places.first()?, *places.last()?);
        let range = places.iter().copied().eq(first..=last) && first >= 0 && last < length;
        range.then(|| vec![self.part(at, first as usize..last as usize + 1, 1)])
    }

    /// The axis that a node cuts. Where nothing tells how many axes there are, one that is not the first is
    /// taken for the last.
    fn cut_along(&self, axis: i64) -> Option<usize> {
        let last = (axis > 0 && self.rank.is_none()).then_some(0);
        let back = back(axis, self.rank).or(last)?;
        self.axes.iter().position(|axis| axis.back == back)
    }

    /// What a range of an axis holds.
    fn part(&self, at: usize, range: Range<usize>, step: usize) -> Rows {
        let mut part = self.clone();
        let axis = &mut part.axes[at];
        part.start += range.start * axis.stride;
        (axis.length, axis.stride) = (range.len().div_ceil(step), axis.stride * step);
        part
    }

    /// Where a node that cuts no axis puts the rows.
    fn moved(&self, node: &NodeProto, integers: &Integers) -> Option<Rows> {
        match node.standard() {
            _ if is_in_place(node) => Some(self.clone()),
            "Reshape" => self.reshaped(&integers.of(node.input(1)?)?),
            "Transpose" => {
                let perm = node.ints("perm")?;
                let place = |back: usize| {
                    let from = perm.len().checked_sub(back + 1)?;
                    let to = perm.iter().position(|p| usize::try_from(*p) == Ok(from))?;
                    Some(perm.len() - to - 1)
                };
                self.placed(Some(perm.len()), place)
            }
            "Unsqueeze" => {
                let axes = integers.given(node, "axes", 1)?;
                let rank = self.rank.map(|rank| rank + axes.len());
                let new = backs(&axes, rank)?;
                self.placed(rank, |back| (0..).filter(|b| !new.contains(b)).nth(back))
            }
            "Squeeze" => {
                let axes = integers.given(node, "axes", 1)?;
                let gone = backs(&axes, self.rank)?;
                let rank = self.rank.and_then(|rank| rank.checked_sub(axes.len()));
                let after = |back: usize| gone.iter().filter(|gone| **gone < back).count();
                self.placed(rank, |back| (!gone.contains(&back)).then(|| back - after(back)))
            }
            _ => None,
        }
    }

    fn placed(&self, rank: Option<usize>, to: impl Fn(usize) -> Option<usize>) -> Option<Rows> {
        let mut rows = Rows { rank, ..self.clone() };
        for axis in &mut rows.axes {
            axis.back = to(axis.back)?;
        }
        Some(rows)
    }

    /// The rows by the last axes of a new shape, if they were by the last axes before, in the same order.
    fn reshaped(&self, shape: &[Option<i64>]) -> Option<Rows> {
        let count: usize = self.axes.iter().map(|axis| axis.length).product();
        let mut stride = count;
        for (back, axis) in (0..self.axes.len()).rev().zip(&self.axes) {
            stride /= axis.length;
            if (axis.back, axis.stride) != (back, stride) {
                return None;
            }
        }
        let mut axes = Vec::new();
        for (back, length) in last_lengths(shape, count)?.into_iter().rev().enumerate() {
            axes.push(Axis { back, length, stride });
            stride *= length;
        }
        axes.reverse();
        Some(Rows { rank: Some(shape.len()), axes, ..*self })
    }
}

/// The lengths of the last axes of a shape, as many as hold `count` elements. One of them may be unknown, if
/// the axes of the batch come before a known one.
fn last_lengths(shape: &[Option<i64>], count: usize) -> Option<Vec<usize>> {
    let known =
        |length: &Option<i64>| usize::try_from((*length)?).ok().filter(|length| *length > 0);
    let mut product = 1usize;
    for (at, length) in shape.iter().enumerate().rev() {
        let Some(length) = known(length) else { break };
        product = product.checked_mul(length)?;
        if product == count {
            return shape[at..].iter().map(known).collect();
        }
    }
    let rest = &shape[shape.iter().position(|length| known(length).is_some())?..];
    let unknown = rest.iter().filter(|length| known(length).is_none()).count();
    let product = rest.iter().filter_map(known).try_fold(1usize, usize::checked_mul)?;
    let fits = unknown == 1 && count.is_multiple_of(product);
    fits.then(|| rest.iter().map(|length| known(length).unwrap_or(count / product)).collect())
}

fn back(axis: i64, rank: Option<usize>) -> Option<usize> {
    match usize::try_from(axis) {
        Ok(axis) => rank?.checked_sub(axis + 1),
        Err(_) => usize::try_from(-1 - axis).ok(),
    }
}

fn backs(axes: &[i64], rank: Option<usize>) -> Option<Vec<usize>> {
    axes.iter().map(|axis| back(*axis, rank)).collect()
}

fn lengths(integers: &[i64]) -> Option<Vec<usize>> {
    integers.iter().map(|i| usize::try_from(*i).ok()).collect()
}

/// The most integers of a vector, and the most vectors, that are looked at.
const MANY: usize = 64;

/// Some are not known: they depend on the batch.
type Vector = Vec<Option<i64>>;

/// Integers that a graph computes from the shapes of values.
struct Integers<'a, 'm> {
    view: &'a View<'m>,
    constants: &'a Constants<'a, 'm>,
    n: usize,
    /// Values whose last axis holds all rows.
    whole: Vec<&'a str>,
    known: RefCell<HashMap<String, Option<Vector>>>,
}

impl Integers<'_, '_> {
    /// What a node gives as an attribute or, from a later opset on, as an input, if all of it is known.
    fn given(&self, node: &NodeProto, attribute: &str, input: usize) -> Option<Vec<i64>> {
        match node.ints(attribute) {
            Some(given) => Some(given.to_vec()),
            None => self.of(node.input(input)?)?.into_iter().collect(),
        }
    }

    fn of(&self, value: &str) -> Option<Vector> {
        if let Some(known) = self.known.borrow().get(value) {
            return known.clone();
        }
        if self.known.borrow().len() == MANY {
            return None;
        }
        // What depends on itself is not known.
        self.known.borrow_mut().insert(value.to_owned(), None);
        let found = match self.constants.is_constant(value) {
            true => self.constants.value(value).ok()?.to_i64s()?.into_iter().map(Some).collect(),
            false => self.computed(self.view.node(self.view.producer(value)?))?,
        };
        let found = Some(found).filter(|vector: &Vector| vector.len() <= MANY);
        self.known.borrow_mut().insert(value.to_owned(), found.clone());
        found
    }

    fn computed(&self, node: &NodeProto) -> Option<Vector> {
        let operand = || self.of(node.input(0)?);
        match node.standard() {
            "Shape" => {
                let value = node.input(0)?;
                let rank = self.view.rank(value)? as i64;
                let place = |axis: i64| (if axis < 0 { axis + rank } else { axis }).clamp(0, rank);
                let (start, end) =
                    (node.int("start").unwrap_or(0), node.int("end").unwrap_or(rank));
                Some((place(start)..place(end)).map(|axis| self.length(value, axis)).collect())
            }
            "Gather" => {
                let [index] = self.given(node, "indices", 1)?[..] else { return None };
                let shape = self.view.producer(node.input(0)?).map(|id| self.view.node(id));
                if let Some(shape) =
                    shape.filter(|node| node.is("Shape") && node.attribute.is_empty())
                {
                    return Some(vec![self.length(shape.input(0)?, index)]);
                }
                let vector = operand()?;
                Some(vec![*vector.get(Rows::of(vector.len()).gathered(node, self)?[0].start)?])
            }
            "Slice" => {
                let vector = operand()?;
                let range = Rows::of(vector.len()).sliced(node, self)?[0].range()?;
                vector.get(range).map(<[_]>::to_vec)
            }
            "Concat" => {
                let parts = node.input.iter().map(|input| self.of(input));
                Some(parts.collect::<Option<Vec<_>>>()?.concat())
            }
            "Cast" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" => operand(),
            "Add" => self.each(node, i64::checked_add),
            "Sub" => self.each(node, i64::checked_sub),
            "Mul" => self.each(node, i64::checked_mul),
            "Div" => self.each(node, i64::checked_div),
            _ => None,
        }
    }

    fn each(&self, node: &NodeProto, apply: fn(i64, i64) -> Option<i64>) -> Option<Vector> {
        let (a, b) = (self.of(node.input(0)?)?, self.of(node.input(1)?)?);
        let at = |vector: &Vector, i: usize| vector[if vector.len() == 1 { 0 } else { i }];
        let fits = a.len() == b.len() || a.len() == 1 || b.len() == 1;
        let count = if a.len() == 1 { b.len() } else { a.len() };
        fits.then(|| (0..count).map(|i| apply(at(&a, i)?, at(&b, i)?)).collect())
    }

    /// The length of an axis. Of a value of unknown rank, one that is neither batch nor sequence is taken for
    /// the last.
    fn length(&self, value: &str, axis: i64) -> Option<i64> {
        let rank = self.view.rank(value);
        let back = if rank.is_none() && axis > 1 { 0 } else { back(axis, rank)? };
        if back == 0 && self.whole.contains(&value) {
            return i64::try_from(self.n).ok();
        }
        let dims = &self.view.declared(value)?.shape.as_ref()?.dim;
        match dims[dims.len().checked_sub(back + 1)?].value {
            Some(dimension::Value::DimValue(length)) => Some(length),
            _ => None,
        }
    }
}
