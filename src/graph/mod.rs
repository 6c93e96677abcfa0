//! Graphs as they are read and changed: [`View`] reads, [`Constants`] computes what does not depend
//! on the inputs, [`Patch`] writes.

mod check;
mod constant;
mod patch;
mod view;

pub use crate::proto::nested_graphs;
pub use check::check;
pub use constant::{Constants, Expression, Matrix, NotConstant};
pub use patch::{Patch, apply, drop_unread, read_initializers};
pub use view::{NodeId, Use, View, captured};
