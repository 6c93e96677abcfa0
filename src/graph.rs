//! Graphs as they are read and changed: [`View`] reads, [`Patch`] writes.

mod constant;
mod view;

pub use constant::{Constants, Expression, Matrix, NotConstant};
pub use view::{NodeId, Use, View, captured, nested_graphs};
