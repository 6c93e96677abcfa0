//! Recognises normalisations, as operators and as the nodes that exporters write them as.
//!
//! ```text
//!      ┌─ Pow(2) ─ ReduceMean ─ Add(eps) ─ Sqrt ─┐
//! x ───┴───────────────────────────────────────Div ─ Mul(gain) ─ Add(shift) ─ y
//! ```
//!
//! The picture is one spelling of many: the root may be a `Reciprocal` or a division of one away from the
//! `Mul`, the square a `Mul`, the mean taken off before (LayerNorm), the gain on either side or missing,
//! and `Cast`s may stand between.

use super::{Constants, NodeId, View};
use crate::proto::NodeProto;

/// A normalisation along the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm {
    /// The node that makes its output.
    pub node: NodeId,
    /// What it normalises.
    pub input: String,
    /// What the normalised value is multiplied with, one factor for each element of the last axis.
    pub gain: Option<String>,
    /// What is added under the root; unknown where the operator computes it inside.
    pub eps: Option<f64>,
    /// Whether it divides by the root mean square along axis -1, multiplies with the gain, and does
    /// nothing else.
    pub rms: bool,
}

/// The normalisation that makes a value, by way of nodes that leave every row as it is.
pub fn norm(view: &View, constants: &Constants, value: &str) -> Option<Norm> {
    let search = Search { view, constants };
    let value = search.same_rows(value, &["Identity", "Cast", "Reshape", "Dropout"]);
    search.operator(value).or_else(|| search.spelled_out(value))
}

struct Search<'a, 'm> {
    view: &'a View<'m>,
    constants: &'a Constants<'a, 'm>,
}

impl<'m> Search<'_, 'm> {
    fn made(&self, value: &str) -> Option<(NodeId, &'m NodeProto)> {
        let id = self.view.producer(value)?;
        Some((id, self.view.node(id)))
    }

    /// The node that makes a value, if it has this operator.
    fn made_by(&self, value: &str, op_type: &str) -> Option<(NodeId, &'m NodeProto)> {
        self.made(value).filter(|(_, node)| node.is(op_type))
    }

    /// Back to where a value comes from through these operators.
    fn same_rows<'v>(&self, mut value: &'v str, through: &[&str]) -> &'v str
    where
        'm: 'v,
    {
        while let Some((_, node)) = self.made(value)
            && through.contains(&node.standard())
            && let Some(input) = node.input.first()
        {
            value = input;
        }
        value
    }

    fn operator(&self, value: &str) -> Option<Norm> {
        let (node, made) = self.made(value)?;
        let first = made.output.first().is_some_and(|o| o == value);
        let operator = made.operator();
        let rms = match (operator.domain, operator.name) {
            ("", "RMSNormalization" | "SimplifiedLayerNormalization") => true,
            ("", "LayerNormalization")
            | ("com.microsoft", "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization") => {
                false
            }
            _ => return None,
        };
        let last = made.int("axis").is_none_or(|axis| axis == -1);
        let norm = Norm {
            node,
            input: made.input.first()?.clone(),
            gain: made.input.get(1).cloned(),
            eps: Some(f64::from(made.float("epsilon").unwrap_or(1e-5))),
            rms: rms && last,
        };
        first.then_some(norm)
    }

    fn spelled_out(&self, value: &str) -> Option<Norm> {
        let (node, _) = self.made(value)?;
        let (value, shift) = self.without_vector(value, "Add");
        let (value, gain) = self.without_vector(value, "Mul");
        let value = self.same_rows(value, &["Cast", "Identity"]);
        let (input, root) = self.quotient(value)?;
        let (_, root) = self.made_by(root, "Sqrt")?;
        let (square, eps) = self.without_scalar(root.input.first()?)?;
        let (_, mean) = self.made_by(square, "ReduceMean")?;
        let axis = self.axis(mean)?;
        let squared = self.square(mean.input.first()?)?;
        let exact = squared == input;
        let input = self.same_rows(input, &["Cast", "Identity"]);
        let centred = self.centred(input);
        let rms = centred.is_none() && shift.is_none() && axis == -1;
        let input = centred.unwrap_or(input).to_owned();
        exact.then_some(Norm { node, input, gain: gain.map(str::to_owned), eps: Some(eps), rms })
    }

    /// The two operands of a node, the constant one last.
    fn with_constant(&self, value: &str, op_type: &str) -> Option<[&'m str; 2]> {
        let (_, node) = self.made_by(value, op_type)?;
        let [a, b] = &node.input[..] else { return None };
        match (self.constants.is_constant(a), self.constants.is_constant(b)) {
            (false, true) => Some([a, b]),
            (true, false) => Some([b, a]),
            _ => None,
        }
    }

    /// A value before a vector is multiplied with it or added to it, and the vector.
    fn without_vector<'v>(&self, value: &'v str, op_type: &str) -> (&'v str, Option<&'m str>)
    where
        'm: 'v,
    {
        match self.with_constant(value, op_type) {
            Some([other, vector]) => (other, Some(vector)),
            None => (value, None),
        }
    }

    fn without_scalar(&self, value: &str) -> Option<(&'m str, f64)> {
        let [other, scalar] = self.with_constant(value, "Add")?;
        Some((other, self.constants.scalar(scalar)?))
    }

    /// `x / r`, or `x · (1 / r)`, as x and r.
    fn quotient(&self, value: &str) -> Option<(&'m str, &'m str)> {
        if let Some((_, node)) = self.made_by(value, "Div") {
            return Some((node.input.first()?, node.input.get(1)?));
        }
        let (_, product) = self.made_by(value, "Mul")?;
        let [a, b] = &product.input[..] else { return None };
        let root = |value| self.inverse(value);
        root(b).map(|r| (a.as_str(), r)).or_else(|| root(a).map(|r| (b.as_str(), r)))
    }

    /// `1 / r`, as r.
    fn inverse(&self, value: &str) -> Option<&'m str> {
        let (_, node) = self.made(value)?;
        match node.standard() {
            "Reciprocal" => node.input.first().map(String::as_str),
            "Div" if self.constants.scalar(node.input.first()?) == Some(1.0) => {
                node.input.get(1).map(String::as_str)
            }
            _ => None,
        }
    }

    /// `x²`, as x.
    fn square(&self, value: &str) -> Option<&'m str> {
        let (_, node) = self.made(value)?;
        let [a, b] = &node.input[..] else { return None };
        let square = match node.standard() {
            "Mul" => a == b,
            "Pow" => self.constants.scalar(b) == Some(2.0),
            _ => false,
        };
        square.then_some(a)
    }

    /// The one axis that a reduction works along.
    fn axis(&self, reduction: &NodeProto) -> Option<i64> {
        match self.constants.integers(reduction, "axes", 1)?[..] {
            [axis] => Some(axis),
            _ => None,
        }
    }

    /// `x - mean(x)`, as x.
    fn centred(&self, value: &str) -> Option<&'m str> {
        let (_, node) = self.made_by(value, "Sub")?;
        let [x, mean] = &node.input[..] else { return None };
        let (_, mean) = self.made_by(mean, "ReduceMean")?;
        mean.input.first().filter(|m| *m == x).map(String::as_str)
    }
}
