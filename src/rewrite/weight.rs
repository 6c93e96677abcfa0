//! A projection's weight, as its node reads it.

use crate::{
    draft,
    graph::{Constants, Fold, NotConstant},
    proto::{TensorProto, element_count, tensor_bytes, tensor_proto::DataType, type_name},
    quant::{self, Layout, Storage},
};
use bytes::Bytes;
use std::borrow::Cow;

/// A constant matrix with `n` rows (outputs) of `k` columns (inputs).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Weight {
    /// The initializer that holds it, or the constant expression's value where it is one of a stack or none.
    pub name: String,
    /// The value that the node reads.
    pub value: String,
    /// How many axes that has.
    pub rank: usize,
    /// How those make up a matrix, where they are other than two.
    pub fold: Option<Fold>,
    /// Every initializer that it is made of.
    pub leaves: Vec<String>,
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// How the data lie.
    pub layout: Layout,
    /// Their type.
    pub storage: Storage,
    /// The data, little-endian. Empty between survey and conversion where they can be computed again.
    pub data: Bytes,
    /// The type of the stored elements, as reports have it.
    pub dtype: String,
    /// Bytes that the source stores for it.
    pub stored_bytes: u64,
    /// The initializer that is this very matrix, in this layout and type, where there is one.
    pub stored_as_is: Option<String>,
}

impl Weight {
    /// The weight that a value is; `layout` is how the node that multiplies by it reads it, where
    /// it has no axes but those of a matrix, and `fold` how they make up one. An error, as what can be said of the value, where it is none.
    pub(super) fn read(
        constants: &Constants,
        value: &str,
        layout: Layout,
        fold: Option<Fold>,
    ) -> Result<Weight, String> {
        let unreadable = |why: NotConstant| format!("can't be read: {why}");
        let matrix = constants.folded(value, fold.as_ref()).map_err(unreadable)?;
        let layout = if matrix.transposed { layout.flipped() } else { layout };
        let [rows, columns] = matrix.stored;
        let (n, k) = match layout {
            Layout::OutIn => (rows, columns),
            Layout::InOut => (columns, rows),
        };
        if n == 0 || k == 0 {
            return Err("is empty".into());
        }
        let leaves = constants.expression(value).map_err(unreadable)?.initializers;
        let largest = leaves.iter().max_by_key(|leaf| tensor_bytes(leaf));
        let stacked = |leaf: &TensorProto| element_count(leaf).is_some_and(|count| count > n * k);
        let whole = largest.filter(|leaf| !stacked(leaf));
        Ok(Weight {
            name: whole.map_or(value, |leaf| leaf.name()).to_owned(),
            value: value.to_owned(),
            rank: matrix.rank,
            fold,
            dtype: largest.map_or(String::new(), |leaf| dtype(leaf)),
            stored_bytes: leaves.iter().map(|leaf| share_of(leaf, n * k)).sum(),
            leaves: leaves.iter().map(|leaf| leaf.name().to_owned()).collect(),
            stored_as_is: matrix.initializer,
            n,
            k,
            layout,
            storage: draft::storage(matrix.dtype).ok_or("has elements that are no floats")?,
            data: matrix.bytes,
        })
    }

    /// The type of the data.
    pub fn data_type(&self) -> DataType {
        draft::data_type(self.storage)
    }

    /// Lets go of data that [`Weight::recall`] can compute again: those of all weights of a model in f32
    /// may be more than fits into memory.
    pub(super) fn forget(&mut self) {
        if self.stored_as_is.is_none() {
            self.data = Bytes::new();
        }
    }

    /// The weight with its data; `constants` are those of its graph.
    pub(super) fn recall(&self, constants: &Constants) -> Result<Cow<'_, Weight>, String> {
        if !self.data.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let matrix = constants.folded(&self.value, self.fold.as_ref());
        let matrix =
            matrix.map_err(|e| format!("its weight `{}` can't be read: {e}", self.value))?;
        Ok(Cow::Owned(Weight { data: matrix.bytes, ..self.clone() }))
    }

    /// The matrix for the quantiser.
    pub fn matrix(&self) -> Result<quant::Matrix<'_>, quant::Error> {
        quant::Matrix::new(&self.data, self.storage, self.layout, self.n, self.k)
    }
}

/// Bytes of a tensor that a weight of so many elements takes, which may be one of a stack.
fn share_of(tensor: &TensorProto, elements: usize) -> u64 {
    let bytes = tensor_bytes(tensor) as u64;
    match element_count(tensor) {
        Some(count) if count > elements => bytes / count as u64 * elements as u64,
        _ => bytes,
    }
}

/// The element type's short name for the common floats, ONNX's for the others.
fn dtype(tensor: &TensorProto) -> String {
    match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Float) => "f32".into(),
        Ok(DataType::Float16) => "f16".into(),
        Ok(DataType::Bfloat16) => "bf16".into(),
        _ => type_name(tensor.data_type()),
    }
}
