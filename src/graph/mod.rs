//! Graphs as they are read and changed: [`View`] reads, [`Patch`] writes.

mod check;
mod patch;
mod view;

pub use check::check;
pub use patch::{Patch, apply, drop_unread, read_initializers};
pub use view::{NodeId, Use, View, captured, nested_graphs};
