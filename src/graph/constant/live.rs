//! The values that an evaluation holds in memory.

use super::{NotConstant, Origin, Output};
use crate::array::Array;
use crate::proto::{SparseTensorProto, TensorProto};
use std::collections::HashMap;

/// What one value is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    Stored(*const TensorProto),
    Sparse(*const SparseTensorProto),
    Made(Output),
}

impl Key {
    pub fn of(origin: Origin<'_>) -> Self {
        match origin {
            Origin::Stored(tensor) => Key::Stored(tensor),
            Origin::Sparse(tensor) => Key::Sparse(tensor),
            Origin::Made(output) => Key::Made(output),
        }
    }
}

/// The values that are still to be read, with the number of reads to come.
#[derive(Default)]
pub struct Live {
    reads: HashMap<Key, usize>,
    arrays: HashMap<Key, Array>,
    bytes: usize,
}

impl Live {
    /// Announces a read.
    pub fn expect(&mut self, key: Key) {
        *self.reads.entry(key).or_default() += 1;
    }

    /// Keeps a value that is still to be read.
    pub fn insert(&mut self, key: Key, array: Array) {
        if self.reads.get(&key).is_some_and(|&reads| reads > 0) {
            self.bytes = self.bytes.saturating_add(array.byte_len());
            self.arrays.insert(key, array);
        }
    }

    /// The bytes that the values take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A value for one of its readers, loaded where it is not kept; the last reader owns it.
    pub fn take(
        &mut self,
        key: Key,
        load: impl FnOnce() -> Result<Array, NotConstant>,
    ) -> Result<Array, NotConstant> {
        let array = match self.arrays.remove(&key) {
            Some(array) => {
                self.bytes = self.bytes.saturating_sub(array.byte_len());
                array
            }
            None => load()?,
        };
        if let Some(reads) = self.reads.get_mut(&key) {
            *reads = reads.saturating_sub(1);
        }
        self.insert(key, array.clone());
        Ok(array)
    }
}
