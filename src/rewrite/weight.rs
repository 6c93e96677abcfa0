//! A projection's weight, as its node reads it.

use super::rule::{Match, Reject};
use crate::{
    graph::{Matrix, NodeId},
    quant::{self, Element, Layout},
};
use bytes::Bytes;

/// A constant matrix with `n` rows (outputs) of `k` columns (inputs).
#[derive(Debug, Clone)]
pub struct Weight {
    /// The initializer that holds it, or the constant expression's value.
    pub name: String,
    /// Every initializer that it is made of.
    pub leaves: Vec<String>,
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// How the data lie.
    pub layout: Layout,
    /// Their type.
    pub element: Element,
    /// The data, little-endian.
    pub data: Bytes,
    /// The type of the stored elements, as reports have it.
    pub dtype: String,
    /// Bytes that the source stores for it.
    pub stored_bytes: u64,
}

impl Weight {
    /// The matrix for the quantiser.
    pub fn matrix(&self) -> quant::Matrix<'_> {
        quant::Matrix {
            data: &self.data,
            element: self.element,
            n: self.n,
            k: self.k,
            layout: self.layout,
        }
    }
}

impl Match<'_, '_> {
    /// The weight that a name of the pattern stands for.
    ///
    /// `layout` is how the node reads it: `MatMul` takes `InOut`, `Gemm` with `transB` `OutIn`.
    pub fn weight(&self, name: &str, layout: Layout) -> Result<Weight, Reject> {
        self.read_weight(self.value(name), layout)
    }

    /// The weight of a product that is not the pattern's root.
    pub fn weight_of(&self, product: NodeId, layout: Layout) -> Result<Weight, Reject> {
        let value = self.view.node(product).input.get(1).map_or("", String::as_str);
        self.read_weight(value, layout)
    }

    fn read_weight(&self, value: &str, layout: Layout) -> Result<Weight, Reject> {
        let refuse = |why: String| Reject::Refuse(format!("its weight `{value}` {why}"));
        let matrix = self.constants.matrix(value).map_err(|e| refuse(format!("can't be read: {e}")))?;
        let Matrix { data, element, rows, columns, transposed } = matrix;
        let layout = if transposed { layout.flipped() } else { layout };
        let (n, k) = match layout {
            Layout::OutIn => (rows, columns),
            Layout::InOut => (columns, rows),
        };
        if n == 0 || k == 0 {
            return Err(refuse("is empty".into()));
        }
        let leaves = self.constants.leaves(value);
        let largest = leaves.iter().max_by_key(|leaf| leaf.bytes);
        Ok(Weight {
            name: largest.map_or(value, |leaf| &leaf.name).to_owned(),
            dtype: largest.map_or(String::new(), |leaf| leaf.dtype.to_string()),
            stored_bytes: leaves.iter().map(|leaf| leaf.bytes as u64).sum(),
            leaves: leaves.into_iter().map(|leaf| leaf.name).collect(),
            n,
            k,
            layout,
            element,
            data,
        })
    }
}
