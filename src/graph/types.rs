//! Element types of values, as far as the file tells them.

use super::{View, facts::of_one_type};
use crate::proto::{TensorProto, tensor_proto::DataType};

impl View<'_> {
    /// The element type of a value, where the file declares it or it follows from a value before that has one.
    pub fn data_type(&self, value: &str) -> Option<DataType> {
        let mut value = value;
        for _ in 0..self.nodes().len().max(1) {
            if let Some(declared) = self.declared_type(value) {
                return Some(declared);
            }
            let node = self.node(self.producer(value)?);
            if node.is("Cast") {
                return DataType::try_from(i32::try_from(node.int("to")?).ok()?).ok();
            }
            let operands = of_one_type(node);
            if let Some(known) = operands.iter().find_map(|operand| self.declared_type(operand)) {
                return Some(known);
            }
            value = operands.first()?;
        }
        None
    }

    fn declared_type(&self, value: &str) -> Option<DataType> {
        if let Some(stored) = self.initializer(value) {
            return DataType::try_from(TensorProto::data_type(stored)).ok();
        }
        DataType::try_from(self.declared(value)?.elem_type()).ok()
    }
}
