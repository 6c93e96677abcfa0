//! What is known of a value's shape, told by the file or by the nodes around the value.

use super::cut::Sight;
use crate::{
    graph::{Constants, View, is_elementwise},
    proto::tensor_shape_proto::{Dimension, dimension::Value::DimValue},
};

/// The number of axes that a value has at least, where anything tells.
pub fn rank<'m>(view: &View<'m>, constants: &Constants<'_, 'm>, value: &str) -> Option<usize> {
    Sight::new(view, constants).shape(value).rank
}

/// The number of a value's axes, and the length of the last one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub rank: Option<usize>,
    pub width: Option<usize>,
}

impl Shape {
    /// The numbers of axes that a value may have, the most common first.
    pub fn ranks(self) -> Vec<usize> {
        self.rank.map_or(vec![3, 2, 4], |rank| vec![rank])
    }
}

impl Sight<'_, '_> {
    /// The lengths of a value's axes, where the file tells how many there are.
    pub fn lengths(&self, value: &str) -> Option<Vec<Option<usize>>> {
        let length = |length: i64| usize::try_from(length).ok();
        let declared = self.view.declared(value).and_then(|declared| declared.shape.as_ref());
        let declared = declared.map(|shape| {
            let known = |dim: &Dimension| match dim.value {
                Some(DimValue(known)) => length(known),
                _ => None,
            };
            shape.dim.iter().map(known).collect()
        });
        let stored = || self.view.initializer(value).map(|tensor| &tensor.dims);
        declared.or_else(|| Some(stored()?.iter().map(|n| length(*n)).collect()))
    }

    /// What the file tells of a value's shape, or what it is made of, or what reads it.
    pub fn shape(&self, value: &str) -> Shape {
        self.shape_within(value, 8)
    }

    fn shape_within(&self, value: &str, steps: usize) -> Shape {
        let known = self.lengths(value).map(|lengths| Shape {
            rank: Some(lengths.len()),
            width: lengths.last().map_or(Some(1), |last| *last),
        });
        let known = known.unwrap_or_default();
        if known.rank.and(known.width).is_some() || steps == 0 {
            return known;
        }
        let made = self.made_shape(value, steps - 1).unwrap_or_default();
        Shape {
            rank: known.rank.or(made.rank),
            width: known.width.or(made.width).or_else(|| self.read_width(value)),
        }
    }

    fn made_shape(&self, value: &str, steps: usize) -> Option<Shape> {
        let node = self.node(self.view.producer(value)?);
        let of = |index: usize| node.input(index).map(|input| self.shape_within(input, steps));
        Some(match node.standard() {
            "Reshape" => {
                let target = self.constants.value(node.input(1)?).ok()?.to_i64s()?;
                let width = usize::try_from(*target.last()?).ok().filter(|length| *length > 0);
                Shape { rank: Some(target.len()), width }
            }
            "Transpose" => {
                let perm = node.ints("perm");
                let last = usize::try_from(*perm.map_or(Some(&0), <[i64]>::last)?).ok()?;
                let width = self.lengths(node.input(0)?).and_then(|lengths| *lengths.get(last)?);
                Shape { rank: perm.map(<[i64]>::len), width }
            }
            "MatMul" => {
                let (a, b) = (of(0)?, of(1)?);
                // A vector has no axis in the result.
                let known = a.rank.is_some() && ![a.rank, b.rank].contains(&Some(1));
                Shape { rank: a.rank.max(b.rank).filter(|_| known), width: b.width }
            }
            "Gather" if node.int("axis").unwrap_or(0) == 0 => Shape { rank: None, ..of(0)? },
            _ if is_elementwise(node) => {
                let operands: Vec<Shape> = (0..node.input.len()).filter_map(of).collect();
                let ranks: Option<Vec<usize>> = operands.iter().map(|of| of.rank).collect();
                // Of operands that are repeated to fit, the others tell.
                let width = operands.iter().find_map(|of| of.width.filter(|width| *width > 1));
                Shape { rank: ranks?.into_iter().max(), width }
            }
            _ if node.op_type().ends_with("Normalization") => of(0)?,
            _ => return None,
        })
    }

    /// The length of the rows that a value is read as by a product with a stored matrix.
    fn read_width(&self, value: &str) -> Option<usize> {
        let products = self.view.uses(value).iter().filter(|reader| reader.input == Some(0));
        products.map(|reader| self.node(reader.node)).find_map(|node| {
            let axis = match node.standard() {
                "MatMul" => 0,
                "Gemm" if !node.flag("transA") => usize::from(node.flag("transB")),
                _ => return None,
            };
            let matrix = <[i64; 2]>::try_from(&*self.view.initializer(node.input(1)?)?.dims);
            usize::try_from(matrix.ok()?[axis]).ok()
        })
    }
}
