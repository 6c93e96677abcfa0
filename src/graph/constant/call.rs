//! One application of an operator: a node with the values of its inputs.

use super::number::Types;
use crate::array::{Array, Element, Elements, MAX_RANK};
use crate::proto::{NodeProto, tensor_proto::DataType, type_name};

/// Why an operator gave no result.
pub type Reason = String;

pub type Outcome = Result<Array, Reason>;

pub struct Call<'m> {
    pub node: &'m NodeProto,
    pub inputs: Vec<Option<Array>>,
    pub limit: Limit,
}

/// The most bytes that a result may take.
#[derive(Debug, Clone, Copy)]
pub struct Limit(usize);

impl Limit {
    const SMALLEST: usize = 64 << 20;
    const LARGEST: usize = 16 << 30;

    /// So many bytes.
    pub fn of(bytes: usize) -> Self {
        Limit(bytes)
    }

    /// For results that take no memory of their own.
    pub const NONE: Self = Limit(usize::MAX);

    /// 64 times the model, within reason for the very small and the very large.
    pub fn for_model(bytes: usize) -> Self {
        Limit(bytes.saturating_mul(64).clamp(Self::SMALLEST, Self::LARGEST))
    }

    /// What is left of it beside values of this size.
    pub fn less(self, bytes: usize) -> Result<Self, Reason> {
        let left = self.0.checked_sub(bytes);
        left.map(Limit)
            .ok_or_else(|| "the values beside it take too much memory for this model".to_owned())
    }

    /// Refuses a shape that would take too much memory with elements like these.
    pub fn allow_like<T>(self, _: &Elements<T>, shape: &[usize]) -> Result<(), Reason> {
        self.allow::<T>(shape)
    }

    /// Refuses a shape whose elements would take too much memory.
    pub fn allow<T>(self, shape: &[usize]) -> Result<(), Reason> {
        if shape.len() > MAX_RANK {
            return Err(format!("its result has {} axes", shape.len()));
        }
        let bytes = shape.iter().try_fold(size_of::<T>(), |n, &d| n.checked_mul(d.max(1)));
        match bytes {
            Some(bytes) if bytes <= self.0.min(isize::MAX as usize) => Ok(()),
            _ => Err(format!("its result of shape {shape:?} is too large for this model")),
        }
    }
}

impl<'m> Call<'m> {
    /// An input that the operator can't do without.
    pub fn take(&mut self, index: usize) -> Outcome {
        self.take_optional(index).ok_or_else(|| format!("its input {index} is missing"))
    }

    /// The same of one of these types.
    pub fn take_of(&mut self, index: usize, types: Types) -> Outcome {
        of_types(self.take(index)?, types)
    }

    pub fn take_optional(&mut self, index: usize) -> Option<Array> {
        self.inputs.get_mut(index)?.take()
    }

    /// All inputs; none may be missing.
    pub fn take_all(&mut self) -> Result<Vec<Array>, Reason> {
        (0..self.inputs.len()).map(|index| self.take(index)).collect()
    }

    /// Integers that older opsets give as an attribute and newer ones as an input.
    pub fn ints_or_input(&mut self, name: &str, index: usize) -> Result<Option<Vec<i64>>, Reason> {
        match self.take_optional(index) {
            Some(array) => integers(&array).map(Some),
            None => Ok(self.node.ints(name).map(<[_]>::to_vec)),
        }
    }

    /// The axis attribute as an index below `rank`.
    pub fn axis(&self, default: Option<i64>, rank: usize) -> Result<usize, Reason> {
        let axis = self.node.int("axis").or(default).ok_or("its attribute axis is missing")?;
        axis_index(axis, rank)
    }
}

pub fn integers(array: &Array) -> Result<Vec<i64>, Reason> {
    array.to_i64s().ok_or_else(|| {
        format!("it reads {} as integers of 32 or 64 bits", type_name(array.dtype() as i32))
    })
}

/// An axis, counted from the back where negative, as an index below `rank`.
pub fn axis_index(axis: i64, rank: usize) -> Result<usize, Reason> {
    index(axis, rank).map_err(|_| format!("axis {axis} is not one of {rank}"))
}

pub fn axis_indices(axes: &[i64], rank: usize) -> Result<Vec<usize>, Reason> {
    let indices: Vec<usize> =
        axes.iter().map(|&axis| axis_index(axis, rank)).collect::<Result<_, _>>()?;
    match (1..indices.len()).find(|&i| indices[..i].contains(&indices[i])) {
        Some(i) => Err(format!("axis {} is named twice", axes[i])),
        None => Ok(indices),
    }
}

/// An index, counted from the back where negative, below `length`.
pub fn index(index: i64, length: usize) -> Result<usize, Reason> {
    let back = if index < 0 { length as i64 } else { 0 };
    let place = index.checked_add(back).and_then(|i| usize::try_from(i).ok());
    place.filter(|i| *i < length).ok_or_else(|| format!("its index {index} is not below {length}"))
}

/// The array, if it is of one of these types.
pub fn of_types(array: Array, types: Types) -> Outcome {
    if types.contains(&array.dtype()) { Ok(array) } else { Err(no_such(&array)) }
}

/// The elements of an operand that has to have this type.
pub fn same<T: Element>(array: Array) -> Result<Elements<T>, Reason> {
    let (expected, found) = (type_name(T::DTYPE as i32), type_name(array.dtype() as i32));
    T::unwrap(array)
        .ok_or_else(|| format!("its operands have elements of types {expected} and {found}"))
}

pub fn converted(array: Array, to: DataType) -> Outcome {
    array.cast(to).ok_or_else(|| format!("it casts to {}", type_name(to as i32)))
}

pub fn no_such(array: &Array) -> Reason {
    format!("it has no definition for elements of type {}", type_name(array.dtype() as i32))
}
