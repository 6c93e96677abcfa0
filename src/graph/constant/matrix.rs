//! Weights as the file stores them.

use super::{Constants, NotConstant, Origin, layout};
use crate::array::{Array, Element};
use crate::graph::{NodeId, facts};
use crate::proto::{TensorProto, raw_bytes, tensor_proto::DataType, type_name};
use bytes::Bytes;
use half::{bf16, f16};
use ndarray::Array2;

/// A float matrix, sharing the file's bytes where the file stores it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Matrix {
    /// The elements as stored: row-major, little-endian.
    pub bytes: Bytes,
    /// `Float`, `Float16` or `Bfloat16`.
    pub dtype: DataType,
    /// The stored shape.
    pub stored: [usize; 2],
    /// Whether the value is the transpose of what is stored.
    pub transposed: bool,
    /// How many axes the value has.
    pub rank: usize,
    /// The initializer that is this very matrix, if there is one: of this type and stored shape.
    pub initializer: Option<String>,
}

/// The axes of a value that are a matrix's rows, and those that are its columns; each once, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// All of one row.
    pub rows: Vec<usize>,
    /// The rest.
    pub columns: Vec<usize>,
}

impl Fold {
    /// The fold of a value of this shape: the one that is asked for, where it has these axes, or else the
    /// matrix of the last two, where all before them have a length of one.
    fn of(shape: &[usize], asked: Option<&Fold>) -> Option<Fold> {
        if let Some(fold) = asked {
            let mut axes = [&fold.rows[..], &fold.columns].concat();
            axes.sort_unstable();
            return axes.into_iter().eq(0..shape.len()).then(|| fold.clone());
        }
        let last = shape.len().checked_sub(1).filter(|last| *last > 0)?;
        let one = shape[..last - 1].iter().all(|length| *length == 1);
        one.then(|| Fold { rows: (0..last).collect(), columns: vec![last] })
    }

    fn lengths(&self, shape: &[usize]) -> [usize; 2] {
        [&self.rows, &self.columns].map(|axes| axes.iter().map(|axis| shape[*axis]).product())
    }
}

impl Matrix {
    /// The value's shape.
    pub fn shape(&self) -> [usize; 2] {
        let [rows, columns] = self.stored;
        if self.transposed { [columns, rows] } else { [rows, columns] }
    }

    /// The value in `f32`, which holds each type's elements exactly.
    ///
    /// A transposed one keeps the stored order in memory.
    pub fn to_f32(&self) -> Array2<f32> {
        let elements = match self.dtype {
            DataType::Float16 => widen(f16::from_bytes(&self.bytes)),
            DataType::Bfloat16 => widen(bf16::from_bytes(&self.bytes)),
            _ => f32::from_bytes(&self.bytes),
        };
        let stored = Array2::from_shape_vec(self.stored, elements).unwrap_or_default();
        if self.transposed { stored.reversed_axes() } else { stored }
    }
}

impl<'m> Constants<'_, 'm> {
    /// A constant of a float type and two axes, before which any number of length one may come.
    ///
    /// Nothing is copied or computed where a stored tensor reaches the value through `Identity`,
    /// `Transpose`, `Reshape` and `Cast` to its own type alone.
    pub fn matrix(&self, value: &str) -> Result<Matrix, NotConstant> {
        self.folded(value, None)
    }

    /// A constant of a float type, folded into a matrix; without a fold that is [`matrix`](Self::matrix).
    pub fn folded(&self, value: &str, fold: Option<&Fold>) -> Result<Matrix, NotConstant> {
        self.check(value)?;
        match self.stored_matrix(value, fold)? {
            Some(matrix) => Ok(matrix),
            None => computed(self.value(value)?, value, fold),
        }
    }

    /// `None` where something between the stored tensor and the value computes or reorders, or the
    /// value is no float matrix.
    fn stored_matrix(
        &self,
        value: &str,
        fold: Option<&Fold>,
    ) -> Result<Option<Matrix>, NotConstant> {
        let mut path = Vec::new();
        let mut origin = self.origin(value)?;
        let mut is_initializer = true;
        let tensor = loop {
            let Origin::Made(output) = origin else { break origin.tensor() };
            let node = self.node(output.node);
            if node.is("Constant") {
                is_initializer = false;
                break node.tensor("value").filter(|_| node.attribute.len() == 1);
            }
            let moves = facts::passes(node) || node.is("Transpose");
            let input = self.inputs(output.node)?.first().copied().flatten();
            let Some(input) = input.filter(|_| moves) else { return Ok(None) };
            path.push(output.node);
            origin = input;
        };
        let Some(mut looked_at) = tensor.and_then(Look::at) else { return Ok(None) };
        for id in path.into_iter().rev() {
            match self.through(id, looked_at)? {
                Some(look) => looked_at = look,
                None => return Ok(None),
            }
        }
        let rank = looked_at.stored.len();
        let Some(looked_at) = looked_at.folded(fold) else { return Ok(None) };
        let initializer = looked_at.tensor.name();
        let here = self.view.initializer(initializer);
        let is_stored_so = is_initializer && looked_at.is_as_stored();
        let initializer = here
            .filter(|here| is_stored_so && std::ptr::eq(*here, looked_at.tensor))
            .map(|here| here.name().to_owned());
        Ok(looked_at.matrix().map(|matrix| Matrix { initializer, rank, ..matrix }))
    }

    /// How a node's result looks at a stored tensor when its input does; `None` where it does more.
    fn through(&self, id: NodeId, look: Look<'m>) -> Result<Option<Look<'m>>, NotConstant> {
        let node = self.node(id);
        Ok(match node.standard() {
            "Identity" => Some(look),
            "Dropout" => match self.inputs(id)?.get(2).copied().flatten() {
                Some(training) => (self.known(training)?.scalar() == Some(0.0)).then_some(look),
                None => Some(look),
            },
            "Cast" => (node.int("to") == Some(look.tensor.data_type().into())).then_some(look),
            "Transpose" => look.transposed(node.ints("perm")),
            "Reshape" => {
                let Some(Some(target)) = self.inputs(id)?.get(1).copied() else {
                    return Ok(None);
                };
                let target = self.known(target)?.to_i64s().unwrap_or_default();
                let allow_zero = node.flag("allowzero");
                layout::reshaped(&look.shape(), &target, allow_zero)
                    .ok()
                    .and_then(|shape| look.reshaped(shape))
            }
            _ => None,
        })
    }
}

/// A way to look at a stored tensor.
struct Look<'m> {
    tensor: &'m TensorProto,
    stored: Vec<usize>,
    transposed: bool,
}

impl<'m> Look<'m> {
    fn at(tensor: &'m TensorProto) -> Option<Self> {
        let stored = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
        Some(Look { tensor, stored, transposed: false })
    }

    fn shape(&self) -> Vec<usize> {
        let lengths = self.stored.iter().copied();
        if self.transposed { lengths.rev().collect() } else { lengths.collect() }
    }

    fn transposed(mut self, permutation: Option<&[i64]>) -> Option<Self> {
        if self.stored.len() != 2 {
            return None;
        }
        match permutation {
            None | Some([1, 0]) => self.transposed = !self.transposed,
            Some([0, 1]) => {}
            Some(_) => return None,
        }
        Some(self)
    }

    fn reshaped(mut self, shape: Vec<usize>) -> Option<Self> {
        if shape != self.shape() {
            if self.transposed {
                return None;
            }
            self.stored = shape;
        }
        Some(self)
    }

    fn folded(self, fold: Option<&Fold>) -> Option<Self> {
        let shape = self.shape();
        let fold = Fold::of(&shape, fold)?;
        let [rows, columns] = fold.lengths(&shape);
        let in_order = |order: [&[usize]; 2]| order.concat().into_iter().eq(0..shape.len());
        if in_order([&fold.rows, &fold.columns]) {
            self.reshaped(vec![rows, columns])
        } else if in_order([&fold.columns, &fold.rows]) {
            self.reshaped(vec![columns, rows])?.transposed(None)
        } else {
            None
        }
    }

    /// Whether no reshape changed the dimensions.
    fn is_as_stored(&self) -> bool {
        self.tensor.dims.iter().map(|d| usize::try_from(*d)).eq(self.stored.iter().map(|d| Ok(*d)))
    }

    fn matrix(self) -> Option<Matrix> {
        let stored = <[usize; 2]>::try_from(self.stored).ok()?;
        let dtype = DataType::try_from(self.tensor.data_type()).ok().filter(|&t| fits_f32(t))?;
        let bytes = match &self.tensor.raw_data {
            Some(bytes) => raw_bytes(self.tensor).map(|_| bytes.clone())?,
            None => raw_bytes(self.tensor)?.into_owned().into(),
        };
        Some(Matrix {
            bytes,
            dtype,
            stored,
            transposed: self.transposed,
            rank: 2,
            initializer: None,
        })
    }
}

fn computed(array: Array, value: &str, fold: Option<&Fold>) -> Result<Matrix, NotConstant> {
    let dtype = array.dtype();
    if !fits_f32(dtype) {
        let why = format!(
            "has elements of type {}, not floats of at most 32 bits",
            type_name(dtype as i32)
        );
        return Err(NotConstant::new(format!("`{value}`"), &why));
    }
    let Some(fold) = Fold::of(array.shape(), fold) else {
        let why = format!("has shape {:?}, which is no matrix", array.shape());
        return Err(NotConstant::new(format!("`{value}`"), &why));
    };
    let ([rows, columns], rank) = (fold.lengths(array.shape()), array.shape().len());
    let array =
        layout::with_shape(array.permuted([fold.rows, fold.columns].concat()), &[rows, columns])
            .map_err(|why| NotConstant::new(format!("`{value}`:"), &why))?;
    let turned = array.clone().permuted(vec![1, 0]);
    let transposed = !array.is_standard_layout() && turned.is_standard_layout();
    let (array, stored) =
        if transposed { (turned, [columns, rows]) } else { (array, [rows, columns]) };
    Ok(Matrix { bytes: array.to_bytes(), dtype, stored, transposed, rank, initializer: None })
}

fn fits_f32(dtype: DataType) -> bool {
    matches!(dtype, DataType::Float | DataType::Float16 | DataType::Bfloat16)
}

fn widen<T: Element>(elements: Vec<T>) -> Vec<f32> {
    elements.into_iter().map(|e| f32::from_wide(e.widen())).collect()
}
